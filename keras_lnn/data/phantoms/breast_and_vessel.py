"""Embedded synthetic data sets of two classes, generated in memory: training without a network or a download."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData, Split
from keras_lnn.data.phantoms.shapes import (
    as_bytes,
    blend,
    checksum_of,
    make_generator,
    moving_sum,
    smooth_noise,
    uniform,
)

_SIZE = 28

_BREAST_SEED = 20_240_801
_BREAST_SAMPLES = {"train": 1000, "val": 200, "test": 400}
_BREAST_SHARE_OF_CLASS_1 = 0.6
_SHARE_WITHOUT_LESION = 0.15
_TISSUE_MARGIN = 12

_VESSEL_SEED = 20_240_802
_VESSEL_SAMPLES = {"train": 1000, "val": 150, "test": 300}
_VESSEL_SHARE_OF_CLASS_1 = 0.4
_VOLUME_MARGIN = 10


def phantom_breast() -> ImageData:
    """Returns ultrasound-like images of breast lesions, after BreastMNIST: 28 x 28, class 0 malignant, class 1 benign.

    A benign lesion tends to be oval, wider than tall, sharply bounded and brighter behind; a malignant one to be
    ragged, taller than wide, blurred at its margin and shadowed behind. Lesions of the two kinds differ, but texture,
    speckle, shading and weak contrast hide much of it; overall brightness says next to nothing. Some of the images of
    class 1 show normal tissue.

    Returns:
        1,000, 200 and 400 images for training, validation and test, 60% of them of class 1; the same bytes each time.
    """
    splits = _draw_splits(_BREAST_SEED, _BREAST_SAMPLES, _BREAST_SHARE_OF_CLASS_1, _draw_breast_images)
    return ImageData(
        name="phantom-breast",
        task="binary",
        class_names=("malignant", "normal, benign"),
        splits=splits,
        checksum=checksum_of(splits),
    )


def phantom_vessel() -> ImageData:
    """Returns volumes of blood vessels, after VesselMNIST3D: 28 x 28 x 28, class 0 healthy, class 1 with an aneurysm.

    Each volume holds a curved tube of varying calibre, often with a branch, a narrowing or both. An aneurysm is a round
    sac on its wall; many healthy vessels have a short tapering stump there instead.

    Returns:
        1,000, 150 and 300 volumes for training, validation and test, 40% of them of class 1; the same bytes each time.
    """
    splits = _draw_splits(_VESSEL_SEED, _VESSEL_SAMPLES, _VESSEL_SHARE_OF_CLASS_1, _draw_vessel_volumes)
    return ImageData(
        name="phantom-vessel",
        task="binary",
        class_names=("vessel", "aneurysm"),
        splits=splits,
        checksum=checksum_of(splits),
    )


def breast_lesions(split: str) -> np.ndarray:
    """Returns where the lesion of each image of :func:`phantom_breast` is, bool (samples, 28, 28).

    Images of normal tissue have no lesion.

    Args:
        split: Name of the split.
    """
    return _draw_split(_BREAST_SEED, _BREAST_SAMPLES, _BREAST_SHARE_OF_CLASS_1, _draw_breast_lesions, split)[1]


def vessel_sacs(split: str) -> np.ndarray:
    """Returns where the sac of each volume of :func:`phantom_vessel` is, bool (samples, 28, 28, 28).

    Healthy vessels have none.

    Args:
        split: Name of the split.
    """
    return _draw_split(_VESSEL_SEED, _VESSEL_SAMPLES, _VESSEL_SHARE_OF_CLASS_1, _draw_vessel_sacs, split)[1]


_Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def _draw_splits(
    seed: int, samples: Mapping[str, int], share_of_class_1: float, draw_images: _Draw
) -> dict[str, Split]:
    splits = {}
    for name in SPLITS:
        labels, images = _draw_split(seed, samples, share_of_class_1, draw_images, name)
        splits[name] = Split(images=images, labels=labels)
    return splits


def _draw_split(
    seed: int, samples: Mapping[str, int], share_of_class_1: float, draw: _Draw, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels of a split, and what is drawn for them from the same random numbers."""
    generator = make_generator(seed, SPLITS.index(name))
    labels = np.zeros(samples[name], np.int64)
    labels[: round(samples[name] * share_of_class_1)] = 1
    labels = labels[generator.permutation(len(labels))]
    return labels, draw(generator, labels)


