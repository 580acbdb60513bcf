"""Robustness to sampling: what is measured of a model of series, and what the commands write."""

import json
import shutil
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from conftest import register_tiny_data
from PIL import Image
from quick_predictors import make_signature
from run_samples import write_run
from tiny_series import make_series_data, register_tiny_series

from keras_lnn import __main__ as program
from keras_lnn.cli.parsing import run_main
from keras_lnn.comparing.comparison import compare
from keras_lnn.comparing.runs import load_runs
from keras_lnn.comparing.sampling import describe_sampling, with_sampling
from keras_lnn.data import load_data
from keras_lnn.data.arrays import SeriesArray, network_inputs
from keras_lnn.data.thinning import keep_at_most, list_samplings
from keras_lnn.errors import InputError
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.fields.options import DataOptions
from keras_lnn.plots.sampling import plot_sampling
from keras_lnn.registry import build_model
from keras_lnn.runs.sampled_predictions import has_sampled, read_sampled
from keras_lnn.saved.signature import save_keras
from keras_lnn.statistics.paired_tests import compare_auc
from keras_lnn.studies.sampling import measure_runs
from keras_lnn.trained.evaluate import LastLoaded, evaluate_model, open_model, predict_run_samplings
from keras_lnn.trained.sampling import measure_samplings, predict_samplings

CLASSES = ("falling", "rising")


class CountedFrames:
    """Predicts the share of the steps at which there are frames."""

    signature = make_signature(task="binary", class_names=CLASSES, time_unit="minutes", image_shape=(6, 12, 12, 1))

    def predict_compact(self, images):
        _, times = network_inputs(images, slice(None))
        share = np.isfinite(times).mean(axis=1)
        return np.stack([1 - share, share], axis=1)


