"""Weights that were learned in PyTorch: a state_dict saved as ``.npz`` into the Keras model of the same network."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_lnn.backend import describe_environment
from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import DataEntry, get_entry
from keras_lnn.errors import InputError
from keras_lnn.files import DAMAGED_FILE_ERRORS, file_digest
from keras_lnn.layers.cfc import CfC, CfCCell
from keras_lnn.registry import build_model, count_parameters, get_model
from keras_lnn.run import RunFolder
from keras_lnn.signature import Signature, save_keras

Arrays = Mapping[str, np.ndarray]


def import_weights(weights: Path, config: TrainConfig) -> RunFolder:
    """Makes a folder that serves like a run's for evaluating, predicting and exporting, from foreign weights.

    Args:
        weights: ``.npz`` of a PyTorch state_dict; names without a dot are no weights and are passed over.
        config: A complete configuration: model and its arguments, the data set whose images and classes it is for,
            and the folder to make.
    """
    entry, data = get_model(config.model), get_entry(config.data)
    size = config.size or data.sizes[0]
    image_shape = (*(size,) * data.dimensions, data.channels)
    model = build_model(entry.name, image_shape, len(data.class_names), **config.model_args)
    load_torch_weights(model, read_state_dict(weights))
    checksum = f"sha256:{file_digest(weights)}"
    folder = RunFolder.create(config, describe_environment() | {"weights": weights.name, "weights_checksum": checksum})
    save_keras(
        model, _signature(config, data, image_shape, model, f"import of {weights.name} ({checksum})"), folder.best_model
    )
    return folder


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` whose names are a state_dict's."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except DAMAGED_FILE_ERRORS:
        raise InputError(
            f"Weights must be an .npz of plain arrays. Received: {path}. Save them by "
            f"numpy.savez(path, **{{name: value.numpy() for name, value in model.state_dict().items()}})."
        ) from None
    return {name: value for name, value in arrays.items() if "." in name and not name.endswith("num_batches_tracked")}


def load_torch_weights(model: keras.Model, arrays: Arrays) -> None:
    """Sets a model's weights from a PyTorch state_dict.

    Layers are matched kind by kind, the first convolution to the first convolution and so on, so names are free.

    Args:
        model: A built Keras model of the same network.
        arrays: By their names in the state_dict.
    """
    if len(model.input.shape) == 5 and any(isinstance(layer, CfC) for layer in model.layers):
        # PyTorch flattens the maps of a slice channels first, so the columns of the CfC would be in another order.
        raise InputError("Weights can be imported into networks of images. Received: a liquid network of volumes.")
    modules = _group_modules(arrays)
    planned: list[tuple[Any, np.ndarray]] = []
    previous = None
    for layer in model.layers:
        kind = _kind_of_layer(layer)
        if kind is None:
            previous = layer if not isinstance(layer, keras.layers.Dropout) else previous
            continue
        if not modules[kind]:
            raise InputError(f"The weights must hold a module for layer {layer.name} ({kind}). Received: none is left.")
        name = next(iter(modules[kind]))
        planned += _CONVERTERS[kind](layer, name, modules[kind].pop(name), previous)
        previous = layer
    left = [name for group in modules.values() for name in group]
    if left:
        raise InputError(
            f"The model must have a layer for every module of the weights. Received: {left[0]} without one."
        )
    for variable, value in planned:
        variable.assign(value)


def _signature(config: TrainConfig, data: DataEntry, image_shape: tuple, model: keras.Model, origin: str) -> Signature:
    return Signature(
        model=config.model,
        model_args=config.model_args,
        task=data.task,
        class_names=data.class_names,
        image_shape=image_shape,
        data=data.name,
        size=config.size,
        checksum="as stated by whoever trained it",
        licence=data.licence,
        parameters=count_parameters(model),
        seed=None,
        best_epoch=None,
        trained_by=origin,
    )


def _group_modules(arrays: Arrays) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, value in arrays.items():
        prefix, inside, rest = name.partition(".rnn_cell.")
        if not inside:
            prefix, _, rest = name.rpartition(".")
        modules.setdefault(prefix, {})[rest] = value
    kinds: dict[str, dict[str, dict[str, np.ndarray]]] = {kind: {} for kind in _CONVERTERS}
    for prefix, module in modules.items():
        kinds[_kind_of_module(prefix, module)][prefix] = module
    return kinds


def _kind_of_module(prefix: str, module: Arrays) -> str:
    if any("ff1." in name for name in module):
        return "CfC"
    if "running_mean" in module:
        return "batch normalisation"
    rank = module["weight"].ndim if "weight" in module else 0
    if rank in (2, 4, 5):
        return "dense" if rank == 2 else "convolution"
    raise InputError(f"A module must be a convolution, dense, batch normalisation or CfC. Received: {prefix}.")


def _kind_of_layer(layer: keras.layers.Layer) -> str | None:
    if isinstance(layer, CfC):
        return "CfC"
    if isinstance(layer, keras.layers.BatchNormalization):
        return "batch normalisation"
    if isinstance(layer, keras.layers.Dense):
        return "dense"
    if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv3D):
        return "convolution"
    if layer.weights:
        raise InputError(
            f"Weights can be imported into convolution, dense, batch normalisation and CfC. Received: {layer.name}."
        )
    return None


def _pair(variable: Any, name: str, module: Arrays, key: str, convert: Callable[[np.ndarray], np.ndarray]) -> tuple:
    if key not in module:
        raise InputError(f"The weights must hold {name}.{key}. Received: {name} without it.")
    if module[key].dtype.kind not in "fiu" or not np.isfinite(module[key]).all():
        raise InputError(f"Weights must be finite numbers. Received: {name}.{key}, which holds others.")
    value = convert(module[key])
    if value.shape != tuple(variable.shape):
        raise InputError(
            f"{name}.{key} must fit {variable.path} of shape {tuple(variable.shape)}. Received: {value.shape}. "
            f"Check --model, --model-args and --data."
        )
    return variable, value


def _as_it_is(value: np.ndarray) -> np.ndarray:
    return value


def _transpose(value: np.ndarray) -> np.ndarray:
    return value.T


def _convert_convolution(layer: Any, name: str, module: Arrays, previous: Any) -> list[tuple]:
    pairs = [_pair(layer.kernel, name, module, "weight", lambda value: np.moveaxis(value, (0, 1), (-1, -2)))]
    return pairs + ([_pair(layer.bias, name, module, "bias", _as_it_is)] if layer.use_bias else [])


def _convert_dense(layer: Any, name: str, module: Arrays, previous: Any) -> list[tuple]:
    def kernel(value: np.ndarray) -> np.ndarray:
        if isinstance(previous, keras.layers.Flatten) and len(previous.input.shape) > 2:
            # PyTorch flattens channels first, Keras channels last.
            *spatial, channels = previous.input.shape[1:]
            if value.shape[1] != channels * math.prod(spatial):
                return value.T
            value = np.moveaxis(value.reshape(len(value), channels, *spatial), 1, -1).reshape(len(value), -1)
        return value.T

    pairs = [_pair(layer.kernel, name, module, "weight", kernel)]
    return pairs + ([_pair(layer.bias, name, module, "bias", _as_it_is)] if layer.use_bias else [])


def _convert_normalisation(layer: Any, name: str, module: Arrays, previous: Any) -> list[tuple]:
    parts = {"weight": layer.gamma, "bias": layer.beta}
    parts |= {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
    return [_pair(variable, name, module, key, _as_it_is) for key, variable in parts.items() if variable is not None]


def _convert_cfc(layer: CfC, name: str, module: Arrays, previous: Any) -> list[tuple]:
    if isinstance(layer.cell, CfCCell):
        return _convert_cfc_cell(layer.cell, name, module)
    pairs = []
    for index, cell in enumerate(layer.cell.layer_cells):
        prefix = f"layer_{index}."
        part = {key.removeprefix(prefix): value for key, value in module.items() if key.startswith(prefix)}
        mask = part.get("sparsity_mask")
        if mask is not None and not np.array_equal(mask.T, np.asarray(cell.sparsity_mask)):
            raise InputError(
                f"The wiring of {name} must be that of the model. Received: another. Set units, sparsity or "
                f"wiring_seed by --model-args."
            )
        pairs += _convert_cfc_cell(cell, f"{name}.rnn_cell.layer_{index}", part)
    return pairs


def _convert_cfc_cell(cell: CfCCell, name: str, module: Arrays) -> list[tuple]:
    backbone = sorted((key for key in module if re.fullmatch(r"backbone\.\d+\.weight", key)), key=_number_in)
    dense = [] if cell.backbone_fn is None else cell.backbone_fn.layers[::2]
    if len(backbone) != len(dense):
        raise InputError(f"The backbone of {name} must have {len(dense)} layers. Received: {len(backbone)}.")
    pairs = []
    for key, layer in zip(backbone, dense, strict=True):
        pairs.append(_pair(layer.kernel, name, module, key, _transpose))
        pairs.append(_pair(layer.bias, name, module, key.replace("weight", "bias"), _as_it_is))
    parts = {"ff1": (cell.ff1_kernel, cell.ff1_bias)}
    if cell.mode == "pure":
        pairs += [_pair(cell.w_tau, name, module, "w_tau", _as_it_is), _pair(cell.A, name, module, "A", _as_it_is)]
    else:
        parts["ff2"] = (cell.ff2_kernel, cell.ff2_bias)
        parts["time_a"] = (cell.time_a.kernel, cell.time_a.bias)
        parts["time_b"] = (cell.time_b.kernel, cell.time_b.bias)
    for key, (kernel, bias) in parts.items():
        pairs.append(_pair(kernel, name, module, f"{key}.weight", _transpose))
        pairs.append(_pair(bias, name, module, f"{key}.bias", _as_it_is))
    return pairs


def _number_in(key: str) -> int:
    return int(key.split(".")[1])


_CONVERTERS: dict[str, Callable[..., list[tuple]]] = {
    "convolution": _convert_convolution,
    "batch normalisation": _convert_normalisation,
    "dense": _convert_dense,
    "CfC": _convert_cfc,
}
