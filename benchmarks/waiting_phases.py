"""Runs a command of keras-lnn in this process and writes what each of its phases took: for ``benchmarks/waiting.py``.

python benchmarks/waiting_phases.py PHASES.json STARTED train --model lnn

It imports the package from ``PYTHONPATH``, so that it measures older versions as well: a phase that a version does not
have is left out. A phase within another one, such as the explanations within the pictures, counts once.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

# Phase, module and name of the function whose calls are the phase.
TRAINING_PHASES = (
    ("reading the data", "keras_lnn.training.loop", "load_images"),
    ("building the model", "keras_lnn.training.loop", "_Trainer.__init__"),
    ("recording epochs", "keras_lnn.training.recorder", "Recorder.on_epoch_end"),
    ("testing", "keras_lnn.training.loop", "write_report"),
    ("pictures", "keras_lnn.training.report", "_draw"),
    ("explanations", "keras_lnn.training.report", "_draw_explanations"),
    ("export", "keras_lnn.training.report", "_export"),
    ("page", "keras_lnn.training.report", "write_run_page"),
)
REST = "start of Python, options and end"


class Phases:
    """Adds up wall and CPU time by phase, each moment in the innermost one."""

    def __init__(self, started: float) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._stack = [REST]
        self._last = (started, 0.0)

    def note(self) -> None:
        """Adds the time since the last note to the innermost phase."""
        times = os.times()
        now = (time.time(), times.user + times.system + times.children_user + times.children_system)
        entry = self.seconds[self._stack[-1]]
        for place in (0, 1):
            entry[place] += now[place] - self._last[place]
        self._last = now

    @contextlib.contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Makes the time inside the context that of a phase."""
        self.note()
        self._stack.append(name)
        try:
            yield
        finally:
            self.note()
            self._stack.pop()

    def switch(self, name: str) -> None:
        """Ends the innermost phase and begins another one in its place."""
        self.note()
        self._stack[-1] = name

    def wrap(self, name: str, module: str, path: str) -> None:
        """Makes all calls of a function a phase, if this version has the function."""
        *owners, last = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        function = getattr(owner, last, None)
        if function is None:
            return

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.phase(name):
                return function(*arguments, **named)

        setattr(owner, last, timed)


def measure_fit(phases: Phases) -> None:
    """Splits each call of ``fit`` into compiling, training steps and validation."""
    import keras

    class Splitter(keras.callbacks.Callback):
        epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch += 1
            phases.switch("first training step" if self.epoch == 1 else "training steps of later epochs")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.epoch == 1 and batch == 0:
                phases.switch("other steps of the first epoch")

        def on_test_begin(self, logs: Any = None) -> None:
            phases.switch("first validation" if self.epoch == 1 else "validation of later epochs")

        def on_test_end(self, logs: Any = None) -> None:
            phases.switch("beside the steps of an epoch")

    fit: Callable[..., Any] = keras.Model.fit

    def timed(*arguments: Any, callbacks: Any = (), **named: Any) -> Any:
        with phases.phase("beside the steps of an epoch"):
            return fit(*arguments, callbacks=[Splitter(), *callbacks], **named)

    keras.Model.fit = timed


def run(target: Path, started: float, arguments: list[str]) -> None:
    """Runs a command and writes its phases, and which package was measured."""
    phases = Phases(started)
    import keras_lnn
    from keras_lnn import terminal
    from keras_lnn.cli import main as front_door

    start_keras = terminal.start_keras

    def start(console: Any) -> None:
        with phases.phase("import of Keras"):
            start_keras(console)
        if arguments[0] == "train":
            with phases.phase("imports after Keras"):
                for name, module, path in TRAINING_PHASES:
                    phases.wrap(name, module, path)
            measure_fit(phases)

    terminal.start_keras = start  # ty: ignore[invalid-assignment] it is called in its place
    try:
        status = front_door.main(arguments, program="keras-lnn")
    finally:
        phases.note()
    found = {name: {"wall": wall, "cpu": cpu} for name, (wall, cpu) in phases.seconds.items()}
    target.write_text(json.dumps({"package": str(keras_lnn.__file__), "phases": found}), encoding="utf-8")
    sys.exit(status)


if __name__ == "__main__":
    run(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
