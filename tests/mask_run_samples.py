"""Small run folders of masks for the tests: what training writes, from masks that a random generator makes."""

import json

import numpy as np
import pandas as pd

from keras_lnn.config import TrainConfig
from keras_lnn.data.arrays import Split
from keras_lnn.evaluation.masks import evaluate_masks
from keras_lnn.files.atomic import without_nan
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.prediction_tables import tabulate_measures
from keras_lnn.training.report import metrics_of_split

NAMES = ("background", "liver", "tumour")


def make_truth(samples=24, side=12, seed=7):
    """Masks with a liver of some place and size, and a tumour in every other one."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((samples, side, side), np.uint8)
    for row, mask in enumerate(masks):
        top, left, height = generator.integers((0, 0, side // 3), (side // 3, side // 3, side // 2))
        mask[top : top + height, left : left + side // 2] = 1
        if row % 2:
            mask[top + 1 : top + 3, left + 1 : left + 3] = 2
    return masks


def answer(truth, wrong, seed):
    """The truth with a share of its pixels drawn anew."""
    generator = np.random.default_rng(seed)
    return np.where(generator.random(truth.shape) < wrong, generator.integers(0, 3, truth.shape), truth).astype(
        np.uint8
    )


def signature(**changes):
    fields = {
        "model": "unet",
        "model_args": {},
        "task": "segmentation",
        "class_names": NAMES,
        "image_shape": (12, 12, 1),
        "data": "phantom-liver",
        "size": 12,
        "checksum": "none",
        "licence": "",
        "parameters": 9,
        "seed": 0,
        "best_epoch": 2,
        "trained_by": "test",
    }
    return Signature(**fields | changes)


def write_mask_run(path, truth, predicted, *, patients=8, checksum="sha256:a", spacing=None, resamples=20, **config):
    """Writes the folder of a complete run; the validation split has the first half of the images."""
    path.mkdir(parents=True)
    values = {"model": "unet", "data": "phantom-liver", "epochs": 2, "run_dir": path, **config}
    (path / "config.yaml").write_text(TrainConfig.create(values).to_yaml(), encoding="utf-8")
    (path / "environment.json").write_text(json.dumps({"data_checksum": checksum}), encoding="utf-8")
    (path / "history.csv").write_text("epoch,val_dice,seconds\n1,0.1,2.0\n2,0.2,1.0\n", encoding="utf-8")
    groups = None if patients is None else [f"p{row % patients}" for row in range(len(truth))]
    tables, metrics = [], {"per_class": {}}
    for name, rows in {"val": slice(0, len(truth) // 2), "test": slice(None)}.items():
        of_split = None if groups is None else groups[rows]
        split = Split(np.zeros((*truth[rows].shape, 1), np.uint8), truth[rows], None, of_split)
        about = {"class_names": NAMES, "groups": of_split, "spacing": spacing, "resamples": resamples}
        found = evaluate_masks(truth[rows], predicted[rows], **about)
        tables.append(tabulate_measures(split, found.measures, name))
        content = metrics_of_split(found, signature(), name)
        metrics["per_class"] |= content.pop("per_class")
        metrics |= content
    metrics |= {"epochs": 2, "best_epoch": 2, "parameters": 9, "seconds": 3.0}
    (path / "predictions.csv").write_text(pd.concat(tables).to_csv(index=False), encoding="utf-8")
    (path / "metrics.json").write_text(json.dumps(without_nan(metrics)), encoding="utf-8")
    return path


def write_mask_fold(path, truth, predicted, place, **config):
    """Writes the folder of a complete run of one of three folds, each of which has images and four patients of its own.

    Args:
        path: The folder.
        truth: The masks of the fold.
        predicted: What its model predicts.
        place: The index of the fold.
        **config: Further fields of the run's configuration, and arguments of :func:`write_mask_run`.
    """
    write_mask_run(path, truth, predicted, patients=4, fold=f"{place + 1}/3", **config)
    table = pd.read_csv(path / "predictions.csv")
    table["file"] = f"{place}-" + table["index"].map(str)
    table["patient"] = table["patient"].str.replace("p", f"p{place}-")
    table.to_csv(path / "predictions.csv", index=False)
    counts = {"train": 2 * len(truth), "val": len(truth), "test": len(truth)}
    splits = {name: {"images": count, "patients": 4, "classes": {}} for name, count in counts.items()}
    metrics = json.loads((path / "metrics.json").read_text()) | {"splits": splits, "seconds": 1.0}
    (path / "metrics.json").write_text(json.dumps(metrics))
