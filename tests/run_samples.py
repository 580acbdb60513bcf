"""Small run folders for the tests: what training writes, from probabilities that a random generator makes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from keras_lnn.config import TrainConfig
from keras_lnn.data.arrays import Split
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.files.atomic import without_nan

BREAST = ("malignant", "normal, benign")
CHEST = ("atelectasis", "effusion", "mass", "nodule")
BLOOD = ("basophil", "eosinophil", "lymphocyte")


def make_truth(samples=156, positives=114):
    """Returns class indices with a given number of class 1, in random order."""
    return np.random.default_rng(7).permutation((np.arange(samples) < positives).astype(np.int64))


def binary_probabilities(truth, strength, seed, shared=0.6):
    """Scores of two classes; part of each sample's difficulty is the same for every model."""
    common = np.random.default_rng(99).normal(size=len(truth))
    own = np.random.default_rng(seed).normal(size=len(truth))
    score = strength * (truth - 0.5) * 2 + np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    positive = 1 / (1 + np.exp(-score))
    return np.stack([1 - positive, positive], axis=1)


def class_probabilities(truth, classes, strength, seed):
    scores = np.random.default_rng(seed).normal(size=(len(truth), classes)) + strength * np.eye(classes)[truth]
    shifted = np.exp(scores)
    return shifted / shifted.sum(axis=1, keepdims=True)


def label_probabilities(truth, strength, seed):
    noise = np.random.default_rng(seed).normal(size=truth.shape)
    return 1 / (1 + np.exp(1.0 - strength * truth - noise))


def write_run(
    path,
    truth,
    probabilities,
    *,
    class_names=BREAST,
    task="binary",
    thresholds=None,
    test=True,
    checksum="sha256:a",
    names=None,
    groups=None,
    parameters=1234,
    positive_class=None,
    **config,
):
    """Writes the folder of a complete run; the validation split has the first half of the samples."""
    path = Path(path)
    path.mkdir(parents=True)
    values = {"model": "lnn", "data": "breastmnist", "epochs": 3, "test": test, "run_dir": path, **config}
    (path / "config.yaml").write_text(TrainConfig.create(values).to_yaml(), encoding="utf-8")
    (path / "environment.json").write_text(json.dumps({"data_checksum": checksum}), encoding="utf-8")
    (path / "best.keras").write_bytes(b"0" * parameters)
    half = len(truth) // 2
    splits = {"val": (truth[:half], probabilities[:half], None, None if groups is None else groups[:half])}
    splits |= {"test": (truth, probabilities, names, groups)} if test else {}
    about = {"task": task, "class_names": class_names, "thresholds": thresholds, "positive_class": positive_class}
    measured = {name: evaluate_predictions(*split[:2], groups=split[3], **about) for name, split in splits.items()}
    tables = [_table(*split, task, class_names, name) for name, split in splits.items()]
    (path / "predictions.csv").write_text(pd.concat(tables).to_csv(index=False), encoding="utf-8")
    metrics = {name: found.to_json() for name, found in measured.items()}
    metrics |= {
        "per_class": {name: found.per_class_to_json() for name, found in measured.items()},
        "classes": list(class_names),
        "positive_class": (positive_class or class_names[1]) if task == "binary" else None,
        "warnings": list(measured["test" if test else "val"].warnings),
        "epochs": 3,
        "best_epoch": 2,
        "parameters": parameters,
        "seconds": 12.5,
    }
    (path / "metrics.json").write_text(json.dumps(without_nan(metrics)), encoding="utf-8")
    return path


def write_breast_runs(folder, strengths, seeds=1, **config):
    """Runs of several models, ``{name: strength}``, in ``folder/name-seed``."""
    truth = make_truth()
    for place, (name, strength) in enumerate(strengths.items()):
        for seed in range(seeds):
            probabilities = binary_probabilities(truth, strength, 1000 * place + seed)
            write_run(folder / f"{name}-{seed}", truth, probabilities, model=name, seed=seed, **config)
    return folder


def write_label_runs(folder):
    """Writes runs of three models with four labels, of which only ``cnn`` has learned the first."""
    truth = (np.random.default_rng(2).random((150, 4)) < 0.3).astype(np.uint8)
    for place, (model, strength) in enumerate({"lnn": 0, "cnn": 2.5, "dnn": 0}.items()):
        probabilities = label_probabilities(truth, np.array([strength, 1, 1, 1]), place)
        about = {"class_names": CHEST, "task": "multi-label", "thresholds": (0.3, 0.4, 0.5, 0.6)}
        write_run(folder / model, truth, probabilities, model=model, **about)
    return folder


def _table(truth, probabilities, names, groups, task, class_names, split):
    from keras_lnn.tasks.kinds import make_task

    images = np.zeros((len(truth), 1, 1, 1), dtype=np.uint8)
    return make_task(task, class_names).tabulate(Split(images, truth, names, groups), probabilities, None, split)
