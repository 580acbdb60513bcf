"""Robustness to sampling: what is measured of a model of series, and what the commands write."""

import json
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
from keras_lnn.comparing.sampling import with_sampling
from keras_lnn.data import load_data
from keras_lnn.data.arrays import network_inputs
from keras_lnn.data.thinning import list_samplings
from keras_lnn.errors import InputError
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.plots.sampling import plot_sampling
from keras_lnn.registry import build_model
from keras_lnn.saved.signature import save_keras
from keras_lnn.training.evaluate import LastLoaded, predict_run_samplings
from keras_lnn.training.sampling import measure_samplings, predict_samplings

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
        save_keras(model, describe(), folder / name / "best.keras")
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


def test_images_are_not_sampled_in_time():
    split = load_data(register_tiny_data()).splits["test"]
    with pytest.raises(InputError, match=r"--sampling is for data of series of images in time\. Received: images"):
        predict_samplings(CountedFrames(), [split])


def test_evaluate_writes_a_table_and_a_picture(runs, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run_program(monkeypatch, capfd, "evaluate", runs / "mean-0", "--sampling")
    assert status == 0
    folder = tmp_path / "sampling" / "tiny-series-mean-0"
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
    assert (output / "plots" / "sampling.png").is_file()
    assert "The same series with fewer frames" in (output / "comparison.html").read_text()
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
        (["evaluate", "images", "--output", "x"], "--output is for the files of --sampling. Received: x without"),
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
