"""Cross-validations of masks compared: on average over the folds, and by the images of all folds together."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from mask_run_samples import NAMES, answer, make_truth, write_mask_fold
from rich.console import Console

from keras_lnn.comparing.comparison import compare
from keras_lnn.comparing.cross_validations import load_cross_validations
from keras_lnn.comparing.fold_differences import with_folds
from keras_lnn.comparing.writing import print_comparison, write_comparison
from keras_lnn.errors import InputError
from keras_lnn.evaluation.masks import evaluate_masks
from keras_lnn.statistics.paired_tests import compare_resampled

SIZE, RATIO = 8, 0.5
WRONG = {"unet": 0.1, "unet-lnn": 0.3}


def fold_masks(model, place, repeat=0):
    truth = make_truth(SIZE, seed=place)
    return truth, answer(truth, WRONG[model] + 0.05 * place, place + 10 * repeat)


def write_folds(folder, model, repeats=1):
    """Writes the files of a complete cross-validation, whose repeats have the same folds for simplicity."""
    folder.mkdir(parents=True)
    (folder / "folds.yaml").write_text("folds: 3\n")
    for repeat in range(repeats):
        for place in range(3):
            path = folder / f"repeat-{repeat + 1}" / f"fold-{place + 1}"
            about = {"model": model, "seed": repeat, "split_seed": repeat}
            write_mask_fold(path, *fold_masks(model, place, repeat), place, **about)
    known = {"folds": 3, "repeats": repeats, "test_over_train": RATIO, "warnings": []}
    (folder / "folds.json").write_text(json.dumps(known))
    return folder


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    place = tmp_path_factory.mktemp("cross-validations")
    folders = [write_folds(place / model, model, repeats=2) for model in WRONG]
    return with_folds(compare(load_cross_validations(folders)))


def test_dice_of_the_same_folds_is_compared_by_the_corrected_resampled_t(compared):
    dice = {
        model: [
            evaluate_masks(*fold_masks(model, place, repeat), class_names=NAMES, resamples=2).metrics["dice"].value
            for repeat in range(2)
            for place in range(3)
        ]
        for model in WRONG
    }
    expected = compare_resampled(np.array(dice["unet"]) - dice["unet-lnn"], RATIO)
    pair = next(pair for pair in compared.over_folds.pairs if pair.metric == "dice").seen_from("unet")
    assert (pair.difference.value, pair.difference.low, pair.difference.p) == pytest.approx(
        (expected.value, expected.low, expected.p)
    )
    assert {pair.metric for pair in compared.over_folds.pairs} == {"dice", "iou"}


def test_images_of_all_folds_are_measured_together_and_count_once(compared, tmp_path):
    values = []
    for repeat in range(2):
        folds = [fold_masks("unet", place, repeat) for place in range(3)]
        truth, predicted = (np.concatenate(part) for part in zip(*folds, strict=True))
        values.append(evaluate_masks(truth, predicted, class_names=NAMES, resamples=2).metrics["dice"].value)
    model = next(model for model in compared.models if model.name == "unet")
    assert model.metrics["dice"].value == pytest.approx(np.mean(values))
    assert str(compared.example.basis) == "12 patients (24 images)"
    # A second repeat that predicts the same as the first one adds nothing.
    once, twice = (write_folds(tmp_path / f"{count}", "unet", repeats=count) for count in (1, 2))
    for path in twice.glob("repeat-1/*/predictions.csv"):
        (twice / "repeat-2" / path.parent.name / path.name).write_bytes(path.read_bytes())
        metrics = path.with_name("metrics.json")
        (twice / "repeat-2" / path.parent.name / metrics.name).write_bytes(metrics.read_bytes())
    one, other = (compare(load_cross_validations([folder])).models[0].metrics["dice"] for folder in (once, twice))
    assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))


def test_the_comparison_of_masks_is_written_and_printed(compared, tmp_path):
    console = Console(width=200, record=True, file=io.StringIO())
    write_comparison(compared, tmp_path / "out", Console(quiet=True))
    print_comparison(compared, console)
    page = (tmp_path / "out" / "comparison.html").read_text()
    for shown in (page, console.export_text()):
        assert "Which of these ways to train gives the better networks" in shown
        assert "Dice" in shown
    assert {path.stem for path in (tmp_path / "out" / "plots").iterdir()} == {"metrics", "dice", "folds"}
    assert (tmp_path / "out" / "fold_pairs.csv").exists()


def test_masks_of_other_images_are_refused(tmp_path):
    folders = [write_folds(tmp_path / model, model) for model in WRONG]
    path = folders[1] / "repeat-1" / "fold-2" / "predictions.csv"
    pd.read_csv(path).replace({"file": {"1-3": "1-9"}}).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"Runs to compare must have the same images and masks\..* 1-3 as sample"):
        load_cross_validations(folders)
