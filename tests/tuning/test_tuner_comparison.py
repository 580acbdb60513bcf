"""The benchmark that replays searches of each tuner on trainings that were run once."""

import pandas as pd
import pytest

from benchmarks.tuners import (
    TRAININGS,
    Replay,
    Trainings,
    describe_pruning,
    describe_winners,
    replay,
    tabulate,
    tabulate_pruning,
)

pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def trainings():
    table = pd.read_csv(TRAININGS, comment="#")
    return Trainings(table[table["search"] == "dnn-breastmnist"])


def test_a_trial_reports_the_best_of_its_first_epochs(trainings):
    row = pd.read_csv(TRAININGS, comment="#").iloc[3]
    values = row[trainings.columns].to_numpy(float)
    assert [trainings.look_up(row, epochs) for epochs in (1, 5, 9)] == [values[:n].max() for n in (1, 5, 9)]
    assert trainings.best >= values.max()


@pytest.mark.parametrize("tuner", ["random", "tpe", "hyperband"])
def test_a_replay_spends_its_epochs_and_keeps_the_best_value(trainings, tuner):
    found = replay(tuner, trainings, seed=0, trials=9)
    assert found.epochs[-1] >= 9 * trainings.epochs
    assert list(found.best) == sorted(found.best)
    assert found.best[-1] <= trainings.best
    again = replay(tuner, trainings, seed=0, trials=9)
    assert (again.epochs, again.best) == (found.epochs, found.best)


def test_gains_over_random_are_paired_by_seed(trainings):
    def search(value):
        return Replay((9, 18), (0.5, value), 1.0)

    found = {"random": [search(value) for value in (0.6, 0.7, 0.8)], "tpe": [search(0.7), search(0.81)]}
    random, tpe = tabulate(found, trainings, [1, 2])
    assert (tpe["after 1"], tpe["after 2"]) == (0.5, pytest.approx(0.755))
    assert tpe["gain over random after 2"] == pytest.approx(0.105)
    assert random["after 2"] == pytest.approx(0.7)
    rows = [{"search": "a", **row} for row in (random, {**tpe, "gain over random after 2 low": 0.01})]
    assert "`tpe` is better than random in a" in describe_winners(rows, 2)


def test_a_replay_that_prunes_has_more_trials_in_as_many_epochs(trainings):
    whole, pruned = (replay("random", trainings, seed=0, trials=9, prune=prune) for prune in ("none", "halving"))
    assert len(whole.epochs) == 1 + 9
    assert len(pruned.epochs) > len(whole.epochs)
    assert pruned.epochs[-1] >= 9 * trainings.epochs
    assert pruned.best[-1] <= trainings.best


def test_what_pruning_saves_and_gains_is_paired_by_seed(trainings):
    def search(*best):
        return Replay((0, 9, 18, 27), (0.5, *best), 1.0)

    found = {
        "none": [search(0.6, 0.7, 0.9), search(0.6, 0.8, 0.9)],
        "median": [Replay((0, 9, 12, 15, 27), (0.5, 0.6, 0.6, 0.75, 0.9), 1.0)] * 2,
    }
    none, median = tabulate_pruning(found, trainings, 2)
    assert (none["epochs of 2 trials"], median["epochs of 2 trials"]) == (1.0, pytest.approx(12 / 18))
    assert (none["trials in 18 epochs"], median["trials in 18 epochs"]) == (2, 3)
    assert median["gain in 2 trials"] == pytest.approx(-0.15)
    assert median["gain in 18 epochs"] == pytest.approx(0.0)
    rows = [{"search": "a", **none}, {"search": "a", **median, "gain in 2 trials high": -0.01}]
    text = describe_pruning(rows)
    assert "`median` trains 67% to 67% of the epochs, in 2 trials it is worse in a" in text
    assert "in 18 epochs it is level with none everywhere" in text
