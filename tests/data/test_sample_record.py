"""The record of a run's samples: found again by content, whatever happens to names and order."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_samples import load as load_mask_folder
from mask_samples import write_manifest, write_pairs
from table_samples import load, write_classes, write_table

from keras_lnn.data.arrays import SPLITS
from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SampleRecord, label_digests
from keras_lnn.errors import InputError

CLASSES = ("benign", "malignant")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


@st.composite
def samples(draw):
    """Files of which some have the same content, with other labels or the same."""
    contents = draw(st.lists(st.integers(0, 12), min_size=1, max_size=20))
    labels = draw(st.lists(st.integers(0, 1), min_size=len(contents), max_size=len(contents)))
    splits = sorted(draw(st.lists(st.integers(0, 2), min_size=len(contents), max_size=len(contents))))
    digests = [f"{content:02}".rjust(16, "a").ljust(64, "b") for content in contents]
    return digests, np.array(labels, np.int64), [SPLITS[split] for split in splits]


def record_of(digests, labels, splits):
    names = [f'{row:02}, "a"\r\n.png' for row in range(len(digests))]
    return SampleRecord(splits, digests, label_digests(digests, labels, CLASSES), names)


def stored(record, form):
    """The record after it was written and read."""
    if form == "json":
        return SampleRecord.from_json(json.loads(json.dumps(record.to_json())))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "samples.csv")
        path.write_text(record.to_csv(), encoding="utf-8")
        return SampleRecord.read_csv(path)


@settings(deadline=None)
@given(samples=samples(), form=st.sampled_from(["csv", "json"]), renamed=st.booleans(), data=st.data())
def test_each_split_holds_the_same_contents_and_labels_after_any_shuffle(samples, form, renamed, data):
    digests, labels, splits = samples
    record = record_of(digests, labels, splits)
    order = data.draw(st.permutations(range(len(digests))))
    names = [f"new {row}" if renamed else record.names[row] for row in order]
    found = stored(record, form).find([digests[row] for row in order], names, labels[order], CLASSES)
    for split in SPLITS:
        rows = found.rows(split)
        expected = [row for row, of_split in enumerate(splits) if of_split == split]
        assert [digests[order[row]] for row in rows] == [digests[row] for row in expected]
        assert [labels[order[row]] for row in rows] == [labels[row] for row in expected]
        if form == "csv" and not renamed:
            assert [order[row] for row in rows] == expected
    assert not found.missing()
    assert not found.is_relabelled.any()
    found.require_the_same("table:x")


def test_a_sample_record_is_restored_completely():
    digests = [letter * 64 for letter in "abc"]
    record = record_of(digests, np.array([0, 1, 0]), ["train", "val", "test"])
    assert stored(record, "csv") == record
    short = stored(record, "json")
    assert short.digests == ["a" * 16, "b" * 16, "c" * 16]
    assert (short.names, short.groups) == (None, None)
    assert list(short.knows([*digests, "d" * 64], ("train", "val"))) == [True, True, False, False]


def test_new_missing_and_relabelled_samples_are_distinguished():
    digests = [letter * 64 for letter in "abcd"]
    record = record_of(digests, np.array([0, 1, 0, 1]), ["train", "train", "val", "test"])
    # a is missing, b has another label, e is new, and of d there is a copy that was not there.
    loaded = [letter * 64 for letter in "bcdde"]
    found = record.find(loaded, ["1", "2", "3", "4", "5"], np.array([0, 0, 1, 1, 1]), CLASSES)
    assert list(found.places) == [1, 2, 3, -1, -1]
    assert list(found.is_relabelled) == [True, False, False, False, False]
    assert (found.missing(), found.missing("test")) == ([0], [])
    with pytest.raises(InputError, match=r"(?s)1 of 4 images are missing .* and 2 others were added") as caught:
        found.require_the_same("table:x")
    assert "table:x" in str(caught.value)


def test_recorded_labels_do_not_depend_on_the_order_of_classes():
    digests = ["a" * 64, "b" * 64]
    bits = np.array([[1, 1, 0], [0, 0, 0]], np.uint8)
    assert label_digests(digests, bits, "xyz") == label_digests(digests, bits[:, ::-1], "zyx")
    one, other = label_digests(["a" * 64, "b" * 64], np.array([1, 1]), CLASSES)
    assert one != other  # nobody without the file can look a label up


def splits_of(data):
    return {name: list(split.names) for name, split in data.splits.items()}


def test_the_row_order_of_a_table_does_not_change_its_splits(tmp_path):
    table = write_classes(tmp_path, 30, ("file", "label", "patient"), lambda k: (f"P{k // 2 * 7 % 15}",))
    table.write_text(table.read_text() + "./000.png,benign,P0\n")
    first = load(table, seed=3)
    header, *rows = table.read_text().splitlines()
    for order in (rows[::-1], sorted(rows, key=lambda row: row.split(",")[::-1])):
        table.write_text("\n".join([header, *order]))
        again = load(table, seed=3)
        assert splits_of(again) == splits_of(first)
        assert again.checksum == first.checksum


def test_a_table_without_patients_may_be_split_by_row_order(tmp_path):
    table = write_classes(tmp_path, 30)
    listed = load_as_listed(table)
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *rows[::-1]]))
    assert splits_of(load_as_listed(table)) != splits_of(listed)


def test_splits_by_patient_must_be_recorded(tmp_path):
    patients = ("file", "label", "patient")
    table = write_classes(tmp_path, 30, patients, lambda k: (f"P{k // 2}",))
    with pytest.raises(InputError, match=r"must be recorded in the run.* Begin a new run"):
        load_as_listed(table)
    given = write_classes(tmp_path, 30, (*patients, "split"), lambda k: (f"P{k}", ("train", "val", "test")[k // 10]))
    assert list(map(len, load_as_listed(given).splits.values())) == [10, 10, 10]


def load_as_listed(table, seed=3):
    from keras_lnn.data.options import OwnImages
    from keras_lnn.data.sources.tables import load_table

    return load_table(
        table, Reading(own=OwnImages(image_dir=table.parent / "images"), size=2, seed=seed, plan="as listed")
    )


def test_the_row_order_of_a_manifest_does_not_change_its_splits(tmp_path):
    write_pairs(tmp_path)
    manifest = write_manifest(tmp_path, patients=15)
    first, first_classes = load_mask_folder(tmp_path), load_mask_folder(tmp_path, classes=True)
    record = SampleRecord.of(first)
    header, *rows = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, *sorted(rows, key=lambda row: row.split(",")[1])]))
    again = load_mask_folder(tmp_path)
    assert splits_of(again) == splits_of(first)
    assert splits_of(load_mask_folder(tmp_path, classes=True)) == splits_of(first_classes)
    for name, split in first.splits.items():
        np.testing.assert_array_equal(again.splits[name].labels, split.labels)
    assert SampleRecord.of(again) == record
    whole = load_mask_folder(tmp_path, plan="whole")
    found = record.find(
        whole.splits["all"].digests, whole.splits["all"].names, whole.splits["all"].labels, whole.class_names
    )
    assert [whole.splits["all"].names[row] for row in found.rows("test")] == first.splits["test"].names
    assert not found.is_relabelled.any()
    padded = load_mask_folder(tmp_path, plan="whole", side=(20, 10), fit="pad").splits["all"]
    assert record.find(padded.digests, padded.names, padded.labels, whole.class_names).is_relabelled.any()


def test_data_may_be_loaded_whole_or_in_their_recorded_splits(tmp_path):
    from keras_lnn.data import load_data
    from keras_lnn.data.options import OwnImages

    rows = [(f"{k:03}.png", "ab"[k % 2], f"P{k}", "test" if k == 3 else "train") for k in range(4)]
    write_classes(tmp_path, 4)
    table = write_table(tmp_path / "few.csv", ("file", "label", "patient", "split"), rows[::-1])
    options = {"size": 8, "own": OwnImages(image_dir=tmp_path / "images")}
    with pytest.raises(InputError, match="Every class must have images in"):
        load_data(f"table:{table}", **options)
    whole = load_data(f"table:{table}", plan="whole", **options)
    assert splits_of(whole) == {
        "all": [f"{k:03}.png" for k in range(4)],
        "train": ["000.png", "001.png", "002.png"],
        "test": ["003.png"],
    }
    assert whole.given_splits == ("train", "test")
    every = whole.splits["all"]
    record = SampleRecord(
        ["train", "train", "val", "test"],
        [every.digests[row] for row in (2, 0, 1, 3)],
        label_digests(every.digests, every.labels, whole.class_names),
        ["x", "y", "z", "w"],
    )
    found = load_data(f"table:{table}", plan=record, **options)
    assert splits_of(found) == {"train": ["002.png", "000.png"], "val": ["001.png"], "test": ["003.png"]}
    assert load_data(f"table:{table}", plan="whole", channels=3, **options).image_shape == (8, 8, 3)
