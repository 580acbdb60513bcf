"""Comparing segmentation runs: on the terminal, in a study, and what cannot be compared."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from mask_run_samples import answer, make_truth, write_mask_run
from PIL import Image
from run_samples import write_breast_runs

from keras_lnn import plots
from keras_lnn.comparing.comparison import compare
from keras_lnn.comparing.mask_runs import MaskRun, mean_dice, read_mask_run
from keras_lnn.comparing.page import comparison_page
from keras_lnn.comparing.pictures import draw_all
from keras_lnn.comparing.runs import read_any_run
from keras_lnn.comparing.words import describe_cautions
from keras_lnn.errors import InputError
from keras_lnn.evaluation.masks import evaluate_masks
from keras_lnn.files.written import LIST_FILE
from keras_lnn.studies.declaration import Study, lay_out
from keras_lnn.studies.output import write_results
from keras_lnn.terminal import make_console

TRUTH = make_truth()
WRONG = {"unet": 0.05, "unet-lnn": 0.4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two seeds of a good model and of a bad one, as a study lays them out."""
    folder = tmp_path_factory.mktemp("runs")
    for place, (name, wrong) in enumerate(WRONG.items()):
        for seed in range(2):
            predicted = answer(TRUTH, wrong, 10 * place + seed)
            write_mask_run(folder / name / f"seed-{seed}", TRUTH, predicted, model=name, seed=seed)
    return folder


def runs(folder):
    return [read_mask_run(path) for path in sorted(folder.glob("*/seed-*"))]


def test_measures_of_a_segmentation_run_are_read_back(folder):
    run = read_mask_run(folder / "unet" / "seed-0")
    expected = evaluate_masks(TRUTH, answer(TRUTH, 0.05, 0), class_names=("background", "liver", "tumour"), resamples=1)
    assert np.array_equal(run.measures.common, expected.measures.common)
    assert np.allclose(run.measures.dice, expected.measures.dice, equal_nan=True)
    assert run.validation_dice == json.loads((run.path / "metrics.json").read_text())["val"]["dice"]["value"]
    assert len(set(run.groups)) == 8
    assert isinstance(read_any_run(run.path), MaskRun)


def test_distances_in_millimetres_keep_their_unit(tmp_path):
    predicted = answer(TRUTH, 0.05, 0)
    run = read_mask_run(write_mask_run(tmp_path / "run", TRUTH, predicted, spacing=(2.0, 2.0)))
    plain = read_mask_run(write_mask_run(tmp_path / "plain", TRUTH, predicted))
    assert run.measures.in_millimetres
    assert not plain.measures.in_millimetres
    assert np.allclose(run.measures.hausdorff, 2 * plain.measures.hausdorff, equal_nan=True)
    assert compare([run, plain]).models_table()["dice"].nunique() == 1
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert "hd95_mm" in metrics
    assert "hd95" not in metrics


def test_means_over_seeds_and_the_difference_of_good_and_bad(folder):
    comparison = compare(runs(folder), "unet")
    models = comparison.models_table()
    assert list(models["model"]) == ["unet", "unet-lnn"]
    of_runs = [
        json.loads(path.read_text())["test"]["dice"]["value"] for path in sorted(folder.glob("unet/*/metrics.json"))
    ]
    assert models["dice"].iloc[0] == pytest.approx(np.mean(of_runs))
    (pair,) = comparison.reported_pairs("dice")
    row = pair.to_row()
    assert row["difference"] == pytest.approx(models["dice"].iloc[1] - models["dice"].iloc[0])
    assert row["low"] < row["difference"] < row["high"] < 0
    assert row["corrected"] < 0.05
    assert compare(runs(folder)).reference == "unet"


@pytest.mark.parametrize("patients", [None, 8, 24])
def test_a_single_run_has_the_numbers_and_intervals_that_it_reports(tmp_path, patients):
    path = write_mask_run(tmp_path / "run", TRUTH, answer(TRUTH, 0.2, 0), patients=patients, resamples=2000)
    models = compare([read_mask_run(path)]).models_table()
    reported = json.loads((path / "metrics.json").read_text())["test"]
    for name in ("dice", "iou", "dice_per_image"):
        row = [models[column].iloc[0] for column in (name, f"{name}_low", f"{name}_high")]
        assert row == pytest.approx([reported[name][end] for end in ("value", "low", "high")], abs=1e-9), name


@pytest.mark.parametrize(("patients", "unit"), [(None, "images"), (8, "patients")])
def test_the_statistical_test_of_a_difference_is_named(tmp_path, patients, unit):
    about = {"patients": patients, "resamples": 20}
    paths = [
        write_mask_run(tmp_path / name, TRUTH, answer(TRUTH, wrong, 3), model=name, **about)
        for name, wrong in WRONG.items()
    ]
    differences = compare([read_mask_run(path) for path in paths]).pairs_table()
    assert set(differences["test"]) == {f"paired t, standard error by bootstrap over {unit}"}


