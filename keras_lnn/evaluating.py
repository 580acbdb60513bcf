"""A saved model measured on a data set: the same numbers as at the end of its run, or those on other data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_lnn.config import TrainConfig
from keras_lnn.data import ImageData, load_data
from keras_lnn.errors import InputError
from keras_lnn.inference import load_predictor
from keras_lnn.report import evaluate_split
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
        progress: Is told the fraction done.

    Returns:
        The content that metrics.json has for a split, with the name of the data.
    """
    predictor = load_predictor(model)
    signature = predictor.signature
    run = RunFolder(Path(model))
    config = TrainConfig.from_yaml(run.config) if run.config.is_file() else None
    if data is None:
        data = config.data if config else signature.data
    loaded = load_data(
        data,
        size=size or signature.size,
        data_dir=data_dir or (config.data_dir if config else None),
        accept_checksum=accept_checksum or bool(config and config.accept_checksum),
        # The seed decides the split of data that come without one: with another, training images would be tested.
        seed=signature.seed or 0,
        progress=progress,
    )
    _require_same_kind(loaded, signature)
    chosen = loaded.splits[split]
    metrics = evaluate_split(chosen, predictor.predict(chosen.images), signature, split)
    return metrics | {"data": data, "model": str(model)}


def _require_same_kind(data: ImageData, signature: Signature) -> None:
    if data.image_shape != signature.image_shape:
        raise InputError(
            f"{data.name} must have images of shape {signature.image_shape}, which the model reads. Received: "
            f"{data.image_shape}. Set --size or choose other data."
        )
    if data.task != signature.task or len(data.class_names) != len(signature.class_names):
        raise InputError(
            f"{data.name} must have the model's task, {signature.task} with {len(signature.class_names)} classes. "
            f"Received: {data.task} with {len(data.class_names)}."
        )
