"""Measures how long a user waits for whole commands, and for which phases of a training, beside an older version.

git worktree add ../before OLDER_COMMIT
python benchmarks/waiting.py --against ../before --rounds 5 --csv docs/results/tables/waiting.csv \\
    --hardware "two CPU cores"

Each command runs in a process of its own, in turn with the same command of the older version; medians are shown. CPU
time is that of all threads and of processes that the command starts. Run nothing beside it, or trust the CPU time
alone.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from PIL import Image

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path
from keras_lnn.terminal import make_console, print_rows

_ROOT = Path(__file__).parents[1]
_PHASES = Path(__file__).with_name("waiting_phases.py")
# The phases that are training itself.
_STEPS = ("other steps of the first epoch", "training steps of later epochs")
# Comparing needs two runs.
_FEWEST_ROUNDS = 2

Times = dict[str, dict[str, float]]


class WaitingCommand(pydantic.BaseModel):
    """Measure the wall and CPU time of whole commands, and of each phase of a training."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    against: Path | None = pydantic.Field(None, description="checkout of an older version to measure in turn")
    model: str = pydantic.Field("lnn", description="model to train")
    epochs: int = pydantic.Field(6, ge=1, description="epochs of each training")
    rounds: int = pydantic.Field(3, ge=_FEWEST_ROUNDS, description="runs of each command, of which the median counts")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")


def main(arguments: Sequence[str]) -> int:
    """Measures the commands and prints the table."""
    command = parse_command(WaitingCommand, arguments, "benchmarks/waiting.py")
    versions = {"now": _ROOT}
    if command.against is not None:
        versions = {"before": command.against.resolve(), **versions}
        if not (versions["before"] / "keras_lnn").is_dir():
            raise InputError(f"--against must be a checkout of this repository. Received: {command.against}.")
    with tempfile.TemporaryDirectory() as folder:
        rows = tabulate(measure(command, versions, Path(folder)))
    if command.csv is not None:
        write_table(rows, command)
    print_rows(rows, f"waiting for {command.model}, {command.epochs} epochs on phantom-breast", digits=2)
    return 0


def measure(command: WaitingCommand, versions: dict[str, Path], folder: Path) -> dict[str, dict[str, list[Times]]]:
    """Returns the phases of each run of each version, by command."""
    image, console = folder / "image.png", make_console(stderr=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)).save(image)
    train = ["train", "--model", command.model, "--data", "phantom-breast", "--epochs", str(command.epochs)]
    for checkout in versions.values():
        # A fresh checkout would spend seconds on compiling its modules.
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(checkout / "keras_lnn")], check=True)
    found: dict[str, dict[str, list[Times]]] = {}
    for number in range(command.rounds):
        # What one run has written is flushed to the disk during the next one, so each version comes first in turn.
        for name, checkout in list(versions.items())[:: -1 if number % 2 else 1]:
            run = ["--seed", str(number), "--run-dir", f"runs/{number}", "--export-dir", "exports"]
            found.setdefault("train", {}).setdefault(name, []).append(_run(checkout, folder / name, [*train, *run]))
            console.print(f"round {number + 1}: train, {name}")
    others = {
        "predict": ["predict", "runs/0", str(image)],
        "compare": ["compare", "runs/0", "runs/1"],
        "list models": ["list", "models"],
    }
    for title, arguments in others.items():
        for _ in range(command.rounds):
            for name, checkout in versions.items():
                found.setdefault(title, {}).setdefault(name, []).append(_run(checkout, folder / name, arguments))
        console.print(f"{title}: done")
    return found


def _run(checkout: Path, folder: Path, arguments: Sequence[str]) -> Times:
    """Runs a command of a version in a folder and returns its phases, with the whole process as ``all``."""
    folder.mkdir(exist_ok=True)
    target = folder / "phases.json"
    before, begun = os.times(), time.time()
    done = subprocess.run(
        [sys.executable, str(_PHASES), str(target), repr(begun), *arguments],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.time() - begun, os.times()
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with exit status {done.returncode}: {done.stderr}")
    content = json.loads(target.read_text(encoding="utf-8"))
    if not Path(content["package"]).is_relative_to(checkout):
        raise RuntimeError(f"{checkout} must be measured. Received: the package of {content['package']}.")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return content["phases"] | {"all": {"wall": wall, "cpu": cpu}}


def tabulate(found: dict[str, dict[str, list[Times]]]) -> list[dict[str, Any]]:
    """Returns one row per command and phase of the training: the medians of each version, and the ratio of CPU time."""
    rows = []
    for title, versions in found.items():
        for times in (run for runs in versions.values() for run in runs if title == "train"):
            waited = [entry for phase, entry in times.items() if phase not in ("all", *_STEPS)]
            times["all but training steps"] = {kind: sum(entry[kind] for entry in waited) for kind in ("wall", "cpu")}
        newest = [run for runs in versions.values() for run in runs]
        phases = ["all", *dict.fromkeys(phase for run in newest for phase in run if phase != "all")]
        for phase in phases if title == "train" else ["all"]:
            row: dict[str, Any] = {"command": title if phase == "all" else f"{title}: {phase}"}
            for kind in ("cpu", "wall"):
                for version, runs in versions.items():
                    seconds = [run[phase][kind] for run in runs if phase in run]
                    row[f"{kind} {version} (s)".replace("cpu", "CPU")] = statistics.median(seconds or [0.0])
            if len(versions) > 1:
                before = row["CPU before (s)"]
                row["CPU now / before"] = row["CPU now (s)"] / before if before else "-"
            rows.append(row)
    return rows


def write_table(rows: Sequence[dict[str, Any]], command: WaitingCommand) -> None:
    """Writes the table below the lines that say how it was made; findings that the file has are kept."""
    path: Any = command.csv
    kept = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    against = "" if command.against is None else " --against BEFORE"
    facts = {
        "title": "What a user waits for",
        "command": f"python benchmarks/waiting.py{against} --model {command.model} --epochs {command.epochs}"
        f" --rounds {command.rounds}",
        "protocol": f"whole processes; {command.epochs} epochs of {command.model} on phantom-breast with pictures and"
        f" export, one image predicted, two runs compared; medians of {command.rounds} runs, versions in turn",
        "seeds": f"0 to {command.rounds - 1}",
        "hardware": command.hardware,
    }
    head = [f"# {name}: {value}" for name, value in facts.items()]
    head += [line for line in kept if line.startswith("# findings: ")]
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in head)
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in row.items()}
            )


if __name__ == "__main__":
    run_main(main)
