"""Wirings of ``ncps`` inside Keras layers: copied before they are built, and saved in configurations."""

import copy
from typing import Any

import numpy as np
from ncps import wirings

from keras_lnn.layers.custom_wirings import MissingWiring, read_state, require_same_synapses, wiring_from_state

_WIRINGS = {wiring.__name__: wiring for wiring in (wirings.AutoNCP, wirings.FullyConnected, wirings.Random)}
_SAVED = ("AutoNCP", "FullyConnected", "NCP", "Random", "BuiltWiring", "CustomWiring")


class BuiltWiring(wirings.Wiring):
    """A wiring given by its matrices, which saves a built wiring that its arguments alone cannot recreate.

    Args:
        adjacency_matrix: (neurons, neurons), 1 or -1 for a synapse.
        sensory_adjacency_matrix: (inputs, neurons), 1 or -1 for a synapse.
        output_dim: Number of motor neurons.
        layers: The neurons of each layer.
        types: The type of each neuron: ``inter``, ``command`` or ``motor``.
    """

    def __init__(
        self,
        adjacency_matrix: Any,
        sensory_adjacency_matrix: Any,
        output_dim: int,
        layers: list[list[int]],
        types: list[str],
    ) -> None:
        adjacency_matrix = np.asarray(adjacency_matrix, "int32")
        super().__init__(len(adjacency_matrix))
        self.adjacency_matrix = adjacency_matrix
        self.sensory_adjacency_matrix: np.ndarray = np.asarray(sensory_adjacency_matrix, "int32")
        self.input_dim = len(self.sensory_adjacency_matrix)
        self.output_dim = output_dim
        self.layers = layers
        self.types = types

    @classmethod
    def of(cls, wiring: wirings.Wiring) -> "BuiltWiring":
        """Returns the matrices of any built wiring as a wiring."""
        if wiring.output_dim is None:
            raise ValueError(f"A wiring must know its output_dim. Received: {type(wiring).__name__}, which does not.")
        return cls(
            wiring.adjacency_matrix,
            wiring.sensory_adjacency_matrix,
            wiring.output_dim,
            [[int(neuron) for neuron in wiring.get_neurons_of_layer(layer)] for layer in range(wiring.num_layers)],
            [wiring.get_type_of_neuron(neuron) for neuron in range(wiring.units)],
        )

    @property
    def num_layers(self) -> int:
        """Returns the number of layers of neurons."""
        return len(self.layers)

    def get_neurons_of_layer(self, layer_id: int) -> list[int]:
        """Returns the neurons of a layer."""
        return self.layers[layer_id]

    def get_type_of_neuron(self, neuron_id: int) -> str:
        """Returns the type of a neuron: ``inter``, ``command`` or ``motor``."""
        return self.types[neuron_id]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create the same wiring again."""
        return {
            "adjacency_matrix": self.adjacency_matrix.tolist(),
            "sensory_adjacency_matrix": self.sensory_adjacency_matrix.tolist(),
            "output_dim": self.output_dim,
            "layers": self.layers,
            "types": self.types,
        }


def build_wiring(wiring: wirings.Wiring, input_features: int) -> wirings.Wiring:
    """Returns a built copy of a wiring.

    ``Wiring.build`` changes the object, so one wiring could serve one input size only; the copy leaves the layer's
    argument unchanged, and one wiring can be used in many layers.
    """
    if wiring.is_built() and wiring.input_dim == input_features:
        return wiring
    if isinstance(wiring, MissingWiring) and wiring.built is not None and wiring.built.input_dim == input_features:
        return wiring.built
    if not wiring.is_built():
        if is_custom(wiring):
            require_same_synapses(wiring, input_features)
        wiring = copy.deepcopy(wiring)
    elif type(wiring).__name__ in _WIRINGS:
        wiring = deserialize_wiring(serialize_wiring(wiring))
    else:
        raise ValueError(
            f"A built {type(wiring).__name__} serves its {wiring.input_dim} inputs only. Received: {input_features} "
            f"inputs. Give a wiring that is not built yet."
        )
    wiring.build(input_features)
    return wiring


def is_custom(wiring: wirings.Wiring) -> bool:
    """Returns whether a wiring is of a user's class and not built, so that its arguments do not fix its synapses."""
    return type(wiring) not in (*_WIRINGS.values(), wirings.NCP) and not wiring.is_built()


