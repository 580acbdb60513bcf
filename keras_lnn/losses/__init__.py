"""Losses that Keras does not have; those of logits are finite for any logit."""

from keras_lnn.losses.crossentropies import ASYMMETRIC, FOCAL, FocalCrossentropy, MultiLabelCrossentropy
from keras_lnn.losses.overlaps import BinaryCrossentropyDice, FocalTversky, SoftF1
from keras_lnn.losses.probabilities import Probabilities, ProbabilityLoss, ProbabilitySquaredError

__all__ = [
    "ASYMMETRIC",
    "FOCAL",
    "BinaryCrossentropyDice",
    "FocalCrossentropy",
    "FocalTversky",
    "MultiLabelCrossentropy",
    "Probabilities",
    "ProbabilityLoss",
    "ProbabilitySquaredError",
    "SoftF1",
]
