"""The display of a search, without running one."""

import io
import re

import pytest
from keras_tuner.engine.trial import TrialStatus
from rich.console import Console

from keras_lnn.config import TrainConfig
from keras_lnn.models.ranges import Choice
from keras_lnn.processes.pool import RunningJob
from keras_lnn.processes.runner import Outcome
from keras_lnn.training.protocol import complete_config
from tuning.display import SearchDisplay
from tuning.oracles import make_oracle
from tuning.pruning import Pruner
from tuning.safe_oracle import CURVE, FAILURE, SECONDS, WAS_PRUNED
from tuning.settings import SearchSettings
from tuning.space import Space
from tuning.tuner import ProcessTuner

pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")


def make_display(folder, terminal):
    config = complete_config(TrainConfig(model="dnn", data="phantom-breast", epochs=3))
    space = Space("dnn", {"units": Choice((8, 16, 32, 64)), "dropout": Choice((0.0, 0.25))})
    oracle = make_oracle(
        "random",
        objective="val_auc",
        hyperparameters=space.hyperparameters(config),
        seed=0,
        max_trials=4,
        epochs=3,
        factor=3,
    )
    tuner = ProcessTuner(oracle, config, space, folder, seeds=[0])
    console = Console(file=io.StringIO(), width=110, force_terminal=terminal, markup=False, highlight=False)
    return SearchDisplay(console, tuner, oracle, SearchSettings(max_trials=4))


def fill(display, folder):
    """One good trial, one that failed and one that runs; the outcomes of the first two."""
    oracle = display.oracle
    good, bad, busy = (oracle.create_trial(name) for name in "abc")
    oracle.update_trial(good.trial_id, {"val_auc": 0.875, "epochs": 3}, step=3)
    good.status, good.hyperparameters.values[SECONDS] = TrialStatus.COMPLETED, 12.0
    oracle.end_trial(good)
    bad.status = TrialStatus.FAILED
    bad.hyperparameters.values |= {FAILURE: "built to fail [sic]", SECONDS: 2.0}
    oracle.end_trial(bad)
    history = folder / f"trial_{busy.trial_id}" / "seed-0" / "history.csv"
    history.parent.mkdir(parents=True)
    history.write_text("epoch,loss,val_auc\n1,0.7,0.5\n2,0.6,0.625\n")
    run = {"fold": None, "objective": 0.875, "best_epoch": 2, "epochs": 3, "seconds": 9.0, "parameters": 7}
    outcomes = Outcome(result={"runs": [run]}, seconds=12.0), Outcome(failure="built to fail [sic]", seconds=2.0)
    return list(zip((good, bad), outcomes, strict=True))


def lines_of(display):
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", display.console.file.getvalue())
    return [" ".join(line.split()) for line in shown.splitlines()]


def test_a_terminal_shows_the_state_of_each_trial(tmp_path):
    display = make_display(tmp_path / "search", terminal=True)
    ended = fill(display, tmp_path / "search")
    (busy,) = display.oracle.running().values()
    with display:
        for trial, outcome in ended:
            display.report_trial(trial, outcome)
        display.watch([RunningJob(display.tuner.make_job(busy), None)])
    lines = lines_of(display)
    for start, end in (
        ("trial 0 0.8750 12 s units=", "3 epochs best 0.8750 in trial 0"),
        ("trial 1 failed: built to fail [sic]", ""),
        ("trial 2 units=", "epoch 2/3 val_auc 0.6250"),
    ):
        assert any(line.startswith(start) and line.endswith(end) for line in lines), start
    assert any("2 of 4 trials done, 0.0 min, best 0.8750 in trial 0" in line for line in lines)


def test_a_chief_shows_the_trials_of_its_workers_and_each_end_once(tmp_path):
    display = make_display(tmp_path / "search", terminal=True)
    fill(display, tmp_path / "search")
    with display:
        display.watch_workers()
        display.watch_workers()
    lines = lines_of(display)
    assert sum(line.startswith("trial 0 0.8750 12 s units=") for line in lines) == 1
    assert sum(line.startswith("trial 1 failed: built to fail [sic]") for line in lines) == 1
    assert any(line.startswith("trial 2 units=") and line.endswith("epoch 2/3 val_auc 0.6250") for line in lines)


def test_a_log_has_one_line_per_trial_and_names_failures(tmp_path):
    display = make_display(tmp_path / "search", terminal=False)
    for trial, outcome in fill(display, tmp_path / "search"):
        display.report_trial(trial, outcome)
    display.oracle.stopped_because = "the time is up"
    display.conclude(tmp_path / "search")
    shown = display.console.file.getvalue()
    assert "trial 0  0.8750  12 s  units=" in shown
    assert shown.count("trial 1 failed: built to fail [sic]") == 2
    assert "stopped: the time is up" in shown
    assert "1 trials succeeded, 1 failed" in shown
    assert "python train.py --config" in shown


def test_a_pruned_trial_is_shown_with_its_epoch_here_and_by_a_chief(tmp_path):
    displays = [make_display(tmp_path / name, terminal=False) for name in ("here", "chief")]
    for display in displays:
        oracle = display.oracle
        oracle.pruner = Pruner("halving", True, runs=1, epochs=3)
        fill(display, display.tuner.folder)
        (trial,) = oracle.running().values()
        oracle.update_trial(trial.trial_id, {"val_auc": 0.99, "epochs": 2}, step=2)
        trial.hyperparameters.values |= {CURVE: "[[0.5, 0.99]]", WAS_PRUNED: True, SECONDS: 4.0}
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    run = {"fold": None, "objective": 0.99, "best_epoch": 2, "epochs": 2, "seconds": 3.0, "parameters": 7}
    displays[0].report_trial(
        trial, Outcome(result={"runs": [run], "curve": [[0.5, 0.99]], "pruned": True}, seconds=4.0)
    )
    displays[1].watch_workers()
    for display in displays:
        display.conclude(tmp_path)
        shown = display.console.file.getvalue()
        assert "trial 2  pruned after epoch 2  4 s  units=" in shown
        assert "1 trials succeeded, 1 were pruned, 1 failed" in shown
        assert "best: trial 0, val_auc 0.8750" in shown
