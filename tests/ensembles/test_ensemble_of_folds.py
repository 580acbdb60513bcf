"""The ensemble of the folds of own images, on the test split that the folds have left untouched."""

import csv

import numpy as np
import pytest
import trial_models  # noqa: F401  registers the quick network
from recorded_samples import PATIENTS, draw_images, table_config, write_rows

from keras_lnn.cli.main import main
from keras_lnn.ensembles.writing import make_ensemble
from keras_lnn.errors import InputError
from keras_lnn.saved.ensembles import ON_FOLDS
from keras_lnn.saved.signature import read_samples
from keras_lnn.trained.evaluate import evaluate_model
from keras_lnn.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_models")]
COUNT = 4 * PATIENTS


def draw(root, with_test):
    """A table in which the images of every fourth patient are the test split, if there is one."""
    draw_images(root / "images", COUNT)
    rows = [(f"{n:03}.png", ("benign", "malignant")[n % 2], f"P{n // 2 % PATIENTS}") for n in range(COUNT)]
    if with_test:
        rows = [(*row, "test" if int(row[2][1:]) % 4 == 0 else "train") for row in rows]
    write_rows(root / "labels.csv", rows, ("scan", "kind", "case_no", "part")[: len(rows[0])])
    return root / "labels.csv"


def train_folds(table, folder, **changes):
    for fold in ("1/3", "2/3", "3/3"):
        config = {"fold": fold, "epochs": 2, "export": "none", "split_seed": 0, **changes}
        train(table_config(table, folder / f"fold-{fold[0]}", **config))
    return folder


def test_folds_are_joined_and_tested_once_on_what_none_of_them_has_seen(tmp_path, capsys):
    table = draw(tmp_path / "data", with_test=True)
    runs = train_folds(table, tmp_path / "runs", split_column="part", augmentation="mirror")
    made = make_ensemble([runs], tmp_path / "joined")
    with open(table, newline="", encoding="utf-8") as stream:
        unseen = sum(row["part"] == "test" for row in csv.DictReader(stream))
    assert made.notes == ()
    assert made.gain.samples == f"{unseen} images"
    assert made.signature.ensemble.thresholds_on == ON_FOLDS
    assert made.signature.threshold_rule == "youden"
    mirrored = make_ensemble([runs], tmp_path / "mirrored", mirror=True)
    assert mirrored.notes == ()
    assert mirrored.signature.thresholds != made.signature.thresholds
    samples = read_samples(made.folder / "ensemble.keras")
    assert samples.counts() == {"train": COUNT - unseen, "val": 0, "test": unseen}
    measured = evaluate_model(made.folder, data=f"table:{table}", options=table_config(table, runs))
    assert measured["images"] == unseen
    assert measured["test"]["auc"]["value"] == pytest.approx(made.gain.ensemble.estimate.value)
    with pytest.raises(InputError, match="none is in the model's val split"):
        evaluate_model(made.folder, data=f"table:{table}", split="val", options=table_config(table, runs))
    image = str(tmp_path / "data" / "images" / "000.png")
    assert main(["predict", str(made.folder), image, "--output", str(tmp_path / "predicted.csv")]) == 0
    assert ON_FOLDS in capsys.readouterr().out
    assert main(["explain", str(made.folder), image, "--output", str(tmp_path / "explained")]) == 0
    assert list((tmp_path / "explained").glob("*.html"))


def test_folds_of_all_images_leave_nothing_to_measure(tmp_path):
    table = draw(tmp_path / "data", with_test=False)
    runs = train_folds(table, tmp_path / "runs")
    made = make_ensemble([runs], tmp_path / "joined")
    assert made.gain is None
    assert "each sample of these data has trained some of its members" in made.notes[-1]
    assert np.isfinite(made.signature.thresholds).all()
    with pytest.raises(InputError, match="none is in the model's test split"):
        evaluate_model(made.folder, data=f"table:{table}", options=table_config(table, runs))
