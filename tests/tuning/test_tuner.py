"""The tuner supplies trials to the pool and records their outcomes; no trial is trained."""

import pytest
from keras_tuner.engine.trial import TrialStatus

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.models.ranges import Choice
from keras_lnn.processes.pool import NoJob, Pool
from keras_lnn.processes.runner import Outcome
from keras_lnn.training.protocol import complete_config
from tuning.oracles import make_oracle
from tuning.pruning import Pruner
from tuning.results import trials_table
from tuning.safe_oracle import PARENT, SETTINGS
from tuning.space import Space
from tuning.tuner import ProcessTuner

pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")


class Resource:
    """Ends each job with an outcome that the test chooses."""

    def __init__(self, name="here", act=lambda job, stop: succeed(job)):
        self.name = name
        self.act = act

    def run(self, job, stop):
        return self.act(job, stop)

    def shown(self, running):
        return running


def succeed(job):
    value = job.order["config"]["model_args"]["units"] / 100
    cost = {"best_epoch": 1, "epochs": 3, "seconds": 1.0, "parameters": 7}
    runs = [
        {"objective": value + seed + (0 if fold is None else int(fold[0]) / 10), "fold": fold, **cost}
        for seed, fold in zip(job.order["seeds"], job.order["folds"], strict=True)
    ]
    return Outcome(result={"runs": runs}, seconds=2.0)


def make_tuner(folder, **options):
    config = complete_config(TrainConfig(model="dnn", data="phantom-breast", epochs=3, time_budget="90s"))
    space = Space("dnn", {"units": Choice((8, 16, 32, 64))})
    kind = {"objective": "val_auc", "seed": 0, "max_trials": 4, "epochs": 3, "factor": 3}
    oracle = make_oracle("grid", hyperparameters=space.hyperparameters(config), **kind)
    return ProcessTuner(oracle, config, space, folder, **{"seeds": [0, 1], **options})


def test_a_trial_is_one_job_that_trains_the_run_of_each_seed(tmp_path):
    tuner = make_tuner(tmp_path / "search")
    job = tuner.take(Resource())
    folder = tmp_path / "search" / "trial_0"
    assert job.name == "trial 0  units=8"
    assert job.work == "tuning.trial:run_trial"
    assert (job.folder, job.runs) == (folder, (folder / "seed-0", folder / "seed-1"))
    assert job.order["folders"] == [str(run) for run in job.runs]
    assert (job.order["seeds"], job.order["starts"]) == ([0, 1], None)
    assert job.order["config"]["model_args"]["units"] == 8
    assert (job.epochs, job.seconds, job.monitor) == (3, 90.0, "val_auc")


def test_every_trial_ends_with_its_outcome(tmp_path):
    ended = []

    def act(job, stop):
        return Outcome(failure="built to fail", seconds=1.0) if job.item.trial_id == "1" else succeed(job)

    tuner = make_tuner(tmp_path / "search", ended=lambda trial, outcome: ended.append((trial.trial_id, outcome)))
    Pool([Resource(act=act)], tuner, tuner.stop).run()
    trials = tuner.oracle.trials
    assert [name for name, _ in ended] == ["0", "1", "2", "3"]
    assert trials["1"].status == TrialStatus.FAILED
    assert trials["1"].message == "built to fail"
    assert {name: trial.score for name, trial in trials.items() if trial.score is not None} == {
        "0": pytest.approx(0.58),
        "2": pytest.approx(0.82),
        "3": pytest.approx(1.14),
    }
    assert tuner.oracle.seconds == {"0": 2.0, "1": 1.0, "2": 2.0, "3": 2.0}


def test_a_trial_with_folds_trains_a_run_for_each_and_is_judged_by_their_mean(tmp_path):
    tuner = make_tuner(tmp_path / "search", folds=3)
    job = tuner.take(Resource())
    folder = tmp_path / "search" / "trial_0"
    assert job.runs == tuple(folder / f"seed-{seed}" / f"fold-{fold}" for seed in (0, 1) for fold in (1, 2, 3))
    assert job.order["folders"] == [str(run) for run in job.runs]
    assert job.order["seeds"] == [0, 0, 0, 1, 1, 1]
    assert job.order["folds"] == ["1/3", "2/3", "3/3"] * 2
    tuner.finish(Resource(), job, succeed(job))
    table = trials_table(tuner.oracle, tuner.space)
    row = table.iloc[0]
    scores = [0.08 + fold / 10 for fold in (1, 2, 3)]
    assert row["val_auc"] == pytest.approx(sum(scores) / 3 + 0.5)
    assert row[["fold_1", "fold_2", "fold_3"]].tolist() == pytest.approx([score + 0.5 for score in scores])
    assert list(table)[:5] == ["trial", "status", "val_auc", "spread", "best_epoch"]
    assert row["epochs"] == 18
    # Every run of a trial that continues goes on from the run of the same seed and fold.
    child = tuner.oracle.create_trial("here")
    child.hyperparameters.values[PARENT] = "0"
    assert tuner.make_job(child).order["starts"] == [str(run) for run in job.runs]