@dataclasses.dataclass(frozen=True)
class _Lesions:
    """One lesion per image; every field has the shape (samples, 1, 1), lengths are in pixels."""

    present: np.ndarray
    row: np.ndarray
    column: np.ndarray
    half_width: np.ndarray
    half_height: np.ndarray
    slope: np.ndarray
    lobulation: np.ndarray
    spiculation: np.ndarray
    margin: np.ndarray
    level: np.ndarray
    halo: np.ndarray
    posterior: np.ndarray


def _draw_breast_images(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    lesions = _draw_lesions(generator, labels)
    return _render_ultrasound(generator, lesions)


def _draw_breast_lesions(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Returns masks; the outlines are the first random numbers that an image's rendering takes after its lesion."""
    lesions = _draw_lesions(generator, labels)
    inside, _, _ = _lesion_masks(generator, lesions)
    return (inside >= 0.5) & lesions.present


def _draw_lesions(generator: np.random.Generator, labels: np.ndarray) -> _Lesions:
    column_of_ones = (len(labels), 1, 1)

    def between(low: float, high: float) -> np.ndarray:
        return uniform(generator, low, high, *column_of_ones)

    malignant = (labels == 0).reshape(column_of_ones)
    suspicion = np.where(malignant, between(0.62, 1.0), between(0.0, 0.38))

    def sign() -> np.ndarray:
        # Each sign of malignancy deviates from the suspicion independently, so that the signs of one lesion disagree.
        return np.clip(suspicion + between(-0.32, 0.32), 0.0, 1.0)

    area = between(14.0, 52.0)
    tallness = blend(0.55, 1.2, sign()) * between(0.85, 1.18)
    half_width = np.sqrt(area / tallness)
    present = malignant | (between(0.0, 1.0) > _SHARE_WITHOUT_LESION)
    return _Lesions(
        present=present,
        row=between(6.0, 16.0),
        column=between(5.0, 22.0),
        half_width=half_width,
        half_height=half_width * tallness,
        slope=between(-0.25, 0.25),
        lobulation=between(0.02, 0.16),
        spiculation=blend(0.0, 1.7, sign()),
        margin=blend(1.0, 3.8, sign()),
        level=np.where(present, between(0.06, 0.42), 1.0),
        halo=np.where(present, blend(0.0, 0.35, sign()), 0.0),
        posterior=np.where(present, blend(0.8, -1.0, sign()) + between(-0.1, 0.1), 0.0),
    )


def _render_ultrasound(generator: np.random.Generator, lesions: _Lesions) -> np.ndarray:
    samples = len(lesions.row)
    rows = np.arange(_SIZE, dtype=np.float64)[None, :, None]
    inside, outside, posterior = _lesion_masks(generator, lesions)
    echo = _tissue(generator, samples)
    echo *= blend(1.0, lesions.level, inside) * (1.0 + lesions.halo * outside) * posterior
    # Poor contact and fibrous strands shade whole columns in either class, more so with depth.
    shading = np.clip(
        1.0 + uniform(generator, 0.0, 0.4, samples, 1, 1) * smooth_noise(generator, (samples, 1, _SIZE), (1, 4)),
        0.2,
        2.0,
    )
    echo *= blend(1.0, shading, np.clip((rows - 4.0) / 14.0, 0.0, 1.0))
    reach = uniform(generator, 6.0, 24.0, samples, 1, 1)
    depth = rows / reach
    echo *= 1.0 / (1.0 + depth * depth * blend(1.0, depth, 0.5))
    echo *= _speckle(generator, samples)
    # The operator sets the gain by the image's brightness, which therefore says little about its content.
    mean = moving_sum(moving_sum(echo, _SIZE, 1), _SIZE, 2) / (_SIZE * _SIZE)
    echo *= uniform(generator, 0.5, 1.2, samples, 1, 1) / (0.12 + mean)
    # The scanner's dynamic range compression: linear for dark values, saturating for bright ones.
    return as_bytes(1.12 * echo / (echo + 0.95))[..., None]


def _tissue(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Returns the echogenicity of layered tissue: streaks along tilted, bent layers under a bright line of skin."""
    height = _SIZE + 2 * _TISSUE_MARGIN
    layers = smooth_noise(generator, (samples, height, 1), (2, 1))
    streaks = smooth_noise(generator, (samples, height, _SIZE), (1, 4))
    strands = smooth_noise(generator, (samples, height, _SIZE), (2, 7))
    lumps = smooth_noise(generator, (samples, height, _SIZE), (4, 5))
    strength = uniform(generator, 0.5, 1.4, samples, 1, 1)
    flat = 1.0 + strength * (0.16 * layers + 0.1 * streaks + 0.2 * strands + 0.17 * lumps)
    across = (np.arange(_SIZE, dtype=np.float64)[None, None, :] - 13.5) / 13.5
    tilt = uniform(generator, -4.0, 4.0, samples, 1, 1)
    bend = uniform(generator, -4.0, 4.0, samples, 1, 1)
    rows = np.arange(_SIZE, dtype=np.float64)[None, :, None]
    # The layers lie flat under the skin and follow the chest wall further down.
    source = rows + _TISSUE_MARGIN + (tilt * across + bend * across * across) * np.clip(rows / 10.0, 0.0, 1.0)
    upper = source.astype(np.int64)
    share = source - upper
    warped = blend(np.take_along_axis(flat, upper, axis=1), np.take_along_axis(flat, upper + 1, axis=1), share)
    skin = uniform(generator, 0.0, 0.8, samples, 1, 1) * np.clip(1.0 - rows / 2.5, 0.0, 1.0)
    return np.clip(warped, 0.12, 3.0) + skin


def _speckle(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Returns multiplicative speckle of mean about 1: magnitudes of a correlated complex field, two looks averaged."""
    looks = []
    for _ in range(2):
        real = smooth_noise(generator, (samples, _SIZE, _SIZE), (2, 3))
        imaginary = smooth_noise(generator, (samples, _SIZE, _SIZE), (2, 3))
        looks.append(np.sqrt(real * real + imaginary * imaginary))
    contrast = uniform(generator, 0.2, 0.55, samples, 1, 1)
    return 1.0 + contrast * ((looks[0] + looks[1]) / 2.5 - 1.0)


def _lesion_masks(generator: np.random.Generator, lesions: _Lesions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns masks of a lesion and of its halo, and the factor for the echo behind it."""
    samples = len(lesions.row)
    rows = np.arange(_SIZE, dtype=np.float64)[None, :, None] - lesions.row
    columns = np.arange(_SIZE, dtype=np.float64)[None, None, :] - lesions.column
    norm = np.sqrt(1.0 + lesions.slope * lesions.slope)
    across = (columns + lesions.slope * rows) / (norm * lesions.half_width)
    along = (rows - lesions.slope * columns) / (norm * lesions.half_height)
    distance = np.sqrt(across * across + along * along + 1e-6)
    cosine, sine = across / distance, along / distance
    outline = np.ones_like(distance)
    wave_cosine, wave_sine = cosine, sine
    for order in range(2, 11):
        # The angle addition theorem gives the next harmonic without calling a trigonometric function.
        wave_cosine, wave_sine = wave_cosine * cosine - wave_sine * sine, wave_sine * cosine + wave_cosine * sine
        amplitude = lesions.lobulation if order < 4 else lesions.spiculation / (order + 4.0)
        outline += amplitude * uniform(generator, -1.0, 1.0, samples, 1, 1) * wave_cosine
        outline += amplitude * uniform(generator, -1.0, 1.0, samples, 1, 1) * wave_sine
    radius = np.sqrt(lesions.half_width * lesions.half_height)
    # A rough outline that is not a function of the angle alone, so that spikes bend and break off.
    roughness = smooth_noise(generator, (samples, _SIZE, _SIZE), (2, 2)) * lesions.spiculation
    depth_inside = ((np.clip(outline, 0.35, 2.0) - distance) * radius + roughness) / lesions.margin
    inside = np.clip(0.5 + depth_inside, 0.0, 1.0)
    inside = inside * inside * (3.0 - 2.0 * inside)
    outside = np.clip(1.0 - np.abs(depth_inside + 1.0), 0.0, 1.0)
    return inside, outside, _posterior_factor(lesions, rows, columns)


def _posterior_factor(lesions: _Lesions, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    sideways = columns / lesions.half_width
    sideways = sideways * sideways
    beam = 1.0 / (1.0 + sideways * sideways * sideways)
    behind = np.clip((rows / lesions.half_height - 0.3) / 0.9, 0.0, 1.0)
    strength = beam * behind * lesions.posterior
    return np.where(strength > 0.0, 1.0 + 1.3 * strength, 1.0 / (1.0 - 2.2 * strength))


def _draw_vessel_volumes(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    tubes, sacs = _draw_vessels(generator, labels)
    return _render_spheres(len(labels), (tubes, 9), (sacs, 15))


def _draw_vessel_sacs(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Returns masks of the sacs, which are drawn like the volumes but without the vessels."""
    _, sacs = _draw_vessels(generator, labels)
    return _render_spheres(len(labels), (sacs, 15))[..., 0] >= 128


def _draw_vessels(generator: np.random.Generator, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns vessels as spheres (samples, spheres, 4): centre and radius; a sphere of negative radius is not drawn.

    Returns:
        The spheres of tubes, branches and stumps, and those of the sacs.
    """
    samples = len(labels)

    def between(low: float, high: float, *shape: int) -> np.ndarray:
        return uniform(generator, low, high, samples, *shape)

    calibre = between(1.6, 3.5, 1) * np.where(labels == 1, 0.84, 1.0)[:, None]
    course = _course(generator, samples, 44)
    time = np.linspace(0.0, 1.0, 44)[None, :]
    taper = 1.0 + between(-0.2, 0.2, 1) * (2.0 * time - 1.0)
    radius = calibre * taper * (1.0 + between(0.0, 0.1, 1) * smooth_noise(generator, (samples, 44), (7,)))
    narrow = (time - between(0.15, 0.85, 1)) / between(0.04, 0.1, 1)
    radius *= 1.0 - np.where(between(0.0, 1.0, 1) < 0.4, between(0.1, 0.5, 1), 0.0) / (1.0 + narrow * narrow)
    tube = np.concatenate([course, radius[..., None]], axis=2)

    branch = _outgrowth(generator, course, calibre, 20, between(9.0, 18.0, 1))
    # Forks and stumps are more common without a sac, so that neither volume nor position reveals the class.
    has_branch = between(0.0, 1.0, 1) < np.where(labels == 1, 0.35, 0.55)[:, None]
    branch[..., 3] = np.where(has_branch, calibre * between(0.6, 0.95, 1), -1.0)

    stump = _outgrowth(generator, course, calibre, 8, between(2.0, 5.5, 1))
    stump_taper = 1.0 - between(0.2, 0.6, 1) * np.linspace(0.0, 1.0, 8)[None, :]
    has_stump = between(0.0, 1.0, 1) < np.where(labels == 1, 0.15, 0.4)[:, None]
    stump[..., 3] = np.where(has_stump, np.clip(calibre, 1.5, 2.6) * between(0.6, 1.0, 1) * stump_taper, -1.0)

    size = between(3.4, 5.4, 1)
    sac = _outgrowth(generator, course, calibre, 3, size * between(0.5, 0.95, 1))[:, 2:]
    sac = np.concatenate([sac, sac], axis=1)
    sac[:, 1, :3] += between(-0.6, 0.6, 3) * size
    sac[..., 3] = np.where(labels[:, None] == 1, size * np.array([[1.0, 0.75]]), -1.0)
    return np.concatenate([tube, branch, stump], axis=1), sac


def _course(generator: np.random.Generator, samples: int, points: int) -> np.ndarray:
    """Returns centre lines (samples, points, 3): Bezier curves from one face to the opposite one, along one axis."""
    corners = uniform(generator, 2.0, 25.0, samples, 4, 3)
    corners[:, 0] = np.clip(corners[:, 0], 6.0, 21.0)
    corners[:, 3] = np.clip(corners[:, 3], 6.0, 21.0)
    corners[:, :, 0] = np.array([-1.0, 8.0, 19.0, 28.0]) + uniform(generator, -3.0, 3.0, samples, 4)
    corners[:, 0, 0], corners[:, 3, 0] = -1.0, 28.0
    time = np.linspace(0.0, 1.0, points)[None, :, None]
    rest = 1.0 - time
    first, second, third, fourth = (corners[:, index : index + 1] for index in range(4))
    curve = rest * rest * rest * first + 3.0 * rest * rest * time * second
    return curve + 3.0 * rest * time * time * third + time * time * time * fourth


def _outgrowth(
    generator: np.random.Generator, course: np.ndarray, calibre: np.ndarray, spheres: int, length: np.ndarray
) -> np.ndarray:
    """Returns spheres in a line from the wall of a vessel outwards, across its course and inside the volume."""
    samples, points, _ = course.shape
    where = (points // 4) + (generator.random((samples, 1, 1)) * (points // 2)).astype(np.int64)
    start = np.take_along_axis(course, where, axis=1)
    tangent = np.take_along_axis(course, where + 1, axis=1) - start
    direction = np.cross(tangent, uniform(generator, -1.0, 1.0, samples, 1, 3))
    direction /= np.sqrt(_dot(direction, direction) + 1e-9)
    inwards = 13.5 - start
    leaves = (_dot(inwards, inwards) > 49.0) & (_dot(direction, inwards) < 0.0)
    direction *= np.where(leaves, -1.0, 1.0)
    reach = calibre[:, :, None] * 0.8 + length[:, :, None] * np.linspace(0.0, 1.0, spheres)[None, :, None]
    return np.concatenate([start + direction * reach, np.zeros((samples, spheres, 1))], axis=2)


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    product = first * second
    return product[..., 0:1] + product[..., 1:2] + product[..., 2:3]


def _render_spheres(samples: int, *groups: tuple[np.ndarray, int]) -> np.ndarray:
    """Returns the union of spheres with soft edges of one voxel; each group has the side of the box around a sphere."""
    edge = _SIZE + 2 * _VOLUME_MARGIN
    canvas = np.zeros(samples * edge * edge * edge, np.uint8)
    origin = (np.arange(samples, dtype=np.int32) * (edge * edge * edge))[:, None, None, None]
    for spheres, box in groups:
        steps = np.arange(box, dtype=np.int32)
        inner = steps[:, None, None] * (edge * edge) + steps[None, :, None] * edge + steps[None, None, :]
        centres = np.clip(spheres[..., :3], -5.0, _SIZE + 4.0) + _VOLUME_MARGIN
        corners = (centres + 0.5).astype(np.int32) - box // 2
        offsets = (centres - corners).astype(np.float32)
        for index in range(spheres.shape[1]):
            drawn = np.flatnonzero(spheres[:, index, 3] > 0.0)
            squares = [(steps - offsets[drawn, index, axis, None]) ** 2 for axis in range(3)]
            squared = squares[0][:, :, None, None] + squares[1][:, None, :, None] + squares[2][:, None, None, :]
            radius = spheres[drawn, index, 3].astype(np.float32)[:, None, None, None]
            brightness = as_bytes(radius + np.float32(0.5) - np.sqrt(squared))
            corner = corners[drawn, index, :, None, None, None]
            place = origin[drawn] + inner + (corner[:, 0] * edge + corner[:, 1]) * edge + corner[:, 2]
            canvas[place] = np.maximum(canvas[place], brightness)
    inside = slice(_VOLUME_MARGIN, _VOLUME_MARGIN + _SIZE)
    return canvas.reshape(samples, edge, edge, edge)[:, inside, inside, inside, None].copy()
