"""Kinds of own images: each is one entry, whose functions exist, and a new one is loaded by its prefix."""

import importlib

import numpy as np
import pytest

from keras_lnn.data import ImageData, Split, load_data
from keras_lnn.data.catalog import OTHER_SOURCES, OWN_SOURCES, OwnSource, is_own, require_data
from keras_lnn.errors import InputError


@pytest.mark.parametrize("prefix", OWN_SOURCES)
def test_the_functions_of_each_source_exist(prefix):
    source = OWN_SOURCES[prefix]
    for function in filter(None, (source.loader, source.columns)):
        module, _, name = function.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
    assert OTHER_SOURCES[prefix + source.place] == source.summary


def load_stripes(path, reading):
    images = np.zeros((4, reading.size, reading.size, 1), np.uint8)
    splits = {name: Split(images, np.array([0, 1, 0, 1])) for name in ("train", "val", "test")}
    return ImageData(f"stripes:{path}", "binary", ("no", "yes"), splits, checksum="none")


def test_a_new_source_needs_only_one_entry(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="There is no data set"):
        require_data(f"stripes:{tmp_path}")
    entry = OwnSource("DIR", "images of stripes", f"{__name__}:load_stripes")
    monkeypatch.setitem(OWN_SOURCES, "stripes:", entry)
    assert is_own(f"stripes:{tmp_path}")
    data = load_data(f"stripes:{tmp_path}", size=12)
    assert (data.name, data.image_shape) == (f"stripes:{tmp_path}", (12, 12, 1))
    with pytest.raises(InputError, match="stripes:DIR"):
        require_data("stripe")