def check_wiring(wiring: wirings.Wiring) -> None:
    """Raises an error for a wiring that cannot be saved, before anything is trained with it."""
    if is_custom(wiring):
        serialize_wiring(wiring)


def serialize_wiring(wiring: wirings.Wiring) -> dict[str, Any]:
    """Returns the configuration from which :func:`deserialize_wiring` creates the same wiring."""
    name = type(wiring).__name__
    if not isinstance(wiring, wirings.Wiring):
        raise ValueError(f"A wiring must be one of {', '.join(_SAVED[:4])} or extend Wiring. Received: {name}.")
    if _WIRINGS.get(name) is type(wiring):
        return {"class_name": name, "config": wiring.get_config()}
    if type(wiring) is wirings.NCP and not wiring.is_built():
        return {"class_name": name, "config": _arguments_of_ncp(wiring)}
    if wiring.is_built():
        return {"class_name": "BuiltWiring", "config": BuiltWiring.of(wiring).get_config()}
    class_path, state = read_state(wiring)
    built = wiring.built if isinstance(wiring, MissingWiring) else None
    config = {"class_path": class_path, "state": state, "built": None if built is None else serialize_wiring(built)}
    return {"class_name": "CustomWiring", "config": config}


def deserialize_wiring(config: dict[str, Any]) -> wirings.Wiring:
    """Creates the wiring of a configuration; only classes listed here, or defined already, are instantiated."""
    name, arguments = config.get("class_name"), config.get("config", {})
    if name not in _SAVED:
        raise ValueError(f"A saved wiring must be one of {', '.join(_SAVED)}. Received: {name}.")
    if name == "CustomWiring":
        built = arguments["built"]
        built = None if built is None else deserialize_wiring(built)
        return wiring_from_state(arguments["class_path"], arguments["state"], built)
    return {**_WIRINGS, "NCP": wirings.NCP, "BuiltWiring": BuiltWiring}[name](**arguments)


def _arguments_of_ncp(wiring: wirings.NCP) -> dict[str, int]:
    """Returns the arguments of an ``NCP``, whose own configuration holds lists for numbers and loses the seed.

    The state of a random generator that has not been used yet begins with its seed.
    """
    return {
        "inter_neurons": wiring._num_inter_neurons,
        "command_neurons": wiring._num_command_neurons,
        "motor_neurons": wiring._num_motor_neurons,
        "sensory_fanout": wiring._sensory_fanout,
        "inter_fanout": wiring._inter_fanout,
        "recurrent_command_synapses": wiring._recurrent_command_synapses,
        "motor_fanin": wiring._motor_fanin,
        "seed": int(wiring._rng.get_state(legacy=False)["state"]["key"][0]),
    }


def layer_masks(wiring: wirings.Wiring, fully_recurrent: bool = True, signed: bool = False) -> list[np.ndarray]:
    """Returns masks of which inputs reach which neurons, for each layer of a built wiring.

    Args:
        wiring: A built wiring.
        fully_recurrent: Whether all neurons of a layer are connected, instead of only those that the wiring connects.
        signed: Whether an inhibitory synapse is -1 instead of 1.

    Returns:
        One float32 array of zeros and ones per layer, (inputs of the layer + its neurons, its neurons).
    """
    masks = []
    incoming: Any = wiring.sensory_adjacency_matrix
    for index in range(wiring.num_layers):
        neurons = wiring.get_neurons_of_layer(index)
        inner = wiring.adjacency_matrix[np.ix_(neurons, neurons)]
        recurrent = np.ones_like(inner) if fully_recurrent else inner
        mask = np.concatenate([incoming[:, neurons], recurrent]).astype("float32")
        masks.append(mask if signed else np.abs(mask))
        incoming = wiring.adjacency_matrix[neurons]
    return masks
