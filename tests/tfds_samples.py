"""Small data sets of TensorFlow Datasets, written by itself, for the tests."""

import numpy as np
import pytest

from keras_lnn.data.sources import tfds as tfds_module

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")


def picture(number, shape):
    """Returns an image with its sample number in every pixel and a mark in one corner."""
    pixels = np.full(shape, number, np.uint8)
    pixels[0, 0] = 255
    return pixels


def define_builder(name, features, splits, generate, **members):
    """A builder class that is never registered, so that nothing of it outlives the test."""
    core = tensorflow_datasets.core

    def info(self):
        keys = members.get("supervised_keys")
        return core.DatasetInfo(builder=self, features=features, supervised_keys=keys)

    def split_generators(self, manager):
        return {split: generate(split, count) for split, count in splits.items()}

    content = {
        "VERSION": core.Version("1.2.0"),
        "__module__": __name__,
        "_info": info,
        "_split_generators": split_generators,
        "_generate_examples": lambda self: iter(()),
        **members,
    }
    with core.registered.skip_registration():
        return type(name, (core.GeneratorBasedBuilder,), content)


def prepare(builder_class, data_dir):
    with tfds_module._quiet():
        builder_class(data_dir=data_dir).download_and_prepare()


def image_features(shape, classes=("flat", "raised", "round")):
    features = tensorflow_datasets.features
    return features.FeaturesDict(
        {
            "picture": features.Image(shape=shape),
            "kind": features.ClassLabel(names=list(classes)),
            "remark": features.Text(),
        }
    )
