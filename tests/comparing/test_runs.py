"""Finding and reading runs: what is loaded, what is refused, and with which message."""

import json

import numpy as np
import pandas as pd
import pytest
from run_samples import BLOOD, BREAST, CHEST, binary_probabilities, class_probabilities, make_truth, write_run

from keras_lnn.comparing import load_runs
from keras_lnn.errors import InputError

TRUTH = make_truth()


def write(path, seed=0, truth=TRUTH, **options):
    return write_run(path, truth, binary_probabilities(truth, 1.0, seed), seed=seed, **options)


def test_runs_are_found_at_any_depth_once_and_hidden_or_unfinished_ones_are_not(tmp_path):
    write(tmp_path / "study" / "breastmnist" / "lnn" / "seed-0")
    write(tmp_path / "study" / "breastmnist" / "lnn" / "seed-1", 1)
    write(tmp_path / "study" / ".seed-2.partial" / "seed-2", 2)
    (write(tmp_path / "study" / "unfinished", 3) / "metrics.json").unlink()
    runs = load_runs([tmp_path / "study", tmp_path / "study" / "breastmnist" / "lnn" / "seed-1"])
    assert [run.path.name for run in runs] == ["seed-0", "seed-1"]


def test_a_run_is_loaded_with_all_its_fields(tmp_path):
    probabilities = binary_probabilities(TRUTH, 1.0, 5)
    path = write_run(tmp_path / "run", TRUTH, probabilities, seed=5, parameters=77, model_args={"units": 25})
    (run,) = load_runs([path])
    metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(run.truth, TRUTH)
    np.testing.assert_array_equal(run.probabilities, probabilities)
    assert (run.task, run.class_names, run.split, run.samples) == ("binary", BREAST, "test", 156)
    assert (run.parameters, run.seconds, run.epochs, run.file_bytes) == (77, 12.5, 3, 77)
    assert run.validation_auc == metrics["val"]["auc"]["value"]
    assert run.config.model_args == {"units": 25}
    assert run.positive.sum(axis=0).tolist() == [42, 114]
    assert not run.collapsed
    (validation,) = load_runs([path], split="val")
    np.testing.assert_array_equal(validation.truth, TRUTH[:78])


def test_several_classes_and_labels(tmp_path):
    truth = np.arange(60) % 3
    write_run(tmp_path / "blood", truth, class_probabilities(truth, 3, 1.0, 0), class_names=BLOOD, task="multi-class")
    labels = (np.random.default_rng(0).random((60, 4)) < 0.4).astype(np.uint8)
    thresholds = (0.2, 0.3, 0.4, 0.5)
    about = {"class_names": CHEST, "task": "multi-label", "thresholds": thresholds, "data": "chestmnist"}
    write_run(tmp_path / "chest", labels, np.full((60, 4), 0.3), **about)
    (blood,), (chest,) = load_runs([tmp_path / "blood"]), load_runs([tmp_path / "chest"])
    assert (blood.task, blood.thresholds) == ("multi-class", None)
    assert (chest.task, chest.thresholds, chest.truth.shape) == ("multi-label", thresholds, (60, 4))
    assert chest.collapsed


def test_file_and_class_names_may_hold_any_character(tmp_path):
    names = [f'a, "b" {index}.png' for index in range(156)]
    write(tmp_path / "run", names=names)
    (run,) = load_runs([tmp_path / "run"])
    assert run.files == tuple(names)


def refuse(message, *paths, **options):
    with pytest.raises(InputError, match=message) as caught:
        load_runs(paths, **options)
    assert "\n" not in str(caught.value)


