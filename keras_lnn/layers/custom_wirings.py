"""Wirings of a user's own class, saved in configurations and read without running code that a file names."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from ncps.wirings import Wiring

_PLAIN = (bool, int, float, str, type(None))


class MissingWiring(Wiring):
    """A wiring whose class is not defined in this process: its saved attributes and the synapses that it had.

    Args:
        class_path: Module and name of the class.
        state: Its attributes, as they were saved.
        built: The wiring as it was built for the layer that it was saved with, or None.
    """

    def __init__(self, class_path: str, state: dict[str, Any], built: Wiring | None = None) -> None:
        super().__init__(state["units"])
        self.set_output_dim(state["output_dim"])
        self.class_path = class_path
        self.state = state
        self.built = built

    def build(self, input_dim: int) -> None:
        """Raises an error, since only the missing class could create the synapses."""
        raise ValueError(
            f"{self.class_path} is not defined here, and its saved wiring is built for "
            f"{'no' if self.built is None else self.built.input_dim} inputs only. Received: {input_dim} inputs. Import "
            f"the module that defines it."
        )


def read_state(wiring: Wiring) -> tuple[str, dict[str, Any]]:
    """Returns module and name of a wiring's class, and its attributes in the form stored in a configuration."""
    if isinstance(wiring, MissingWiring):
        return wiring.class_path, wiring.state
    if wiring.output_dim is None:
        raise ValueError(
            f"A wiring must know its output_dim, the number of motor neurons. Received: a {type(wiring).__name__} "
            f"without one. Call set_output_dim in its __init__."
        )
    state = {}
    for name, value in vars(wiring).items():
        try:
            state[name] = _encode(value)
        except TypeError as error:
            raise ValueError(
                f"A wiring that is not built yet must hold numbers, text, lists, arrays and NumPy's random generators "
                f"only, so that its layer can be saved. Received: a {type(wiring).__name__} whose {name} is a {error}. "
                f"Leave that out, or call the wiring's build(features) before."
            ) from None
    return _path(type(wiring)), state


def wiring_from_state(class_path: str, state: dict[str, Any], built: Wiring | None) -> Wiring:
    """Restores the wiring that :func:`read_state` read, if its class is defined; its ``__init__`` is not called.

    Args:
        class_path: Module and name of the class, looked up only among wirings that this process has already defined.
        state: The attributes.
        built: The built wiring that a :class:`MissingWiring` receives if the class is unknown.
    """
    found = [known for known in _subclasses(Wiring) if _path(known) == class_path]
    if not found:
        return MissingWiring(class_path, state, built)
    # If a class has been defined several times, its name stands for the last definition.
    wiring: Any = object.__new__(found[-1])
    vars(wiring).update({name: _decode(value) for name, value in state.items()})
    return wiring


def require_same_synapses(wiring: Wiring, input_features: int) -> None:
    """Raises an error if two copies of a wiring have different synapses once they are built."""
    first, second = copy.deepcopy(wiring), copy.deepcopy(wiring)
    first.build(input_features)
    second.build(input_features)
    for name in ("adjacency_matrix", "sensory_adjacency_matrix"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise ValueError(
                f"A wiring must have the same synapses each time it is built. Received: {type(wiring).__name__}, which "
                f"draws others. Draw from np.random.default_rng(seed), or call its build({input_features}) before."
            )


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _subclasses(kind: type) -> Iterator[type]:
    yield kind
    for known in kind.__subclasses__():
        yield from _subclasses(known)


def _encode(value: Any) -> Any:
    """Returns a value in a form that JSON can hold; raises a TypeError with the type's name if there is none."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return value
    if type(value) is list:
        return [_encode(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {
            "kind": "array",
            "dtype": value.dtype.name,
            "shape": list(value.shape),
            "values": value.ravel().tolist(),
        }
    if type(value) in (tuple, set, frozenset):
        return {"kind": type(value).__name__, "items": [_encode(item) for item in value]}
    if type(value) is dict:
        return {"kind": "dict", "items": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, range):
        return {"kind": "range", "items": [value.start, value.stop, value.step]}
    if isinstance(value, np.random.Generator):
        return {"kind": "generator", "state": _encode(value.bit_generator.state)}
    if isinstance(value, np.random.RandomState):
        return {"kind": "random_state", "state": _encode(value.get_state(legacy=False))}
    raise TypeError(type(value).__name__)


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value["kind"]
    if kind == "array":
        return np.array(value["values"], value["dtype"]).reshape(value["shape"])
    if kind == "generator":
        state = _decode(value["state"])
        generator = np.random.Generator(_BIT_GENERATORS[state["bit_generator"]]())
        generator.bit_generator.state = state
        return generator
    if kind == "random_state":
        generator = np.random.RandomState()
        generator.set_state(_decode(value["state"]))
        return generator
    items = [_decode(item) for item in value["items"]]
    return range(*items) if kind == "range" else _COLLECTIONS[kind](items)


_COLLECTIONS = {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}
_BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
