"""Pruning: its cutoffs beside Optuna's pruners, and the decisions, state and results of a search that prunes."""

import json
import random

import keras_tuner
import optuna
import pytest
from keras_tuner.engine.trial import Trial

from keras_lnn.cli.run_list import _describe_finished
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.models.ranges import Choice
from keras_lnn.runs.selection import Selection
from keras_lnn.training.recorder import Recorder
from tuning.optuna_oracle import make_distribution
from tuning.oracles import make_oracle
from tuning.pruning import Pruner, TrialPruning
from tuning.results import best_trial, trials_table
from tuning.safe_oracle import CURVE, CUTOFFS, SECONDS, WAS_PRUNED
from tuning.settings import SearchSettings
from tuning.space import Space

pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")

EPOCHS = 9
MAX = TrainConfig(monitor="val_auc", keep="best", epochs=EPOCHS)
MIN = TrainConfig(monitor="val_loss", keep="best", epochs=EPOCHS)


def histories_of(values, monitor="val_auc"):
    return [{"epoch": epoch, monitor: value} for epoch, value in enumerate(values, start=1)]


def train(cutoffs, *runs, config=MAX):
    """Trains runs that would have these values, and returns how the trial went."""
    pruning, selection = TrialPruning(cutoffs, len(runs)), Selection(config.monitor, config.keep)
    for values in runs:
        rule, reason = pruning.make_rule(config), ""
        for epochs in range(1, len(values) + 1):
            history = histories_of(values[:epochs], config.monitor)
            if reason := rule(history):
                break
        if pruning.end_run(selection, history, reason):
            break
    return pruning


