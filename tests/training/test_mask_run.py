"""A U-Net trained on the embedded masks: what its run leaves, predicts, exports, and whether all of it agrees."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import run_models_eagerly
from PIL import Image

from keras_lnn import TrainConfig, load_data, load_predictor, train
from keras_lnn.data.decode.images import read_images
from keras_lnn.evaluation.masks import evaluate_masks
from keras_lnn.saved.signature import read_signature
from keras_lnn.terminal import make_console
from keras_lnn.trained.evaluate import evaluate_model

SIDE = 32
pytestmark = pytest.mark.usefixtures("abdomens_drawn_once", "eager_models")


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


PICTURES = {"history.png", "dice.png", "images.png", "overlays.png", "gallery.png", "spread.png"}


@pytest.fixture(scope="module")
def run(tmp_path_factory, abdomens_drawn_once):
    place = tmp_path_factory.mktemp("trained")
    fields = {"model": "unet", "model_args": {"depth": 1, "width": 4}, "data": "phantom-liver", "size": SIDE}
    fields |= {"epochs": 2, "batch_size": 64, "augmentation": "none", "tensorboard": False}
    fields |= {"run_dir": place / "run", "export": "saved_model", "export_dir": place / "exported"}
    with pytest.MonkeyPatch.context() as patched:
        run_models_eagerly(patched)
        return train(TrainConfig.create(fields), make_console()).folder


@pytest.fixture(scope="module")
def test_split():
    return load_data("phantom-liver", size=SIDE).splits["test"]


@pytest.fixture
def command(monkeypatch, capsys):
    from keras_lnn import __main__ as program
    from keras_lnn.cli.parsing import run_main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras_lnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_main(program.main)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call


def test_the_files_of_the_run_hold_the_predictions(run, test_split):
    metrics = run.read_metrics()
    predicted = load_predictor(run.path).predict_compact(test_split.images)
    assert predicted.dtype == np.uint8
    assert predicted.shape == test_split.labels.shape
    names = metrics["classes"]
    found = evaluate_masks(test_split.labels, predicted, class_names=names, groups=test_split.groups)
    for name, estimate in found.metrics.items():
        reported = metrics["test"][name]
        for key in ("value", "low", "high"):
            value = getattr(estimate, key)
            assert reported[key] == (None if np.isnan(value) else pytest.approx(value))
    assert {path.name for path in run.plots.iterdir()} == PICTURES
    assert run.report.read_text(encoding="utf-8").count("<img ") == len(PICTURES)
    assert set(metrics["splits"]["test"]["classes"]) == {"liver", "tumour"}
    assert (metrics["splits"]["test"]["images"], metrics["splits"]["test"]["patients"]) == (120, 12)
    table = pd.read_csv(run.predictions)
    assert list(table["split"].value_counts()[["test", "val"]]) == [120, 60]
    tested = table[table["split"] == "test"]
    assert list(tested["patient"]) == list(test_split.groups)
    assert tested["dice liver"].mean() == pytest.approx(
        metrics["per_class"]["test"]["liver"]["dice_per_image"]["value"]
    )
    assert list(tested["pixels liver"]) == list((test_split.labels == 1).sum(axis=(1, 2)))
    assert list(pd.read_csv(run.labels)["label"]) == ["liver", "tumour"]
    assert (metrics["epochs"], metrics["positive_class"]) == (2, None)


def test_validation_dice_of_the_kept_epoch_is_that_of_the_report(run):
    metrics, history = run.read_metrics(), pd.read_csv(run.history).set_index("epoch")
    assert history["val_dice"].idxmax() == metrics["best_epoch"]
    mean = (history["val_dice_liver"] + history["val_dice_tumour"]) / 2
    assert list(history["val_dice"]) == pytest.approx(list(mean), abs=1e-6)
    assert list(history["val_pixel_error"]) == pytest.approx(list(1 - history["val_accuracy"]), abs=1e-6)
    kept = history.loc[metrics["best_epoch"]]
    assert metrics["val"]["dice"]["value"] == pytest.approx(kept["val_dice"], abs=2e-4)
    assert metrics["val"]["dice_liver"]["value"] == pytest.approx(kept["val_dice_liver"], abs=2e-4)


def test_evaluation_reproduces_the_metrics_of_the_run(run, command):
    metrics = run.read_metrics()
    again = evaluate_model(run.path)
    assert again["test"] == metrics["test"]
    assert again["per_class"]["test"] == metrics["per_class"]["test"]
    status, out, _ = command("evaluate", run.path, "--split", "val")
    assert status in (0, None)
    assert f"{metrics['val']['dice_liver']['value']:.4f}" in out


def test_the_exported_model_predicts_the_same_masks(run, test_split):
    exported = run.path.parent / "exported" / run.name
    ours, other = load_predictor(run.path), load_predictor(exported)
    images = test_split.images[:20]
    assert np.abs(ours.predict(images) - other.predict(images)).max() < 1e-5
    assert (ours.predict_compact(images) == other.predict_compact(images)).mean() > 0.9999
    content = json.loads((exported / "keras_lnn.json").read_text())
    assert content["output"]["shape"] == [None, SIDE, SIDE, 3]
    assert content["decision"] == {
        "name": "mask",
        "dtype": "uint8",
        "shape": [None, SIDE, SIDE],
        "values": "class indices",
    }
    assert read_signature(exported) == ours.signature
    card = (exported / "README.md").read_text()
    assert f'result["mask"]  # uint8, (samples, {SIDE}, {SIDE})' in card
    assert "| Dice liver |" in card
    assert 'result["predicted"]' not in card


def test_predicted_masks_have_the_size_of_their_images(run, test_split, tmp_path, command):
    image = test_split.images[4, ..., 0]
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(image).save(folder / "same.png")
    Image.fromarray(np.kron(image, np.ones((3, 3), np.uint8))).save(folder / "deep" / "large.png")
    Image.fromarray(image).resize((50, 20)).save(folder / "same.jpg")
    status, out, _ = command("predict", run.path, folder, "--output", tmp_path / "out", "--overlay")
    assert status in (0, None)
    assert "3 masks" in out
    predictor = load_predictor(run.path)
    answer = predictor.predict_compact(test_split.images[4:5])[0]
    assert np.array_equal(pixels_of(tmp_path / "out" / "same.png.png"), answer)
    large = pixels_of(tmp_path / "out" / "deep" / "large.png")
    assert large.shape == (3 * SIDE, 3 * SIDE)
    small = read_images([folder / "deep" / "large.png"], side=SIDE, channels=1)
    # The middle of three pixels lies where the model has one.
    assert np.array_equal(large[1::3, 1::3], predictor.predict_compact(small)[0])
    assert pixels_of(tmp_path / "out" / "same.jpg.png").shape == (20, 50)
    assert pixels_of(tmp_path / "out" / "deep" / "large-overlay.png").shape[:2] == (3 * SIDE, 3 * SIDE)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("file")
    row = table.loc[str(folder / "same.png")]
    assert row["pixels liver"] == (answer == 1).sum()
    assert row[["share background", "share liver", "share tumour"]].sum() == pytest.approx(1)


def test_a_nifti_slice_gets_a_mask_with_its_affine(run, test_split, tmp_path, command):
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([1.5, 1.5, 1.0, 1.0])
    stored = np.ascontiguousarray(test_split.images[4, ::-1, :, 0].T)
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "scan.nii.gz")
    assert command("predict", run.path, tmp_path / "scan.nii.gz", "--output", tmp_path / "out")[0] in (0, None)
    written = nibabel.load(tmp_path / "out" / "scan.nii.gz")
    assert written.shape == stored.shape
    assert np.array_equal(written.affine, affine)
    # Its values reach from 0 to 255 only by the window of the whole range.
    assert set(np.unique(np.asarray(written.dataobj))) <= {0, 1, 2}


def test_user_errors_are_one_line_and_keep_the_images(run, test_split, tmp_path, command):
    image = tmp_path / "a.png"
    Image.fromarray(test_split.images[0, ..., 0]).save(image)
    before = image.read_bytes()
    for arguments, reported in (
        ((image, "--output", tmp_path), "must not replace their images"),
        ((image, "--output", tmp_path / "x.csv"), "must be a folder"),
        ((image, image, "--output", tmp_path / "out"), "must have different names"),
        ((tmp_path / "none.png",), "which does not exist"),
    ):
        status, _, error = command("predict", run.path, *arguments)
        assert status == 2
        assert reported in error
        assert error.count("\n") == 1
    assert image.read_bytes() == before
