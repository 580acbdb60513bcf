"""A saved model measured on a data set: the same numbers as at the end of its run, or those on other data."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.config import TrainConfig
from keras_lnn.data import ImageData, Split, load_data
from keras_lnn.data.options import OwnImages
from keras_lnn.errors import InputError
from keras_lnn.inference import load_predictor
from keras_lnn.report import measure_split, metrics_of_split
from keras_lnn.run import RunFolder
from keras_lnn.signature import Signature


def evaluate_model(
    model: str | Path,
    *,
    data: str | None = None,
    split: str = "test",
    size: int | None = None,
    data_dir: Path | None = None,
    accept_checksum: bool = False,
    image_dir: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Measures a saved model.

    Args:
        model: A run, a ``.keras`` file, an exported folder, or a name in ``saved_models/``.
        data: Data set; the one that it learned from if not given.
        split: ``train``, ``val`` or ``test``.
        size: Side of the images; the model's own if not given.
        data_dir: Folder of the data files; the run's own if not given.
        accept_checksum: Take a data file with another checksum.
        image_dir: Folder of the images of a table; the run's own if not given.
        progress: Is told the fraction done.

    Returns:
        The content that metrics.json has for a split, with the name of the data.
    """
    predictor = load_predictor(model)
    signature = predictor.signature
    run = RunFolder(Path(model))
    config = TrainConfig.from_yaml(run.config) if run.config.is_file() else None
    own = data in (None, signature.data)
    if data is None:
        data = config.data if config else signature.data
    loaded = load_data(
        data,
        size=size or signature.size,
        data_dir=data_dir or (config.data_dir if config else None),
        accept_checksum=accept_checksum or bool(config and config.accept_checksum),
        # The seed decides the split of data that come without one: with another, training images would be tested.
        seed=(signature.seed if signature.split_seed is None else signature.split_seed) or 0,
        progress=progress,
        own=dataclasses.replace(
            config.own_images() if own and config else OwnImages(),
            **({"image_dir": image_dir} if image_dir else {}),
            fit=signature.fit,
            window=signature.window,
        ),
    )
    _require_same_kind(loaded, signature)
    chosen = _in_order_of(signature, loaded, loaded.splits[split])
    metrics = metrics_of_split(measure_split(chosen, predictor.answer(chosen.images), signature), signature, split)
    if own and signature.best_epoch is not None and loaded.checksum != signature.checksum:
        metrics["warnings"].append(
            f"{data} has changed since the model learned from it (checksum {loaded.checksum}, before "
            f"{signature.checksum}): images of this split may have been trained on."
        )
    return metrics | {"data": data, "model": str(model)}


def _require_same_kind(data: ImageData, signature: Signature) -> None:
    if data.image_shape != signature.image_shape:
        raise InputError(
            f"{data.name} must have images of shape {signature.image_shape}, which the model reads. Received: "
            f"{data.image_shape}. Set --size or choose other data."
        )
    if data.task != signature.task or set(data.class_names) != set(signature.class_names):
        raise InputError(
            f"{data.name} must have the model's task, {signature.task} with the classes "
            f"{' | '.join(signature.class_names)}. Received: {data.task} with {' | '.join(data.class_names)}."
        )


def _in_order_of(signature: Signature, data: ImageData, split: Split) -> Split:
    """The same images with labels that mean what the model's outputs mean, whatever order the data name them in."""
    if data.class_names == signature.class_names:
        return split
    if split.labels.ndim == 2:
        labels = split.labels[:, [data.class_names.index(name) for name in signature.class_names]]
    else:
        places = [signature.class_names.index(name) for name in data.class_names]
        labels = np.array(places, split.labels.dtype)[split.labels]
    return dataclasses.replace(split, labels=labels)
