"""Weights that were learned in PyTorch: a state_dict saved as ``.npz`` into the Keras model of the same network."""

import math
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_lnn.backend.process import describe_environment
from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import DataEntry, get_entry
from keras_lnn.data.disk import ArrayHeader, read_npz_headers
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, file_digest, require_file
from keras_lnn.layers.cfc import CfC
from keras_lnn.layers.cfc_cell import CfCCell
from keras_lnn.layers.learned_scale import LearnedScale
from keras_lnn.layers.ltc import LTC
from keras_lnn.layers.mixed_memory import MixedMemoryCell
from keras_lnn.registry import build_model, count_parameters, get_model, require_memory_for_model
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.signature import Signature, save_keras
from keras_lnn.tasks.kinds import make_task

_MOST_BYTES = 2**33
Arrays = Mapping[str, np.ndarray]

# What ncps.torch keeps in two parts of one layer: the liquid cell and, with mixed memory, the LSTM cell beside it. Of
# the layer itself, instead of a network around it, the names begin with the part.
_LIQUID_NAME = re.compile(r"(?:(?P<layer>.+)\.)?(?P<inside>(?:rnn_cell|lstm\.(?:input_map|recurrent_map))\..+)")
_LTC_POSITIVE = ("gleak", "cm", "w", "sensory_w")
_LTC_FREE = ("vleak", "sigma", "mu", "erev", "sensory_sigma", "sensory_mu", "sensory_erev")
_LTC_MAPPINGS = ("input_w", "input_b", "output_w", "output_b")