@pytest.mark.parametrize("rule", ["median", "halving"])
@pytest.mark.parametrize("config", [MAX, MIN])
def test_the_decisions_are_those_of_optunas_pruners(rule, config):
    largest_first = config is MAX
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    theirs = {
        "median": optuna.pruners.MedianPruner(n_warmup_steps=3),
        "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    }[rule]
    study = optuna.create_study(direction="maximize" if largest_first else "minimize", pruner=theirs)
    ours = Pruner(rule, largest_first, runs=1, epochs=EPOCHS)
    generator, curves, decisions = random.Random(0), {False: [], True: []}, []
    for _ in range(60):
        values = sorted((generator.random() for _ in range(EPOCHS)), reverse=not largest_first)
        trial, expected = study.ask(), None
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
            if epoch < EPOCHS and expected is None and trial.should_prune():
                expected = epoch
                break
        study.tell(trial, values[-1] if expected is None else None,
                   state=optuna.trial.TrialState.PRUNED if expected else optuna.trial.TrialState.COMPLETE)  # fmt: skip
        found = train(ours.make_cutoffs(curves[False], curves[True]), values, config=config)
        curves[found.pruned].append(found.curve)
        decisions.append((len(found.curve[0]) if found.pruned else None, expected))
    assert [ours for ours, _ in decisions] == [theirs for _, theirs in decisions]
    assert len({ours for ours, _ in decisions}) > 2


def test_a_trial_of_several_runs_is_compared_after_as_many_runs():
    pruner = Pruner("median", True, runs=2, epochs=3)
    whole = [[[0.6, 0.7, 0.8], [0.7, 0.7, 0.8]]] * 5
    cutoffs = pruner.make_cutoffs(whole, [])
    assert cutoffs == [[0.6, 0.7, 0.8], [0.7, 0.7, None]]
    good = train(cutoffs, [0.6, 0.9, 0.8], [0.5, 0.6, 0.7])
    assert (good.pruned, good.curve) == (False, [[0.6, 0.9, 0.9], [0.7, 0.75, 0.8]])
    late = train(cutoffs, [0.6, 0.7, 0.8], [0.5, 0.9, 0.9])
    assert (late.pruned, late.curve) == (True, [[0.6, 0.7, 0.8], [0.65]])


def test_a_run_that_stopped_early_keeps_its_value_and_no_number_prunes_nothing():
    cutoffs = Pruner("median", True, runs=1, epochs=3).make_cutoffs([[[0.5, 0.7]]] * 4 + [[[None, 0.9, 0.9]]] * 2, [])
    assert cutoffs == [[None, 0.7, None]]
    assert not train([[0.5, 0.5, None]], [float("nan"), 0.6, 0.6]).pruned


def test_halving_counts_pruned_trials_and_spreads_its_steps_over_the_runs():
    pruner = Pruner("halving", True, runs=3, epochs=9)
    reached = [(run, epoch) for run, epoch in pruner._steps()]
    assert reached == [(0, 1), (0, 3), (0, 9)]
    cutoffs = pruner.make_cutoffs([[[0.5] * 9]], [[[0.1, 0.2, 0.3]], [[0.7]], [[0.6]], [[0.65]]])
    assert cutoffs[0][0] == 0.65  # two of six continue
    assert cutoffs[0][2] == 0.5


def make(folder, tuner="tpe", prune="median"):
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Int("size", 1, 40)
    oracle = make_oracle(
        tuner, objective="val_auc", hyperparameters=hyperparameters, seed=0, max_trials=14, epochs=EPOCHS, factor=3
    )
    oracle.pruner = Pruner(prune, True, runs=1, epochs=EPOCHS)
    oracle._set_project_dir(str(folder), "search")
    return oracle


def finish(oracle, trial):
    """Trains a trial as its process does, and ends it as its worker does."""
    trial = Trial.from_proto(trial.to_proto())  # as between a chief and a worker
    values = trial.hyperparameters.values
    found = train(json.loads(values[CUTOFFS]), [values["size"] / 100 + epoch / 100 for epoch in range(EPOCHS)])
    values |= {SECONDS: 1.0, CURVE: json.dumps(found.curve), WAS_PRUNED: found.pruned}
    reached = {"val_auc": found.curve[0][-1], "epochs": len(found.curve[0])}
    oracle.update_trial(trial.trial_id, reached, step=len(found.curve[0]))
    trial.status = "COMPLETED"
    oracle.end_trial(Trial.from_proto(trial.to_proto()))


def run(oracle):
    while (trial := oracle.create_trial("w")).status == "RUNNING":
        finish(oracle, trial)
    return trials_table(oracle, Space("dnn", {"size": Choice((1, 2))}))


@pytest.mark.parametrize("tuner", ["tpe", pytest.param("random", marks=pytest.mark.slow)])
def test_a_killed_search_prunes_the_same_trials(tmp_path, tuner):
    whole = make(tmp_path / "whole", tuner)
    table = run(whole)
    assert {"completed", "pruned"} == set(table["status"])
    oracle = make(tmp_path / "killed", tuner)
    for trials in (3, 7, 2):
        for _ in range(trials):
            finish(oracle, oracle.create_trial("w"))
        oracle.create_trial("w")  # killed while it trains
        oracle = make(tmp_path / "killed", tuner)
        oracle.reload()
    assert run(oracle).to_csv() == table.to_csv()
    assert oracle.get_state() == whole.get_state()


def test_a_pruned_trial_is_no_best_one_and_is_ranked_below_whole_ones(tmp_path):
    oracle = make(tmp_path)
    table = run(oracle)
    pruned = table[table["status"] == "pruned"]
    assert len(pruned) >= 2
    assert pruned["val_auc"].isna().all()
    assert (pruned["pruned_epoch"] == pruned["epochs"]).all()
    assert (pruned["epochs"] < EPOCHS).all()
    assert pruned["pruned_value"].notna().all()
    assert table.loc[table["status"] == "completed", "pruned_value"].isna().all()
    names = set(pruned["trial"])
    assert best_trial(oracle).trial_id not in names
    assert not names & {trial.trial_id for trial in oracle.get_best_trials(len(table) - len(pruned))}
    # Even where its last value is above that of the whole trials.
    oracle.curves[pruned["trial"].iloc[0]][-1][-1] = 2.0
    assert best_trial(oracle).status == "COMPLETED"
    space = {entry.name: entry for entry in oracle.hyperparameters.space}
    distributions = {name: make_distribution(entry) for name, entry in space.items()}
    described = oracle._describe(oracle.trials[pruned["trial"].iloc[1]], space, distributions)
    assert described.state == optuna.trial.TrialState.PRUNED
    assert described.last_step == pruned["epochs"].iloc[1]


def test_a_run_ends_by_a_rule_and_says_why():
    recorder = Recorder(None, Selection("val_auc"), None, stop_rule=lambda history: "pruned" * (len(history) == 2))
    for epochs, reason in ((1, ""), (2, "pruned"), (3, "")):
        recorder.history = histories_of([0.5] * epochs)
        assert recorder.is_finished(EPOCHS) == bool(reason)
        assert recorder.stopped_because == reason


def test_the_list_of_runs_names_pruned_ones():
    metrics = {
        "epochs": 3,
        "stopped_because": "pruned: val_auc 0.5000 is worse than 0.7000, the cutoff by other trials",
    }
    assert _describe_finished(metrics, MAX) == "pruned after epoch 3 of 9"
    assert _describe_finished(metrics | {"stopped_because": ""}, MAX) == "finished after epoch 3 of 9"


@pytest.mark.parametrize(("tuner", "reason"), [("hyperband", "ends trials early itself"), ("bayesian", "needs the")])
def test_other_tuners_do_not_prune(tuner, reason):
    with pytest.raises(InputError, match=rf"^--prune is for the tuners tpe, random and grid\. Received: .*{reason}"):
        SearchSettings(tuner=tuner, prune="median").require_pruning_tuner()
    SearchSettings(tuner=tuner).require_pruning_tuner()
