"""Choice of the images that are evaluated: samples of the run are recognised by content, whatever their names."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, register_tiny_data
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_samples import COLUMNS, SIDE, draw_images, draw_table, read_rows, write_rows

from keras_lnn.data import load_data
from keras_lnn.data.options import OwnImages
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.saved.signature import Signature
from keras_lnn.trained.samples import LEARNED_DATA, OTHER_DATA, LearnedData, choose_samples


def signature_of(data, **changes):
    known = {"model": "cnn", "model_args": {}, "size": None, "licence": "", "parameters": 1, "seed": 0}
    known |= {"best_epoch": 1, "trained_by": "test", "task": data.task, "class_names": data.class_names}
    known |= {"image_shape": data.image_shape, "data": data.name, "checksum": data.checksum}
    return Signature(**known | changes)


def load_table(table, images=None, plan="seeded"):
    own = OwnImages(image_dir=images or table.parent / "images", **COLUMNS)
    return load_data(f"table:{table}", size=SIDE, own=own, plan=plan)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A table with what a run on it would have recorded."""
    place = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KERAS_LNN_CACHE", str(place / "cache"))
        data = load_table(draw_table(place))
        images = {name: split.images[np.arange(len(split))] for name, split in data.splits.items()}
    return place / "labels.csv", data, images


@settings(deadline=None, max_examples=25)
@given(chance=st.randoms(use_true_random=False), renamed=st.booleans(), is_exported=st.booleans())
def test_moved_renamed_and_shuffled_images_are_recognised(learned, chance, renamed, is_exported):
    table, data, images = learned
    record = SampleRecord.of(data)
    if is_exported:
        record = SampleRecord.from_json(record.to_json())
    with tempfile.TemporaryDirectory() as folder:
        rows = read_rows(table)
        chance.shuffle(rows)
        numbers = chance.sample(range(1000), len(rows))
        names = {
            name: f"scan {number}.png" if renamed else name for (name, *_), number in zip(rows, numbers, strict=True)
        }
        (Path(folder) / "elsewhere").mkdir()
        for name, new in names.items():
            shutil.copyfile(table.parent / "images" / name, Path(folder) / "elsewhere" / new)
        write_rows(Path(folder) / "sorted.csv", [(names[name], *rest) for name, *rest in rows])
        loaded = load_table(Path(folder) / "sorted.csv", Path(folder) / "elsewhere", "whole")
        known = LearnedData(signature_of(data), None, record)
        for split, expected in data.splits.items():
            chosen = choose_samples(known, loaded, loaded.name, split)
            (part,) = chosen.parts
            assert (chosen.data_is, chosen.new, chosen.missing) == (LEARNED_DATA, 0, 0)
            np.testing.assert_array_equal(part.labels, expected.labels)
            np.testing.assert_array_equal(part.images[np.arange(len(part))], images[split])
            assert chosen.warnings == ()
            if not is_exported or not renamed:
                assert part.groups == expected.groups
            if not renamed and not is_exported:
                assert part.names == expected.names


def test_data_without_files_are_recognised_by_checksum():
    data = load_data(register_tiny_data())
    known = LearnedData(signature_of(data), None, None)
    same = dataclasses.replace(data, name="again")
    for split, images in ((None, 30), ("val", 20), ("all", 30)):
        chosen = choose_samples(known, same, "again", split)
        assert (chosen.data_is, len(chosen.joined())) == (LEARNED_DATA, images)
        assert (chosen.left_out, chosen.warnings) == (80 if split == "all" else 0, ())
    changed = dataclasses.replace(known, signature=signature_of(data, checksum="md5:other"))
    assert "has changed since the model was trained" in choose_samples(changed, data, TINY, None).warnings[0]
    other = choose_samples(changed, same, "again", None)
    assert (other.data_is, other.split, other.warnings) == (OTHER_DATA, "all", ())
    assert [len(part) for part in other.parts] == [60, 20, 30]
    np.testing.assert_array_equal(
        other.joined().labels, np.concatenate([split.labels for split in same.splits.values()])
    )
    assert len(choose_samples(changed, same, "again", "test").joined()) == 30
    made = dataclasses.replace(same, given_splits=("train",))
    with pytest.raises(InputError, match=r"test of .* has only train of its own\. Choose --split all"):
        choose_samples(changed, made, "again", "test")


def test_new_images_of_patients_in_the_training_are_reported(learned, tmp_path):
    table, data, _ = learned
    known = LearnedData(signature_of(data), None, SampleRecord.of(data))
    shutil.copytree(table.parent / "images", tmp_path / "images")
    draw_images(tmp_path / "new", 2, seed=8)
    for number, name in enumerate(("new a.png", "new b.png")):
        (tmp_path / "new" / f"{number:03}.png").rename(tmp_path / "images" / name)
    patient = data.splits["train"].groups[0]
    rows = [*read_rows(table), ("new a.png", "benign", patient), ("new b.png", "malignant", "P new")]
    write_rows(tmp_path / "labels.csv", rows)
    chosen = choose_samples(known, load_table(tmp_path / "labels.csv", plan="whole"), "table:x", "all")
    assert {"new a.png", "new b.png"} <= set(chosen.joined().names)
    (warning,) = chosen.warnings
    assert warning.startswith(f"1 of {len(chosen.joined())} images show patients with other images in")


def test_a_split_without_remaining_images_is_refused_in_one_line(learned, tmp_path):
    table, data, _ = learned
    record = SampleRecord.of(data)
    known = LearnedData(signature_of(data), None, record)
    trained = set(data.splits["train"].names)
    write_rows(tmp_path / "some.csv", [row for row in read_rows(table) if row[0] in trained])
    loaded = load_table(tmp_path / "some.csv", table.parent / "images", "whole")
    for split in ("test", "all", None):
        with pytest.raises(InputError, match=r"none is in the model's (test|all) split|There must be images") as caught:
            choose_samples(known, loaded, loaded.name, split)
        assert "\n" not in str(caught.value)


def test_the_columns_of_the_run_are_used_in_other_tables(tmp_path, learned):
    table, data, _ = learned
    own = signature_of(data, own=OwnImages(**COLUMNS, fit="pad", window=(1.0, 2.0), skip_bad=True))
    known = LearnedData(own, None, None)
    write_rows(tmp_path / "other.csv", [("a.png", "x", "P")], ("SCAN", "label", "case"))
    same = known.reading(f"table:{table}", DataOptions(image_dir="here")).own
    assert same == OwnImages(Path("here"), **COLUMNS, fit="pad", window=(1.0, 2.0), skip_bad=True)
    options = DataOptions(group_column="case", window="3,4", skip_bad=False)
    other = known.reading(f"table:{tmp_path / 'other.csv'}", options).own
    assert other == OwnImages(None, "scan", None, None, "case", "pad", (3.0, 4.0), False)
    assert known.reading("folder:somewhere", DataOptions()).own == OwnImages(
        fit="pad", window=(1.0, 2.0), skip_bad=True
    )
