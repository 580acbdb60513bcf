"""Robust oracles: no process is started here, and scores are computed from the values."""

import json
import math
import threading
import time
import types

import keras_tuner
import pytest
from keras_tuner.engine.trial import TrialStatus

from keras_lnn.errors import InputError
from tuning import safe_oracle
from tuning.oracles import make_oracle
from tuning.safe_oracle import BRACKET, EPOCHS, FAILURE, PARENT, ROUND, SECONDS

pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")
TUNERS = ["random", "bayesian", "tpe", "grid", "hyperband"]


def make(tuner, folder, max_trials=None, epochs=9, seed=0):
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Float("rate", 0.001, 1.0, sampling="log")
    hyperparameters.Choice("kind", ["a", "b", "c"])
    if tuner == "grid":
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.Int("size", 1, 4)
        hyperparameters.Choice("kind", ["a", "b", "c"])
    if max_trials is None:
        max_trials = {"random": 12, "bayesian": 7, "tpe": 9}.get(tuner)
    oracle = make_oracle(
        tuner,
        objective="val_auc",
        hyperparameters=hyperparameters,
        seed=seed,
        max_trials=max_trials,
        epochs=epochs,
        factor=3,
    )
    oracle._set_project_dir(str(folder), "search")
    return oracle


def reload(tuner, folder, **options):
    oracle = make(tuner, folder)
    oracle.reload(**options)
    return oracle


def score(trial):
    values = trial.hyperparameters.values
    return {"a": 0.1, "b": 0.3, "c": 0.2}[values["kind"]] + 0.1 * values.get("size", values.get("rate"))


def finish(oracle, trial, value=None, failure=None):
    trial.hyperparameters.values[SECONDS] = 1.0
    if failure is None:
        oracle.update_trial(trial.trial_id, {"val_auc": score(trial) if value is None else value, "epochs": 2}, step=2)
        trial.status = TrialStatus.COMPLETED
    else:
        trial.status = TrialStatus.FAILED
        trial.hyperparameters.values[FAILURE] = failure
    oracle.end_trial(trial)


def run(oracle, fails=lambda trial: False, worker="w"):
    while (trial := oracle.create_trial(worker)).status != TrialStatus.STOPPED:
        assert trial.status == TrialStatus.RUNNING
        finish(oracle, trial, failure="broke" if fails(trial) else None)
    return oracle


def content(oracle):
    return {name: (trial.hyperparameters.values, trial.status, trial.score) for name, trial in oracle.trials.items()}


@pytest.mark.parametrize(
    "tuner", [pytest.param(tuner, marks=pytest.mark.slow if tuner == "bayesian" else []) for tuner in TUNERS]
)
def test_a_search_killed_after_every_step_gives_the_same_result(tmp_path, tuner):
    whole = run(make(tuner, tmp_path / "whole"))
    oracle = make(tuner, tmp_path)
    oracle.save()
    while True:
        oracle = reload(tuner, tmp_path)
        trial = oracle.create_trial("w")
        if trial.status == TrialStatus.STOPPED:
            break
        oracle = reload(tuner, tmp_path)  # killed while it runs: it comes again
        again = oracle.create_trial("w")
        assert (again.trial_id, again.hyperparameters.values) == (trial.trial_id, trial.hyperparameters.values)
        finish(oracle, again)
    if tuner == "bayesian":  # the restarts of its optimiser are drawn anew, so later values may differ
        assert list(content(oracle)) == list(content(whole))
    else:
        assert content(oracle) == content(whole)
    assert len(oracle.trials) == {"random": 12, "bayesian": 7, "tpe": 9, "grid": 12}.get(tuner, len(whole.trials))


def test_the_state_of_equal_searches_is_the_same_in_each_process(tmp_path):
    tried = run(make("random", tmp_path)).get_state()["tried_so_far"]
    assert len(tried) == 12
    assert tried == sorted(tried)  # and not in the order of a set, which a process's own hashes give


def test_searches_of_neighbouring_seeds_share_no_values(tmp_path):
    found = [
        {
            trial.hyperparameters.values["rate"]
            for trial in run(make("random", tmp_path / f"{seed}", seed=seed)).trials.values()
        }
        for seed in range(3)
    ]
    assert len(set.union(*found)) == 36


def test_a_finished_trial_is_not_repeated_after_a_kill(tmp_path):
    oracle = make("random", tmp_path)
    trial = oracle.create_trial("w")
    finish(oracle, trial)
    file = tmp_path / "search" / "oracle.json"
    state = json.loads(file.read_text())
    assert state["ongoing_trials"] == {}
    file.write_text(json.dumps(state | {"ongoing_trials": {"w": trial.trial_id}}))
    assert reload("random", tmp_path).create_trial("w").trial_id != trial.trial_id


