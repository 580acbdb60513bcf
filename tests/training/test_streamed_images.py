"""Images on disk stay there: a run and all that follows it read some of them at a time, never a whole split."""

import io

import numpy as np
import pytest
import tiny_models  # noqa: F401, registers tiny-dense
from PIL import Image
from rich.console import Console

from keras_lnn.config import TrainConfig
from keras_lnn.data import Split
from keras_lnn.data.corruptions import corrupt_images
from keras_lnn.data.decode.copies import fingerprint
from keras_lnn.data.disk import DiskArray
from keras_lnn.data.joining import JoinedImages, join_splits
from keras_lnn.data.pipeline import evaluation_batches, seen_in_training, training_batches
from keras_lnn.data.splitting import SelectedRows, take_samples
from keras_lnn.plots.views import view_samples
from keras_lnn.saved.predictor import batch_size_for, in_batches
from keras_lnn.trained.evaluate import evaluate_model
from keras_lnn.trained.learned_features import load_learned_features
from keras_lnn.training.loop import train

_MOST_ROWS = 256


@pytest.fixture
def reads(monkeypatch):
    """Records how many rows each access to an array on disk reads; to take such an array for a sequence is an error."""
    counts, read = [], DiskArray.__getitem__

    def refuse(self, *_, **__):
        raise AssertionError("An array on disk was read as a whole.")

    def record(self, rows):
        found = read(self, rows)
        counts.append(len(found) if found.ndim == len(self.shape) else 1)
        return found

    for kind in (DiskArray, SelectedRows, JoinedImages):
        for name in ("__array__", "__iter__"):
            monkeypatch.setattr(kind, name, refuse, raising=False)
    monkeypatch.setattr(DiskArray, "__getitem__", record)
    return counts


@pytest.fixture
def split(tmp_path, reads):
    """A split of 3,000 images on disk, each of which has its number as its first pixels."""
    images = np.zeros((3000, 16, 16, 1), np.uint8)
    images.reshape(3000, -1)[:, :2] = np.arange(3000, dtype="<u2").view(np.uint8).reshape(-1, 2)
    np.save(tmp_path / "images.npy", images)
    return Split(DiskArray(tmp_path / "images.npy"), np.arange(3000, dtype=np.int64))


def numbers_of(images):
    return np.asarray(images)[:, 0, :2, 0].astype(int) @ [1, 256]


def test_batches_read_only_their_own_images(split, reads):
    part = take_samples(join_splits([split, split]), np.arange(5000, 1000, -1))
    (images, labels) = next(iter(training_batches(part, batch_size=32, seed=0, epochs=1)))
    np.testing.assert_array_equal(numbers_of(images), labels)
    (images, labels) = next(iter(evaluation_batches(part, 64)))
    np.testing.assert_array_equal(numbers_of(images), labels)
    assert reads
    assert max(reads) <= 64
    seen_in_training(part, [3, 5], batch_size=32, seed=0, epochs=2, augmentation="none")
    assert max(reads) <= 64


def test_predictions_and_pictures_read_images_in_parts(split, reads):
    corrupted = corrupt_images(take_samples(split, np.arange(600)).images, "noise", 1)
    assert len(in_batches(corrupted, lambda images: images.mean(axis=(1, 2, 3)))) == 600
    found = in_batches(split.images, numbers_of)
    np.testing.assert_array_equal(found, np.arange(3000))
    np.testing.assert_array_equal(numbers_of(view_samples(split.images).pictures(np.array([2999, 4]))), [2999, 4])
    fingerprint(split.images, [""] * 3000)
    assert max(reads) <= max(_MOST_ROWS, batch_size_for(split.images.shape[1:]))


@pytest.mark.slow
def test_a_run_with_all_that_follows_reads_its_images_in_parts(tmp_path, monkeypatch, reads):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for name, count in {"train": 400, "val": 300, "test": 300}.items():
        for label in ("a", "b"):
            (tmp_path / "own" / name / label).mkdir(parents=True)
            for number in range(count // 2):
                pixels = generator.integers(0, 128, (16, 16), dtype=np.uint8) + 100 * (label == "b")
                Image.fromarray(pixels).resize((32, 32)).save(tmp_path / "own" / name / label / f"{number}.png")
    config = TrainConfig(
        data=f"folder:{tmp_path / 'own'}",
        size=32,
        model="tiny-dense",
        epochs=1,
        batch_size=50,
        run_dir=tmp_path / "run",
        export="none",
        tensorboard=False,
    )
    quiet = Console(file=io.StringIO())
    train(config, quiet)
    assert (tmp_path / "run" / "report.html").is_file()
    evaluate_model(tmp_path / "run")
    load_learned_features(tmp_path / "run")
    assert reads
    assert max(reads) <= _MOST_ROWS
