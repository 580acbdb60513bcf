"""The smallest data of series that have what tests look for: a lesion whose brightness rises or falls with time."""

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData, SeriesArray, Split
from keras_lnn.data.catalog import DataEntry, catalog, register_data

TINY_SERIES = "tiny-series"


def make_series_data(samples: int = 24, frames: int = 6, side: int = 12, seed: int = 0) -> ImageData:
    """Returns series of two classes, each of 2 to ``frames`` frames at uneven minutes, as many in each split."""
    splits = {}
    for number, name in enumerate(SPLITS):
        random = np.random.default_rng([seed, number])
        labels = np.arange(samples, dtype=np.int64) % 2
        lengths = random.integers(2, frames + 1, samples)
        lengths[0] = frames
        times = [np.concatenate([[0.0], np.cumsum(random.uniform(0.2, 2.0, length - 1))]) for length in lengths]
        series = []
        for label, taken in zip(labels, times, strict=True):
            pixels = random.uniform(40, 80, (len(taken), side, side, 1))
            # How bright it is at first differs more than how it changes, so that no single frame tells the classes.
            course = random.uniform(50, 130) + (2 * label - 1) * random.uniform(0, 45) * taken / taken[-1]
            pixels[:, side // 4 : side // 2, side // 4 : side // 2] += course[:, None, None, None]
            series.append(pixels.astype(np.uint8))
        splits[name] = Split(SeriesArray.join(series, times, "minutes", steps=frames), labels)
    return ImageData(TINY_SERIES, "binary", ("falling", "rising"), splits, "md5:tiny-series")


def register_tiny_series() -> str:
    """Adds the data to the catalog where they are missing, and returns their name."""
    if TINY_SERIES not in catalog():
        register_data(
            DataEntry(
                name=TINY_SERIES,
                title="a brightness that rises or falls",
                task="binary",
                class_names=("falling", "rising"),
                channels=1,
                dimensions=2,
                sizes=(12,),
                samples=dict.fromkeys(SPLITS, 24),
                loader=f"{__name__}:load_tiny_series",
                augmentation="mirror",
                frames=6,
            )
        )
    return TINY_SERIES


def load_tiny_series() -> ImageData:
    """Returns the registered data."""
    return make_series_data()