@pytest.mark.parametrize("text", ["", "{", "[]", '{"trials": 3}'])
def test_a_damaged_state_is_one_line(tmp_path, text):
    make("random", tmp_path).save()
    (tmp_path / "search" / "oracle.json").write_text(text)
    with pytest.raises(InputError, match="state of a search must be undamaged"):
        reload("random", tmp_path)


def test_hyperband_promotes_the_best_of_each_round(tmp_path):
    oracle = run(make("hyperband", tmp_path))
    rounds = {}
    for trial in oracle.trials.values():
        values = trial.hyperparameters.values
        rounds.setdefault((values[BRACKET], values[ROUND]), []).append(trial)
        if values[ROUND] > 0:
            parent = oracle.trials[values[PARENT]]
            assert parent.hyperparameters.values[EPOCHS] * 3 == values[EPOCHS]
            assert {name: values[name] for name in ("rate", "kind")} == {
                name: parent.hyperparameters.values[name] for name in ("rate", "kind")
            }
    assert {key: len(trials) for key, trials in rounds.items()} == {
        (2, 0): 9,
        (2, 1): 3,
        (2, 2): 1,
        (1, 0): 5,
        (1, 1): 2,
        (0, 0): 3,
    }
    best = max(rounds[2, 0], key=score)
    assert rounds[2, 2][0].hyperparameters.values["rate"] == best.hyperparameters.values["rate"]


def test_hyperband_continues_after_failed_trials(tmp_path):
    failed = []

    def fails(trial):
        # Every third of a first round, and one that was promoted.
        if int(trial.trial_id) % 3 == 0 or (trial.hyperparameters.values[ROUND] == 1 and len(failed) < 4):
            failed.append(trial.trial_id)
        return trial.trial_id in failed

    oracle = make("hyperband", tmp_path)
    run(oracle, fails)
    by_round = {}
    for trial in oracle.trials.values():
        key = trial.hyperparameters.values[BRACKET], trial.hyperparameters.values[ROUND]
        by_round[key] = by_round.get(key, 0) + 1
        assert trial.trial_id not in failed or trial.message == "broke"
        if PARENT in trial.hyperparameters.values:
            assert trial.hyperparameters.values[PARENT] not in failed
    assert by_round[2, 0] == 9
    assert by_round[2, 1] == 3
    assert by_round[2, 2] == 1
    assert not oracle.stopped_because


def test_hyperband_ends_where_all_values_are_tried_or_all_trials_fail(tmp_path):
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Choice("kind", ["a", "b", "c"])
    oracle = make_oracle(
        "hyperband", objective="val_auc", hyperparameters=hyperparameters, seed=0, max_trials=None, epochs=9, factor=3
    )
    oracle._set_project_dir(str(tmp_path), "few")
    while (trial := oracle.create_trial("w")).status == TrialStatus.RUNNING:
        finish(oracle, trial, value=0.5)
    assert sum(trial.hyperparameters.values[ROUND] == 0 for trial in oracle.trials.values()) == 3
    assert any(trial.hyperparameters.values[ROUND] > 0 for trial in oracle.trials.values())
    oracle = run(make("hyperband", tmp_path), lambda trial: True)
    assert "last 10 trials failed" in oracle.stopped_because


def test_a_silent_worker_loses_its_trial_to_another_and_its_late_result_still_counts_once(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(safe_oracle, "time", types.SimpleNamespace(monotonic=lambda: now))
    oracle = make("random", tmp_path)
    oracle.silence_seconds = 60.0
    trial = oracle.create_trial("dead")
    other = oracle.create_trial("alive")
    now = 59.0
    assert oracle.forget_silent_workers() == []
    now = 61.0
    oracle.get_trial(other.trial_id)  # the sign of life
    assert oracle.forget_silent_workers() == ["dead"]
    finish(oracle, other)
    again = oracle.create_trial("alive")
    assert again.trial_id == trial.trial_id
    finish(oracle, again, value=0.7)
    finish(oracle, trial, value=0.1)
    assert oracle.end_order == [other.trial_id, trial.trial_id]
    assert oracle.trials[trial.trial_id].score == 0.7
    assert oracle.trials[trial.trial_id].status == TrialStatus.COMPLETED


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path):
    oracle = make("random", tmp_path)
    oracle.silence_seconds = 0.0
    first = oracle.create_trial("w").trial_id
    for _ in range(2):
        time.sleep(0.01)
        oracle.forget_silent_workers()
        assert oracle.create_trial("w").trial_id == first
    time.sleep(0.01)
    oracle.forget_silent_workers()
    assert oracle.trials[first].status == TrialStatus.FAILED
    assert oracle.trials[first].message == "its worker was lost 3 times"
    assert oracle.create_trial("w").trial_id != first


def test_a_restarted_chief_leaves_running_trials_to_their_workers(tmp_path):
    oracle = make("random", tmp_path)
    trial = oracle.create_trial("far")
    oracle = reload("random", tmp_path, keep_ongoing=True)
    assert oracle.create_trial("near").trial_id != trial.trial_id
    finish(oracle, trial)
    assert oracle.trials[trial.trial_id].status == TrialStatus.COMPLETED
    assert reload("random", tmp_path, keep_ongoing=False).running() == {}


