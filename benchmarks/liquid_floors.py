"""The least time that a step of a liquid layer can take: its unavoidable work at what this machine does of each kind.

Counted are the sigmoids of existing synapses, evaluated once on the way forward and once again on the way back, since
reading a stored one takes as long; the multiply-adds; and the bytes of what must be read and written once. A rate is
that of a program which does nothing else. Sigmoids and multiply-adds occupy the same vector units, so their times add
up; memory is read and written meanwhile, so the floor is the longer of both. What a recurrence cannot avoid beyond that
(its steps wait for each other) is not part of it.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# Values that fit the cache, yet are enough for XLA to divide them among its threads.
_VALUES, _REPEATS = 2**18, 16
# Rows and columns of the matrices whose product measures multiply-adds, and bytes that no cache holds.
_ROWS, _BYTES = 768, 2**27
_ROUNDS = 12
# Of one synapse value: its argument and two sums; on the way back its argument, its slope, the pull of the two sums,
# and what it adds to the gradients of four weights and of the source.
_FORWARD, _BACKWARD = 3, 10


@dataclasses.dataclass(frozen=True)
class Work:
    """What a step cannot avoid.

    Attributes:
        sigmoids: Number of sigmoids.
        multiply_adds: Number of multiply-adds beside them.
        bytes: Number of bytes read from and written to memory.
    """

    sigmoids: float
    multiply_adds: float
    bytes: float

    def seconds(self) -> float:
        """Returns the least time on this machine."""
        rates = measure_rates()
        return max(self.sigmoids / rates.sigmoids + self.multiply_adds / rates.multiply_adds, self.bytes / rates.bytes)


def count_work(case: Any, batch: int, mode: str) -> Work:
    """Returns the work of one step of a case of ``liquid_layers.py``."""
    trains, samples = mode == "train", batch * case.steps
    wiring = case.make_wiring()
    wiring.build(case.features)
    inputs = int(np.count_nonzero(wiring.sensory_adjacency_matrix))
    neurons = int(np.count_nonzero(wiring.adjacency_matrix))
    # Inputs are read and potentials written; on the way back both are read, and the gradient of the inputs is written.
    floats = samples * (case.features + wiring.units) * (3 if trains else 1)
    if case.kind == "LTC":
        values = samples * (inputs + 6 * neurons)
        work = Work(values * (1 + trains), values * (_FORWARD + _BACKWARD * trains), 4.0 * floats)
    else:
        # Two heads have the synapses of the wiring; the gate reads all that its layer reads, through one kernel.
        layers = [len(wiring.get_neurons_of_layer(index)) for index in range(wiring.num_layers)]
        before = [case.features, *layers]
        gates = sum(units * (units + read) for units, read in zip(layers, before, strict=False))
        products = samples * (2 * (inputs + neurons) + gates)
        work = Work(samples * wiring.units, products * (1 + 2 * trains), 4.0 * floats)
    return _with_convolutions(work, samples, trains) if case.is_network else work


def _with_convolutions(work: Work, slices: int, trains: bool) -> Work:
    """Adds the two convolutions of LiqExp1N2; the first needs no gradient of its inputs, the images."""
    first, second = 24 * 24 * 6 * 25, 10 * 10 * 16 * 54
    products = slices * (first + second + trains * (first + 2 * second))
    # Images, and the maps of both convolutions before and after pooling.
    floats = slices * (28 * 28 + 24 * 24 * 6 + 12 * 12 * 6 + 10 * 10 * 16 + 5 * 5 * 16)
    return Work(work.sigmoids, work.multiply_adds + products, work.bytes + 4.0 * floats * (1 + 2 * trains))


@functools.cache
def measure_rates() -> Work:
    """Returns how much of each kind of work this machine does in a second, with all threads that XLA uses."""
    from keras import ops

    from keras_lnn.backend.programs import compile_function

    generator = np.random.default_rng(0)
    values = ops.convert_to_tensor(generator.normal(size=_VALUES).astype("float32"))
    matrix = ops.convert_to_tensor(generator.normal(size=(_ROWS, _ROWS)).astype("float32"))
    large = ops.convert_to_tensor(np.zeros(_BYTES // 4, "float32"))

    def sigmoids(values: Any) -> Any:
        # A sum, not one sigmoid of another: these do not wait for each other.
        return sum(ops.sigmoid(values + float(shift)) for shift in range(_REPEATS))

    seconds = [
        _quickest(compile_function(_compiled(function)), argument)
        for function, argument in ((sigmoids, values), (lambda m: ops.matmul(m, m), matrix), (lambda x: x + 1.0, large))
    ]
    return Work(_REPEATS * _VALUES / seconds[0], _ROWS**3 / seconds[1], 2.0 * _BYTES / seconds[2])


def _compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    from keras_lnn.backend.programs import call_compiled

    return lambda argument: call_compiled(function, argument)


def _quickest(function: Callable[[Any], Any], argument: Any) -> float:
    from keras import ops

    seconds = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        ops.convert_to_numpy(ops.ravel(function(argument))[:1])
        seconds.append(time.perf_counter() - begun)
    return min(seconds[2:])
