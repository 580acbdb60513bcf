"""Recurrent layers and the ways from images to sequences; they run on every Keras backend."""

from keras_lnn.layers.cfc import CfC, CfCCell, WiredCfCCell, lecun_tanh
from keras_lnn.layers.sequences import apply_to_slices, channels_as_steps

__all__ = ["CfC", "CfCCell", "WiredCfCCell", "apply_to_slices", "channels_as_steps", "lecun_tanh"]
