"""Measures where a GPU pays for liquid layers: training steps of ours on JAX, of ``ncps.torch``, and of a Keras LSTM.

python benchmarks/gpu.py --minutes 8 --kept gpu.json --csv docs/results/tables/gpu.csv --hardware "one H100, 16 cores"
python benchmarks/gpu.py --cases ltc-auto-32 --batches 4 --precisions float32 --rounds 1

The cases are those of ``benchmarks/liquid_layers.py``. Of an LTC three ways are compared: the layer's loop, unrolled
steps, and one kernel for all unfolds of a step (``benchmarks/fused_ltc.py``). The layer alone is also measured on the
processor of the same machine. Each side of a case and a precision has a process of its own, which measures all batches;
the most important come first, and what ``--minutes`` leaves no time for is left out. In bfloat16, state and solver of
our layers stay in float32. Without a GPU everything is measured on the processor.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.liquid_layers import (
    CASES,
    Case,
    Way,
    draw_inputs,
    has_torch,
    layer_step,
    make_layer,
    make_network,
    network_step,
    peak_bytes,
    torch_ways,
)
from benchmarks.measuring import list_processors, measure_parts, write_table
from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.errors import InputError
from keras_lnn.fields.values import Count, PositiveNumber
from keras_lnn.terminal import make_console, print_rows, start_keras

# Cases and sides in the order of their importance.
ORDER = ("ltc-auto-21", "network", "cfc-auto-19", "ltc-large", "ltc-full-21", "ltc-auto-32")
SIDES = {
    "ours": "ours",
    "torch": "ncps.torch",
    "lstm": "LSTM",
    "kernel": "ours, one kernel a step",
    "unrolled": "ours, unrolled",
}
PRECISIONS = ("float32", "bfloat16")
BATCHES = (64, 512, 4096)
# Only an LTC has unfolds.
_OF_LTC = ("kernel", "unrolled")
# With more neurons, the values of all pairs no longer fit into the registers of a program of the kernel.
_MOST_NEURONS = 64
# Share of the memory of a GPU up to which ncps.torch is tried.
_MEMORY_SHARE = 0.6
# Largest difference of outputs and gradients from those of the loop, as a share of the largest value.
_TOLERANCE = 1e-3
# A GPU pays where it is at least so many times as fast.
PAYS = 2.0


class GpuCommand(pydantic.BaseModel):
    """Measure training steps of liquid layers on a GPU, one row per case, batch and precision."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    cases: str = pydantic.Field(",".join(ORDER), description="what to measure, as a,b")
    batches: str = pydantic.Field(",".join(map(str, BATCHES)), description="sizes of the batch, as a,b")
    precisions: str = pydantic.Field(",".join(PRECISIONS), description="float32, bfloat16 or both, as a,b")
    sides: str = pydantic.Field(",".join(SIDES), description="ways to compare, as a,b")
    rounds: Count = pydantic.Field(5, description="number of tenths of a second for which steps are timed, or of steps")
    minutes: PositiveNumber = pydantic.Field(8.0, description="time for everything")
    seconds: PositiveNumber = pydantic.Field(90.0, description="time limit of each process")
    kept: Path | None = pydantic.Field(None, description="file of finished measurements, to go on after a stop")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")
    part: str | None = pydantic.Field(None, description="one measurement as JSON, as this script calls itself")

    def read_cases(self) -> list[str]:
        return _split("cases", self.cases, ORDER)

    def read_batches(self) -> list[int]:
        words = self.batches.split(",")
        if not all(word.isdecimal() and int(word) > 0 for word in words):
            raise InputError(f"--batches takes whole numbers of at least 1, as 64,512. Received: {self.batches}.")
        # Memory is a peak, so that larger batches come later.
        return sorted(map(int, words))

    def read_precisions(self) -> list[str]:
        return _split("precisions", self.precisions, PRECISIONS)

    def read_sides(self) -> list[str]:
        return _split("sides", self.sides, tuple(SIDES))


def _split(option: str, text: str, known: Sequence[str]) -> list[str]:
    words = text.split(",")
    if unknown := [word for word in words if word not in known]:
        raise InputError(f"--{option} takes {', '.join(known)}. Received: {unknown[0]}.")
    return [name for name in known if name in words]


