"""What each step of a sequence contributes to the predictions."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.explaining.liquid_layers import (
    choose_liquid_layer,
    copy_model,
    find_inputs,
    predict_after,
    read_before,
    read_tensors,
    split_at,
)


@dataclasses.dataclass(frozen=True)
class StepContributions:
    """What the steps of some sequences contribute.

    Args:
        logits: Logits of the whole model, (samples, outputs).
        contributions: These logits minus those where one step holds what it holds on average, (samples, steps,
            outputs). A step that is masked, or that holds just the average, contributes 0.
    """

    logits: np.ndarray
    contributions: np.ndarray


def measure_steps(
    model: keras.Model, images: ImageArray, reference: ImageArray, layer: str | None = None
) -> StepContributions:
    """Replaces each step that a liquid layer reads by the average step and measures the change of the logits.

    The average is that of the same step over the reference: what an image shows there on average. So a contribution is
    what the content of this one step adds, given all others. Because a liquid layer is not linear, contributions need
    not sum to the logits. Elapsed times and masks stay as they are.

    Args:
        model: A functional model with a liquid layer, which stays as it is.
        images: The images or series that are explained.
        reference: Images or series that the average is taken over, such as the validation split.
        layer: Name of the layer; None for the first liquid one.

    Returns:
        The contribution of each step.
    """
    model = copy_model(model)
    read = find_inputs(model, choose_liquid_layer(model, layer))
    tensors = [read.sequence] if read.mask is None else [read.sequence, read.mask]
    parts = split_at(model, *tensors)  # so that a mask stays, even one that is computed from the sequence
    average = _average_step(*read_tensors(keras.Model(model.inputs, tensors), reference))
    sequence, *others = read_before(parts, images)
    logits = predict_after(parts, [sequence, *others])
    contributions = []
    for step in range(sequence.shape[1]):
        replaced = sequence.copy()
        replaced[:, step] = average[step]
        contributions.append(logits - predict_after(parts, [replaced, *others]))
    return StepContributions(logits, np.stack(contributions, axis=1))


def _average_step(sequences: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean of each step, (steps, features), over the sequences that have it; 0 where none has."""
    if mask is None:
        return sequences.mean(axis=0)
    read = mask[..., None].astype(bool)
    total = np.where(read, sequences, 0).sum(axis=0)
    return total / np.maximum(read.sum(axis=0), 1)
