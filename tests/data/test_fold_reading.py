"""The field fold on data of every kind: what is tested, what stays out, and that a run finds its fold again."""

import dataclasses
import sys

import numpy as np
import pytest
from table_samples import sizes, write_classes
from tiny_series import make_series_data

from keras_lnn.data import load_data, register_arrays
from keras_lnn.data.folds import take_fold
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes a table of 40 images of 20 patients, of which the last ten images are the test split."""
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))

    def more(k):
        return f"p{k // 4 * 2 + k % 2}", "test" if k >= 32 else "val" if k >= 28 else "train"

    return write_classes(tmp_path, 40, ("file", "label", "patient", "split"), more)


def read(table, fold, **fields):
    own = OwnImages(image_dir=table.parent / "images")
    return load_data(f"table:{table}", Reading(own=own, size=2, fold=fold), **fields)


def test_own_images_are_tested_once_without_their_test_split_and_by_patient(table):
    runs = [read(table, f"{number}/4") for number in range(1, 5)]
    tested = [name for run in runs for name in run.splits["test"].names]
    assert sorted(tested) == [f"{k:03}.png" for k in range(32)]
    for run in runs:
        patients = [set(part.groups) for part in run.splits.values()]
        assert sum(map(len, patients)) == 16
        assert len(set.union(*patients)) == 16
        # The report counts the images of the fold, and says what is not in it.
        assert run.check.describe_splits()["test"]["images"] == len(run.splits["test"])
        assert "the 8 samples of the test split are left out of the folds" in run.check.notes
        assert run.given_splits == ("train", "val", "test")


def test_a_run_finds_the_images_of_its_fold_again(table):
    first = read(table, "2/4", seed=3)
    again = read(table, "2/4", seed=99, plan=SampleRecord.of(first))
    assert sizes(again) == sizes(first)
    assert again.checksum == first.checksum
    for name, part in first.splits.items():
        assert list(again.splits[name].names) == list(part.names)
    whole = read(table, "2/4", plan="whole")
    assert len(whole.splits["all"]) == 32


def test_too_few_patients_are_reported_before_any_image_is_read(table):
    (table.parent / "images" / "003.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"9 folds need at least 9 patients of each class. .* benign \(8\)"):
        read(table, "1/9")


def test_a_set_of_the_catalog_is_pooled_without_its_test_split(tiny_data):
    plain = load_data(tiny_data)
    runs = [load_data(tiny_data, fold=f"{number}/5", seed=1).splits for number in range(1, 6)]
    assert [len(run["test"]) for run in runs] == [16] * 5
    named = {
        f"{name} {place}": image for name in ("train", "val") for place, image in enumerate(plain.splits[name].images)
    }
    for run in runs:
        for name, image in zip(run["test"].names, run["test"].images[:], strict=True):
            assert np.array_equal(image, named.pop(name))
    assert not named
    other = load_data(tiny_data, fold="1/5", seed=2).splits["test"].names
    assert set(other) != set(runs[0]["test"].names)


def test_the_seed_of_arrays_without_splits_does_not_rename_their_images(monkeypatch):
    monkeypatch.setattr("keras_lnn.data.sources.own_arrays._REGISTERED", {})
    monkeypatch.setattr(sys.modules["keras_lnn.data.catalog"], "_REGISTERED", {})

    images = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    name = register_arrays("numbered", images, np.arange(60) % 2)
    known = {}
    for seed in (0, 5):
        for part in load_data(name, fold="2/3", seed=seed).splits.values():
            for label, image in zip(part.names, part.images[:], strict=True):
                assert known.setdefault(label, image.max()) == image.max()
    assert len(known) == 60


def test_series_are_pooled_with_their_times():
    data = make_series_data()
    runs = [take_fold(dataclasses.replace(data, given_splits=()), f"{number}/3", 0) for number in (1, 2, 3)]
    assert all(run.image_shape == data.image_shape for run in runs)
    tested = sum(float(np.nansum(run.splits["test"].series.times())) for run in runs)
    assert tested == pytest.approx(sum(float(np.nansum(part.series.times())) for part in data.splits.values()))
