"""What the tests share."""

import functools
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

from keras_lnn.data import DataEntry, ImageData, Split, catalog, register_data
from keras_lnn.data.phantoms import liver

REAL_DATA_VARIABLE = "KERAS_LNN_TEST_DATA"
TINY = "tiny-stripes"
draw_abdomens_once = functools.cache(liver._make)


def pytest_configure() -> None:
    """Makes the tests cheaper, and independent of how fast the machine is."""
    from hypothesis import HealthCheck, settings

    # Where compiled modules are not kept, each process that a test starts compiles all of TensorFlow again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # While modules are imported there is nothing to collect; until the tests begin.
    gc.disable()
    settings.register_profile("any-speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any-speed")


def pytest_collection_finish() -> None:
    """Excludes imported modules from garbage collection, which would walk through all of TensorFlow each time."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder of the real MedMNIST files, where somebody has said where they are."""
    folder = Path(os.environ.get(REAL_DATA_VARIABLE, ""))
    if not (folder / "breastmnist.npz").is_file():
        pytest.skip(f"{REAL_DATA_VARIABLE} names no folder with breastmnist.npz")
    return folder


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests from reading or writing the home folder of the user who runs them."""
    # Beside the folders of the tests, which are numbered by looking at all that are there.
    homes = tmp_path_factory.getbasetemp() / "homes"
    homes.mkdir(exist_ok=True)
    home = tempfile.mkdtemp(dir=homes)
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("KERAS_LNN_CACHE", os.path.join(home, "cache"))
    monkeypatch.delenv("MEDMNIST_ROOT", raising=False)


def run_models_eagerly(patched: pytest.MonkeyPatch) -> None:
    """Lets models train and predict without graphs, whose building takes most of the time of a small run."""
    import keras

    if keras.backend.backend() == "tensorflow":  # JAX would compile each operation separately
        patched.setattr(keras.Model, "run_eagerly", property(lambda _: True, lambda *_: None))


@pytest.fixture
def eager_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without graphs, where they are not what is tested."""
    run_models_eagerly(monkeypatch)


@pytest.fixture(scope="module")
def abdomens_drawn_once() -> Iterator[None]:
    """Draws the embedded abdomens once for all tests that only read them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(liver, "_make", draw_abdomens_once)
        yield


def tiny_stripes(seed: int = 0) -> ImageData:
    """A set that is learned in a few steps: dark images with an upright or a level bright stripe."""
    generator = np.random.default_rng(seed)

    def split(count: int) -> Split:
        labels = np.arange(count, dtype=np.int64) % 2
        images = generator.integers(0, 120, (count, 28, 28, 1), dtype=np.uint8)
        places = generator.integers(4, 22, count)
        for image, label, place in zip(images, labels, places, strict=True):
            stripe = image[:, place : place + 3] if label else image[place : place + 3]
            stripe += 90
        return Split(images, labels)

    splits = {"train": split(60), "val": split(20), "test": split(30)}
    return ImageData(TINY, "binary", ("level", "upright"), splits, checksum="none")


def register_tiny_data() -> str:
    """Puts the small data set in the catalog and gives its name."""
    if TINY not in catalog():
        register_data(
            DataEntry(
                name=TINY,
                title="stripes",
                task="binary",
                class_names=("level", "upright"),
                channels=1,
                dimensions=2,
                sizes=(28,),
                samples={"train": 60, "val": 20, "test": 30},
                loader=f"{__name__}:tiny_stripes",
                augmentation="mirror",
            )
        )
    return TINY


def tiny_volumes() -> ImageData:
    """Dark volumes, which some models and runs do not read."""
    split = Split(np.zeros((4, 12, 28, 28, 1), np.uint8), np.arange(4, dtype=np.int64) % 2)
    return ImageData("tiny-volumes", "binary", ("a", "b"), dict.fromkeys(("train", "val", "test"), split), "none")


def register_tiny_volumes() -> str:
    """Puts the small volumes in the catalog and gives their name."""
    if "tiny-volumes" not in catalog():
        samples = dict.fromkeys(("train", "val", "test"), 4)
        loader = f"{__name__}:tiny_volumes"
        register_data(DataEntry("tiny-volumes", "test", "binary", ("a", "b"), 1, 3, (28,), samples, loader))
    return "tiny-volumes"


@pytest.fixture
def tiny_data() -> str:
    """The name of a small data set in the catalog."""
    return register_tiny_data()
