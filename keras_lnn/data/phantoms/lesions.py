"""Where the lesions of the embedded synthetic images are, to check explanations of what a model looks at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_lnn.data.phantoms.breast_and_vessel import breast_lesions, vessel_sacs
from keras_lnn.data.phantoms.chest import chest_findings
from keras_lnn.data.phantoms.liver import phantom_liver
from keras_lnn.errors import InputError, suggest


def _liver_tumours(split: str) -> np.ndarray:
    return phantom_liver().splits[split].labels == 2


# Data whose labels are classes of whole images, with the function that draws the masks of a split.
LESIONS: dict[str, Callable[[str], np.ndarray]] = {
    "phantom-breast": breast_lesions,
    "phantom-vessel": vessel_sacs,
    "phantom-chest": chest_findings,
    "phantom-liver-classes": _liver_tumours,
}


def draw_lesions(data: str, split: str) -> np.ndarray:
    """Returns masks of the lesions of a split, bool of the shape of its images without their channels.

    A sample without a lesion has an empty mask. For several labels per image there is one mask for each label, along
    the last axis.

    Args:
        data: Name of the data set.
        split: Name of the split.
    """
    if data not in LESIONS:
        raise InputError(f"The lesions of {data!r} are not known. {suggest(data, LESIONS)}")
    return LESIONS[data](split)
