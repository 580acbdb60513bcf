"""Loading of data sets by name: the catalog, the sources, and the pipeline from arrays to batches."""

from keras_lnn.data.arrays import SPLITS, ImageData, Split
from keras_lnn.data.catalog import DataEntry, catalog, register_data
from keras_lnn.data.sources.loading import load_data
from keras_lnn.data.sources.own_arrays import register_arrays

__all__ = ["SPLITS", "DataEntry", "ImageData", "Split", "catalog", "load_data", "register_arrays", "register_data"]
