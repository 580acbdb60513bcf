"""The progress of a training: a line per epoch in a file, and the steps of a long epoch on a terminal."""

import io
import re

import pytest
from rich.console import Console

from keras_lnn.training.epoch_display import EpochDisplay


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def show_run(terminal, seconds_a_step, epochs=3, steps=4):
    """Shows a whole run and returns what was written, without control sequences."""
    clock, stream = Clock(), io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=140, color_system=None, _environ={"TERM": "xterm"})
    display = EpochDisplay(console, epochs, 0, "val_auc", clock)
    with display:
        for epoch in range(1, epochs + 1):
            display.begin_epoch(epoch)
            for step in range(1, steps + 1):
                clock.now += seconds_a_step
                display.show_step(step, steps)
                display._progress.refresh()
            clock.now += 1
            display.show_validation()
            display._progress.refresh()
            display.show({"epoch": epoch, "loss": 1 / epoch, "val_auc": 0.5 + 0.1 * epoch}, epoch, 0.5 + 0.1 * epoch)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())


def test_without_a_terminal_each_epoch_is_one_plain_line():
    assert show_run(terminal=False, seconds_a_step=0.1).splitlines() == [
        "epoch 1/3  loss 1.0000  val_auc 0.6000  best 0.6000 in epoch 1",
        "epoch 2/3  loss 0.5000  val_auc 0.7000  best 0.7000 in epoch 2",
        "epoch 3/3  loss 0.3333  val_auc 0.8000  best 0.8000 in epoch 3",
    ]


def test_without_a_terminal_an_epoch_of_minutes_reports_its_steps():
    lines = show_run(terminal=False, seconds_a_step=50, epochs=1).splitlines()
    assert lines == [
        "epoch 1/1  step 2/4, 1:40 to the end of the epoch",
        "epoch 1/1  step 4/4, 0:00 to the end of the epoch",
        "epoch 1/1  loss 1.0000  val_auc 0.6000  best 0.6000 in epoch 1",
    ]


@pytest.mark.parametrize(("seconds_a_step", "shown"), [(1, True), (0.1, False)])
def test_a_terminal_shows_the_steps_of_a_long_epoch(seconds_a_step, shown):
    text = show_run(terminal=True, seconds_a_step=seconds_a_step)
    assert "epoch 2/3" in text
    assert "best 0.7000 in epoch 2" in text
    assert ("step 3/4, 0:01 to the end of the epoch" in text) is shown
    assert ("validation" in text) is shown


def test_the_first_step_of_a_run_does_not_count_in_the_time_left():
    clock, stream = Clock(), io.StringIO()
    display = EpochDisplay(Console(file=stream, width=140), 1, 0, "val_auc", clock)
    display.begin_epoch(1)
    clock.now = 100.0  # the first step is compiled
    display.show_step(1, 100)
    clock.now = 170.0
    display.show_step(8, 100)
    assert stream.getvalue().splitlines()[-1] == "epoch 1/1  step 8/100, 15:20 to the end of the epoch"