def main(arguments: Sequence[str]) -> int:
    """Measures the cases and prints the results."""
    command = parse_command(GpuCommand, arguments, "benchmarks/gpu.py")
    if command.part is not None:
        for results in measure(json.loads(command.part)):
            print(json.dumps(results), flush=True)
        return 0
    console, processors = make_console(stderr=True), list_processors()
    parts = plan_parts(command, processors, has_torch())
    for note in list_notes(command, processors, has_torch()):
        console.print(note)
    found = measure_parts(__file__, parts, command.seconds, command.kept, console.print, 60 * command.minutes)
    for part, results in zip(parts, found, strict=True):
        if "failure" in results:
            what = f"{part['case']}, {SIDES[part['side']]} on {part['processor']}, {part['precision']}"
            console.print(f"{what}: {results['failure']}")
    rows = tabulate(parts, found)
    if not rows:
        raise InputError("Something must have been measured. Received: no time at all. Give more --minutes.")
    findings = find_paying(parts, found)
    print_rows(rows, "training steps in milliseconds", digits=2)
    print(findings)
    if command.csv is not None:
        written = [
            {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows
        ]
        write_table(written, describe(command, findings), command.csv)
    return 0


def list_notes(command: GpuCommand, processors: Sequence[str], torch: bool) -> list[str]:
    """Returns what this machine lacks, and what is left out for it."""
    notes = []
    if "gpu" not in processors:
        notes.append("There is no GPU: nvidia-smi lists none. All times are those of the processor.")
        if "kernel" in command.read_sides():
            notes.append("The kernel is left out, since it needs one.")
    if not torch and "torch" in command.read_sides():
        notes.append("ncps.torch is left out: torch is not installed. Install it: python -m pip install torch.")
    return notes


def plan_parts(command: GpuCommand, processors: Sequence[str], torch: bool) -> list[dict[str, Any]]:
    """Returns what to measure, the most important first.

    Two cases at a time are measured in float32, then in bfloat16, and then with unrolled steps, which take long to
    compile.
    """
    accelerator, ranked = processors[-1], []
    for precision in command.read_precisions():
        for name in command.read_cases():
            places = [
                (side, accelerator)
                for side in command.read_sides()
                if _is_possible(side, name, precision, processors) and (side != "torch" or torch)
            ]
            if accelerator != "cpu" and precision == PRECISIONS[0] and "ours" in command.read_sides():
                places.insert(1, ("ours", "cpu"))
            for side, processor in places:
                part: dict[str, Any] = {"case": name, "side": side, "processor": processor, "precision": precision}
                part |= {"backend": "jax", "batches": command.read_batches(), "rounds": command.rounds}
                stage = len(PRECISIONS) if side == "unrolled" else PRECISIONS.index(precision)
                ranked.append((ORDER.index(name) // 2, stage, ORDER.index(name), part))
    return [part for *_, part in sorted(ranked, key=lambda entry: entry[:-1])]


def _is_possible(side: str, name: str, precision: str, processors: Sequence[str]) -> bool:
    # The solver of an LTC is float32 in any precision.
    if side in _OF_LTC and (CASES[name].kind != "LTC" or precision != PRECISIONS[0]):
        return False
    if side != "kernel":
        return True
    return "gpu" in processors and CASES[name].make_wiring().units <= _MOST_NEURONS


def measure(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the results of all batches so far: of each the first step, the median step, and the memory."""
    case, make = CASES[part["case"]], prepare_side(part)
    before = 0 if part["processor"] == "gpu" else peak_memory(part, forget=True)
    results: dict[str, Any] = {}
    for batch in part["batches"]:
        way = make(case, batch)
        way.start()
        if way.failure:
            raise RuntimeError(way.failure)
        for _ in range(part["rounds"]):
            way.take_round()
        memory = (peak_memory(part) - before) / 2**20
        results |= {f"{batch} first_s": way.first, f"{batch} ms": 1e3 * way.median, f"{batch} mib": memory}
        yield results
        del way


def prepare_side(part: dict[str, Any]) -> Callable[[Case, int], Way]:
    """Returns the function that makes the way of a side for a case and a batch."""
    side, precision = part["side"], part["precision"]
    if side == "torch":
        import torch

        if part["processor"] == "gpu" and not torch.cuda.is_available():
            raise InputError("torch must see the GPU. Received: a torch without CUDA. Install torch with CUDA.")
        return lambda case, batch: make_torch_way(case, batch, precision)
    start_keras(make_console(stderr=True))
    import keras

    # What starts with the first computation, and what is imported for the first layer, belongs to no side.
    keras.ops.convert_to_numpy(keras.ops.ones((8, 8)) @ keras.ops.ones((8, 8)))
    make_layer(CASES[part["case"]], "ours")
    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    if side == "kernel":
        use_kernel(CASES[part["case"]], part["batches"][0])
    return lambda case, batch: make_keras_way(case, batch, side)


def use_kernel(case: Case, batch: int, interpret: bool = False) -> None:
    """Makes the layers of this process use the kernel, after checking that it agrees with the loop on this machine.

    Args:
        case: The case whose layer is compared.
        batch: Number of sequences.
        interpret: Whether to interpret the kernel, which needs no GPU.
    """
    import numpy as np

    from benchmarks.fused_ltc import use_fused_solver

    layer = dataclasses.replace(case, is_network=False)
    expected = make_keras_way(layer, batch, "ours").start()
    use_fused_solver(interpret)
    found = make_keras_way(layer, batch, "ours").start()
    for theirs, ours in zip(expected, found, strict=True):
        theirs, ours = np.asarray(theirs), np.asarray(ours)
        difference = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-6)
        if not difference <= _TOLERANCE:
            raise InputError(f"The kernel must agree with the loop. Received: a difference of {difference:.1g}.")


def make_keras_way(case: Case, batch: int, side: str) -> Way:
    """Returns a training step of our layer or of an LSTM, alone or in the network."""
    kind, unroll = "lstm" if side == "lstm" else "ours", side == "unrolled"
    inputs, labels = draw_inputs(case, batch)

    def make() -> Callable[[], Any]:
        if case.is_network:
            return network_step(make_network(case, kind, unroll), inputs, labels, "train", None)
        return layer_step(make_layer(case, kind, unroll), inputs, "train", False)

    return Way(kind, side, make)


def make_torch_way(case: Case, batch: int, precision: str) -> Way:
    """Returns a training step of ``ncps.torch`` on all threads, or on the GPU."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    needed = case.bytes_needed(batch, "train")
    if device == "cuda" and needed > _MEMORY_SHARE * torch.cuda.get_device_properties(0).total_memory:
        raise InputError(
            f"ncps.torch must fit into the GPU's memory. Received: a batch that needs {needed / 1e9:.0f} GB."
        )
    inputs, labels = draw_inputs(case, batch)
    way = torch_ways(case, inputs, "train", labels)[-1]

    def make() -> Callable[[], Any]:
        step = way.make()

        def call() -> None:
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
                step()

        return call

    return dataclasses.replace(way, make=make)


def peak_memory(part: dict[str, Any], forget: bool = False) -> float:
    """Returns the peak of the memory of the GPU that a side computes on, or of this process, in bytes."""
    if part["side"] == "torch" and part["processor"] == "gpu":
        import torch

        return torch.cuda.max_memory_allocated()
    return peak_bytes(forget)


def tabulate(parts: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns one row per case, batch and precision that was measured, with the columns of all sides."""
    rows: dict[str, dict[str, Any]] = {}
    places = list(dict.fromkeys((part["side"], part["processor"]) for part in parts))
    for part, results in zip(parts, found, strict=True):
        for batch in part["batches"]:
            if f"{batch} ms" not in results:
                continue
            name = f"{part['case']}, {batch}, {part['precision']}"
            row = rows.setdefault(name, {"case, batch, precision": name, **_empty_columns(places)})
            for key, column in zip(("ms", "first_s", "mib"), _columns(part["side"], part["processor"]), strict=True):
                row[column] = results[f"{batch} {key}"]
    return list(rows.values())


def _columns(side: str, processor: str) -> list[str]:
    what = f"{SIDES[side]}, {processor.upper()}"
    return [f"{what} (ms)", f"{what}, first step (s)", f"{what}, memory (MiB)"]


def _empty_columns(places: Sequence[tuple[str, str]]) -> dict[str, str]:
    columns = [_columns(*place) for place in places]
    return {names[part]: "" for part in range(3) for names in columns}


def find_paying(parts: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> str:
    """Returns in words where a GPU pays, and how the other sides compare with ours there."""
    times = {
        (part["case"], batch, part["precision"], part["side"], part["processor"]): results[f"{batch} ms"]
        for part, results in zip(parts, found, strict=True)
        for batch in part["batches"]
        if f"{batch} ms" in results
    }
    if not any(key[-1] == "gpu" for key in times):
        return "There is no GPU on this machine: all times are those of its processor."
    pays, loses, others = [], [], []
    for (case, batch, precision, side, processor), mine in times.items():
        here = f"{case} at batch {batch}"
        on_cpu = times.get((case, batch, precision, "ours", "cpu"))
        loop = times.get((case, batch, precision, "ours", "gpu"))
        if side == "ours" and processor == "gpu" and on_cpu:
            (pays if on_cpu / mine >= PAYS else loses).append(f"{here} ({on_cpu / mine:.1f} times as fast)")
        elif side != "ours" and loop and precision == PRECISIONS[0]:
            others.append(f"{SIDES[side]} takes {mine / loop:.2f} times our step for {here}")
    sentences = [
        f"A GPU pays for {', '.join(pays)}." if pays else "",
        f"It does not pay for {', '.join(loses)}." if loses else "",
        f"On the GPU {'; '.join(others)}." if others else "",
    ]
    return " ".join(filter(None, sentences))


def describe(command: GpuCommand, findings: str) -> dict[str, str]:
    """Returns the lines at the head of the table."""
    defaults = GpuCommand()
    given = {name: getattr(command, name) for name in ("cases", "batches", "precisions", "sides", "rounds", "minutes")}
    options = "".join(
        f" --{name} {f'{value:g}' if isinstance(value, float) else value}"
        for name, value in given.items()
        if value != getattr(defaults, name)
    )
    return {
        "title": "Training steps of liquid layers on a GPU",
        "command": f"python benchmarks/gpu.py{options}",
        "protocol": "each side of a case in a process of its own, for a layer the gradients of inputs and weights, for"
        " the network a step of Adam; ours and the LSTM by Keras on JAX; the first step with compiling, then medians;"
        " memory is the peak on the device, or of the process beyond what it started with",
        "seeds": "0",
        "hardware": command.hardware,
        "findings": findings,
    }


if __name__ == "__main__":
    run_main(main)