def test_dice_of_each_image_is_the_mean_over_seeds(folder):
    found = {model.name: mean_dice(model.runs) for model in compare(runs(folder), "unet").models}
    both = [read_mask_run(folder / "unet" / f"seed-{seed}").measures.dice for seed in range(2)]
    defined = ~np.isnan(both[0]) & ~np.isnan(both[1])
    assert np.allclose(found["unet"][defined], np.mean(both, axis=0)[defined])
    figure = plots.plot_dice_by_model(found, ("liver", "tumour"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["liver", "tumour"]
    known = found["unet"][:, 0]
    known = known[~np.isnan(known)]
    reported = [label.get_text().splitlines() for label in figure.axes[0].get_yticklabels()]
    assert reported[0] == ["unet", f"median {np.median(known):.3f}, {len(known)} of 24 images"]
    with pytest.raises(InputError, match=r"for each model, one column per class. Received: \(24, 2\)"):
        plots.plot_dice_by_model(found, ["liver"])


def test_a_model_does_not_differ_from_itself(folder, tmp_path):
    same = [
        write_mask_run(tmp_path / name / "seed-0", TRUTH, answer(TRUTH, 0.2, 3), model="unet", batch_size=size)
        for name, size in (("small", 8), ("large", 16))
    ]
    differences = compare([read_mask_run(path) for path in same], "small").pairs_table()
    assert (differences["difference"] == 0).all()
    assert (differences["p"] == 1).all()


def test_the_command_prints_a_table_or_json(folder, tmp_path, monkeypatch, capsys):
    from keras_lnn import __main__ as program

    monkeypatch.setattr(sys, "argv", ["keras_lnn"])
    program.main(["compare", str(folder), "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "phantom-liver, 24 test samples" in printed
    assert "over 8 patients (24 images)" in printed
    assert "unet has a higher Dice than unet-lnn" in printed
    assert list(pd.read_csv(tmp_path / "out" / "comparison.csv")["model"]) == ["unet", "unet-lnn"]
    with Image.open(tmp_path / "out" / "plots" / "dice.png") as picture:
        assert min(picture.size) > 300
    monkeypatch.chdir(tmp_path)
    program.main(["compare", str(folder), "--json"])
    assert {path.name for path in (tmp_path / "comparisons" / "phantom-liver-unet-unet-lnn").iterdir()} == {
        LIST_FILE,
        "comparison.csv",
        "pairs.csv",
        "comparison.html",
        "plots",
    }
    content = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in content["pairs"]] == ["dice", "iou"]


def test_segmentation_and_classification_runs_are_compared_separately(folder, tmp_path, monkeypatch, capsys):
    from keras_lnn import __main__ as program

    monkeypatch.setattr(sys, "argv", ["keras_lnn"])
    write_breast_runs(tmp_path / "runs", {"lnn": 1.0})
    program.main(["compare", str(folder), str(tmp_path / "runs"), "--output", str(tmp_path / "out")])
    assert "unet has a higher Dice than unet-lnn" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"breastmnist-lnn", "phantom-liver-unet-unet-lnn"}


def test_other_images_altered_tables_and_classification_runs_are_refused(folder, tmp_path):
    other = write_mask_run(tmp_path / "other", make_truth(seed=1), make_truth(seed=1))
    with pytest.raises(InputError, match="same images and masks"):
        compare([*runs(folder), read_mask_run(other)])
    moved = write_mask_run(tmp_path / "moved", TRUTH, TRUTH, checksum="sha256:b")
    with pytest.raises(InputError, match="same images and masks"):
        compare([*runs(folder), read_mask_run(moved)])
    with pytest.raises(InputError, match="one of the models"):
        compare(runs(folder), "unett")
    table = pd.read_csv(other / "predictions.csv")
    table["common_pixels liver"] = 0
    table.to_csv(other / "predictions.csv", index=False)
    with pytest.raises(InputError, match="as the run wrote them"):
        read_mask_run(other)
    (other / "metrics.json").write_text(json.dumps({"val": {"auc": 1}}))
    with pytest.raises(InputError, match="has no Dice"):
        read_mask_run(other)


def test_a_study_reports_dice_and_iou(tmp_path):
    study = Study(
        title="Masks", data=["phantom-liver"], seeds=2, reference="unet", networks={"unet": {}, "unet-lnn": {}}
    )
    planned = lay_out(study, tmp_path)
    for place, run in enumerate(planned):
        fields = {"model": run.network, "seed": run.config.seed}
        write_mask_run(run.folder, TRUTH, answer(TRUTH, WRONG[run.network], place), **fields)
    written = write_results(tmp_path, study, planned, {}, make_console())
    results = pd.read_csv(written["results"])
    assert results["dice"].notna().all()
    assert results["val_dice"].notna().all()
    assert "auc" not in results
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("network")
    assert summary.loc["unet", "dice_mean"] > summary.loc["unet-lnn", "dice_mean"]
    assert list(pd.read_csv(tmp_path / "differences.csv")["metric"]) == ["dice", "iou"]
    text = (tmp_path / "table.txt").read_text()
    assert "Dice (SD)" in text
    assert "minus unet" in text
    assert "phantom-liver, Dice: unet-lnn differs from unet (-" in text
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "phantom-liver-size.png",
        "phantom-liver-seeds.png",
    }


def test_segmentation_pages_have_the_same_cautions_and_seeds(folder, tmp_path):
    again = write_mask_run(tmp_path / "again", TRUTH, answer(TRUTH, WRONG["unet"], 5), model="unet", seed=1)
    paths = [*sorted(folder.glob("*/seed-*")), again]
    found = compare([read_any_run(path, "val") for path in paths])
    assert [run.path for run in found.left_out] == [again]
    cautions = describe_cautions(found)
    assert f"Left out, because another run of the same model has the same seed: {again}." in cautions
    assert "The epochs were chosen on validation, so its metrics are too good." in cautions
    page = comparison_page(found, draw_all(found))
    for reported in (
        "2 models on phantom-liver",
        "the highest Dice first",
        "liver: 12",
        "Dice of each image",
        "bootstrap",
    ):
        assert reported in page
    assert "AUC" not in page
