"""Shared by the tests of pictures: predictions, histories and images to draw, and the texts of a figure."""

import numpy as np
import pandas

CHEST = ["atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax"]
CHEST = [*CHEST, "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"]
TISSUE = ["adipose", "background", "colorectal adenocarcinoma epithelium"]


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def predict_classes(classes, samples=120, seed=0, present=None):
    """Returns truth among the first ``present`` classes, and probabilities correlated with it."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, present or classes, samples)
    truth[: present or classes] = np.arange(present or classes)
    return truth, softmax(random.normal(size=(samples, classes)) + 1.5 * np.eye(classes)[truth])


def predict_labels(labels, samples=150, seed=0):
    random = np.random.default_rng(seed)
    truth = (random.random((samples, labels)) < 0.2).astype(np.uint8)
    truth[0], truth[1] = 1, 0
    return truth, 1 / (1 + np.exp(1.2 - 1.8 * truth - random.normal(size=truth.shape)))


def make_history(epochs=5, **columns):
    steps = np.arange(1, epochs + 1)
    content = {"epoch": steps, "loss": 1 / steps, "auc": 1 - 0.4 / steps, "val_loss": 1.2 / steps}
    content |= {"val_auc": 1 - 0.5 / steps, "learning_rate": np.full(epochs, 1e-3), "seconds": np.ones(epochs)}
    return pandas.DataFrame(content | columns)


def make_class_accuracy(epochs, names):
    values = np.random.default_rng(0).random((epochs, len(names)))
    return pandas.DataFrame(values, index=pandas.Index(range(1, epochs + 1), name="epoch"), columns=names)


def numbered_images(count, shape=(6, 6, 1)):
    """Returns uniform images whose brightness is their position."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8).reshape(-1, *[1] * len(shape)), (count, *shape)).copy()


def built(wiring, features):
    wiring.build(features)
    return wiring


def labelled_lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def heading(figure):
    return figure.get_suptitle().replace("\n", " ")
