"""An embedded synthetic multi-label data set: chest radiographs with findings that occur together."""

from __future__ import annotations

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData, Split
from keras_lnn.data.phantoms.shapes import as_bytes, blend, checksum_of, make_generator, smooth_noise, uniform

FINDINGS = ("cardiomegaly", "effusion", "infiltration", "nodule", "pneumothorax", "support device", "hernia")

_SIZE = 28
_SEED = 20_261_124
_SAMPLES = {"train": 2000, "val": 400, "test": 1000}


def phantom_chest() -> ImageData:
    """Returns radiographs of the chest with seven findings, after ChestMNIST: 28 x 28, several labels per image.

    A large heart often comes with fluid in a pleural space, fluid with infiltrated lung, and air in the pleural space
    with a tube that drains it, so that labels predict each other; a hernia is rare. More than four in ten images show
    no finding.

    Returns:
        2,000, 400 and 1,000 images for training, validation and test; the same bytes each time.
    """
    splits = {}
    for name in SPLITS:
        labels, images, _ = _draw_split(name)
        splits[name] = Split(images=images, labels=labels.astype(np.uint8))
    return ImageData("phantom-chest", "multi-label", FINDINGS, splits, checksum=checksum_of(splits))


def chest_findings(split: str) -> np.ndarray:
    """Returns where each finding of each image of :func:`phantom_chest` is, bool (samples, 28, 28, findings).

    Args:
        split: Name of the split.
    """
    return _draw_split(split)[2]


