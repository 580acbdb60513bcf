"""Series of which each image has a label: what the samples are, their splits, and what has no influence on them."""

import numpy as np
import pytest
from dicom_samples import write_dicom
from series_samples import HEADER, list_rows, load, times_of, write_series
from table_samples import warnings_of, write_table

from keras_lnn.data import load_data
from keras_lnn.data.decode.file_frames import FileFrame
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SampleRecord
from keras_lnn.data.sources.own_frames import FileRows, SeriesFiles
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.saved.signature import Signature
from keras_lnn.trained.samples import LearnedData


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def label_by_image(rows):
    """Labels every second image b, and leaves the first label of the series s0 out."""
    for row in rows:
        row[3] = "ab"[int(row[1].partition("_")[2][0]) % 2]
    rows[0][3] = ""


def load_images(path, **options):
    return load(path, label_of="image", **options)


def samples_of(data):
    """Split, row, label and group of each sample by its name."""
    return {
        name: (split, row, int(part.labels[row]), part.groups[row])
        for split, part in data.splits.items()
        for row, name in enumerate(part.names)
    }


def digests_of(data):
    return {
        name: digest for part in data.splits.values() for name, digest in zip(part.names, part.digests, strict=True)
    }


def test_a_sample_is_a_series_up_to_an_image_with_the_label_of_that_image(tmp_path):
    data = load_images(write_series(tmp_path, change=label_by_image))
    found, times = samples_of(data), times_of(data)
    assert set(found) == {f"s{n}#{k + 1}" for n in range(24) for k in range(3 + n % 3)} - {"s0#1"}
    assert data.image_shape == (5, 8, 8, 1)
    for name, (split, row, label, group) in found.items():
        number, last = (int(part) for part in name[1:].split("#"))
        assert label == (last - 1) % 2
        assert group == f"p{number // 2}"
        assert times[name] == [1.5 * k for k in range(last)]
        left = data.splits[split].images[row][:, 0, 0, 0].tolist()
        assert left == [number * 5 + min(k, last - 1) for k in range(5)]
    assert "95 images of 24 series, each with its label" in data.check.notes
    assert warnings_of(data) == ()


def test_samples_share_their_frames_and_each_is_decoded_once(tmp_path):
    data = load_images(write_series(tmp_path, change=label_by_image))
    assert all(part.images.frames.images.shape[0] == 96 for part in data.splits.values())


