"""Compares the speed and memory of the liquid layers with those of ncps.

python benchmarks/liquid_layers.py --cases ltc-auto-21 network --batches 1 64 --json layers.json
KERAS_BACKEND=jax python benchmarks/liquid_layers.py --memory

Ours and ``ncps.keras`` hold the same weights and must give the same outputs and gradients before anything is timed.
All sides of a row are timed in one process, round by round, so that a noisy machine treats them alike. Ours is called
as people call it, and beside that in one XLA program with what is around it; of ``ncps.keras`` the best way counts:
XLA on or off (TensorFlow), as a loop or unrolled. A Keras LSTM of as many units stands beside them for scale, and
``ncps.torch`` where torch can be imported. The floor is the least time that the work of a step takes on this machine
(see ``liquid_floors.py``).
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.util
import json
import logging
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.liquid_floors import count_work
from benchmarks.measuring import write_table
from keras_lnn.cli.parsing import run_main
from keras_lnn.files.atomic import require_writable, write_json
from keras_lnn.terminal import loading, make_console, start_keras

# Tolerance of the outputs and of each gradient, relative to the largest value.
_TOLERANCE = 1e-4
# Time limit of one row: slow rows get fewer rounds than asked for.
_SECONDS_A_ROW = 60.0
# A round repeats fast functions for this long.
_SECONDS_A_CALL = 0.1
# Ways of one side that are this many times slower than its best after two rounds are not timed any further.
_HOPELESS = 2.0
# Number of synapse values up to which steps are unrolled: with more, the overhead of a loop no longer matters, while
# unrolled programs take minutes to compile.
_UNROLLED_VALUES = 3e7
# Arrays of the size of all synapses that ncps keeps from the forward to the backward pass, or holds at once without
# one.
_ARRAYS_KEPT, _ARRAYS_AT_ONCE = 5, 3
# Share of the memory that each side may take; torch less, since memory of the others is not always given back.
_MEMORY_SHARES = {"reference": 0.6, "torch": 0.3}
# Number of parameters of the term paper's network.
_PARAMETERS = 37_265


@dataclasses.dataclass(frozen=True)
class Case:
    """A case to measure: a layer over sequences, or the whole network around it."""

    kind: str
    wiring: tuple[Any, ...]
    features: int
    steps: int
    is_network: bool = False

    @property
    def description(self) -> str:
        name, *arguments = self.wiring
        layer = f"{self.kind} {name}({', '.join(map(str, arguments))})"
        return f"LiqExp1N2: 28 slices, two convolutions, {layer}" if self.is_network else f"{layer}, {self.shape}"

    @property
    def shape(self) -> str:
        return f"{self.features} x {self.steps}"

    def make_wiring(self) -> Any:
        """Returns a new wiring for each layer, since ncps changes the wirings that it builds."""
        import ncps.wirings

        name, *arguments = self.wiring
        return getattr(ncps.wirings, name)(*arguments)

    def values(self, batch: int, steps: int) -> float:
        """Returns the number of synapse values that ncps computes, including absent synapses."""
        units = self.make_wiring().units
        within = 6 * units if self.kind == "LTC" else units
        return float(batch) * steps * units * (self.features + within)

    def bytes_needed(self, batch: int, mode: str) -> float:
        """Returns roughly the memory that ncps needs for a step; its CfC keeps no values of single synapses."""
        if self.kind == "CfC":
            return 0.0
        if mode == "train":
            return 4 * _ARRAYS_KEPT * self.values(batch, self.steps)
        return 4 * _ARRAYS_AT_ONCE * self.values(batch, 1)


CASES = {
    "ltc-auto-21": Case("LTC", ("AutoNCP", 21, 1), 400, 28),
    "ltc-full-21": Case("LTC", ("FullyConnected", 21, 1), 400, 28),
    "ltc-auto-32": Case("LTC", ("AutoNCP", 32, 8), 32, 28),
    "ltc-large": Case("LTC", ("NCP", 192, 48, 4, 96, 32, 48, 24), 1024, 16),
    "cfc-auto-19": Case("CfC", ("AutoNCP", 19, 2), 16, 32),
    "network": Case("LTC", ("AutoNCP", 21, 1), 400, 28, is_network=True),
}
MODES = ("forward", "train")
_NAMES = {"ours": "ours", "reference": "ncps.keras", "lstm": "LSTM", "torch": "ncps.torch"}


@dataclasses.dataclass
class Way:
    """One way to take a step, and its timings.

    Attributes:
        side: ``ours``, ``reference``, ``lstm`` or ``torch``.
        label: Name of the way within its side.
        make: Builds the layer or network and returns the function that takes a whole step and returns its results.
        first: Seconds of the first step, with tracing and compiling.
        times: Seconds of the other steps.
        failure: Reason why it cannot be measured.
    """

    side: str
    label: str
    make: Callable[[], Callable[[], Any]]
    first: float | None = None
    times: list[float] = dataclasses.field(default_factory=list)
    failure: str | None = None

    def start(self) -> Any:
        """Builds the layer or network and takes the first step."""
        try:
            self.call = self.make()
            begun = time.perf_counter()
            result = self.call()
            self.first = time.perf_counter() - begun
            # A second, uncounted step absorbs what follows a first one, such as memory growth.
            self.call()
        # Whatever stops a way of another package's layer, such as a compiler error, is an outcome to report.
        except Exception as error:
            if self.side == "ours":
                raise
            self.failure = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            return None
        return result

    @property
    def median(self) -> float:
        """Returns the median in seconds."""
        return statistics.median(self.times)

    def take_round(self) -> None:
        begun = time.perf_counter()
        while True:
            before = time.perf_counter()
            self.call()
            after = time.perf_counter()
            self.times.append(after - before)
            if after - begun > _SECONDS_A_CALL:
                return


def main(arguments: Sequence[str]) -> int:
    """Measures all rows and prints the results."""
    options = parse_arguments(arguments)
    console = make_console(stderr=True)
    if has_torch():
        # Both frameworks must fit on one GPU.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        # Its threads must not spin while they wait, on processors that the next side already uses.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if options.part:
        # First steps are measured with compiling: no program that was kept is used.
        os.environ["KERAS_LNN_PROGRAMS"] = "0"
        start_keras(console)
        # TensorFlow warns about each separate function that this script makes.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        case, batch, mode = options.cases[0], options.batches[0], options.modes[0]
        if options.part == "memory":
            print(json.dumps(memory_of_step(case, batch, mode, *options.way)))
            return 0
        with loading(console, "measuring") as progress:
            print(json.dumps(measure(case, batch, mode, options, progress)))
        return 0
    if options.json:
        require_writable(options.json.resolve().parent, "--json")
    plan = [(name, batch, mode) for name in options.cases for batch in options.batches for mode in options.modes]
    rows = []
    for index, (name, batch, mode) in enumerate(plan, start=1):
        console.print(f"{index}/{len(plan)} {name}, batch {batch}, {mode}")
        rows.append(measure_in_process(name, batch, mode, options))
        if options.json:
            # Written after each row, so that finished rows survive whatever stops the rest.
            write_json(options.json, rows)
    print_rows(rows, options.memory)
    if options.csv:
        write_table([describe_row(row) for row in rows], describe_run(options), options.csv)
    return 0


def describe_run(options: argparse.Namespace) -> dict[str, str]:
    """Returns what the head of the table says of how it was made."""
    chosen = [f"--batches {' '.join(map(str, options.batches))}", f"--modes {' '.join(options.modes)}"]
    return {
        "title": "Time of one training step of liquid layers",
        "command": " ".join(["python benchmarks/liquid_layers.py", *chosen, *(["--memory"] if options.memory else [])]),
        "protocol": "forward pass, gradients of inputs and weights (for the network with Adam); medians, each row in a"
        " process of its own with all its sides in turn; ncps.keras in its best arrangement of XLA on or off, loop or"
        " unrolled; the floor is what this processor takes for the sigmoids, multiply-adds and bytes of a step in loops"
        " of their own",
        "seeds": "does not apply",
        "hardware": options.hardware,
    }


def describe_row(row: Mapping[str, Any]) -> dict[str, str]:
    """Returns a row of the table that the pages show."""

    def both(name: str, unit: str) -> str:
        values = [row.get(f"{side}_{name}") for side in ("ours", "reference")]
        return " / ".join("-" if value is None else f"{value:.{0 if value >= 10 else 1}f}" for value in values) + unit

    def milliseconds(name: str) -> str:
        return "-" if row[name] is None else f"{row[name]:.{0 if row[name] >= 100 else 1}f} ms"

    return {
        "layer": CASES[row["case"]].description,
        "batch": str(row["batch"]),
        "keras-lnn": milliseconds("ours_ms"),
        "ncps.keras": milliseconds("reference_ms"),
        "times as fast": "-" if row["ratio"] is None else f"{row['ratio']:.1f}",
        "best arrangement of ncps.keras": row["reference_best"] or "-",
        "floor": milliseconds("floor_ms"),
        "times the floor": "-" if row["times_floor"] is None else f"{row['times_floor']:.1f}",
        "Keras LSTM": milliseconds("lstm_ms"),
        "first step, keras-lnn / ncps.keras": both("first_s", " s"),
        "peak memory, keras-lnn / ncps.keras": both("mb", " MB"),
    }


def measure_in_process(name: str, batch: int, mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """Returns one row, measured in its own process, since TensorFlow frees memory only when its process ends."""
    chosen: list[str] = ["--cases", name, "--batches", str(batch), "--modes", mode, "--rounds", str(options.rounds)]
    row: dict[str, Any] | None = _run_part("row", [*chosen, *(["--quick"] if options.quick else [])])
    if row is None:
        row = summarise([]) | {"notes": ["its process was killed, which happens when memory runs out"]}
    if options.memory and mode == "train":
        for side in ("ours", "reference"):
            if row[f"{side}_best"] is not None:
                row[f"{side}_mb"] = _run_part("memory", [*chosen, "--way", side, row[f"{side}_best"]])
    return {"case": name, "batch": batch, "mode": mode} | row


def _run_part(part: str, arguments: list[str]) -> Any:
    """Returns what this script prints as JSON in another process; None if that process was killed."""
    done = subprocess.run([sys.executable, __file__, "--part", part, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode > 0:
        sys.exit(done.returncode)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the options, with ``--quick`` resolved."""
    cases = "\n".join(f"  {name.ljust(12)} {case.description}" for name, case in CASES.items())
    parser = argparse.ArgumentParser(
        "benchmarks/liquid_layers.py",
        description=__doc__,
        epilog=f"cases (features x steps):\n{cases}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help="what to measure (default: all)")
    add("--batches", nargs="+", type=_at_least_one, metavar="SIZE", help="sizes of the batch (default: 1 64 512)")
    add("--modes", nargs="+", choices=MODES, default=list(MODES), help="forward pass, training step (default: both)")
    add(
        "--rounds",
        type=_at_least_one,
        help="number of rounds in which all sides are timed in turn (default: 10); slow rows have fewer",
    )
    add(
        "--memory", action="store_true", help="also measure the peak memory of a training step, each in its own process"
    )
    add("--json", type=Path, metavar="FILE", help="file to which the rows are also written")
    add("--csv", type=Path, metavar="FILE", help="file to write the table of the pages to")
    add("--hardware", default="not recorded", help="the machine, for the head of that table")
    add("--quick", action="store_true", help="a quick measurement: batches of 64, 3 rounds, nothing unrolled")
    # Options by which this script calls itself.
    add("--part", choices=("row", "memory"), help=argparse.SUPPRESS)
    add("--way", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.batches = options.batches or ([64] if options.quick else [1, 64, 512])
    options.rounds = options.rounds or (3 if options.quick else 10)
    return options


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1. Received: {text}.")
    return int(text)


def measure(
    name: str, batch: int, mode: str, options: argparse.Namespace, progress: Callable[[float], None]
) -> dict[str, Any]:
    """Returns one row, without the memory."""
    import keras

    case = CASES[name]
    unrolled = case.values(batch, case.steps) <= _UNROLLED_VALUES and not options.quick
    needed, present = case.bytes_needed(batch, mode), _bytes_present()
    left_out = [side for side, share in _MEMORY_SHARES.items() if needed > share * present]
    sides = [side for side in ("lstm", "ours", "reference", "torch") if side not in left_out]
    notes = [f"{_NAMES[side]} was not tried: it needs about {needed / 1e9:.0f} GB" for side in left_out]
    if "reference" in sides:
        notes += [] if unrolled else ["ncps.keras was not tried unrolled"]
        if case.is_network:
            compare_networks(case)
    ways = make_ways(case, batch, mode, sides, unrolled)
    time_ways(ways, options.rounds, progress, compare=not case.is_network)
    notes += [f"{_NAMES[way.side]} ({way.label}) failed: {way.failure}" for way in ways if way.failure]
    row = summarise(ways)
    row["floor_ms"] = 1e3 * count_work(case, batch, mode).seconds()
    row["times_floor"] = None if row["ours_ms"] is None else row["ours_ms"] / row["floor_ms"]
    return row | {"backend": keras.backend.backend(), "notes": notes}


def summarise(ways: list[Way]) -> dict[str, Any]:
    """Returns the best of each side in milliseconds and seconds; None where nothing was measured."""
    timed = [way for way in ways if way.times]
    best: dict[str, Way | None] = dict.fromkeys(("ours", "ours_xla", "reference", "lstm", "torch"))
    for way in sorted(timed, key=lambda way: way.median, reverse=True):
        # Ours is the default that users get, not the best of two.
        best["ours_xla" if way.side == "ours" and way.label.startswith("XLA") else way.side] = way
    ours, theirs = best["ours"], best["reference"]
    summary: dict[str, Any] = {f"{side}_ms": None if way is None else 1e3 * way.median for side, way in best.items()}
    summary["ratio"] = None if ours is None or theirs is None else theirs.median / ours.median
    summary |= {"floor_ms": None, "times_floor": None}
    for side, way in (("ours", ours), ("reference", theirs)):
        summary[f"{side}_first_s"] = None if way is None else way.first
        summary[f"{side}_min_ms"] = None if way is None else 1e3 * min(way.times)
        summary[f"{side}_best"] = None if way is None else way.label
        summary[f"{side}_mb"] = None
    summary["reference_ways"] = {
        way.label: {"ms": 1e3 * way.median, "first_s": way.first, "steps": len(way.times)}
        for way in timed
        if way.side == "reference"
    }
    return summary


def _bytes_present() -> float:
    """Returns the memory of the GPU that JAX computes on, otherwise that of this machine."""
    statistics_of_device = _device_memory()
    if statistics_of_device:
        return statistics_of_device["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _device_memory() -> dict[str, int] | None:
    import keras

    if keras.backend.backend() != "jax":
        return None
    import jax

    return jax.devices()[0].memory_stats()


def print_rows(rows: list[dict[str, Any]], memory: bool) -> None:
    """Prints one table, and below it what was left out."""
    backend = next((row["backend"] for row in rows if "backend" in row), "no backend")
    title = f"milliseconds (medians), Keras on {backend}; ratio: ncps.keras / ours"
    table = Table(title=title, title_justify="left")
    columns = {"ours_ms": "ours", "reference_ms": "ncps.keras", "ratio": "ratio", "reference_best": "its best way"}
    columns |= {"ours_xla_ms": "ours, XLA\naround it"}
    columns |= {"floor_ms": "floor", "times_floor": "times the\nfloor"}
    columns |= {"lstm_ms": "LSTM", "torch_ms": "ncps.torch"}
    columns |= {"ours_first_s": "ours\nfirst s", "reference_first_s": "ncps\nfirst s"}
    columns |= {"ours_mb": "ours\nMB", "reference_mb": "ncps\nMB"} if memory else {}
    for name in ("case", "batch", "mode", *columns.values()):
        is_text = name in ("case", "mode", "its best way")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(row["case"], str(row["batch"]), row["mode"], *(_format(row[name], name) for name in columns))
    console = make_console()
    console.print(table)
    for row in rows:
        for note in row["notes"]:
            console.print(f"{row['case']}, batch {row['batch']}, {row['mode']}: {note}")


def _format(value: Any, name: str) -> str:
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    return f"{value:.0f}" if name.endswith("_mb") or value >= 1000 else f"{value:.3g}"


def time_ways(ways: list[Way], rounds: int, progress: Callable[[float], None], compare: bool) -> None:
    """Times first calls and rounds of all ways; ``compare`` requires equal results of ours and the reference."""
    steps = len(ways) + rounds
    results = []
    for index, way in enumerate(ways):
        result = way.start()
        if compare and result is not None and way.side in ("ours", "reference"):
            results.append(result)
            check_agreement(results[0], result, way.label)
        del result
        progress((index + 1) / steps)
    del results
    ways = [way for way in ways if way.failure is None]
    begun = time.monotonic()
    for index in range(rounds):
        for way in ways:
            way.take_round()
        progress((index + 1 + steps - rounds) / steps)
        if time.monotonic() - begun > _SECONDS_A_ROW:
            return
        if index == 1:
            least = {side: min(min(way.times) for way in ways if way.side == side) for side in {w.side for w in ways}}
            ways = [way for way in ways if way.side == "ours" or min(way.times) <= _HOPELESS * least[way.side]]


def check_agreement(ours: Sequence[Any], theirs: Sequence[Any], label: str) -> None:
    """Checks for equal outputs or loss and equal gradients, so that the same function is timed."""
    import numpy as np

    for index, (own, their) in enumerate(zip(ours, theirs, strict=True)):
        own, their = np.asarray(own), np.asarray(their)
        difference, largest = np.abs(own - their).max(), np.abs(their).max()
        if not difference <= _TOLERANCE * largest + 1e-7:
            raise RuntimeError(
                f"Ours and ncps.keras ({label}) must agree to {_TOLERANCE:g} of the largest value. Received: a "
                f"difference of {difference:g} where the largest is {largest:g}, in result {index} of {len(ours)}."
            )


def make_ways(case: Case, batch: int, mode: str, sides: Sequence[str], unrolled: bool) -> list[Way]:
    """Returns all ways of all sides to take one step of a case."""
    return (network_ways if case.is_network else layer_ways)(case, batch, mode, sides, unrolled)


def layer_ways(case: Case, batch: int, mode: str, sides: Sequence[str], unrolled: bool) -> list[Way]:
    """Returns steps of a layer alone: outputs, or the mean square and its gradients for inputs and all weights."""
    inputs, _ = draw_inputs(case, batch)
    weights = make_layer(case, "reference").get_weights()

    def make(side: str, xla: bool | None, unroll: bool) -> Callable[[], list[Any]]:
        layer = make_layer(case, side, unroll)
        if side != "lstm":
            layer.set_weights(weights)
        return layer_step(layer, inputs, mode, bool(xla))

    return [
        Way(side, label, functools.partial(make, side, xla, unroll))
        for side, label, xla, unroll in _plan_ways(sides, unrolled)
    ] + (torch_ways(case, inputs, mode, None) if "torch" in sides and has_torch() else [])


def draw_inputs(case: Case, batch: int) -> tuple[Any, Any]:
    """Returns random sequences and None, or for a network volumes and labels."""
    import numpy as np

    generator = np.random.default_rng(0)
    if not case.is_network:
        return generator.normal(size=(batch, case.steps, case.features)).astype("float32"), None
    volumes = generator.uniform(size=(batch, 28, 28, 28, 1)).astype("float32")
    return volumes, generator.integers(2, size=(batch, 1)).astype("float32")


def _plan_ways(sides: Sequence[str], unrolled: bool) -> Iterator[tuple[str, str, bool | None, bool]]:
    """Yields side, label, whether XLA compiles the whole, and whether the steps are unrolled."""
    import keras

    # JAX always compiles. On TensorFlow our layers compile their recurrence; XLA around them is reported separately.
    ways = (False, True) if keras.backend.backend() == "tensorflow" else (None,)
    for side in sides:
        if side == "torch":
            continue
        for unroll in (False, True) if unrolled and side == "reference" else (False,):
            for xla in ways:
                yield side, _label(xla, unroll), xla, unroll


def _label(xla: bool | None, unroll: bool) -> str:
    words = ["" if xla is None else "XLA" if xla else "no XLA", "unrolled" if unroll else "loop"]
    return " ".join(filter(None, words))


def make_layer(case: Case, side: str, unroll: bool = False) -> Any:
    """Returns a built layer that outputs every step."""
    import keras
    import ncps.keras

    import keras_lnn.layers

    wiring = case.make_wiring()
    keras.utils.set_random_seed(0)
    if side == "lstm":
        layer = keras.layers.LSTM(wiring.units, return_sequences=True)
    elif side == "ours":
        layer = getattr(keras_lnn.layers, case.kind)(wiring, return_sequences=True, unroll=unroll, version="ncps.keras")
    else:
        layer = getattr(ncps.keras, case.kind)(wiring, return_sequences=True, unroll=unroll)
    layer.build((None, case.steps, case.features))
    # On JAX the initial reversal potentials of ncps are integers without a gradient; setting them makes them float32.
    layer.set_weights(layer.get_weights())
    return layer


def layer_step(layer: Any, inputs: Any, mode: str, xla: bool) -> Callable[[], list[Any]]:
    """Returns a function that takes one step of a layer or model, and waits for its end."""
    import keras

    take = _jax_step if keras.backend.backend() == "jax" else _tensorflow_step
    return take(layer, inputs, mode, xla)


def _tensorflow_step(layer: Any, inputs: Any, mode: str, xla: bool) -> Callable[[], list[Any]]:
    import tensorflow as tf

    def step(tensor: Any) -> list[Any]:
        if mode == "forward":
            return [layer(tensor)]
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            loss = tf.reduce_mean(tf.square(layer(tensor)))
        sources = [tensor, *(weight.value for weight in layer.trainable_weights)]
        return [loss, *tape.gradient(loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)]

    # None leaves the choice to the layer, as in a function without the argument.
    step, tensor = tf.function(step, jit_compile=xla or None, autograph=False), tf.constant(inputs)
    return lambda: [part.numpy() for part in step(tensor)]


def _jax_step(layer: Any, inputs: Any, mode: str, xla: bool) -> Callable[[], list[Any]]:
    import jax

    weights = [weight.value for weight in layer.trainable_variables]
    others = [weight.value for weight in layer.non_trainable_variables]

    def forward(tensor: Any, weights: list[Any], others: list[Any]) -> Any:
        return layer.stateless_call(weights, others, tensor)[0]

    def loss(*arguments: Any) -> Any:
        return jax.numpy.mean(jax.numpy.square(forward(*arguments)))

    step = jax.jit(forward if mode == "forward" else jax.value_and_grad(loss, argnums=(0, 1)))
    tensor = jax.device_put(inputs)
    return lambda: jax.tree.leaves(jax.block_until_ready(step(tensor, weights, others)))


def network_ways(case: Case, batch: int, mode: str, sides: Sequence[str], unrolled: bool) -> list[Way]:
    """Returns steps of the whole network as Keras takes them: predictions, or a training step with Adam."""
    volumes, labels = draw_inputs(case, batch)
    weights = make_network(case, "reference").get_weights()

    def make(side: str, xla: bool | None, unroll: bool) -> Callable[[], Any]:
        model = make_network(case, side, unroll)
        if side != "lstm":
            model.set_weights(weights)
        return network_step(model, volumes, labels, mode, xla)

    return [
        Way(side, label, functools.partial(make, side, xla, unroll))
        for side, label, xla, unroll in _plan_ways(sides, unrolled)
    ] + (torch_ways(case, volumes, mode, labels) if "torch" in sides and has_torch() else [])


@functools.cache
def compare_networks(case: Case) -> None:
    """Checks that both networks have the same outputs and gradients."""
    import numpy as np

    volumes = np.random.default_rng(0).uniform(size=(4, 28, 28, 28, 1)).astype("float32")
    ours, theirs = make_network(case, "ours"), make_network(case, "reference")
    ours.set_weights(theirs.get_weights())
    for mode in MODES:
        found = [layer_step(model, volumes, mode, xla=False)() for model in (ours, theirs)]
        check_agreement(*found, f"network, {mode}")


def make_network(case: Case, side: str, unroll: bool = False) -> Any:
    """Returns LiqExp1N2: ours folds the slices into the batch, the others read them by ``TimeDistributed``."""
    import keras
    from keras import layers

    from keras_lnn.layers import apply_to_slices

    inputs = keras.Input((28, 28, 28, 1))
    convolutions = (layers.Conv2D(6, 5, activation="relu"), layers.Conv2D(16, 3, activation="relu"))
    first, second = convolutions
    stem = (first, layers.MaxPooling2D(2), second, layers.MaxPooling2D(2), layers.Flatten())
    if side == "ours":
        maps = apply_to_slices(keras.Sequential(stem), inputs)
    else:
        maps = inputs
        for layer in stem:
            maps = layers.TimeDistributed(layer)(maps)
    outputs = make_layer(case, side, unroll)(maps)
    outputs = layers.Dense(1)(outputs) if side == "lstm" else outputs
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(outputs))
    if side != "lstm":
        _check_parameters(model.count_params(), side)
    return model


def _check_parameters(received: int, side: str) -> None:
    if received != _PARAMETERS:
        raise RuntimeError(f"LiqExp1N2 must have {_PARAMETERS} parameters. Received: {received} ({side}).")


def network_step(model: Any, volumes: Any, labels: Any, mode: str, xla: bool | None) -> Callable[[], Any]:
    """Returns a function that takes one step of a network as ``fit`` or ``predict`` does."""
    import keras

    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-4), loss, jit_compile="auto" if xla is None else xla)
    if mode == "forward":
        return lambda: model.predict_on_batch(volumes)
    return lambda: model.train_on_batch(volumes, labels)


