import hashlib
import re

import numpy as np
import pytest
from PIL import Image
from table_samples import warnings_of

from keras_lnn.data.decode import decoded_cache
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.folders import load_folder
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import file_digest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def write_images(folder, count, first=0, shape=(6, 5)):
    folder.mkdir(parents=True)
    for k in range(count):
        Image.fromarray(np.full(shape, (first + k) % 256, np.uint8)).save(folder / f"{first + k:03}.png")


def write_flat(root, classes=("benign", "malignant"), count=10):
    for index, name in enumerate(classes):
        write_images(root / name, count, first=100 * index)
    return root


def write_splits(root, splits=("train", "val", "test"), classes=("benign", "malignant"), count=10):
    for position, split in enumerate(splits):
        for index, name in enumerate(classes):
            write_images(root / split / name, count, first=100 * index + 20 * position)
    return root


def assert_consistent(data):
    """Names, pixels and labels of each sample belong together: the file 107.png is filled with 107."""
    for split in data.splits.values():
        assert split.labels.dtype == np.int64
        assert split.images.dtype == np.uint8
        for row, name in enumerate(split.names):
            *_, class_name, file = name.split("/")
            assert (split.images[row] == int(file[:3])).all()
            assert data.class_names[split.labels[row]] == class_name


def test_classes_without_splits_are_split_by_seed(tmp_path):
    root = write_flat(tmp_path / "scans")
    data = load_folder(root, Reading(size=4))
    assert data.name == f"folder:{root}"
    assert data.task == "binary"
    assert data.class_names == ("benign", "malignant")
    assert data.image_shape == (4, 4, 1)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 14, "val": 2, "test": 4}
    assert all(set(split.labels.tolist()) == {0, 1} for split in data.splits.values())
    names = [name for split in data.splits.values() for name in split.names]
    assert len(set(names)) == 20
    assert_consistent(data)
    assert load_folder(root, Reading(size=4)).splits["test"].names == data.splits["test"].names
    assert load_folder(root, Reading(size=4, seed=1)).splits["test"].names != data.splits["test"].names


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_given_splits_are_kept(tmp_path, val):
    root = write_splits(tmp_path / "scans", ("train", val, "test"), classes=("a", "b", "c"))
    data = load_folder(root)
    assert data.task == "multi-class"
    assert list(data.splits) == ["train", "val", "test"]
    for split, folder in zip(("train", "val", "test"), ("train", val, "test"), strict=True):
        assert len(data.splits[split]) == 30
        assert all(name.startswith(f"{folder}/") for name in data.splits[split].names)
    assert_consistent(data)
    assert data.image_shape == (64, 64, 1)


@pytest.mark.parametrize(("given", "missing", "count", "taken"), [("test", "val", 16, 2), ("val", "test", 18, 4)])
def test_a_missing_split_is_taken_from_the_training_images(tmp_path, given, missing, count, taken):
    data = load_folder(write_splits(tmp_path / "scans", ("train", given), count=count), Reading(size=2))
    assert np.bincount(data.splits[given].labels).tolist() == [count] * 2
    assert np.bincount(data.splits[missing].labels).tolist() == [taken] * 2
    assert np.bincount(data.splits["train"].labels).tolist() == [count - taken] * 2
    assert all(name.startswith("train/") for name in data.splits[missing].names)
    assert_consistent(data)


def test_training_and_testing_folders_may_hold_subfolders_and_clutter(tmp_path):
    root = write_splits(tmp_path / "scans", ("Training", "Testing"))
    write_images(root / "Training" / "benign" / "patient 7", 3, first=50)
    for clutter in (".DS_Store", "Training/Thumbs.db", "Training/benign/notes.txt", "Testing/._x.png", "README.png"):
        (root / clutter).write_bytes(b"clutter")
    (root / "__MACOSX").mkdir()
    (root / "Training" / ".cache").mkdir()
    data = load_folder(root, Reading(size=2))
    names = data.splits["train"].names + data.splits["val"].names
    assert len(names) == 23
    assert "Training/benign/patient 7/051.png" in names


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("10", "9", "1"), ("1", "9", "10")),
        (("grade10", "grade2", "grade1"), ("grade1", "grade2", "grade10")),
        (("b", "C", "a"), ("C", "a", "b")),
        (("2 late", "early", "1"), ("1", "2 late", "early")),
    ],
)
def test_classes_are_in_natural_order(tmp_path, folders, expected):
    assert load_folder(write_flat(tmp_path / "scans", folders, 3), Reading(size=1)).class_names == expected


def test_channels_follow_the_files_or_the_option(tmp_path):
    root = write_flat(tmp_path / "scans", count=4)
    assert load_folder(root, Reading(size=2)).image_shape == (2, 2, 1)
    assert load_folder(root, Reading(size=(3, 2), channels=3)).image_shape == (3, 2, 3)
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(root / "benign" / "900.png")
    assert load_folder(root, Reading(size=2)).image_shape == (2, 2, 3)
    assert load_folder(root, Reading(size=2, channels=1)).image_shape == (2, 2, 1)


def test_the_checksum_is_as_documented_and_detects_every_change(tmp_path):
    root = write_flat(tmp_path / "scans", count=4)
    files = sorted(root.rglob("*.png"), key=lambda file: file.relative_to(root).as_posix())
    lines = [f"{file.relative_to(root).as_posix()}\0{file.stat().st_size}\0{file_digest(file)}\n" for file in files]
    first = load_folder(root, Reading(size=2)).checksum
    assert first == f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"
    (root / "notes.txt").write_text("no image")
    assert load_folder(root, Reading(size=8, seed=5)).checksum == first
    files[0].rename(files[0].with_name("renamed.png"))
    renamed = load_folder(root, Reading(size=2)).checksum
    files[1].write_bytes(files[2].read_bytes())
    assert len({first, renamed, load_folder(root, Reading(size=2)).checksum}) == 3


