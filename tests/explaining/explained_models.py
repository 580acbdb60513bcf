"""Small networks of which maps are known, and predictors of them."""

import keras
import numpy as np

from keras_lnn.saved.predictor import KerasPredictor
from keras_lnn.saved.signature import Signature


def make_predictor(model, task="binary", classes=None, image_shape=None, time_unit=None):
    """Returns the predictor of a model that nobody has trained."""
    classes = classes or {"binary": 2, "multi-class": 3, "multi-label": 3, "segmentation": 3}[task]
    signature = Signature(
        model="test",
        model_args={},
        task=task,
        class_names=tuple("abcdefgh"[:classes]),
        image_shape=tuple(image_shape or model.inputs[0].shape[1:]),
        data="",
        size=None,
        checksum="",
        licence="",
        parameters=0,
        seed=0,
        best_epoch=None,
        trained_by="",
        time_unit=time_unit,
    )
    model.jit_compile = False
    model.run_eagerly = True  # compiling a network takes far longer than a few calls
    return KerasPredictor(model, signature)


def draw_images(*shape, seed=0):
    """Returns random raw images."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def make_linear(side=6, classes=2):
    """Returns a network whose logits are sums of weighted pixels, and these weights (side, side, classes)."""
    inputs = keras.Input((side, side, 1))
    dense = keras.layers.Dense(classes)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    weights = np.random.default_rng(1).normal(size=(side * side, classes)).astype(np.float32)
    dense.set_weights([weights, np.array([0.5, -0.25, 0.0][:classes], np.float32)])
    return model, weights.reshape(side, side, classes)


def make_convolutions(image_shape=(8, 8, 1), classes=2):
    """Returns a network of two convolutions with pooling between them, global averages and a dense layer."""
    inputs = keras.Input(image_shape)
    maps = keras.layers.Conv2D(3, 3, padding="same", activation="relu", name="first")(inputs)
    maps = keras.layers.MaxPooling2D(2)(maps)
    maps = keras.layers.Conv2D(4, 3, padding="same", name="second")(maps)
    maps = keras.layers.ReLU(name="second_relu")(maps)
    features = keras.layers.GlobalAveragePooling2D()(maps)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(features))
