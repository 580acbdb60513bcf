"""Recurrent layers and the ways from images to sequences; they run on every Keras backend."""

from keras_lnn.layers.cfc import CfC
from keras_lnn.layers.cfc_cell import CfCCell, lecun_tanh
from keras_lnn.layers.ltc import LTC
from keras_lnn.layers.ltc_cell import LTCCell
from keras_lnn.layers.mixed_memory import MixedMemoryCell
from keras_lnn.layers.sequences import apply_to_slices, channels_as_steps
from keras_lnn.layers.single_logit import SingleLogit
from keras_lnn.layers.views import FlippedViews, MeanOfViews
from keras_lnn.layers.wired_cfc_cell import WiredCfCCell

__all__ = [
    "LTC",
    "CfC",
    "CfCCell",
    "FlippedViews",
    "LTCCell",
    "MeanOfViews",
    "MixedMemoryCell",
    "SingleLogit",
    "WiredCfCCell",
    "apply_to_slices",
    "channels_as_steps",
    "lecun_tanh",
]
