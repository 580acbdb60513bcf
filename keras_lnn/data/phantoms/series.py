"""Embedded synthetic series of images at uneven times: contrast kinetics of a lesion, and a lesion that grows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData, SeriesArray, Split
from keras_lnn.data.phantoms.shapes import (
    as_bytes,
    checksum_of,
    make_generator,
    smooth_noise,
    uniform,
)

_SIZE = 28
_SAMPLES = {"train": 1000, "val": 200, "test": 400}
_PERFUSION_SEED, _PERFUSION_FRAMES = 20_261_201, (6, 12)
_GROWTH_SEED, _GROWTH_FRAMES = 20_261_202, (3, 8)
# Added to the seed of the lesions for the frames of the denser series.
_DENSE = 50
CURVES = ("persistent", "plateau", "wash-out")

# Frames (samples, steps, side, side) from 0 to 1, times (samples, steps) and lengths (samples,).
_Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def phantom_perfusion() -> ImageData:
    """Returns series of a lesion after an injection of contrast agent: 28 x 28, class 0 persistent, class 1 wash-out.

    Each series has 6 to 12 frames at uneven minutes, the first one before the contrast agent arrives. The brightness of
    a lesion rises with a rate, an onset and an amplitude of its own, and then goes on rising or falls; the tissue
    around it brightens slowly in both classes. The gain of the scanner differs between frames.

    Returns:
        1,000, 200 and 400 series for training, validation and test, one half of each class; the same bytes each time.
    """
    return _make_data("phantom-perfusion", ("persistent", CURVES[2]), _PERFUSION_SEED, "minutes", _draw_perfusion)


def phantom_perfusion_curves() -> ImageData:
    """Returns series like those of ``phantom-perfusion`` with three types of curves: persistent, plateau, wash-out.

    Returns:
        1,000, 200 and 400 series for training, validation and test, a third of each class; the same bytes each time.
    """
    return _make_data("phantom-perfusion-curves", CURVES, _PERFUSION_SEED + 10, "minutes", _draw_perfusion)


def phantom_growth() -> ImageData:
    """Returns series of a lesion that grows: 28 x 28, class 0 slowly, class 1 about 1.8 times as fast.

    Each series has 3 to 8 visits at uneven months. How much a lesion grows in all, and from one visit to the next, has
    the same distribution in both classes, so that images in their order do not tell the classes apart: only growth
    divided by time does. Fast lesions have shorter intervals on average, so that times alone tell a little.

    Returns:
        1,000, 200 and 400 series for training, validation and test, one half of each class; the same bytes each time.
    """
    return _make_data("phantom-growth", ("slow", "fast"), _GROWTH_SEED, "months", _draw_growth)


def phantom_perfusion_dense() -> ImageData:
    """Returns the series of ``phantom-perfusion`` at about twice the frame rate: 11 to 23 frames in the same time.

    Lesions, curves, classes and the times of the frames are the same, with one more frame in each interval; the noise
    and the gain of each frame are other ones.
    """
    names = ("persistent", CURVES[2])
    return _make_data("phantom-perfusion-dense", names, _PERFUSION_SEED, "minutes", _draw_perfusion, dense=True)


def phantom_growth_dense() -> ImageData:
    """Returns the series of ``phantom-growth`` at about twice the frame rate: 5 to 15 visits in the same time.

    Lesions, growth, classes and the times of the visits are the same, with one more visit in each interval; the noise,
    the gain and the position at each visit are other ones.
    """
    return _make_data("phantom-growth-dense", ("slow", "fast"), _GROWTH_SEED, "months", _draw_growth, dense=True)


def _make_data(
    name: str,
    class_names: tuple[str, ...],
    seed: int,
    unit: str,
    draw: Callable[[np.random.Generator, np.ndarray, int, np.random.Generator | None], _Drawn],
    *,
    dense: bool = False,
) -> ImageData:
    drawn = {}
    for stream, split in enumerate(SPLITS):
        generator = make_generator(seed, stream)
        labels = np.arange(_SAMPLES[split], dtype=np.int64) % len(class_names)
        labels = labels[generator.permutation(len(labels))]
        between = make_generator(seed + _DENSE, stream) if dense else None
        drawn[split] = (*draw(generator, labels, len(class_names), between), labels)
    splits = {split: _to_split(*parts, unit=unit) for split, parts in drawn.items()}
    return ImageData(
        name=name,
        task="binary" if len(class_names) == 2 else "multi-class",
        class_names=class_names,
        splits=splits,
        checksum=checksum_of(splits),
    )


def _to_split(frames: np.ndarray, times: np.ndarray, lengths: np.ndarray, labels: np.ndarray, unit: str) -> Split:
    pixels = as_bytes(frames)[..., None]
    series = [pixels[row, :length] for row, length in enumerate(lengths)]
    kept = [times[row, :length] for row, length in enumerate(lengths)]
    return Split(images=SeriesArray.join(series, kept, unit, steps=frames.shape[1]), labels=labels)


def _draw_steps(
    generator: np.random.Generator, samples: int, frames: tuple[int, int], dense: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the position of each frame between the first (0) and the last (1) one, and the number of frames.

    Intervals differ by up to eight times, so that frames come in bursts and after pauses.

    Args:
        generator: Draws the frames.
        samples: Number of series.
        frames: The smallest and the largest number of frames.
        dense: Draws one more frame in each interval; None for none.
    """
    fewest, most = frames
    lengths = fewest + (generator.random(samples) * (most - fewest + 1)).astype(np.int64)
    share = generator.random((samples, most))
    gaps = np.where(np.arange(most) < lengths[:, None], 0.14 + share * share, 0.0)
    gaps[:, 0] = 0.0
    ends = _add_up(gaps)
    steps = ends / ends[:, -1:]
    if dense is None:
        return steps, lengths
    denser = np.repeat(steps, 2, axis=1)[:, :-1]
    denser[:, 1::2] += uniform(dense, 0.3, 0.7, samples, most - 1) * (steps[:, 1:] - steps[:, :-1])
    return denser, 2 * lengths - 1


