"""Embedded synthetic segmentation data: computed tomography of the liver and its tumours, as slices and as volumes."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData, Split
from keras_lnn.data.phantoms.abdomen import Patient, draw_patient, render
from keras_lnn.data.phantoms.shapes import as_bytes, checksum_of, make_generator, smooth_noise, uniform

CLASSES = ("background", "liver", "tumour")
SLICE_CLASSES = ("no liver", "liver", "lesion")

_SEED = 20_261_201
_PATIENTS = {"train": 32, "val": 6, "test": 12}
_SLICES = 10
_VOLUMES, _DEPTH = 3, 8
_FIELD_OF_VIEW = 346.0
# Range from above the liver to below it, and the distance between the slices of a volume, in millimetres.
_HIGHEST, _LOWEST, _SLICE_DISTANCE = -14.0, 190.0, 6.0
_WINDOW = (-140.0, 240.0)
_NOISE, _NOISE_OF_VOLUMES = (10.0, 18.0), (34.0, 46.0)
_FEWEST_TUMOUR_PIXELS = 3


def phantom_liver(size: int = 64) -> ImageData:
    """Returns slices of the abdomen with masks of liver and tumours: 50 patients, 10 slices each from lung to pelvis.

    Spleen and kidneys are as bright as the liver, its vessels brighter, the gallbladder as dark as a tumour; tumours
    are a little darker than the liver or, one in five, brighter. Some slices show no liver, and a fifth of the patients
    have no tumour.

    Args:
        size: Side of the slices in pixels.

    Returns:
        The slices of 32, 6 and 12 patients for training, validation and test; the same bytes each time.
    """
    return _make("phantom-liver", size, volumes=False)


def phantom_liver_volumes(size: int = 64) -> ImageData:
    """Returns short volumes of the same patients: 8 neighbouring slices, 6 mm apart, three volumes per patient.

    Each slice has so much independent noise that its neighbours reveal what it hides.

    Args:
        size: Height and width in pixels.

    Returns:
        The volumes of 32, 6 and 12 patients for training, validation and test; the same bytes each time.
    """
    return _make("phantom-liver-volumes", size, volumes=True)


def phantom_liver_classes(size: int = 64) -> ImageData:
    """Returns the slices of :func:`phantom_liver` with one class each: no liver, liver, or a lesion in it.

    Args:
        size: Side of the slices in pixels.

    Returns:
        The slices of 32, 6 and 12 patients for training, validation and test; the same bytes each time.
    """
    data = phantom_liver(size)
    splits = {
        name: dataclasses.replace(split, labels=split.labels.max(axis=(1, 2)).astype(np.int64))
        for name, split in data.splits.items()
    }
    return dataclasses.replace(
        data,
        name="phantom-liver-classes",
        task="multi-class",
        class_names=SLICE_CLASSES,
        splits=splits,
        checksum=checksum_of(splits),
    )


def _make(name: str, size: int, volumes: bool) -> ImageData:
    splits = {}
    number = 0
    for split, patients in _PATIENTS.items():
        drawn = [_draw_samples(patient, size, volumes) for patient in range(number, number + patients)]
        number += patients
        splits[split] = Split(
            images=np.concatenate([images for images, _, _ in drawn]),
            labels=np.concatenate([masks for _, masks, _ in drawn]),
            names=[name for _, _, names in drawn for name in names],
            groups=[name.partition("/")[0] for _, _, names in drawn for name in names],
        )
    return ImageData(name, "segmentation", CLASSES, {key: splits[key] for key in SPLITS}, checksum=checksum_of(splits))


def _draw_samples(number: int, size: int, volumes: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Returns images, masks and names of one patient, whose anatomy is the same in slices and volumes."""
    patient = draw_patient(make_generator(_SEED, number))
    generator = make_generator(_SEED + 1 + volumes, number)
    if not volumes:
        between = (_LOWEST - _HIGHEST) / (_SLICES - 1)
        levels = _HIGHEST + between * (np.arange(_SLICES) + uniform(generator, -0.3, 0.3, _SLICES))
        images, masks = _scan(generator, patient, levels, size, _NOISE)
        return images[..., None], masks, [f"patient-{number:02}/slice-{k}" for k in range(_SLICES)]
    room = (_LOWEST - _HIGHEST - 30.0 - (_DEPTH - 1) * _SLICE_DISTANCE) / _VOLUMES
    images, masks = [], []
    for piece in range(_VOLUMES):
        start = _HIGHEST + 10.0 + room * (piece + uniform(generator, 0.0, 1.0, 1))
        scanned = _scan(generator, patient, start + _SLICE_DISTANCE * np.arange(_DEPTH), size, _NOISE_OF_VOLUMES)
        images.append(scanned[0])
        masks.append(scanned[1])
    names = [f"patient-{number:02}/volume-{k}" for k in range(_VOLUMES)]
    return np.stack(images)[..., None], np.stack(masks), names


def _scan(
    generator: np.random.Generator, patient: Patient, levels: np.ndarray, size: int, noise: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns windowed images with independent noise in each slice, and their masks."""
    anatomy = render(patient, levels, size, _FIELD_OF_VIEW)
    grain = smooth_noise(generator, anatomy.density.shape, (max(1, round(size / 48)),) * 2)
    density = anatomy.density + uniform(generator, *noise, 1) * grain
    low, high = _WINDOW
    masks = (anatomy.liver >= 0.5).astype(np.uint8)
    tumours = (anatomy.tumour >= 0.5) & (masks == 1)
    # An annotator would not draw a tumour of a pixel or two.
    few = _FEWEST_TUMOUR_PIXELS * (size / 64.0) * (size / 64.0)
    masks[tumours & (tumours.sum(axis=(1, 2), keepdims=True) >= few)] = 2
    return as_bytes((density - low) / (high - low)), masks
