"""Wirings of ``ncps`` inside Keras layers: copied before they are built, written to and read from configurations."""

import copy
from typing import Any

import numpy as np
from ncps import wirings

_WIRINGS = {wiring.__name__: wiring for wiring in (wirings.AutoNCP, wirings.FullyConnected, wirings.Random)}


def build_wiring(wiring: wirings.Wiring, input_features: int) -> wirings.Wiring:
    """A built copy of a wiring.

    ``Wiring.build`` changes the object, so one wiring could serve one input size only; the copy leaves the layer's
    argument as it was given, and one wiring can be used in many layers.
    """
    if wiring.is_built() and wiring.input_dim == input_features:
        return wiring
    if wiring.is_built():
        wiring = deserialize_wiring(serialize_wiring(wiring))
    else:
        wiring = copy.deepcopy(wiring)
    wiring.build(input_features)
    return wiring


def serialize_wiring(wiring: wirings.Wiring) -> dict[str, Any]:
    """The configuration from which :func:`deserialize_wiring` makes the same wiring."""
    name = type(wiring).__name__
    if _WIRINGS.get(name) is not type(wiring):
        raise ValueError(f"A wiring that is saved must be one of {', '.join(_WIRINGS)}. Received: {name}.")
    return {"class_name": name, "config": wiring.get_config()}


def deserialize_wiring(config: dict[str, Any]) -> wirings.Wiring:
    """The wiring of a configuration; only the wirings of ``ncps`` that are named here are made."""
    name = config.get("class_name")
    if name not in _WIRINGS:
        raise ValueError(f"A saved wiring must be one of {', '.join(_WIRINGS)}. Received: {name}.")
    return _WIRINGS[name](**config["config"])


def layer_masks(wiring: wirings.Wiring, fully_recurrent: bool = True, signed: bool = False) -> list[np.ndarray]:
    """Which inputs reach which neurons, layer by layer of a built wiring.

    Args:
        wiring: A built wiring.
        fully_recurrent: Whether the neurons of a layer are all joined to one another, else as the wiring says.
        signed: Whether an inhibitory synapse is -1 instead of 1.

    Returns:
        One float32 array of zeros and ones a layer, (inputs of the layer + its neurons, its neurons).
    """
    masks = []
    incoming = wiring.sensory_adjacency_matrix
    for index in range(wiring.num_layers):
        neurons = wiring.get_neurons_of_layer(index)
        inner = wiring.adjacency_matrix[np.ix_(neurons, neurons)]
        recurrent = np.ones_like(inner) if fully_recurrent else inner
        mask = np.concatenate([incoming[:, neurons], recurrent]).astype("float32")
        masks.append(mask if signed else np.abs(mask))
        incoming = wiring.adjacency_matrix[neurons]
    return masks