def _add_up(values: np.ndarray) -> np.ndarray:
    """Returns the sums of all values up to each one, added one after another."""
    total = values.copy()
    for step in range(1, values.shape[1]):
        total[:, step] += total[:, step - 1]
    return total


def _draw_perfusion(
    generator: np.random.Generator, labels: np.ndarray, classes: int, dense: np.random.Generator | None = None
) -> _Drawn:
    samples = len(labels)

    def between(low: float, high: float, *shape: int) -> np.ndarray:
        return uniform(generator, low, high, samples, *(shape or (1,)))

    steps, lengths = _draw_steps(generator, samples, _PERFUSION_FRAMES, dense)
    times = steps * between(3.0, 10.0)
    since = np.clip(times - between(0.2, 1.8), 0.0, None)  # since the contrast agent has arrived
    curve = between(0.2, 0.5) * _kinetics(generator, labels, classes, since)
    lesion = _draw_lesion(generator, samples)
    tissue = between(0.28, 0.42, 1, 1) + 0.06 * smooth_noise(generator, (samples, _SIZE, _SIZE), (3, 3))
    gland = np.clip(smooth_noise(generator, (samples, _SIZE, _SIZE), (4, 4)), 0.0, 1.5)
    slow = between(0.0, 0.14) * (since / (since + 4.0))

    # Each frame is drawn after its lesion, so that denser series have the same lesions.
    noise = dense or generator
    frames = np.zeros((samples, times.shape[1], _SIZE, _SIZE))
    for step in range(times.shape[1]):
        brightness, background = (part[:, step, None, None] for part in (curve, slow))
        gain = uniform(noise, 0.94, 1.06, samples, 1, 1)
        grain = 0.08 * smooth_noise(noise, (samples, _SIZE, _SIZE), (1, 1))
        frames[:, step] = (tissue + lesion * brightness + gland * background) * gain + grain
    return frames, times, lengths