def describe(**changes):
    data = make_series_data()
    known = {"task": data.task, "class_names": CLASSES, "image_shape": data.image_shape, "data": data.name}
    known |= {"checksum": data.checksum, "time_unit": "minutes", "median_interval": 1.0, "size": None}
    return make_signature(**known | changes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Returns the folder of untrained runs: two seeds of a mean over frames, one of the last frame."""
    data, folder = load_data(register_tiny_series()), tmp_path_factory.mktemp("sampled")
    test = data.splits["test"]
    for seed, (head, name) in enumerate([("mean", "mean-0"), ("mean", "mean-1"), ("last", "last-0")]):
        model = build_model("lnn-series", data.image_shape, 2, head=head, features=4, units=4)
        random = np.random.default_rng(seed)
        model.set_weights([random.normal(size=weights.shape) / 3 for weights in model.get_weights()])
        logits = model.predict_on_batch([part.astype(np.float32) for part in network_inputs(test.images, slice(None))])
        odds = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
        about = {"model": "lnn-series", "model_args": {"head": head}, "data": data.name, "seed": seed % 2}
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        write_run(folder / name, test.labels, probabilities, class_names=CLASSES, checksum=data.checksum, **about)
        arguments = {"head": head, "features": 4, "units": 4}
        signature = describe(model="lnn-series", model_args=arguments)
        save_keras(model, signature, folder / name / "best.keras")
    return folder


def run_program(monkeypatch, capfd, *arguments):
    monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        run_main(program.main)
    return (caught.value.code, *capfd.readouterr())


def test_a_model_is_measured_on_thinned_series_of_the_same_samples():
    split = make_series_data().splits["test"]
    found = predict_samplings(CountedFrames(), [split])
    assert [(one.kind, one.amount) for one in found] == [(one.kind, one.amount) for one in list_samplings()]
    for one, sampling in zip(found, list_samplings(), strict=True):
        lengths = sampling.apply(split.images).lengths
        assert one.frames == pytest.approx(lengths.mean())
        np.testing.assert_allclose(one.predicted[:, 1], lengths / 6)
    rows = measure_samplings("counted", split, CountedFrames.signature, found)
    known = evaluate_predictions(split.labels, found[3].predicted, task="binary", class_names=CLASSES).metrics["auc"]
    assert rows[3] == {
        "model": "counted",
        "sampling": "evenly",
        "amount": 0.25,
        "mean_frames": round(found[3].frames, 2),
        "seeds": 1,
        "auc": known.value,
        "auc_low": known.low,
        "auc_high": known.high,
    }


def test_denser_series_are_predicted_as_a_higher_frame_rate():
    split = make_series_data().splits["test"]
    denser = make_series_data(seed=1).splits["test"].images
    assert isinstance(denser, SeriesArray)
    found = predict_samplings(CountedFrames(), [split], denser=denser)
    assert [(one.kind, one.amount) for one in found[-2:]] == [("frame rate", 1), ("frame rate", 2)]
    np.testing.assert_array_equal(found[-2].predicted, found[0].predicted)
    np.testing.assert_allclose(found[-1].predicted[:, 1], denser.lengths / 6)
    assert found[-1].frames == pytest.approx(denser.lengths.mean())
    with pytest.raises(InputError, match=r"Only a run or a \.keras file reads series of another number of frames"):
        predict_samplings(CountedFrames(), [split], denser=keep_at_most(denser, 9))


def test_a_model_reads_more_steps_or_thinned_series_on_request(runs):
    known = evaluate_model(runs / "mean-0")["test"]["auc"]["value"]
    longer = evaluate_model(runs / "mean-0", options=DataOptions(max_steps=9))["test"]["auc"]["value"]
    assert longer == pytest.approx(known)
    opened = open_model(runs / "mean-0", options=DataOptions(max_steps=3))
    assert opened.signature.image_shape[0] == opened.predictor.signature.image_shape[0] == 3
    series = opened.chosen.parts[0].images
    assert isinstance(series, SeriesArray)
    assert (series.steps, series.lengths.max()) == (3, 3)


def test_images_are_not_sampled_in_time():
    split = load_data(register_tiny_data()).splits["test"]
    with pytest.raises(InputError, match=r"--sampling is for data of series of images in time\. Received: images"):
        predict_samplings(CountedFrames(), [split])


def test_evaluate_writes_a_table_and_a_picture(runs, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run_program(monkeypatch, capfd, "evaluate", runs / "mean-0", "--sampling")
    assert status == 0
    folder = tmp_path / "evaluations" / "tiny-series-mean-0"
    table = pd.read_csv(folder / "sampling.csv")
    assert len(table) == len(list_samplings())
    # All frames are kept in the first row of each kind, which is what the run was measured on.
    known = json.loads((runs / "mean-0" / "metrics.json").read_text())["test"]["auc"]
    for _, of_kind in table.groupby("sampling"):
        assert of_kind["auc"].iloc[0] == pytest.approx(known["value"])
        assert of_kind["auc_low"].iloc[0] == pytest.approx(known["low"])
    assert table["auc"].nunique() > 3
    with Image.open(folder / "sampling.png") as picture:
        assert min(picture.size) > 500
    assert "AUC by sampling" in out
    assert str(folder.relative_to(tmp_path) / "sampling.csv") in out


def test_each_model_is_compared_with_the_reference_under_each_sampling(runs):
    known = [run for run in load_runs([runs]) if run.path.name in ("mean-0", "last-0")]
    load = LastLoaded()
    predicted = {run.path: predict_run_samplings(run.path, "test", run.truth, load) for run in known}
    compared = with_sampling(compare(known, "lnn-series head=last"), predicted)
    table = compared.sampling_differences
    assert len(table) == len(list_samplings())
    assert set(table["model"]) == {"lnn-series head=mean"}
    mean, last = (next(run for run in known if run.path.name == name) for name in ("mean-0", "last-0"))
    for place, row in enumerate(table.to_dict("records")):
        scores = (predicted[run.path][place].predicted[:, 1] for run in (mean, last))
        expected = compare_auc(mean.truth == 1, *scores)
        assert row["test"] == "DeLong"
        found = (row["difference"], row["low"], row["high"], row["p"], row["corrected"])
        assert found == pytest.approx((expected.value, expected.low, expected.high, expected.p, expected.p))
    with_all = next(pair for pair in compared.pairs if pair.metric == "auc").seen_from("lnn-series head=mean")
    assert table["difference"].iloc[0] == pytest.approx(with_all.difference.value, abs=1e-6)
    assert "sampling_differences" in compared.to_json()


def make_differences(model, with_all, others, corrected):
    """Returns rows of one model: its difference with all frames, and under four other samplings."""
    names = [("evenly", 1), ("evenly", 0.5), ("at random", 1), ("at random", 0.5), ("every nth", 2), ("every nth", 3)]
    values = [with_all, others, with_all, others, others, others]
    p_values = [corrected[0], corrected[1], corrected[0], *corrected[2:]]
    return [
        {"sampling": kind, "amount": amount, "model": model, "reference": "r", "metric": "auc", "difference": value}
        | {"low": value - 0.05, "high": value + 0.05, "corrected": p}
        for (kind, amount), value, p in zip(names, values, p_values, strict=True)
    ]


def test_sentences_say_which_models_differ_with_all_frames_and_under_other_samplings():
    rows = make_differences("both", -0.2, -0.1, (0.01, 0.01, 0.01, 0.01, 0.01))
    rows += make_differences("whole", -0.2, -0.1, (0.01, 0.5, 0.5, 0.5, 0.5))
    rows += make_differences("thinned", -0.01, -0.1, (0.9, 0.01, 0.5, 0.5, 0.01))
    rows += make_differences("one", 0.0, 0.0, (1.0,) * 5) + make_differences("other", 0.0, 0.0, (1.0,) * 5)
    assert describe_sampling(pd.DataFrame(rows)) == [
        "both differs from r in AUC with all frames (−.200, 95% interval −.250 to −.150), and under all 4 other"
        " samplings: evenly 0.5 (−.100), at random 0.5 (−.100), every nth 2 (−.100), every nth 3 (−.100).",
        "whole differs from r in AUC with all frames (−.200, 95% interval −.250 to −.150), but under none of the other"
        " samplings.",
        "With all frames the data do not show that thinned differs from r in AUC (−.010, 95% interval −.060 to +.040),"
        " but they do under 2 of 4 other samplings: evenly 0.5 (−.100), every nth 3 (−.100).",
        "Neither with all frames nor under another sampling do the data show that any of one, other differs from r in"
        " AUC.",
    ]
    assert describe_sampling(None) == []


def test_predictions_are_kept_for_the_model_that_made_them(runs, tmp_path):
    run = tmp_path / "last-0"
    shutil.copytree(runs / "last-0", run)
    samplings = list_samplings()
    assert not has_sampled(run, samplings)
    truth = load_data(register_tiny_series()).splits["test"].labels
    assert measure_runs({"runs": [str(run)]}) == {"runs": 1}
    assert has_sampled(run, samplings)
    assert not has_sampled(run, samplings[:-1])

    def never(*arguments, **options):
        raise AssertionError("The data are read again.")

    kept = predict_run_samplings(run, "test", truth, never)
    for one, expected in zip(kept, predict_run_samplings(runs / "last-0", "test", truth), strict=True):
        assert one[:3] == expected[:3]
        np.testing.assert_array_equal(one.predicted, expected.predicted)
    with (run / "best.keras").open("ab") as model:
        model.write(b"another model")
    assert not has_sampled(run, samplings)
    assert read_sampled(run, samplings) is None
    (run / "sampling.npz").write_bytes(b"damaged")
    assert read_sampled(run, samplings) is None


def test_models_are_compared_by_the_means_of_their_seeds(runs):
    known = load_runs([runs])
    load = LastLoaded()
    predicted = {run.path: predict_run_samplings(run.path, "test", run.truth, load) for run in known}
    compared = with_sampling(compare(known), predicted)
    models = dict(tuple(compared.sampling.groupby("model")))
    assert {name: set(rows["seeds"]) for name, rows in models.items()} == {
        "lnn-series head=mean": {2},
        "lnn-series head=last": {1},
    }
    for model in compared.models:
        rows = models[model.name]
        assert len(rows) == len(list_samplings())
        first = model.metrics["auc"]
        assert rows[["auc", "auc_low", "auc_high"]].iloc[0].tolist() == pytest.approx(
            [first.value, first.low, first.high]
        )
    about = {"task": "binary", "class_names": CLASSES}
    seeds = [run for run in known if run.path.name.startswith("mean")]
    values = [
        evaluate_predictions(run.truth, predicted[run.path][3].predicted, **about).metrics["auc"] for run in seeds
    ]
    assert models["lnn-series head=mean"]["auc"].iloc[3] == pytest.approx(np.mean([one.value for one in values]))
    # All samplings keep the last frame.
    assert models["lnn-series head=last"]["auc"].nunique() == 1
    assert json.loads(json.dumps(compared.to_json()))["sampling"][0]["sampling"] == "evenly"


@pytest.mark.slow
def test_compare_writes_a_table_and_a_picture(runs, tmp_path, monkeypatch, capfd):
    output = tmp_path / "out"
    status, out, _ = run_program(monkeypatch, capfd, "compare", runs, "--sampling", "--output", output)
    assert status == 0, out
    assert len(pd.read_csv(output / "sampling.csv")) == 2 * len(list_samplings())
    assert len(pd.read_csv(output / "sampling_differences.csv")) == len(list_samplings())
    assert "Under other samplings" in (output / "comparison.html").read_text()
    assert (output / "plots" / "sampling.png").is_file()
    assert "The same series sampled otherwise" in (output / "comparison.html").read_text()
    assert "AUC by sampling" in out


def test_runs_whose_data_have_changed_are_refused(runs):
    truth = 1 - load_data(register_tiny_series()).splits["test"].labels
    with pytest.raises(InputError, match="needs the test samples that a run was measured on"):
        predict_run_samplings(runs / "last-0", "test", truth)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "images", "--sampling"], "--sampling is for models of series of images in time. Received:"),
        (["compare", "images", "--sampling"], "--sampling is for models of series of images in time. Received:"),
    ],
)
def test_a_mistake_is_one_line(runs, tmp_path, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(tmp_path)
    truth = np.arange(30) % 2
    folder = write_run(tmp_path / "images", truth, np.eye(2)[truth] * 0.8 + 0.1, class_names=CLASSES)
    # The file need not be a model that can be loaded: its signature says what it reads.
    with zipfile.ZipFile(runs / "last-0" / "best.keras") as known:
        contents = {name: known.read(name) for name in known.namelist()}
    with zipfile.ZipFile(folder / "best.keras", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content.replace(b'"minutes"', b"null"))
    status, _, err = run_program(monkeypatch, capfd, *arguments)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "sampling").exists()


def test_a_table_of_unknown_samplings_is_not_drawn():
    table = pd.DataFrame([{"model": "a", "sampling": "other", "amount": 1}])
    with pytest.raises(InputError, match=r"must have rows of evenly\. Received: other"):
        plot_sampling(table, "auc", "AUC", {"evenly": "share"}, "a")