def test_a_trial_gets_its_cutoffs_and_leaves_its_curve(tmp_path):
    orders = []

    def act(job, stop):
        orders.append(job.order["cutoffs"])
        outcome = succeed(job)
        level = {"0": 0.7, "1": 0.6}.get(job.item.trial_id, 0.8)
        found = {"curve": [[level] * 3] * 2, "pruned": False}
        if job.item.trial_id == "1":
            found = {"curve": [[level] * 2], "pruned": True}
            del outcome.result["runs"][1:]
        outcome.result.update(found)
        return outcome

    tuner = make_tuner(tmp_path / "search")
    assert tuner.make_job(tuner.oracle.create_trial("here")).order["cutoffs"] is None
    tuner.oracle.give_back("here")
    tuner.oracle.pruner = Pruner("halving", True, runs=2, epochs=3)
    Pool([Resource(act=act)], tuner, tuner.stop).run()
    # After a third of the six epochs of both runs.
    assert [cutoffs[0][1] for cutoffs in orders] == [None, 0.7, 0.7, 0.8]
    assert orders[1] == [[None, 0.7, None], [None] * 3]
    assert tuner.oracle.trials["1"].status == "PRUNED"
    assert tuner.oracle.curves == {"0": [[0.7] * 3] * 2, "1": [[0.6] * 2], "2": [[0.8] * 3] * 2, "3": [[0.8] * 3] * 2}
    assert all(set(trial.hyperparameters.values) == {"units"} for trial in tuner.oracle.trials.values())
    row = trials_table(tuner.oracle, tuner.space).iloc[1]
    assert (row["status"], row["pruned_epoch"], row["pruned_value"], row["epochs"]) == ("pruned", 2, 0.6, 3)


def test_several_workers_share_the_trials(tmp_path):
    tuner = make_tuner(tmp_path / "search")
    Pool([Resource(name) for name in "abc"], tuner, tuner.stop).run()
    assert sorted(tuner.oracle.end_order) == ["0", "1", "2", "3"]
    assert tuner.oracle.running() == {}


def test_an_interrupted_trial_is_returned_and_not_counted_as_failure(tmp_path):
    ended = []

    def act(job, stop):
        stop.set()
        return Outcome(interrupted=True)

    tuner = make_tuner(tmp_path / "search", ended=lambda *end: ended.append(end))
    Pool([Resource(act=act)], tuner, tuner.stop).run()
    assert ended == []
    assert tuner.oracle.end_order == []
    assert tuner.oracle.running() == {}
    assert tuner.oracle.lost == {"0": 0}
    assert tuner.take(Resource()).item.trial_id == "0"


def test_a_trial_whose_parent_is_on_another_machine_fails_at_once(tmp_path):
    tuner = make_tuner(tmp_path / "search")
    first, second = (tuner.oracle.create_trial(name) for name in ("here", "there"))
    first.hyperparameters.values[PARENT] = second.trial_id
    assert tuner.take(Resource()) is NoJob.NOW
    failed = tuner.oracle.trials[first.trial_id]
    assert failed.status == TrialStatus.FAILED
    assert failed.message.startswith(f"continues {tmp_path / 'search' / 'trial_1' / 'seed-0'}, which does not exist")


def test_a_trial_continues_the_runs_of_its_parent(tmp_path):
    tuner = make_tuner(tmp_path / "search")
    first, second = (tuner.oracle.create_trial(name) for name in ("here", "there"))
    first.hyperparameters.values[PARENT] = second.trial_id
    parents = tuner.run_folders(second.trial_id)
    for folder in parents:
        folder.mkdir(parents=True)
    assert tuner.take(Resource()).order["starts"] == [str(folder) for folder in parents]


def test_a_trial_of_another_search_is_refused(tmp_path):
    tuner = make_tuner(tmp_path / "search", settings="mine")
    tuner.oracle.create_trial("here").hyperparameters.values[SETTINGS] = "another"
    with pytest.raises(InputError, match="A worker must have the options of its chief"):
        tuner.take(Resource())