def test_a_series_whose_patient_is_not_known_is_a_group(tmp_path):
    header = (*HEADER[:4], "centre")
    data = load_images(write_series(tmp_path, header=header, change=label_by_image))
    splits = {}
    for name, (split, _, _, group) in samples_of(data).items():
        assert group == name.partition("#")[0]
        splits.setdefault(group, set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert any(warning.startswith("it is not known which series show") for warning in data.check.warnings)
    names = data.splits["test"].names
    assert names == sorted(names, key=lambda name: (name.partition("#")[0], int(name.partition("#")[2])))


def test_later_images_and_their_times_have_no_influence_on_a_sample(tmp_path):
    rows = list_rows()
    label_by_image(rows)
    after = load_images(write_series(tmp_path, [*rows, ["s1", "30_0.png", "50", "a", "p0"]]), max_steps=3)
    before = load_images(write_table(tmp_path / "before.csv", HEADER, rows), max_steps=3)
    old, new = digests_of(before), digests_of(after)
    assert new == old | {"s1#5": new["s1#5"]}
    assert (times_of(after)["s1#4"], times_of(after)["s1#5"]) == ([0, 1.5, 4.5], [0, 4.5, 50])


def test_a_long_sample_is_thinned_from_its_own_beginning(tmp_path):
    data = load_images(write_series(tmp_path, change=label_by_image), max_steps=3)
    times = times_of(data)
    assert [times[f"s2#{k}"] for k in range(1, 6)] == [[0], [0, 1.5], [0, 1.5, 3], [0, 1.5, 4.5], [0, 3, 6]]
    split, row, *_ = samples_of(data)["s2#4"]
    assert data.splits[split].images[row][:, 0, 0, 0].tolist() == [10, 11, 13]


def test_samples_are_found_again_by_their_record(tmp_path):
    table = write_series(tmp_path, change=label_by_image)
    first = load_images(table)
    digests = digests_of(first)
    assert len(set(digests.values())) == len(digests)
    again = load_images(table, plan=SampleRecord.of(first))
    assert [part.names for part in again.splits.values()] == [part.names for part in first.splits.values()]
    assert again.checksum == first.checksum != load(table).checksum


def test_an_unreadable_image_is_no_sample_and_no_frame(tmp_path):
    table = write_series(tmp_path, change=label_by_image)
    (tmp_path / "1_1.png").write_bytes(b"no image")
    data = load_images(table, skip_bad=True)
    times = times_of(data)
    assert {name: times[name] for name in times if name.startswith("s1#")} == {
        "s1#1": [0],
        "s1#3": [0, 3],
        "s1#4": [0, 3, 4.5],
    }
    assert "left out 1 of 96 files: s1: 1_1.png (not an image)" in data.check.warnings


def test_an_image_in_series_of_two_splits_is_reported_once(tmp_path):
    rows = [[*row, ("train", "val", "test")[int(row[4][1:]) % 3]] for row in list_rows()]
    table = write_series(tmp_path, rows, (*HEADER, "split"), change=label_by_image)
    (tmp_path / "2_1.png").write_bytes((tmp_path / "0_1.png").read_bytes())
    (warning,) = [text for text in load_images(table, side=16).check.warnings if "~" in text]
    assert warning.endswith("s0#2 (train) ~ s2#2 (val)")


def test_a_window_that_later_images_have_an_influence_on_is_reported(tmp_path):
    pytest.importorskip("pydicom")
    for name in "ab":
        (tmp_path / "cines" / name).mkdir(parents=True)
        for k in range(6):
            frames = np.arange(12 * 3, dtype=np.uint16).reshape(3, 3, 4) + 10 * k
            write_dicom(tmp_path / "cines" / name / f"{k}.dcm", frames, FrameTime="40", PatientID=f"{name}{k}")
    data = load_images(tmp_path / "cines")
    assert any(text.startswith("the images of a series share a window, on which later") for text in warnings_of(data))
    found = samples_of(data)
    assert {name for name in found if name.startswith("a/0")} == {"a/0.dcm#1", "a/0.dcm#2", "a/0.dcm#3"}
    groups = {}
    for name, (*_, group) in found.items():
        groups.setdefault(name.partition("#")[0], set()).add(group)
    assert len(set.union(*groups.values())) == len(groups) == 12
    assert any("PatientID in 12 of 12 files" in note for note in data.check.notes)
    fixed = load_images(tmp_path / "cines", window=(50.0, 100.0))
    assert not any("share a window" in text for text in fixed.check.warnings)


def test_files_and_samples_stay_together_when_some_files_are_left_out():
    def sample(series, seen):
        frames = tuple(FileFrame(f"{series}{k}") for k in range(3))
        return SeriesFiles(series, frames, np.arange(3.0), None if seen is None else np.array(seen))

    rows = FileRows.of([sample("a", [0]), sample("a", [0, 1]), sample("a", [0, 2]), sample("b", [0, 1, 2])])
    assert [frame.path for frame in rows.files] == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert (rows.rows.tolist(), rows.lengths.tolist()) == ([0, 0, 1, 0, 2, 3, 4, 5], [1, 2, 2, 3])
    assert rows.pair_samples([(1, 3), (2, 4)]) == [(1, 3)]
    left, kept = rows.take([0, 2, 3, 5])
    assert kept.tolist() == [0, 2, 3]
    assert (left.rows.tolist(), left.lengths.tolist()) == ([0, 0, 1, 2, 3], [1, 2, 2])
    assert left.of_samples(np.array([1])).tolist() == [0, 1]
    alone, kept = rows.take([3, 4])
    assert (len(kept), alone.series) == (0, ("b",))
    whole, kept = FileRows.of([sample("a", None), sample("b", None)]).take([3, 4])
    assert (kept.tolist(), whole.series, whole.rows.tolist()) == ([1], ("b",), [0, 1])


def test_images_with_labels_are_refused_where_samples_are_no_own_series():
    reading = Reading(own=OwnImages(label_of="image"))
    for name in ("phantom-perfusion", "table:labels.csv"):
        with pytest.raises(InputError, match=f"--label-of image is for series of own images.*Received: {name}"):
            load_data(name, reading)


def test_a_model_of_images_with_labels_is_measured_on_other_data_as_they_are(tmp_path):
    signature = Signature(
        **{"model": "lnn-series", "model_args": {}, "task": "binary", "class_names": ("a", "b"), "size": 8},
        **{"image_shape": (4, 8, 8, 1), "data": "series:own", "checksum": "", "licence": "", "parameters": 1},
        **{"seed": 0, "best_epoch": 1, "trained_by": "test", "time_unit": "minutes", "median_interval": 1.5},
        own=OwnImages(label_of="image"),
    )
    assert Signature.from_json(signature.to_json()) == signature
    with pytest.raises(ValueError, match="label_of must be one of series, image"):
        Signature.from_json({**signature.to_json(), "label_of": "frame"})
    learned, own = LearnedData(signature, None, None), f"series:{write_series(tmp_path)}"
    assert learned.reading(own, DataOptions()).own.label_of == "image"
    assert learned.reading("phantom-perfusion", DataOptions()).own.label_of == "series"
    assert learned.reading(own, DataOptions(label_of="series")).own.label_of == "series"