def test_an_interrupted_trial_is_issued_again(tmp_path):
    oracle = make("random", tmp_path)
    trial = oracle.create_trial("w")
    oracle.give_back("w")
    assert oracle.create_trial("v").trial_id == trial.trial_id


def test_budgets_and_consecutive_failures_stop_the_search(tmp_path):
    oracle = make("random", tmp_path)
    oracle.max_total_epochs = 5
    run(oracle)
    assert len(oracle.trials) == 3
    assert "6 epochs were trained" in oracle.stopped_because
    oracle = make("random", tmp_path / "failing")
    oracle.max_failures = 4
    run(oracle, lambda trial: trial.trial_id not in ("00", "03"))
    assert len(oracle.trials) == 8
    assert "the last 4 trials failed, the last one because it broke" in oracle.stopped_because


@pytest.mark.filterwarnings("ignore:All-NaN axis encountered:RuntimeWarning")
def test_a_nan_objective_is_a_failure(tmp_path):
    oracle = make("random", tmp_path)
    trial = oracle.create_trial("w")
    finish(oracle, trial, value=math.nan)
    assert oracle.trials[trial.trial_id].status == TrialStatus.FAILED
    assert oracle.trials[trial.trial_id].message == "the objective is not a number"


def create_in_vain(oracle):
    with pytest.raises(OSError, match="no space"):
        oracle.create_trial("w")


def test_an_exception_does_not_lock_the_oracle(tmp_path, monkeypatch):
    oracle = make("random", tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(oracle, "save", lambda: (_ for _ in ()).throw(OSError("no space left")))
        failing = threading.Thread(target=create_in_vain, args=(oracle,), name="other")
        failing.start()
        failing.join()
    found = []
    asking = threading.Thread(target=lambda: found.append(oracle.create_trial("v")), daemon=True)
    asking.start()
    asking.join(600)
    assert found


def test_a_late_result_ends_the_trial_for_its_next_worker_too(tmp_path):
    oracle = make("random", tmp_path)
    oracle.silence_seconds = 0.0
    trial = oracle.create_trial("slow")
    time.sleep(0.01)
    oracle.forget_silent_workers()
    finish(oracle, trial, value=0.4)  # before another was given it
    assert oracle.create_trial("other").trial_id != trial.trial_id
    late = oracle.create_trial("slow")
    time.sleep(0.01)
    oracle.forget_silent_workers()
    assert oracle.create_trial("third").trial_id != trial.trial_id
    again = oracle.create_trial("fourth")
    assert late.trial_id in {again.trial_id, *(held.trial_id for held in oracle.running().values())}
    finish(oracle, late, value=0.6)
    finish(oracle, late, value=0.1)
    assert late.trial_id not in {held.trial_id for held in oracle.running().values()}
    assert oracle.trials[late.trial_id].score == 0.6


def test_a_worker_waits_while_another_may_still_be_lost(tmp_path):
    oracle = make("random", tmp_path, max_trials=2)
    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    finish(oracle, first)
    assert oracle.create_trial("a").status == TrialStatus.IDLE
    oracle.silence_seconds = 0.0
    time.sleep(0.01)
    oracle.forget_silent_workers()
    again = oracle.create_trial("a")
    assert again.trial_id == second.trial_id
    finish(oracle, again)
    assert oracle.create_trial("a").status == TrialStatus.STOPPED
    assert oracle.told_to_stop
    assert reload("random", tmp_path).told_to_stop is False  # saved before; a chief goes by the number of trials


def test_metrics_survive_a_chief_that_is_killed_before_the_end(tmp_path):
    oracle = make("random", tmp_path)
    trial = oracle.create_trial("far")
    oracle.update_trial(trial.trial_id, {"val_auc": 0.5, "epochs": 1}, step=1)
    oracle = reload("random", tmp_path, keep_ongoing=True)
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)
    assert oracle.trials[trial.trial_id].score == 0.5


def test_a_grid_search_continues_after_a_lost_worker(tmp_path):
    oracle = make("grid", tmp_path)
    oracle.silence_seconds = 0.0
    lost = oracle.create_trial("w").trial_id
    while oracle.trials[lost].status != TrialStatus.FAILED:
        time.sleep(0.005)
        oracle.forget_silent_workers()
        oracle.create_trial("w")
    oracle.silence_seconds = math.inf
    run(oracle)
    assert len(oracle.trials) == 12


def test_earlier_failures_do_not_stop_a_resumed_search(tmp_path):
    oracle = make("random", tmp_path)
    oracle.max_failures = 3
    run(oracle, lambda trial: True)
    assert len(oracle.trials) == 3
    oracle = reload("random", tmp_path)
    oracle.max_failures = 3
    assert len(run(oracle).trials) == 12