def _kinetics(generator: np.random.Generator, labels: np.ndarray, classes: int, since: np.ndarray) -> np.ndarray:
    """Returns the enhancement of lesions, about 1 at its highest: a rise, then a course by the class."""
    samples = len(labels)

    def between(low: float, high: float) -> np.ndarray:
        return uniform(generator, low, high, samples, 1)

    rate = between(0.5, 3.0)
    rise = 1.25 * rate * since / (1.0 + rate * since)
    persistent, wash_out, plateau = between(0.02, 0.5), between(-0.6, -0.1), between(-0.14, 0.06)
    first, last = labels[:, None] == 0, labels[:, None] == classes - 1
    slope = np.where(first, persistent, np.where(last, wash_out, plateau))
    late = np.clip(since - between(1.0, 2.5), 0.0, None) / 5.0
    return rise * np.clip(1.0 + slope * 1.6 * late / (1.0 + 0.35 * late), 0.0, None)


def _draw_lesion(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Returns one lesion per image, 0 to about 1, with an uneven texture and margin."""

    def between(low: float, high: float) -> np.ndarray:
        return uniform(generator, low, high, samples, 1, 1)

    rows = (np.arange(_SIZE)[None, :, None] - between(7.0, 20.0)) / between(2.2, 5.0)
    columns = (np.arange(_SIZE)[None, None, :] - between(7.0, 20.0)) / between(2.2, 5.0)
    inside = 1.0 - np.sqrt(rows * rows + columns * columns)
    margin = 0.25 * smooth_noise(generator, (samples, _SIZE, _SIZE), (2, 2))
    texture = np.clip(1.0 + 0.3 * smooth_noise(generator, (samples, _SIZE, _SIZE), (2, 2)), 0.3, 1.7)
    return np.clip(0.5 + 2.0 * inside + margin, 0.0, 1.0) * texture


def _draw_growth(
    generator: np.random.Generator, labels: np.ndarray, classes: int, dense: np.random.Generator | None = None
) -> _Drawn:
    samples = len(labels)

    def between(low: float, high: float, *shape: int) -> np.ndarray:
        return uniform(generator, low, high, samples, *(shape or (1,)))

    steps, lengths = _draw_steps(generator, samples, _GROWTH_FRAMES, dense)
    # In pixels of diameter, from one half to eight, each doubling as likely: the same in both classes.
    doublings = np.array([0.5, 1.0, 2.0, 4.0])[(between(0.0, 1.0) * 4.0).astype(np.int64)]
    grown = steps * doublings * between(1.0, 2.0)
    times = grown / (np.where(labels[:, None] == 1, 0.18, 0.1) * between(0.85, 1.15))
    diameter = between(3.5, 6.5) + grown
    rough = 0.5 * smooth_noise(generator, (samples, _SIZE, _SIZE), (2, 2))
    tissue = between(0.3, 0.42, 1, 1) + 0.06 * smooth_noise(generator, (samples, _SIZE, _SIZE), (3, 3))
    contrast, aspect = between(0.2, 0.45, 1, 1), between(0.8, 1.25, 1, 1)
    row, column = between(9.0, 18.0, 1, 1), between(9.0, 18.0, 1, 1)

    # Each frame is drawn after its lesion, so that denser series have the same lesions.
    noise = dense or generator
    frames = np.zeros((samples, times.shape[1], _SIZE, _SIZE))
    for step in range(times.shape[1]):
        # Patients do not lie in the same place at each visit.
        down = (np.arange(_SIZE)[None, :, None] - row - uniform(noise, -1.0, 1.0, samples, 1, 1)) / aspect
        across = (np.arange(_SIZE)[None, None, :] - column - uniform(noise, -1.0, 1.0, samples, 1, 1)) * aspect
        inside = 0.5 * diameter[:, step, None, None] - np.sqrt(down * down + across * across) + rough
        gain = uniform(noise, 0.95, 1.05, samples, 1, 1)
        grain = 0.05 * smooth_noise(noise, (samples, _SIZE, _SIZE), (1, 1))
        frames[:, step] = (tissue + contrast * np.clip(0.5 + inside / 1.5, 0.0, 1.0)) * gain + grain
    return frames, times, lengths
