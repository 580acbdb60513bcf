"""The display of jobs: how far each one is by its runs' histories, and what a terminal and a log show."""

import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from keras_lnn.processes.display import JobDisplay, Reached, describe_seconds, read_reached
from keras_lnn.processes.pool import Job, RunningJob

HISTORY = "epoch,loss,val_auc,seconds\n1,0.7,0.5,4.0\n2,0.6,0.625,2.0\n"


def make_job(*runs, **options):
    given = {"epochs": 5, "monitor": "val_auc", **options}
    return Job(name="job [a]", work="", order={}, folder=Path("job"), runs=runs, **given)


def write_history(folder, text=HISTORY):
    folder.mkdir()
    (folder / "history.csv").write_text(text)
    return folder


def shown(display):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", display.console.file.getvalue())


def make_display(terminal):
    console = Console(file=io.StringIO(), width=120, force_terminal=terminal, markup=False, highlight=False)
    return JobDisplay(console, "jobs")


def test_the_progress_of_a_job_follows_its_history(tmp_path):
    run = write_history(tmp_path / "run")
    assert read_reached(make_job(run)) == Reached(1, 2, 0.625, 9.0)  # three epochs of three seconds are left
    assert read_reached(make_job(tmp_path / "none")) is None
    assert read_reached(make_job()) is None


def test_the_first_epoch_which_compiles_the_model_does_not_count_for_the_others(tmp_path):
    run = write_history(tmp_path / "run", "epoch,seconds\n1,60.0\n2,2.0\n3,2.0\n")
    assert read_reached(make_job(run)).seconds_left == 4.0


def test_the_runs_of_a_job_follow_each_other(tmp_path):
    runs = write_history(tmp_path / "first"), write_history(tmp_path / "second"), tmp_path / "third"
    assert read_reached(make_job(*runs)) == Reached(2, 2, 0.625, 9.0 + 5 * 3.0)


def test_a_time_budget_limits_the_time_left(tmp_path):
    run = write_history(tmp_path / "run")
    assert read_reached(make_job(run, epochs=1000, seconds=30.0), 10.0).seconds_left == 20.0
    assert read_reached(make_job(run, epochs=1000, seconds=30.0), 40.0).seconds_left == 0.0
    assert read_reached(make_job(run, epochs=3, seconds=30.0), 10.0).seconds_left == 3.0


@pytest.mark.parametrize("text", ["", "epoch,loss\n", "epoch,loss\n1", "epoch,loss\nnan,0.5\n", "epoch\nsoon\n"])
def test_no_progress_is_shown_for_an_unreadable_history(tmp_path, text):
    assert read_reached(make_job(write_history(tmp_path / "run", text))) is None


def test_only_the_end_of_a_long_history_is_read(tmp_path):
    rows = "".join(f"{epoch},0.5,,{1.0 if epoch > 5000 else 9.0}\n" for epoch in range(1, 10_001))
    run = write_history(tmp_path / "run", f"epoch,loss,val_auc,seconds\n{rows}")
    reached = read_reached(make_job(run, epochs=10_010))
    assert (reached.epoch, reached.seconds_left) == (10_000, 10.0)
    assert reached.value != reached.value  # the cell is empty


def test_a_terminal_shows_a_bar_and_one_line_per_running_job(tmp_path):
    display = make_display(terminal=True)
    job = make_job(write_history(tmp_path / "first"), write_history(tmp_path / "second"))
    elsewhere = make_job(write_history(tmp_path / "third"), seconds=60.0, monitor=None)
    with display:
        display.report("job 0", "  0.5")
        display.show([RunningJob(job, time.monotonic()), RunningJob(elsewhere, None)], 1, 4, "best 0.5")
    lines = [" ".join(line.split()) for line in shown(display).splitlines()]
    assert "job 0 0.5" in lines
    assert any(line.endswith("1 of 4 jobs done, best 0.5") and "━" in line for line in lines)
    assert "job [a] run 2/2, epoch 2/5 val_auc 0.6250 0 s, about 9 s left" in lines
    assert "job [a] epoch 2 about 9 s left" in lines


def test_done_jobs_are_counted_where_the_total_is_unknown():
    display = make_display(terminal=True)
    with display:
        display.show([], 3, None, "")
    assert "3 jobs done" in shown(display)
    assert "━" not in shown(display)


def test_a_log_has_one_line_per_finished_job_and_no_others(tmp_path):
    display = make_display(terminal=False)
    with display:
        display.show([RunningJob(make_job(write_history(tmp_path / "run")), None)], 0, 2, "")
        display.report("job 0", "  0.5")
        display.report("job 1", failure="built to fail [sic]")
    assert display.console.file.getvalue() == "job 0  0.5\njob 1 failed: built to fail [sic]\n"


def test_durations_are_readable():
    assert [describe_seconds(value) for value in (0.4, 119, 121, 7199, 9000)] == [
        "0 s", "119 s", "2 min", "120 min", "2.5 h",
    ]  # fmt: skip