def import_weights(weights: Path, config: TrainConfig, implicit_param_constraints: bool = True) -> RunFolder:
    """Makes a folder that serves like a run's for evaluating, predicting and exporting, from foreign weights.

    Args:
        weights: ``.npz`` of a PyTorch state_dict; names without a dot are no weights and are passed over.
        config: A complete configuration: model and its arguments, the data set whose images and classes it is for,
            and the folder to make.
        implicit_param_constraints: See :func:`load_torch_weights`.
    """
    entry, data = get_model(config.model), get_entry(config.data)
    image_shape = data.image_shape(config.size)
    outputs = make_task(data.task, data.class_names).outputs
    require_memory_for_model(entry.name, image_shape, outputs, **config.model_args)
    model = build_model(entry.name, image_shape, outputs, **config.model_args)
    load_torch_weights(model, read_state_dict(weights), implicit_param_constraints)
    checksum = f"sha256:{file_digest(weights)}"
    folder = RunFolder.create(config, describe_environment() | {"weights": weights.name, "weights_checksum": checksum})
    save_keras(
        model, _signature(config, data, image_shape, model, f"import of {weights.name} ({checksum})"), folder.best_model
    )
    return folder


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` whose names are a state_dict's."""
    try:
        require_file(path, "Weights")
        with open(path, "rb") as stream, zipfile.ZipFile(stream) as archive:
            _require_few(read_npz_headers(archive))
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
    except InputError:
        raise
    except DAMAGED_FILE_ERRORS as error:
        raise InputError(
            f"Weights must be an .npz of plain arrays. Received: {path} ({error}). Save them by "
            f"numpy.savez(path, **{{name: value.numpy() for name, value in model.state_dict().items()}})."
        ) from None
    return {name: value for name, value in arrays.items() if "." in name and not name.endswith("num_batches_tracked")}


def _require_few(headers: Mapping[str, ArrayHeader]) -> None:
    total = sum(math.prod(header.shape) * header.dtype.itemsize for header in headers.values())
    if total > _MOST_BYTES:
        raise ValueError(f"{total / 2**30:,.0f} GiB of them, where {_MOST_BYTES // 2**30} are the most")


def load_torch_weights(model: keras.Model, arrays: Arrays, implicit_param_constraints: bool = True) -> None:
    """Sets a model's weights from a PyTorch state_dict.

    Layers are matched kind by kind, the first convolution to the first convolution and so on, so names are free. LTC
    and CfC are those of ``ncps.torch``; the ``fc`` of a CfC with ``proj_size`` goes to a dense layer after the CfC.
    A state_dict does not hold what has no weights (a CfC's mode ``no_gate`` and activation, the ``ode_unfolds`` and
    ``epsilon`` of an LTC): the layers must be built with the same.

    Args:
        model: A built Keras model of the same network.
        arrays: By their names in the state_dict.
        implicit_param_constraints: What the LTC layers had in PyTorch, which a state_dict does not say. True, which is
            the default there too: ``w``, ``sensory_w``, ``cm`` and ``gleak`` went through a softplus, and come over as
            softplus of themselves. False: they were used as they are, and come over so, if none is negative.
    """
    has_volumes = any(len(inputs.shape) == 5 for inputs in model.inputs)
    if has_volumes and any(isinstance(layer, LTC | CfC) for layer in model.layers):
        # PyTorch flattens the maps of a slice channels first, so the weights of the inputs would be in another order.
        raise InputError("Weights can be imported into models for images. Received: a liquid model for volumes.")
    modules = _group_modules(arrays)
    converters = _CONVERTERS | {"LTC": partial(_convert_ltc, is_implicit=implicit_param_constraints)}
    planned: list[tuple[Any, np.ndarray]] = []
    previous = None
    for layer in model.layers:
        if isinstance(layer, LearnedScale):
            # PyTorch's network has none: a scale of one leaves the same network.
            planned.append((layer.log_scale, np.zeros((), np.float32)))
            continue
        kind = _kind_of_layer(layer)
        if kind is None:
            previous = layer if not isinstance(layer, keras.layers.Dropout) else previous
            continue
        if not modules[kind]:
            raise InputError(f"The weights must hold a module for layer {layer.name} ({kind}). Received: none is left.")
        name = next(iter(modules[kind]))
        module = modules[kind].pop(name)
        planned += converters[kind](layer, name, module, previous)
        if module:
            raise InputError(
                f"Layer {layer.name} must have a place for every weight of its module. Received: "
                f"{_join(name, next(iter(module)))} without one. Build the layer as it was in PyTorch."
            )
        previous = layer
    left = [name or next(iter(module)) for group in modules.values() for name, module in group.items()]
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
        checksum="as stated by those who trained it",
        licence=data.licence,
        parameters=count_parameters(model),
        seed=None,
        best_epoch=None,
        trained_by=origin,
        positive_class=make_task(data.task, data.class_names).choose_positive_class(data.positive_class),
    )


def _group_modules(arrays: Arrays) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, value in arrays.items():
        liquid = _LIQUID_NAME.fullmatch(name)
        if liquid:
            prefix, inside = liquid["layer"] or "", liquid["inside"]
        else:
            prefix, _, inside = name.rpartition(".")
        modules.setdefault(prefix, {})[inside] = value
    kinds: dict[str, dict[str, dict[str, np.ndarray]]] = {kind: {} for kind in _CONVERTERS}
    for prefix, module in modules.items():
        kinds[_kind_of_module(prefix, module)][prefix] = module
    return kinds


def _kind_of_module(prefix: str, module: Arrays) -> str:
    if any(name.startswith("rnn_cell.sensory_") for name in module):
        return "LTC"
    if any("ff1." in name for name in module):
        return "CfC"
    if "running_mean" in module:
        return "batch normalisation"
    rank = module["weight"].ndim if "weight" in module else 0
    if rank in (2, 4, 5):
        return "dense" if rank == 2 else "convolution"
    raise InputError(
        f"A module must be a convolution, dense, batch normalisation, or an LTC or CfC of ncps.torch. Received: "
        f"{_join(prefix, next(iter(module)))}."
    )


def _kind_of_layer(layer: keras.layers.Layer) -> str | None:
    if isinstance(layer, LTC | CfC):
        return "LTC" if isinstance(layer, LTC) else "CfC"
    if isinstance(layer, keras.layers.BatchNormalization):
        return "batch normalisation"
    if isinstance(layer, keras.layers.Dense):
        return "dense"
    if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv3D):
        return "convolution"
    if layer.weights:
        raise InputError(
            f"Weights can be imported into convolution, dense, batch normalisation, LTC and CfC. Received: "
            f"{layer.name}."
        )
    return None


def _join(name: str, key: str) -> str:
    """A weight's name in the state_dict; the module's own name is empty in the state_dict of a layer itself."""
    return f"{name}.{key}" if name else key


def _take(name: str, module: dict[str, np.ndarray], key: str) -> np.ndarray:
    """Takes a weight out of its module, so that what is left at the end has no place."""
    if key not in module:
        raise InputError(
            f"The weights must hold {_join(name, key)}. Received: {name or 'a layer'} without it. Build the layer as "
            f"it was in PyTorch."
        )
    value = module.pop(key)
    if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
        raise InputError(f"Weights must be finite numbers. Received: {_join(name, key)}, which holds others.")
    return value


def _pair(
    variable: Any, name: str, module: dict[str, np.ndarray], key: str, convert: Callable[[np.ndarray], np.ndarray]
) -> tuple:
    value = convert(_take(name, module, key))
    if value.shape != tuple(variable.shape):
        raise InputError(
            f"{_join(name, key)} must fit {variable.path} of shape {tuple(variable.shape)}. Received: {value.shape}. "
            f"Check --model, --model-args and --data."
        )
    return variable, value


def _check_wiring(name: str, mask: np.ndarray, expected: Any) -> None:
    if not np.array_equal(mask, np.abs(expected)):
        raise InputError(
            f"The wiring of {name or 'the layer'} must be that of the model. Received: another. Set units, sparsity "
            f"or wiring_seed with --model-args."
        )


def _as_it_is(value: np.ndarray) -> np.ndarray:
    return value


def _transpose(value: np.ndarray) -> np.ndarray:
    return value.T


def _softplus(value: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, value.astype("float64"))


def _convert_convolution(layer: Any, name: str, module: dict[str, np.ndarray], previous: Any) -> list[tuple]:
    pairs = [_pair(layer.kernel, name, module, "weight", lambda value: np.moveaxis(value, (0, 1), (-1, -2)))]
    return pairs + ([_pair(layer.bias, name, module, "bias", _as_it_is)] if layer.use_bias else [])


def _convert_dense(layer: Any, name: str, module: dict[str, np.ndarray], previous: Any) -> list[tuple]:
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


def _convert_normalisation(layer: Any, name: str, module: dict[str, np.ndarray], previous: Any) -> list[tuple]:
    # A count of batches, which matters to training only.
    module.pop("num_batches_tracked", None)
    parts = {"weight": layer.gamma, "bias": layer.beta}
    parts |= {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
    return [_pair(variable, name, module, key, _as_it_is) for key, variable in parts.items() if variable is not None]


def _convert_cfc(layer: CfC, name: str, module: dict[str, np.ndarray], previous: Any) -> list[tuple]:
    cell, pairs = _convert_memory(layer, name, module)
    if isinstance(cell, CfCCell):
        return pairs + _convert_cfc_cell(cell, name, module, "rnn_cell.")
    for index, layer_cell in enumerate(cell.layer_cells):
        pairs += _convert_cfc_cell(layer_cell, name, module, f"rnn_cell.layer_{index}.")
    return pairs


def _convert_memory(layer: LTC | CfC, name: str, module: dict[str, np.ndarray]) -> tuple[Any, list[tuple]]:
    """A layer's liquid cell, and the weights of the LSTM cell beside it, if it has one."""
    if layer.version != "paper" and (layer.mixed_memory or isinstance(layer, CfC)):
        raise InputError(
            f"Weights of PyTorch are for version='paper', the function of ncps.torch. Received: layer {layer.name} of "
            f"version={layer.version!r}."
        )
    cell = layer.cell
    if not isinstance(cell, MixedMemoryCell):
        return cell, []
    return cell.rnn_cell, [
        _pair(cell.input_kernel, name, module, "lstm.input_map.weight", _transpose),
        _pair(cell.bias, name, module, "lstm.input_map.bias", _as_it_is),
        _pair(cell.recurrent_kernel, name, module, "lstm.recurrent_map.weight", _transpose),
    ]


def _convert_cfc_cell(cell: CfCCell, name: str, module: dict[str, np.ndarray], prefix: str) -> list[tuple]:
    if cell.sparsity_mask is not None:
        _check_wiring(name, _take(name, module, f"{prefix}sparsity_mask").T, cell.sparsity_mask)
    pattern = re.escape(prefix) + r"backbone\.(\d+)\.weight"
    backbone = sorted(int(found[1]) for found in (re.fullmatch(pattern, key) for key in module) if found)
    dense = [] if cell.backbone_fn is None else cell.backbone_fn.layers[::2]
    if len(backbone) != len(dense):
        raise InputError(
            f"The backbone of {name or 'the layer'} must have {len(dense)} layers. Received: {len(backbone)}."
        )
    parts = {f"backbone.{number}": (part.kernel, part.bias) for number, part in zip(backbone, dense, strict=True)}
    parts["ff1"] = (cell.ff1_kernel, cell.ff1_bias)
    pairs = []
    if cell.mode == "pure":
        pairs = [_pair(getattr(cell, key), name, module, prefix + key, _as_it_is) for key in ("w_tau", "A")]
    else:
        parts["ff2"] = (cell.ff2_kernel, cell.ff2_bias)
        parts["time_a"] = (cell.time_a.kernel, cell.time_a.bias)
        parts["time_b"] = (cell.time_b.kernel, cell.time_b.bias)
    for key, (kernel, bias) in parts.items():
        pairs.append(_pair(kernel, name, module, f"{prefix}{key}.weight", _transpose))
        pairs.append(_pair(bias, name, module, f"{prefix}{key}.bias", _as_it_is))
    return pairs


def _convert_ltc(
    layer: LTC, name: str, module: dict[str, np.ndarray], previous: Any, is_implicit: bool = True
) -> list[tuple]:
    cell, pairs = _convert_memory(layer, name, module)
    free = _LTC_FREE + tuple(key for key in _LTC_MAPPINGS if hasattr(cell, key))
    pairs += [_pair(getattr(cell, key), name, module, f"rnn_cell.{key}", _as_it_is) for key in free]
    for key in _LTC_POSITIVE:
        full = f"rnn_cell.{key}"
        variable, value = _pair(getattr(cell, key), name, module, full, _softplus if is_implicit else _as_it_is)
        if value.min() < 0:
            raise InputError(
                f"{_join(name, full)} must not be negative with implicit_param_constraints=False. Received: "
                f"{value.min():.4g}. If the layer has a softplus there, which is the default of ncps.torch.LTC, set "
                f"implicit_param_constraints=True."
            )
        pairs.append((variable, value))
    wiring = cell.built_wiring
    _check_wiring(name, _take(name, module, "rnn_cell.sparsity_mask"), wiring.adjacency_matrix)
    _check_wiring(name, _take(name, module, "rnn_cell.sensory_sparsity_mask"), wiring.sensory_adjacency_matrix)
    return pairs


_CONVERTERS: dict[str, Callable[..., list[tuple]]] = {
    "convolution": _convert_convolution,
    "batch normalisation": _convert_normalisation,
    "dense": _convert_dense,
    "LTC": _convert_ltc,
    "CfC": _convert_cfc,
}
