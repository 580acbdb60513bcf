"""Explained samples and signatures of models for the tests of explanations."""

import numpy as np

from keras_lnn.explaining.explanations import Explained
from keras_lnn.saved.signature import Signature


def make_signature(**changes):
    about = {"model": "test", "model_args": {}, "task": "binary", "class_names": ("a", "b"), "image_shape": (4, 4, 1)}
    about |= {"data": "", "size": None, "checksum": "", "licence": "", "parameters": 0, "seed": 0}
    return Signature(**(about | {"best_epoch": None, "trained_by": ""} | changes))


def make_explained(name="a.png", **changes):
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = 1
    about = {"name": name, "image": np.zeros((4, 4, 1), np.uint8), "predicted": "a", "probability": 0.75}
    about |= {"target": "a", "target_probability": 0.75, "maps": {"grad-cam": values}}
    return Explained(**(about | changes))