def test_folders_without_complete_runs_are_refused(tmp_path):
    refuse("which is not a folder", tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    refuse("with none. Train some with train.py", tmp_path / "empty")
    (write(tmp_path / "unfinished" / "run") / "predictions.csv").unlink()
    refuse("1 without metrics.json or predictions.csv. Continue them", tmp_path / "unfinished")
    refuse("Received: no path")
    refuse("split must be test or val. Received: train", tmp_path, split="train")


def test_runs_without_a_test_split_are_refused(tmp_path):
    write(tmp_path / "run", test=False)
    refuse("has no test split .* Compare with --split val", tmp_path)
    assert len(load_runs([tmp_path], split="val")) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checksum": "sha256:b"}, r"breastmnist \(sha256:a\).*breastmnist \(sha256:b\). Name folders of one data set"),
        ({"truth": TRUTH[:100]}, "156 test samples of breastmnist.*100 test samples"),
        ({"truth": np.roll(TRUTH, 1)}, "156 labels of breastmnist, .* others"),
        ({"class_names": ("no", "yes")}, "binary: malignant, normal, benign.*binary: no, yes"),
        ({"names": [f"{index}.jpg" for index in range(156)]}, "0.png as sample 0.*0.jpg"),
    ],
)
def test_runs_with_different_samples_are_refused(tmp_path, change, message):
    write(tmp_path / "a", names=[f"{index}.png" for index in range(156)])
    write(tmp_path / "b", **{"seed": 1, **change})
    refuse("Runs to compare must have the same test samples. Received: .*a with .*b with .*", tmp_path)
    refuse(message, tmp_path)


def test_runs_with_different_splits_of_own_images_name_the_remedy(tmp_path):
    write(tmp_path / "a", data="folder:mine")
    write(tmp_path / "b", 1, truth=np.roll(TRUTH, 1), data="folder:mine")
    refuse("trained with the same --split-seed", tmp_path)


def test_checksums_count_among_images_of_one_size(tmp_path):
    write(tmp_path / "a", size=28)
    write(tmp_path / "b", size=64, checksum="sha256:b")
    assert len(load_runs([tmp_path])) == 2


def drop_row(table):
    return table.drop(index=100)


def drop_last_rows(table):
    return table[:-3]


def drop_column(table):
    return table.drop(columns="probability malignant")


def put(column, value):
    def change(table):
        table = table.astype({column: object})
        table.loc[120, column] = value
        return table

    return change


def swap_answers(table):
    names = [f"probability {name}" for name in BREAST]
    table[names] = table[names[::-1]].to_numpy()
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_row, "rows of test are not 0, 1, 2"),
        (drop_last_rows, "rows are missing or altered"),
        (drop_column, "probability malignant"),
        (put("probability malignant", "abc"), "could not convert string to float: 'abc'"),
        (put("probability malignant", 1.5), "must lie between 0 and 1"),
        (put("probability malignant", float("nan")), "must be finite"),
        (put("truth", 2), "truth must lie between 0 and 1"),
        (put("truth", 0.5), "truth is not whole numbers"),
        (swap_answers, "rows are missing or altered"),
    ],
)
def test_mangled_predictions_are_refused(tmp_path, change, message):
    path = write(tmp_path / "run") / "predictions.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)
    refuse(f"predictions.csv must .*{message}", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2,3\n4", b"split,index\ntest,0\n"])
def test_unreadable_prediction_files_are_refused(tmp_path, content):
    (write(tmp_path / "run") / "predictions.csv").write_bytes(content)
    refuse("predictions.csv must be as the run wrote it", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda metrics: metrics.pop("parameters"), "no column or key parameters"),
        (lambda metrics: metrics.pop("per_class"), "no column or key per_class"),
        (lambda metrics: metrics.update(seconds="long"), "could not convert"),
        (lambda metrics: metrics.update(test=3), "metrics.json must contain its metrics"),
    ],
)
def test_damaged_metrics_are_refused(tmp_path, change, message):
    path = write(tmp_path / "run") / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    change(metrics)
    path.write_text(json.dumps(metrics), encoding="utf-8")
    refuse(message, tmp_path)
    path.write_text("{", encoding="utf-8")
    refuse("metrics.json must be undamaged", tmp_path)


def test_a_foreign_configuration_is_refused(tmp_path):
    path = write(tmp_path / "run") / "config.yaml"
    path.write_text("modle: lnn\n", encoding="utf-8")
    refuse("There is no field 'modle'. Did you mean model", tmp_path)
