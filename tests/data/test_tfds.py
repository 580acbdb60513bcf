import logging
import os
import re

import numpy as np
import pytest
from tfds_samples import define_builder, image_features, picture, prepare

from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.tfds import load_tfds
from keras_lnn.errors import InputError

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")


def generate_grey(split, count):
    first = {"train": 0, "test": 100, "validation": 150}[split]
    for number in range(first, first + count):
        yield number, {"picture": picture(number, (12, 10, 1)), "kind": number % 3, "remark": f"number {number}"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow datasets")
    prepare(define_builder("OnlyTrain", image_features((12, 10, 1)), {"train": 60}, generate_grey), folder)
    splits = {"train": 30, "test": 9}
    prepare(define_builder("TrainTest", image_features((12, 10, 1)), splits, generate_grey), folder)

    def generate_colour(split, count):
        for number in range(count):
            example = picture(number, (8 + number % 5, 6 + number % 4, 3))
            label = -1 if split == "test" else number % 2
            yield number, {"picture": example, "kind": label, "remark": ""}

    colour = image_features((None, None, 3), ("no", "yes"))
    splits = {"train": 20, "validation": 4, "test": 5}
    prepare(define_builder("HiddenTest", colour, splits, generate_colour), folder)

    text = tensorflow_datasets.features.FeaturesDict({"words": tensorflow_datasets.features.Text(), "count": np.int64})
    prepare(
        define_builder("OnlyText", text, {"train": 1}, lambda *_: iter([(0, {"words": "a", "count": 1})])),
        folder,
    )
    return folder


def assert_consistent(data, classes=3):
    for split in data.splits.values():
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert (split.images[:][:, -1, -1, 0] % classes == split.labels).all()
        assert (split.images[:][:, 0, 0] == 255).all()


def numbers(split):
    return sorted(split.images[:][:, -1, -1, 0].tolist())


def test_a_data_set_with_only_train_is_split_and_keeps_its_size(data_dir):
    fractions = []
    data = load_tfds("only_train", Reading(data_dir=data_dir, progress=fractions.append))
    assert data.name == "tfds:only_train"
    assert data.task == "multi-class"
    assert data.class_names == ("flat", "raised", "round")
    assert data.image_shape == (12, 10, 1)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 42, "val": 6, "test": 12}
    assert sorted(number for split in data.splits.values() for number in numbers(split)) == list(range(60))
    assert all(np.bincount(split.labels).tolist() == [len(split) // 3] * 3 for split in data.splits.values())
    assert_consistent(data)
    assert fractions[-1] == 1.0
    assert data.given_splits == ()
    names = {name for split in data.splits.values() for name in split.names}
    assert len(names) == 60
    assert all(name.startswith("only_train-train.tfrecord") for name in names)


def test_the_splits_depend_only_on_the_seed(data_dir):
    first, again, other = (load_tfds("only_train", Reading(data_dir=data_dir, seed=seed)) for seed in (4, 4, 5))
    for split in first.splits:
        assert np.array_equal(first.splits[split].images, again.splits[split].images)
        assert first.splits[split].names == again.splits[split].names
    assert numbers(first.splits["test"]) != numbers(other.splits["test"])
    assert first.checksum == again.checksum == other.checksum
    assert re.fullmatch(r"tfds:only_train/1\.2\.0:sha256:[0-9a-f]{64}", first.checksum)


def test_given_splits_are_kept_and_images_resized_on_request(data_dir):
    data = load_tfds("tfds:train_test:1.2.0", Reading(data_dir=data_dir, size=(24, 20)))
    assert data.image_shape == (24, 20, 1)
    assert numbers(data.splits["test"]) == list(range(100, 109))
    assert len(data.splits["train"]) + len(data.splits["val"]) == 30
    assert data.given_splits == ("test",)
    assert set(data.splits["val"].labels.tolist()) == {0, 1, 2}
    assert_consistent(data)


def test_images_of_several_sizes_become_64_and_hidden_labels_count_as_missing(data_dir):
    data = load_tfds("hidden_test", Reading(data_dir=data_dir))
    assert data.task == "binary"
    assert data.image_shape == (64, 64, 3)
    assert len(data.splits["val"]) == 4
    assert len(data.splits["train"]) + len(data.splits["test"]) == 20
    assert_consistent(data, classes=2)


def test_large_sets_go_to_a_file_of_the_cache(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path))
    in_memory = load_tfds("train_test", Reading(data_dir=data_dir))
    on_disk = load_tfds("train_test", Reading(data_dir=data_dir), limit_bytes=1000)
    (cached,) = tmp_path.rglob("*.npy")
    assert np.load(cached).shape == (39, 12, 10, 1)
    monkeypatch.setattr("keras_lnn.data.sources.tfds.read_images", None)
    again = load_tfds("train_test", Reading(data_dir=data_dir), limit_bytes=1000)
    for split in in_memory.splits:
        assert not isinstance(on_disk.splits[split].images, np.ndarray)
        assert np.array_equal(on_disk.splits[split].images[:], in_memory.splits[split].images)
        assert np.array_equal(again.splits[split].images[:], in_memory.splits[split].images)
        assert again.splits[split].names == in_memory.splits[split].names


def test_loading_prints_nothing_and_changes_no_global_state(data_dir, capfd):
    from tensorflow_datasets.core import registered
    from tensorflow_datasets.core.utils import tqdm_utils

    def state():
        loggers = {name: logging.getLogger(name).level for name in ("absl", "tensorflow", "urllib3")}
        return loggers, tqdm_utils._active, dict(os.environ), len(registered._DATASET_REGISTRY)

    load_tfds("only_train", Reading(data_dir=data_dir))  # the first call loads TensorFlow, which speaks by itself
    tensorflow_datasets.enable_progress_bar()
    before = state()
    capfd.readouterr()
    load_tfds("only_train", Reading(data_dir=data_dir))
    said = capfd.readouterr()
    assert said.out == ""
    assert [line for line in said.err.splitlines() if "OUT_OF_RANGE" not in line] == []
    assert state() == before
    assert not {"only_train", "train_test"} & set(tensorflow_datasets.list_builders(with_community_datasets=False))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("only_trian", r"one in .*tensorflow.datasets.*Received: tfds:only_trian\. Did you mean .*only_train"),
        ("qqqqqqqqqq", r"See tensorflow\.org/datasets/catalog/overview\. The embedded phantom-breast"),
        ("not a name!", "Received: tfds:not a name!"),
        ("mnist/large", r"configuration of mnist\. Received: large\. Leave it out: tfds:mnist\."),
        ("cifar10_corrupted/fog_9", r"Received: fog_9\. Did you mean .*fog_"),
        ("only_train:9.9.9", "must have a version.*Name no version"),
        ("only_text", "one image and one class label.*count: (Tensor|Scalar), words: Text"),
        ("coco", r"one image and one class label.*objects: Sequence"),
    ],
)
def test_names_that_cannot_be_loaded_are_refused(data_dir, name, message):
    with pytest.raises(InputError) as caught:
        load_tfds(name, Reading(data_dir=data_dir))
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("No space left\non device"), "downloaded, which failed. Received: OSError: No space left. Correct"),
        (AssertionError("Manual directory /x does not exist.\nGet it."), "Manual directory /x does not exist"),
        (ModuleNotFoundError("No module named 'pydub'", name="pydub"), "Install pydub"),
        (KeyboardInterrupt(), None),
    ],
)
def test_failed_preparation_is_reported(tmp_path, monkeypatch, error, message):
    def fail(split, count):
        raise error

    builder = define_builder("Failing", image_features((4, 4, 1)), {"train": 1}, fail)
    monkeypatch.setattr(tensorflow_datasets, "builder", lambda name, data_dir, try_gcs: builder(data_dir=data_dir))
    if message is None:
        with pytest.raises(KeyboardInterrupt):
            load_tfds("failing", Reading(data_dir=tmp_path))
        return
    with pytest.raises(InputError) as caught:
        load_tfds("failing", Reading(data_dir=tmp_path))
    assert re.search(message, str(caught.value))
    assert "tfds:failing" in str(caught.value)
    assert "phantom-breast" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loading_without_a_network_fails_at_once(tmp_path, monkeypatch):
    import requests

    def no_network(url, timeout):
        raise requests.exceptions.ConnectionError("name resolution failed")

    urls = {"https://scans.example/images.zip": None}
    builder = define_builder("Remote", image_features((4, 4, 1)), {"train": 1}, generate_grey, url_infos=urls)
    monkeypatch.setattr(tensorflow_datasets, "builder", lambda name, data_dir, try_gcs: builder(data_dir=data_dir))
    monkeypatch.setattr(requests, "head", no_network)
    with pytest.raises(
        InputError, match=rf"{re.escape(str(tmp_path))} or be downloaded.*scans\.example.*phantom-breast"
    ):
        load_tfds("remote", Reading(data_dir=tmp_path))


def test_truncated_files_are_reported(tmp_path):
    prepare(define_builder("CutShort", image_features((12, 10, 1)), {"train": 30}, generate_grey), tmp_path)
    (file,) = tmp_path.rglob("*.tfrecord*")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"files of tfds:cut_short must be whole.*Delete .*cut_short"):
        load_tfds("cut_short", Reading(data_dir=tmp_path))
    file.unlink()
    with pytest.raises(InputError, match=r"tfds:cut_short") as caught:
        load_tfds("cut_short", Reading(data_dir=tmp_path))
    assert "\n" not in str(caught.value)
