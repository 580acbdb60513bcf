"""Recurrent layers, and layers that turn images into sequences; they run on every Keras backend."""

from keras_lnn.layers.cfc import CfC
from keras_lnn.layers.cfc_cell import CfCCell, lecun_tanh
from keras_lnn.layers.elapsed_time import ElapsedTime
from keras_lnn.layers.learned_scale import LearnedScale
from keras_lnn.layers.ltc import LTC
from keras_lnn.layers.ltc_cell import LTCCell
from keras_lnn.layers.mean_of_members import MeanOfMembers
from keras_lnn.layers.mixed_memory import MixedMemoryCell
from keras_lnn.layers.scan_orders import ScanOrder, scan_order
from keras_lnn.layers.sequences import (
    Channels,
    Columns,
    Patches,
    RestoreMaps,
    Rows,
    SequenceLayer,
    Slices,
    apply_to_slices,
)
from keras_lnn.layers.single_logit import SingleLogit
from keras_lnn.layers.views import FlippedViews, MeanOfViews, MirrorImage
from keras_lnn.layers.wired_cfc_cell import WiredCfCCell

__all__ = [
    "LTC",
    "CfC",
    "CfCCell",
    "Channels",
    "Columns",
    "ElapsedTime",
    "FlippedViews",
    "LTCCell",
    "LearnedScale",
    "MeanOfMembers",
    "MeanOfViews",
    "MirrorImage",
    "MixedMemoryCell",
    "Patches",
    "RestoreMaps",
    "Rows",
    "ScanOrder",
    "SequenceLayer",
    "SingleLogit",
    "Slices",
    "WiredCfCCell",
    "apply_to_slices",
    "lecun_tanh",
    "scan_order",
]