def _draw_split(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the findings of a split, its images, and masks of the findings."""
    generator = make_generator(_SEED, SPLITS.index(name))
    findings = _draw_findings(generator, _SAMPLES[name])
    return findings, *_draw_radiographs(generator, findings)


def _draw_findings(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Returns which findings each image has, bool (samples, findings)."""
    chance = generator.random((samples, len(FINDINGS)))
    heart = chance[:, 0] < 0.18
    fluid = chance[:, 1] < np.where(heart, 0.5, 0.11)
    infiltration = chance[:, 2] < np.where(fluid, 0.4, 0.14)
    nodule = chance[:, 3] < 0.12
    air = chance[:, 4] < 0.08
    device = chance[:, 5] < np.where(air, 0.7, np.where(fluid, 0.3, 0.12))
    hernia = chance[:, 6] < 0.015
    return np.stack([heart, fluid, infiltration, nodule, air, device, hernia], axis=1)


def _draw_radiographs(generator: np.random.Generator, findings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and masks of their findings, in the order of ``FINDINGS``."""
    samples = len(findings)

    def between(low: float, high: float) -> np.ndarray:
        return uniform(generator, low, high, samples, 1, 1)

    def side() -> np.ndarray:
        return np.where(generator.random((samples, 1, 1)) < 0.5, -1.0, 1.0)

    heart, fluid, infiltration, nodule, air, device, hernia = (column[:, None, None] for column in findings.T)
    # Coordinates of the body, which is slightly shifted, rotated and scaled in each image.
    rows, columns = np.meshgrid(*[(np.arange(_SIZE) - 13.5) / 14.0] * 2, indexing="ij")
    scale, tilt = between(0.92, 1.08), between(-0.06, 0.06)
    y = (rows - between(-0.07, 0.07)) * scale + tilt * columns
    x = (columns - between(-0.06, 0.06)) * scale - tilt * rows
    lungs, depth = _lungs(y, x, between(0.26, 0.32), between(0.56, 0.66))
    picture = blend(0.62 + 0.06 * between(-1.0, 1.0), 0.2, lungs)
    spine = _soft(0.09 - np.abs(x), 0.06)
    picture = picture + 0.12 * spine
    # Infiltration: a soft cloud in one lung.
    where = side()
    cloud = _disc(y, x, between(-0.35, 0.3), where * between(0.32, 0.48), between(0.2, 0.3), 0.2)
    picture = picture + infiltration * between(0.16, 0.3) * cloud * lungs
    # Air between lung and ribs: beyond an edge at the outer rim of one side there are no vessels, and it is dark.
    where = side()
    rim = lungs * _soft(where * x - between(0.46, 0.54) + 0.1 * y, 0.06) * _soft(0.35 - y, 0.2)
    vessels = 0.05 * smooth_noise(generator, (samples, _SIZE, _SIZE), (2, 2)) * lungs
    picture = picture + vessels * (1.0 - air * rim) - air * between(0.14, 0.2) * rim
    # Heart: slightly to the right in the image; as it grows, its left border moves outwards.
    width = np.where(heart, between(0.4, 0.5), between(0.25, 0.345))
    shadow = _ellipse(y - 0.3, x - 0.1, between(0.26, 0.32), width, 0.12)
    picture = np.maximum(picture, shadow * between(0.6, 0.7))
    # Fluid: the lower part of a lung is white below a level that rises towards the ribs.
    where = side()
    level = between(0.12, 0.42) - 0.25 * np.clip(where * x, 0.0, 1.0)
    pool = _soft(y - level, 0.08) * _soft(where * x, 0.05) * _soft(depth + 0.3, 0.1)
    picture = blend(picture, np.maximum(picture, 0.62), fluid * pool)
    # Nodule: a small round spot.
    where = side()
    spot = _disc(y, x, between(-0.45, 0.1), where * between(0.3, 0.45), between(0.11, 0.16), 0.06)
    picture = picture + nodule * between(0.34, 0.48) * spot
    # Support device: a thin line of metal, brighter than bone, from the upper rim towards the middle.
    where = side()
    distance = np.abs(x - where * (between(0.2, 0.6) - between(0.1, 0.5) * (y + 0.9)))
    wire = _soft(0.06 - distance, 0.05) * _soft(between(-0.1, 0.4) - y, 0.05)
    picture = picture + device * between(0.34, 0.5) * wire
    # Hernia: a round bubble of air with a wall, behind the heart.
    bubble_y, bubble_x = between(0.45, 0.55), between(-0.12, 0.12)
    wall = _disc(y, x, bubble_y, bubble_x, 0.24, 0.05)
    bubble = _disc(y, x, bubble_y, bubble_x, 0.16, 0.05)
    picture = picture + hernia * (0.1 * wall - between(0.28, 0.4) * bubble)
    # Exposure, contrast and grain of the film.
    grain = between(0.015, 0.04) * smooth_noise(generator, (samples, _SIZE, _SIZE), (1, 1))
    picture = (picture - 0.45) * between(0.8, 1.15) + between(0.4, 0.5) + grain
    shares = np.stack([shadow, pool, cloud * lungs, spot, rim, wire, wall], axis=-1)
    return as_bytes(picture)[..., None], (shares >= 0.5) & findings[:, None, None, :]


def _lungs(y: np.ndarray, x: np.ndarray, half_width: np.ndarray, half_height: np.ndarray) -> tuple:
    """Returns the two lungs, 0 to 1, and the depth of a position inside them."""
    across = (np.abs(x) - 0.4) / half_width
    along = (y + 0.02) / half_height
    depth = 1.0 - across * across - along * along
    return _soft(depth, 0.25), depth


def _soft(signed: np.ndarray, softness: float) -> np.ndarray:
    """Returns one where a signed distance is positive, zero where it is negative, with a soft edge."""
    return np.clip(0.5 + signed / (2.0 * softness), 0.0, 1.0)


def _ellipse(
    y: np.ndarray, x: np.ndarray, half_height: np.ndarray, half_width: np.ndarray, softness: float
) -> np.ndarray:
    down, across = y / half_height, x / half_width
    return _soft(1.0 - np.sqrt(down * down + across * across), softness)


def _disc(
    y: np.ndarray, x: np.ndarray, row: np.ndarray, column: np.ndarray, radius: np.ndarray | float, softness: float
) -> np.ndarray:
    down, across = y - row, x - column
    return _soft(radius - np.sqrt(down * down + across * across), softness)
