"""The display of a running study, without training: the time left, and the runs that have ended."""

import datetime
import io
import re
import time

import pytest
from rich.console import Console
from run_samples import binary_probabilities, make_truth, write_run

from keras_lnn.processes.pool import RunningJob
from keras_lnn.processes.runner import Outcome
from keras_lnn.studies.declaration import Study, lay_out
from keras_lnn.studies.display import StudyDisplay
from keras_lnn.studies.running import Progress, make_job

NETWORKS = {"dnn": {"model": "dnn"}, "wide": {"model": "dnn", "model_args": {"units": 8}}}
STUDY = Study(title="Small", data=["phantom-breast"], seeds=2, networks=NETWORKS)


def make_display(folder, terminal):
    options = {"force_terminal": terminal, "markup": False, "highlight": False}
    console = Console(file=io.StringIO(), width=160 if terminal else 1000, **options)
    runs = lay_out(STUDY, folder, fields={"epochs": 4, "time_budget": "60s"})
    return StudyDisplay(console, STUDY.title, runs, folder), runs


def end(progress, run, seconds):
    progress.done.add(run.folder)
    progress.seconds[run.folder] = seconds


def test_the_time_left_follows_from_the_runs_of_the_same_network(tmp_path):
    _, runs = make_display(tmp_path, False)
    progress = Progress(runs, set(), workers=2)
    assert progress.seconds_left() is None
    dnn, wide = ([run for run in runs if run.network == name] for name in NETWORKS)
    end(progress, dnn[0], 10.0)
    end(progress, wide[0], 30.0)
    assert progress.seconds_left() == pytest.approx((10.0 + 30.0) / 2)
    progress.running = [RunningJob(make_job(wide[1]), time.monotonic() - 1000.0)]  # it takes longer than expected
    assert progress.seconds_left() == pytest.approx(10.0 / 2)
    progress.failures[wide[1].folder] = "built to fail"
    assert progress.seconds_left() == pytest.approx(10.0)


def test_a_log_has_one_line_per_ended_run_and_the_failures_again_at_the_end(tmp_path):
    display, runs = make_display(tmp_path, False)
    progress = Progress(runs, set(), workers=1)
    truth = make_truth()
    write_run(runs[0].folder, truth, binary_probabilities(truth, 1.0, 0), seed=0)
    display.introduce(progress)
    progress.done.add(runs[0].folder)
    display.report_run(runs[0], Outcome(result={}, seconds=7.0), progress)
    progress.failures[runs[1].folder] = "built to fail [sic]"
    display.report_run(runs[1], Outcome(failure="built to fail [sic]"), progress)
    display.watch(progress)
    display.conclude(progress, {"results": tmp_path / "results.csv"})
    lines = display.console.file.getvalue().splitlines()
    assert lines[0].startswith("Small: 4 runs -> ")
    assert re.fullmatch(r"dnn on phantom-breast, seed 0: AUC 0\.\d{3}, .*epochs in 7 s; 3 left", lines[1])
    assert lines[2] == "wide on phantom-breast, seed 0 failed: built to fail [sic]"
    assert lines[3] == "1 of 4 runs done, 1 failed"
    assert lines[4].endswith("seed-0-process/log.txt")
    assert len(lines) == 6


def test_a_terminal_shows_the_running_runs_and_the_rest(tmp_path):
    display, runs = make_display(tmp_path, True)
    progress = Progress(runs, set(), workers=1)
    end(progress, runs[0], 0.0)
    runs[1].folder.mkdir(parents=True)
    (runs[1].folder / "history.csv").write_text("epoch,val_auc,seconds\n1,0.5,2.0\n")
    progress.running = [RunningJob(make_job(runs[1]), time.monotonic())]
    before = datetime.datetime.now()
    with display:
        display.watch(progress)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", display.console.file.getvalue())
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "wide on phantom-breast, seed 0 epoch 1 val_auc 0.5000 0 s, about 6 s left" in lines
    times = {f"{moment:%H:%M}" for moment in (before, datetime.datetime.now())}
    assert any(line.endswith(f"1 of 4 runs done, 3 left, until about {text}") for line in lines for text in times)