def has_torch() -> bool:
    """Returns whether torch can be imported."""
    return importlib.util.find_spec("torch") is not None


def torch_ways(case: Case, inputs: Any, mode: str, labels: Any) -> list[Way]:
    """Returns the same step in plain PyTorch with ``ncps.torch``, which has its own weights and parametrisations.

    It runs on one thread and on all, because steps as small as these are not always faster on more threads.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    prepare = functools.partial(_torch_layer_step, case, device, inputs)
    if labels is not None:
        prepare = functools.partial(_torch_network_step, case, device, inputs, labels)

    def make(threads: int) -> Callable[[], Any]:
        forward, train = prepare()

        def step() -> None:
            torch.set_num_threads(threads)
            with torch.set_grad_enabled(mode == "train"):
                train() if mode == "train" else forward()
            if device == "cuda":
                torch.cuda.synchronize()

        return step

    counts = sorted({1, os.cpu_count() or 1})
    return [Way("torch", f"{device}, threads: {count}", functools.partial(make, count)) for count in counts]


def _torch_layer(case: Case, device: str) -> Any:
    import ncps.torch

    return getattr(ncps.torch, case.kind)(case.features, case.make_wiring(), return_sequences=True).to(device)


def _torch_layer_step(case: Case, device: str, inputs: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch

    layer, tensor = _torch_layer(case, device), torch.tensor(inputs, device=device, requires_grad=True)
    sources = [tensor, *(weight for weight in layer.parameters() if weight.requires_grad)]

    def train() -> Any:
        return torch.autograd.grad(layer(tensor)[0].square().mean(), sources, allow_unused=True)

    return lambda: layer(tensor)[0], train


def _torch_network_step(
    case: Case, device: str, inputs: Any, labels: Any
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch
    from torch import nn

    first, second = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 3)
    parts = (first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    stem, layer = nn.Sequential(*parts).to(device), _torch_layer(case, device)
    volumes, targets = torch.tensor(inputs, device=device), torch.tensor(labels, device=device)
    weights = [weight for part in (stem, layer) for weight in part.parameters() if weight.requires_grad]
    _check_parameters(sum(weight.numel() for weight in weights), "torch")
    optimizer = torch.optim.Adam(weights, 5e-4)

    def forward() -> Any:
        maps = stem(volumes.reshape(-1, 1, 28, 28))
        return layer(maps.reshape(len(volumes), case.steps, case.features))[0].mean(1)

    def train() -> None:
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(forward(), targets).backward()
        optimizer.step()

    return forward, train


def memory_of_step(name: str, batch: int, mode: str, side: str, label: str) -> float:
    """Returns the megabytes by which a way's steps raise the peak of this process, with building and compiling."""
    import keras

    # What starts with the first computation belongs to no side, so it is done before.
    keras.ops.convert_to_numpy(keras.ops.matmul(keras.ops.ones((8, 8)), keras.ops.ones((8, 8))))
    make_layer(CASES[name], "ours")
    way = next(way for way in make_ways(CASES[name], batch, mode, [side], "unrolled" in label) if way.label == label)
    before = peak_bytes(forget=True)
    way.start()
    if way.failure:
        raise RuntimeError(way.failure)
    return (peak_bytes() - before) / 1e6


def peak_bytes(forget: bool = False) -> int:
    """Returns the peak memory so far, or since the last call with ``forget``."""
    statistics_of_device = _device_memory()
    if statistics_of_device:
        return statistics_of_device["peak_bytes_in_use"]
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # ru_maxrss is not used: on Linux a process inherits it from its parent.
    if forget:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    peak = re.search(r"VmHWM:\s+(\d+)", status.read_text())
    if peak is None:
        raise RuntimeError(f"{status} must hold the peak of memory as VmHWM. Received: none.")
    return 1024 * int(peak[1])


if __name__ == "__main__":
    run_main(main)
