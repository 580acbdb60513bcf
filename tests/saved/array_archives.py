"""An export format of a test: the weights in an ``.npz``, from which the network is built again by its name."""

import numpy as np

from keras_lnn.registry import build_model
from keras_lnn.saved.predictor import KerasPredictor


def write(predictor, folder, samples):
    np.savez(folder / "weights.npz", *predictor.model.get_weights())


def load(path, signature):
    model = build_model(
        signature.model, signature.image_shape, signature.get_task().outputs, **dict(signature.model_args)
    )
    with np.load(path / "weights.npz") as archive:
        model.set_weights([archive[name] for name in archive.files])
    return KerasPredictor(model, signature)
