"""A task with a form of output that the package does not have: an age for each image.

It is an entry in the table of tasks, and brings what writes its predictions and what reads, measures and compares runs.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from keras_lnn.comparing.compared_run import ComparedRun, RunKind
from keras_lnn.comparing.comparison import compare
from keras_lnn.comparing.runs import load_runs
from keras_lnn.comparing.words import describe_pair
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.saved.file_writers import TableWriter, find_writer
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.paired_tests import Measured, compare_means
from keras_lnn.tasks.classification import SingleLabelTask
from keras_lnn.tasks.kinds import KINDS, make_task


class AgeWriter(TableWriter):
    noun = "age"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgeRun(ComparedRun):
    ages: np.ndarray
    validation_share: float

    leading = "within_five_years"
    tested = ("within_five_years",)
    pictures = ("metrics",)

    @property
    def validation_value(self):
        return self.validation_share

    def count_classes(self):
        return [self.samples]

    def choose_headline(self, known):
        return ("within_five_years",)

    def describe_methods(self):
        return ["Ages are compared by a paired t-test."]


def read_ages(path, split):
    metrics = json.loads((path / "metrics.json").read_text())
    table = pd.read_csv(path / "predictions.csv")
    return AgeRun(
        path=path,
        config=TrainConfig.from_yaml(path / "config.yaml"),
        split=split,
        task="age",
        class_names=("age",),
        truth=table["truth"].to_numpy(),
        ages=table["age"].to_numpy(),
        files=(),
        parameters=1,
        seconds=1.0,
        epochs=1,
        checksum="",
        file_bytes=None,
        warnings=(),
        validation_share=metrics["val"]["within_five_years"]["value"],
    )


def measure_ages(runs, *, positive_class=None, progress=None):
    right = np.stack([abs(run.ages - run.truth) <= 5 for run in runs]).astype(float)
    shares = right.mean(axis=1)
    deviations = (right - shares[:, None]) / right.shape[1]
    measured = Measured([Estimate(float(share), 0.0, 1.0) for share in shares], deviations, right.shape[1] - 1)
    return {"within_five_years": measured}, {}


def compare_ages(metric, first, one, second, other, label=""):
    return compare_means(one, other, degrees=one.degrees), "paired t of ages"


AGES = RunKind(read_ages, measure_ages, compare_ages)


class AgeTask(SingleLabelTask):
    predicts = "ages"
    fewest_classes = 1
    file_writer = f"{__name__}:AgeWriter"
    run_kind = f"{__name__}:AGES"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setitem(KINDS, "age", AgeTask)
    generator = np.random.default_rng(0)
    truth = generator.integers(20, 80, 60)
    for seed, (model, error) in enumerate({"lnn": 3.0, "cnn": 20.0}.items()):
        path = tmp_path / model
        path.mkdir()
        (path / "config.yaml").write_text(TrainConfig.create({"model": model, "seed": seed}).to_yaml())
        ages = truth + np.random.default_rng(seed).normal(0, error, 60)
        pd.DataFrame({"truth": truth, "age": ages}).to_csv(path / "predictions.csv", index=False)
        share = {"within_five_years": {"value": float((abs(ages - truth) <= 5).mean())}}
        content = {"task": "age", "classes": ["age"], "val": share, "test": share}
        (path / "metrics.json").write_text(json.dumps(content))
    return tmp_path


def test_runs_of_a_new_task_are_read_measured_and_compared_by_its_rules(folder):
    comparison = compare(load_runs([folder]))
    assert [model.name for model in comparison.models] == ["lnn", "cnn"]
    (pair,) = comparison.pairs
    assert pair.test == "paired t of ages"
    assert pair.difference.value == pytest.approx(pair.first_value - pair.second_value)
    assert pair.difference.p < 1e-4
    assert "within five years" in describe_pair(comparison, pair)


def test_the_page_writer_of_a_new_task_is_found(folder):
    task = make_task("age", ("age",))
    assert isinstance(find_writer(task, "model", overlay=False), AgeWriter)
    with pytest.raises(InputError, match="--overlay is for segmentation models"):
        find_writer(task, "model", overlay=True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_names_a_writer_and_its_kind_of_runs(kind):
    task = KINDS[kind](kind, ("a", "b"))
    assert find_writer(task, "model", overlay=False).noun in ("prediction", "mask")
    assert isinstance(RunKind.of(KINDS[kind]), RunKind)
