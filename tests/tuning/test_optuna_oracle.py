"""Optuna's sampler as an oracle: spaces, failures and running trials; scores are computed from the values."""

import keras_tuner
import pytest
from keras_tuner.engine.trial import TrialStatus

from tuning.optuna_oracle import decode, encode, make_distribution
from tuning.oracles import make_oracle
from tuning.safe_oracle import FAILURE, SECONDS

pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")


def make_space(build):
    hyperparameters = keras_tuner.HyperParameters()
    build(hyperparameters)
    return hyperparameters


def make(folder, build, max_trials=30, objective="val_auc"):
    oracle = make_oracle(
        "tpe",
        objective=objective,
        hyperparameters=make_space(build),
        seed=0,
        max_trials=max_trials,
        epochs=3,
        factor=3,
    )
    oracle._set_project_dir(str(folder), "search")
    return oracle


def finish(oracle, trial, value):
    """Ends a trial; one without a value has failed."""
    values = trial.hyperparameters.values
    values[SECONDS] = 1.0
    if value is None:
        trial.status = TrialStatus.FAILED
        values[FAILURE] = "broke"
    else:
        oracle.update_trial(trial.trial_id, {oracle.objective.name: value, "epochs": 1}, step=1)
        trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def run(oracle, score):
    """Returns the values of each trial."""
    found = []
    while (trial := oracle.create_trial("w")).status != TrialStatus.STOPPED:
        found.append(dict(trial.hyperparameters.values))
        finish(oracle, trial, score(trial.hyperparameters.values))
    return found


def mixed(space):
    space.Float("rate", 0.0001, 1.0, sampling="log")
    space.Choice("kind", ["a", "b", "c", "d"])
    space.Choice("size", [8, 16, 64, 256])


def test_later_choices_have_lower_losses_than_the_first_random_ones(tmp_path):
    def loss(values):
        return (values["kind"] != "c") + (values["size"] != 64) + abs(values["rate"] - 0.1)

    found = [loss(values) for values in run(make(tmp_path, mixed, max_trials=20, objective="val_loss"), loss)]
    assert len(found) == 20
    assert sum(found[14:]) / 6 < sum(found[:5]) / 5 - 0.5


def test_values_are_those_of_the_space_and_survive_a_round_trip():
    space = make_space(
        lambda space: (
            space.Choice("numbers", [0.001, 0.0, 0.1]),
            space.Choice("words", ["a", "b"]),
            space.Int("whole", 2, 11, step=4),
            space.Int("wide", 1, 1000, sampling="log"),
            space.Float("steps", 0.1, 0.75, step=0.2),
            space.Float("rate", 0.0001, 1.0, sampling="log"),
            space.Float("share", 0.0, 0.5),
        )
    )
    distributions = {entry.name: make_distribution(entry) for entry in space.space}
    found = {name: kind._asdict() for name, kind in distributions.items() if name != "words"}
    ends = {name: (kind["low"], kind["high"]) for name, kind in found.items()}
    assert ends == {
        "numbers": (0, 2),
        "whole": (0, 2),
        "wide": (1, 1000),
        "steps": (0, 3),
        "rate": (0.0001, 1.0),
        "share": (0.0, 0.5),
    }
    assert [name for name in found if found[name]["log"]] == ["wide", "rate"]
    for entry in space.space:
        for seed in range(20):
            value = entry.random_sample(seed)
            assert decode(entry, encode(entry, value)) == value
            assert distributions[entry.name]._contains(distributions[entry.name].to_internal_repr(encode(entry, value)))


def test_values_that_failed_are_avoided(tmp_path):
    oracle = make(tmp_path, mixed, max_trials=20)
    found = run(oracle, lambda values: None if values["kind"] in ("a", "b") else values["rate"] / 100)
    chosen = [values["kind"] in ("a", "b") for values in found[5:]]
    assert sum(chosen) / len(chosen) < 0.3  # of random choices one half


def test_no_values_are_tried_twice_and_a_small_space_ends_the_search(tmp_path):
    def build(space):
        space.Choice("kind", ["a", "b", "c"])
        space.Int("size", 1, 4)

    found = [(values["kind"], values["size"]) for values in run(make(tmp_path, build), lambda values: values["size"])]
    assert len(set(found)) == len(found) >= 11


def test_workers_choose_other_values_than_those_in_progress(tmp_path):
    def build(space):
        space.Int("size", 1, 1000)

    oracle = make(tmp_path, build)
    for _ in range(12):
        trial = oracle.create_trial("w")
        finish(oracle, trial, -abs(trial.hyperparameters.values["size"] - 500))
    sizes = [oracle.create_trial(f"w{number}").hyperparameters.values["size"] for number in range(6)]
    assert len(set(sizes)) == 6
    assert len(oracle.running()) == 6