def test_all_seeds_share_the_decoded_images(tmp_path, monkeypatch):
    root = write_flat(tmp_path / "scans", count=10)
    first = load_folder(root, Reading(size=4, seed=3))
    (cached,) = (tmp_path / "cache").rglob("images.npy")
    assert np.load(cached).shape == (20, 4, 4, 1)

    def refuse(*_, **__):
        raise AssertionError("decoded a second time")

    with monkeypatch.context() as patched:
        patched.setattr(decoded_cache, "decode_to_file", refuse)
        again = load_folder(root, Reading(size=4, seed=8))
        assert_consistent(again)
        assert again.checksum == first.checksum
        with pytest.raises(AssertionError, match="second time"):
            load_folder(root, Reading(size=5))
    (root / "benign" / "000.png").write_bytes((root / "benign" / "001.png").read_bytes())
    changed = load_folder(root, Reading(size=4))
    assert changed.checksum != again.checksum
    split = next(split for split in changed.splits.values() if "benign/000.png" in split.names)
    assert (split.images[split.names.index("benign/000.png")] == 1).all()


def test_duplicates_across_splits_are_counted_and_named(tmp_path):
    root = write_splits(tmp_path / "scans")
    (root / "test" / "benign" / "copy.png").write_bytes((root / "train" / "benign" / "003.png").read_bytes())
    check = load_folder(root, Reading(size=4)).check
    assert check.counts["test"] == {"benign": 11, "malignant": 10}
    (warning,) = check.warnings
    assert "train/benign/003.png (train) = test/benign/copy.png (test)" in warning
    assert warnings_of(load_folder(write_splits(tmp_path / "clean"), Reading(size=4))) == ()


def test_16_bit_images_that_appear_black_are_reported(tmp_path):
    root = write_flat(tmp_path / "scans")
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        Image.fromarray(np.full((6, 5), 100 * number, np.uint16)).save(file)
    (warning,) = warnings_of(load_folder(root, Reading(size=4)))
    assert "brightest value of all 16-bit files is 1900" in warning
    assert warnings_of(load_folder(root, Reading(own=OwnImages(window=(950, 1900)), size=4))) == ()


def test_bad_files_may_be_left_out(tmp_path):
    root = write_splits(tmp_path / "scans")
    (root / "train" / "benign" / "003.png").write_bytes(b"no image")
    data = load_folder(root, Reading(own=OwnImages(skip_bad=True), size=4))
    assert len(data.splits["train"]) == 19
    assert warnings_of(data) == ("left out 1 of 60 files: train/benign/003.png (not an image)",)
    assert_consistent(data)


def test_progress_reaches_one(tmp_path):
    fractions = []
    load_folder(write_flat(tmp_path / "scans", count=30), Reading(size=2, progress=fractions.append))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def remove(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def lose_train(root):
    for name in ("benign", "malignant"):
        remove(root / "train" / name)
    (root / "train").rmdir()


FAULTS = {
    "missing": (lambda root: root.rename(root.with_name("elsewhere")), "must exist.*scans"),
    "no train": (lose_train, "must be a train folder.*only test, val"),
    "one class": (
        lambda root: [remove(root / split / "malignant") for split in ("train", "val", "test")],
        "at least 2 class folders.*only benign",
    ),
    "empty class": (lambda root: (root / "train" / "healthy").mkdir(), "must have images.*none in healthy of .*train"),
    "empty class in test": (
        lambda root: [file.unlink() for file in (root / "test" / "benign").iterdir()],
        "must have images.*none in benign of .*test",
    ),
    "class only in test": (
        lambda root: write_images(root / "test" / "healthy", 1),
        "Every class of test must be in train.*healthy in test only",
    ),
    "class not in val": (lambda root: remove(root / "val" / "benign"), "must have images in val.*none of benign"),
    "loose image": (
        lambda root: Image.new("L", (2, 2)).save(root / "train" / "loose.png"),
        "in the folder of its class.*1 directly in .*train, such as loose.png",
    ),
    "no classes": (
        lambda root: [remove(root / "val" / name) for name in ("benign", "malignant")],
        "one folder per class.*no folders in .*val",
    ),
    "two val folders": (lambda root: write_images(root / "valid" / "benign", 1), "one val folder.*val and valid"),
    "truncated": (
        lambda root: (root / "val" / "benign" / "020.png").write_bytes(
            (root / "val" / "benign" / "020.png").read_bytes()[:50]
        ),
        r"must be readable.*020\.png \(truncated\)",
    ),
    "dangling link": (
        lambda root: (root / "val" / "benign" / "link.png").symlink_to(root / "nowhere.png"),
        r"must be readable.*link\.png \(missing\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_reported_in_one_line(tmp_path, fault):
    root = write_splits(tmp_path / "scans", count=2)
    damage, message = FAULTS[fault]
    damage(root)
    with pytest.raises(InputError) as caught:
        load_folder(root, Reading(size=4))
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "scans.zip").touch()
    with pytest.raises(InputError, match=r"scans\.zip, which is a file"):
        load_folder(tmp_path / "scans.zip")


def test_too_few_images_name_their_class(tmp_path):
    root = write_flat(tmp_path / "scans")
    write_images(root / "rare", 2)
    with pytest.raises(InputError, match=r"too few of rare \(2\)"):
        load_folder(root, Reading(size=4))
