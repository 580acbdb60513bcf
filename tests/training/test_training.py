"""Training from start to end: stopping, killing and resuming a run, and the files that it writes."""

import dataclasses
import importlib.util
import json
import math
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tiny_models  # noqa: F401, registers tiny-dense
from conftest import TINY, register_tiny_data, register_tiny_volumes, run_models_eagerly, tiny_stripes
from PIL import Image
from rich.console import Console
from sklearn.metrics import confusion_matrix, roc_auc_score

from keras_lnn.backend.devices import xla_slows_convolutions
from keras_lnn.config import MODEL_DEFAULT, TrainConfig
from keras_lnn.data import DataEntry, ImageData, Split, catalog, load_data, register_data
from keras_lnn.errors import InputError
from keras_lnn.registry import build_model
from keras_lnn.runs.epoch_shares import count_epochs, describe_epochs
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.signature import read_signature
from keras_lnn.tasks.kinds import make_task
from keras_lnn.trained.evaluate import evaluate_model
from keras_lnn.training.compiling import compiles_whole_step
from keras_lnn.training.loop import _Trainer, resume, train
from keras_lnn.training.protocol import complete_config, is_run_of
from keras_lnn.training.recorder import Recorder, TrainingDiverged, read_confusion
from keras_lnn.training.requirements import lasting_fields, require_operating_point

QUIET = {"export": "none", "tensorboard": False, "explanations": False}
SMALL = {"model": "tiny-dense"}
EIGHT = {"model": "dnn", "model_args": {"units": 8}}
LAST = SMALL | {"epochs": 3, "learning_rate": 0.05, "keep": "last", "batch_size": 20}


@pytest.fixture
def no_pictures(monkeypatch):
    """Runs without drawing, where the pictures are not what is tested."""
    monkeypatch.setattr("keras_lnn.training.report._draw", lambda *_: None)


@pytest.fixture(scope="module")
def last_runs(tmp_path_factory):
    """Runs of one configuration that keep their last epoch, for tests that only read them: plain, and with averages."""
    place = tmp_path_factory.mktemp("last")
    register_tiny_data()
    with pytest.MonkeyPatch.context() as patched, open(place / "console.txt", "w") as file:
        patched.setattr("keras_lnn.training.report._draw", lambda *_: None)
        run_models_eagerly(patched)
        return tuple(
            train(config_for(TINY, place, run_dir=place / name, **LAST, **fields), Console(file=file))
            for name, fields in (("plain", {}), ("averaged", {"weight_average": 0.5}))
        )


@pytest.fixture
def console(tmp_path):
    with open(tmp_path / "console.txt", "w") as file:
        yield Console(file=file, width=140, markup=False)


def config_for(tiny_data: str, tmp_path: Path, **fields) -> TrainConfig:
    values = {"data": tiny_data, "run_dir": tmp_path / "run", "epochs": 3, "batch_size": 20}
    return TrainConfig.create(values | {"export_dir": tmp_path / "exported"} | QUIET | fields)


@pytest.mark.usefixtures("eager_models")
def test_a_run_writes_every_documented_file(tiny_data, tmp_path, console):
    fields = {"model": "tiny-liquid", "epochs": 2, "batch_size": 20, "tensorboard": True, "explanations": True}
    fields |= {"coverage": 0.8, "referral_risk": 0.3}
    result = train(config_for(tiny_data, tmp_path, **fields), console)
    folder = result.folder
    for path in (folder.config, folder.environment, folder.history, folder.metrics, folder.predictions):
        assert path.is_file()
    assert list(folder.tensorboard.rglob("events*"))
    names = {path.name for path in folder.plots.iterdir()}
    pictures = {"history", "roc", "precision_recall", "confusion", "reliability", "examples", "labels", "wiring_cfc"}
    pictures |= {"sequence_channels", "class_accuracy", "class_correlation", "images", "explanations", "referral"}
    assert names == {f"{name}.png" for name in pictures}
    page = folder.report.read_text(encoding="utf-8")
    assert page.count("<img ") == len(pictures)  # each has a sentence on how to read it
    history = pd.read_csv(folder.history)
    assert list(history["epoch"]) == [1, 2]
    assert {"loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc", "learning_rate", "seconds"} <= set(
        history
    )
    labels = pd.read_csv(folder.labels)
    assert list(labels["label"]) == ["level", "upright"]
    metrics = json.loads(folder.metrics.read_text())
    assert list(labels["auc_low"]) == [metrics["per_class"]["test"][name]["auc"]["low"] for name in labels["label"]]
    assert metrics == json.loads(json.dumps(result.metrics))
    assert metrics["best_epoch"] == history["val_auc"].idxmax() + 1
    assert metrics["test"]["auc"]["low"] <= metrics["test"]["auc"]["value"] <= metrics["test"]["auc"]["high"]
    assert (metrics["classes"], metrics["positive_class"]) == (["level", "upright"], "upright")
    assert metrics["threshold_rule"] == "youden"
    table = pd.read_csv(folder.predictions)
    table = table[table["split"] == "test"]
    covered = [row["truth_name"] in row["set"].split("|") for row in table.to_dict("records")]
    assert metrics["sets"]["test"]["coverage"]["value"] == pytest.approx(np.mean(covered))
    assert metrics["referral"]["test"]["decided"]["value"] == pytest.approx(1 - table["refer"].mean())
    signature = read_signature(folder.best_model)
    assert (signature.threshold_rule, signature.positive_class) == ("youden", "upright")
    assert list(signature.thresholds) == [
        metrics["per_class"]["val"][name]["threshold"] for name in ("level", "upright")
    ]
    assert {f"{name}_tuned" for name in ("accuracy", "f1", "sensitivity", "specificity")} <= set(metrics["test"])
    environment = json.loads(folder.environment.read_text())
    assert environment["seed"] == 0
    assert environment["packages"]["keras"]
    text = Path(console.file.name).read_text()
    parameters = build_model("tiny-liquid", (28, 28, 1), 2).count_params()
    for word in ("tiny-liquid", f"{parameters:,} parameters", "60 train", "AUC", "95% interval", str(folder.plots)):
        assert word in text
    assert metrics["splits"]["train"] == {"images": 60, "patients": None, "classes": {"level": 30, "upright": 30}}
    assert f"Reached AUC {metrics['test']['auc']['value']:.3f}".replace("0.", ".") in text
    assert f"; its page is {folder.report}\n" in text
    predictions = pd.read_csv(folder.predictions)
    assert predictions["split"].value_counts().to_dict() == {"test": 30, "val": 20}
    test = predictions[predictions["split"] == "test"]
    data = tiny_stripes()
    np.testing.assert_array_equal(test["truth"], data.splits["test"].labels)
    columns = ["probability level", "probability upright"]
    found = load_predictor(folder.path).predict(data.splits["test"].images)  # the folder stands for its best model
    np.testing.assert_allclose(found, test[columns], atol=1e-5)


def weights_of(path: Path) -> list[np.ndarray]:
    from keras_lnn.saved.predictor import load_model

    return load_model(path).get_weights()


def assert_same_run(first: RunFolder, second: RunFolder) -> None:
    for name in ("last_model", "best_model"):
        pairs = zip(weights_of(getattr(first, name)), weights_of(getattr(second, name)), strict=True)
        assert all(np.array_equal(left, right) for left, right in pairs)
    histories = [pd.read_csv(folder.history).drop(columns="seconds") for folder in (first, second)]
    pd.testing.assert_frame_equal(*histories)
    for name in ("predictions", "confusion", "class_accuracy", "class_correlation"):
        assert getattr(first, name).read_text() == getattr(second, name).read_text()


class Killed(BaseException):
    pass


def stop_after(epoch: int, config: TrainConfig, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains until the checkpoint of an epoch is written, then stops as if killed."""

    def stop(self, checkpoint, best_epoch, write=RunFolder.write_checkpoint):
        write(self, checkpoint, best_epoch)
        if checkpoint.epoch == epoch:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_checkpoint", stop)
        with pytest.raises(Killed):
            train(config, console)


@pytest.mark.parametrize(
    ("fields", "truncate"),
    [
        pytest.param(
            {"model_args": {"dropout": 0.3}, "augmentation": "mirror", "schedule": "cosine", "weight_decay": 0.01},
            False,
            marks=pytest.mark.slow,
        ),
        pytest.param(SMALL | {"optimizer": "sgd", "class_weight": "balanced"}, False, marks=pytest.mark.slow),
        (SMALL | {"optimizer": "rmsprop", "augmentation": "any-orientation", "weight_average": 0.9}, True),
    ],
)
@pytest.mark.usefixtures("no_pictures")
def test_a_resumed_run_is_bit_identical(tiny_data, tmp_path, console, monkeypatch, fields, truncate):
    if truncate:  # the slow tests train by graphs
        run_models_eagerly(monkeypatch)
    whole = train(config_for(tiny_data, tmp_path, **fields), console).folder
    path = tmp_path / "killed"
    stop_after(2, config_for(tiny_data, tmp_path, run_dir=path, **fields), console, monkeypatch)
    if truncate:
        newest = path / "checkpoints" / "epoch-000002.npz"
        newest.write_bytes(newest.read_bytes()[:5000])
    found = resume(path, console)
    assert_same_run(found.folder, whole)
    assert found.metrics == json.loads(whole.metrics.read_text()) | {"seconds": found.metrics["seconds"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "class_weight"),
    [("bce-dice", "balanced"), ("focal-tversky", "none"), ("soft-f1", "balanced"), ("mean-squared-error", "balanced")],
)
@pytest.mark.usefixtures("no_pictures")
def test_batch_losses_restarts_and_score_can_be_combined(tmp_path, console, monkeypatch, loss, class_weight):
    fields = {"model": "dnn", "model_args": {"units": 32, "second_units": 8}, "batch_size": 300, "epochs": 5}
    fields |= {"loss": loss, "class_weight": class_weight, "schedule": "cosine-restarts", "restart_epochs": 2}
    whole = train(config_for("phantom-breast", tmp_path, monitor="val_score", learning_rate=3e-3, **fields), console)
    history = pd.read_csv(whole.folder.history)
    # The rate of the next step: at the end of a period that of the next one.
    steps = len(load_data("phantom-breast").splits["train"]) // 300 + 1
    done = np.arange(1, 6) * steps % (2 * steps) / (2 * steps)
    np.testing.assert_allclose(history["learning_rate"], 1.5e-3 * (1 + np.cos(np.pi * done)), rtol=1e-4)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert whole.metrics["best_epoch"] == history["val_score"].idxmax() + 1
    for row in history.to_dict("records"):
        for side in ("", "val_"):
            f1 = row[f"{side}f1"]
            expected = 0.2 * row[f"{side}accuracy"] + 0.3 * f1 + 0.5 * f1 / (2 - f1)
            assert row[f"{side}score"] == pytest.approx(expected, rel=1e-4)
    assert "val_score 0." in Path(console.file.name).read_text()
    if loss == "bce-dice":
        killed = config_for("phantom-breast", tmp_path, monitor="val_score", learning_rate=3e-3, **fields)
        killed = killed.model_copy(update={"run_dir": tmp_path / "killed"})
        stop_after(3, killed, console, monkeypatch)
        assert_same_run(resume(killed.run_dir, console).folder, whole.folder)


def test_a_run_without_a_newer_field_is_recognised(tiny_data, tmp_path):
    config = config_for(tiny_data, tmp_path, epochs=1, test=False, **SMALL)
    folder = RunFolder.create(complete_config(config), {})
    lines = folder.config.read_text().splitlines()
    folder.config.write_text("\n".join(line for line in lines if not line.startswith("restart_epochs")) + "\n")
    assert is_run_of(folder.path, config)
    assert not is_run_of(folder.path, config.model_copy(update={"restart_epochs": 3}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\nseed: 0", "\nseed: 7", "with the seed that it began with, 0. Received: .* with 7"),
        ("split_seed: null", "split_seed: 3", "with the split_seed that it began with, 0. Received: .* with 3"),
        (
            "units: 4",
            "units: 5",
            r"with the model_args that it began with, {'units': 4}. Received: .* with {'units': 5}",
        ),
    ],
)
def test_an_edited_run_is_not_resumed(tiny_data, tmp_path, console, old, new, message):
    config = complete_config(config_for(tiny_data, tmp_path, **SMALL, model_args={"units": 4}))
    folder = RunFolder.create(config, {"begun_with": lasting_fields(config)})
    text = folder.config.read_text()
    assert old in text
    folder.config.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        resume(folder.path, console)
    # An older version wrote the seed alone.
    folder.environment.write_text('{"seed": 0}')
    if new.strip() == "seed: 7":
        with pytest.raises(InputError, match=message):
            resume(folder.path, console)


def train_in_child(config: TrainConfig, resuming: bool) -> None:
    os.setsid()
    register_tiny_data()
    with open(os.devnull, "w") as nothing:
        console = Console(file=nothing)
        if resuming:
            resume(config.run_dir, console)
        else:
            train(config, console)


def kill_and_resume(config: TrainConfig, seconds: float) -> bool:
    """Trains or resumes in a process of its own and kills it after a time; returns whether it was still running."""
    # Forked from a server in which Keras is imported already: a fresh process would spend ten seconds on that.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keras_lnn.training.loop", "conftest"])
    resuming = (config.run_dir / "config.yaml").exists()
    child = context.Process(target=train_in_child, args=(config, resuming))
    child.start()
    child.join(seconds)
    if child.exitcode is not None:
        assert child.exitcode == 0
        return False
    os.killpg(child.pid, signal.SIGKILL)
    child.join()
    return True


def check_kills(tmp_path: Path, kills: int, epochs: int) -> None:
    """Kills runs at random moments, from before the folder exists to the report; compares each with a whole one."""
    fields = {"data": TINY, "epochs": epochs, "batch_size": 8, "augmentation": "mirror", **SMALL}
    config = TrainConfig.create({"run_dir": tmp_path / "whole", **QUIET, **fields})
    assert not kill_and_resume(config.model_copy(update={"run_dir": tmp_path / "first", "epochs": 1}), 3000)
    began = time.monotonic()
    assert not kill_and_resume(config, 3000)
    seconds = time.monotonic() - began
    whole = RunFolder.open(config.run_dir)
    generator = random.Random(0)
    run = done = 0
    while done < kills:
        run += 1
        config = config.model_copy(update={"run_dir": tmp_path / f"killed-{run}"})
        while kill_and_resume(config, generator.uniform(0.1, 0.9) * seconds):
            done += 1
        assert_same_run(RunFolder.open(config.run_dir), whole)


@pytest.mark.slow
def test_sigkill_loses_no_progress(tmp_path):
    check_kills(tmp_path, kills=1, epochs=10)


@pytest.mark.slow
@pytest.mark.timeout(10 * 3600)
def test_sigkill_at_twenty_moments_loses_no_progress(tmp_path):
    check_kills(tmp_path, kills=20, epochs=40)


def fit(config, console):
    """Trains without a report and returns the record."""
    config = complete_config(config)
    return _Trainer(config, tiny_stripes(), console)._fit(RunFolder.create(config, {}), None)


@pytest.mark.usefixtures("eager_models")
def test_a_run_is_determined_by_its_seed(last_runs, tiny_data, tmp_path, console):
    first = pd.read_csv(last_runs[0].folder.history)
    for seed in (0, 4):
        config = config_for(tiny_data, tmp_path, run_dir=tmp_path / f"seed-{seed}", seed=seed, stop_after=1, **LAST)
        loss = fit(config, console).history[0]["loss"]
        assert (loss == pytest.approx(first["loss"][0], rel=1e-12)) == (seed == 0)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_models", "no_pictures")
def test_runs_of_equal_seeds_write_equal_files(last_runs, tiny_data, tmp_path, console):
    assert_same_run(last_runs[0].folder, train(config_for(tiny_data, tmp_path, **LAST), console).folder)


@pytest.mark.usefixtures("no_pictures")
def test_early_stopping_counts_from_the_best_epoch(tiny_data, tmp_path, console):
    config = config_for(tiny_data, tmp_path, epochs=60, early_stopping=2, learning_rate=0.01, **SMALL)
    metrics = train(config, console).metrics
    assert metrics["test"]["auc"]["value"] > 0.8
    assert metrics["epochs"] == metrics["best_epoch"] + 2 < 60
    assert metrics["stopped_because"] == "2 epochs without improvement"


@pytest.mark.usefixtures("eager_models", "no_pictures")
def test_a_time_budget_stops_within_a_step(tiny_data, tmp_path, console):
    fields = {"epochs": 100_000, "batch_size": 4, "test": False, **EIGHT}
    metrics = train(config_for(tiny_data, tmp_path, time_budget="0.001s", **fields), console).metrics
    assert metrics["seconds"] >= 0.001  # no first step takes less
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert metrics["epochs"] == len(history) == 1
    assert metrics["epochs_trained"] == pytest.approx(1 / 15, abs=1e-4)  # steps of an epoch
    assert history["fraction"].iloc[0] == pytest.approx(1 / 15, abs=1e-4)
    reported = f"the time budget of 0.001 s is spent: {describe_epochs(history.to_dict('records'))}"
    assert metrics["stopped_because"] == reported
    assert f"stopped in epoch 1: {reported}" in printed(console)


CUT = {"epochs": 50, "time_budget": "1h", "batch_size": 16, **EIGHT}
CUT_THERE = "the time budget of 3600 s is spent: 1 whole epoch and 75% of the next"


@pytest.fixture
def late_in_the_second_epoch(monkeypatch):
    """The clock jumps in the third step of the second epoch, so that the cut is at the same step in each run."""

    def late(self, batch, logs=None, own=Recorder.on_train_batch_end):
        if len(self.history) == 1 and batch == 2:
            self._seconds_before = 4000.0
        own(self, batch, logs)

    monkeypatch.setattr(Recorder, "on_train_batch_end", late)


@pytest.mark.usefixtures("eager_models", "late_in_the_second_epoch")
def test_a_shortened_epoch_counts_by_its_steps(tiny_data, tmp_path, console):
    recorder = fit(config_for(tiny_data, tmp_path, **CUT), console)
    assert (count_epochs(recorder.history), recorder.stopped_because) == (1.75, CUT_THERE)
    assert list(pd.read_csv(tmp_path / "run" / "history.csv")["fraction"]) == [1.0, 0.75]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures", "late_in_the_second_epoch")
def test_a_run_killed_after_a_shortened_epoch_ends_there(tiny_data, tmp_path, console, monkeypatch):
    whole = train(config_for(tiny_data, tmp_path, **CUT), console)
    path = tmp_path / "killed"
    stop_after(2, config_for(tiny_data, tmp_path, run_dir=path, **CUT), console, monkeypatch)
    again = resume(path, console)
    assert_same_run(again.folder, whole.folder)
    assert (again.metrics["epochs_trained"], again.metrics["stopped_because"]) == (1.75, CUT_THERE)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_budget_spent_after_the_last_step_starts_no_epoch(tiny_data, tmp_path, console, monkeypatch):
    def late(self, logs=None):
        self._seconds_before = 4000.0

    monkeypatch.setattr(Recorder, "on_test_end", late)
    fields = {"epochs": 50, "time_budget": "1h", "test": False, **EIGHT}
    metrics = train(config_for(tiny_data, tmp_path, **fields), console).metrics
    assert (metrics["epochs"], metrics["epochs_trained"]) == (1, 1.0)
    assert metrics["stopped_because"] == "the time budget of 3600 s is spent: 1 whole epoch"
    assert "stopped after epoch 1: the time budget of 3600 s is spent: 1 whole epoch" in printed(console)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_continued_run_has_its_own_budget(last_runs, tiny_data, tmp_path, console):
    first = RunFolder(shutil.copytree(last_runs[0].folder.path, tmp_path / "first"))
    first.write_checkpoint(dataclasses.replace(first.read_checkpoint(), seconds=4000.0), 3)
    second = {"run_dir": tmp_path / "second", "start_from": first.path, "time_budget": "1h", "test": False}
    metrics = train(config_for(tiny_data, tmp_path, **LAST | second | {"epochs": 4}), console).metrics
    assert (metrics["epochs"], metrics["stopped_because"]) == (4, "")
    assert metrics["seconds"] < 1000
    assert first.read_checkpoint().seconds == 4000.0


def printed(console: Console) -> str:
    console.file.flush()
    return " ".join(Path(console.file.name).read_text().split())


@pytest.mark.parametrize(
    ("fractions", "count", "reported"),
    [
        ([1.0, 1.0], 2.0, "2 whole epochs"),
        ([1.0, 0.37], 1.37, "1 whole epoch and 37% of the next"),
        ([0.001], 0.001, "1% of the first epoch"),
        ([1.0, 0.999], 1.999, "1 whole epoch and 99% of the next"),
    ],
)
def test_epochs_within_the_budget_are_reported(fractions, count, reported):
    history = [{"epoch": index, "fraction": fraction} for index, fraction in enumerate(fractions, start=1)]
    assert count_epochs(history) == pytest.approx(count)
    assert describe_epochs(history) == reported
    # Rows from before there was a budget are of whole epochs.
    assert count_epochs([{"epoch": 1}, {"epoch": 2, "fraction": math.nan}]) == 2.0


def test_each_epoch_records_its_confusion_matrix(last_runs):
    folder = last_runs[1].folder
    answers = pd.read_csv(folder.predictions).query("split == 'val'")
    predicted = answers[["probability level", "probability upright"]].to_numpy().argmax(axis=1)
    expected = confusion_matrix(answers["truth"], predicted)
    cells = pd.read_csv(folder.confusion)
    assert list(cells.columns) == ["epoch", "truth", "predicted", "count"]
    np.testing.assert_array_equal(cells.query("epoch == 3")["count"].to_numpy().reshape(2, 2), expected)
    assert list(cells.groupby("epoch")["count"].sum()) == [20, 20, 20]
    assert list(cells["truth"][:4]) == ["level", "level", "upright", "upright"]
    curves = pd.read_csv(folder.class_accuracy, index_col="epoch")
    history = pd.read_csv(folder.history)
    np.testing.assert_allclose(curves.mean(axis=1), history["val_accuracy"], rtol=1e-6)  # equally frequent classes
    auc = roc_auc_score(answers["truth"], answers["probability upright"])
    assert history["val_auc"].iloc[-1] == pytest.approx(auc, abs=1e-6)
    correlation = pd.read_csv(folder.class_correlation, index_col="class")
    pd.testing.assert_frame_equal(correlation, curves.corr().rename_axis("class"))


def faint_model(*arguments, **options):
    """A model whose logits are nearly constant."""
    model = build_model(*arguments, **options)
    return keras.Model(model.input, keras.layers.Rescaling(1e-3)(model.output))


@pytest.mark.parametrize("data", [pytest.param("tiny-stripes", marks=pytest.mark.slow), "test-multi-label"])
@pytest.mark.usefixtures("eager_models", "no_pictures")
def test_the_auc_that_chooses_the_epoch_is_that_of_scikit_learn(tiny_data, tmp_path, console, monkeypatch, data):
    """The AUC is that of each epoch's validation predictions, also where the time budget shortens the last epoch."""
    register_labels("multi-label")
    truth = load_data(data).splits["val"].labels
    measured = []

    def measure(self, epoch, logs=None, record=Recorder.on_epoch_end):
        record(self, epoch, logs)
        logits = self.model.predict(np.asarray(load_data(data).splits["val"].images, "float32"), verbose=0)
        measured.append(roc_auc_score(truth, logits[:, 1] - logits[:, 0] if truth.ndim == 1 else logits))
        if epoch == 2:
            self._seconds_before = 3600.0

    monkeypatch.setattr(Recorder, "on_epoch_end", measure)
    monkeypatch.setattr("keras_lnn.training.loop.build_model", faint_model)
    fields = {"learning_rate": 0.01, "batch_size": 8, **EIGHT}
    config = config_for(data, tmp_path, epochs=9, time_budget="1h", **fields)
    metrics = train(config, console).metrics
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["fraction"].iloc[-1] < 1
    np.testing.assert_allclose(history["val_auc"], measured, rtol=0, atol=1e-6)
    assert len(set(measured)) > 1
    assert metrics["best_epoch"] == np.argmax(measured) + 1
    assert metrics["val"]["auc"]["value"] == pytest.approx(max(measured), abs=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_the_auc_that_chooses_the_epoch_is_that_of_scikit_learn_on_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    command += ["-k", "scikit_learn and not on_jax"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout[-4000:]
    assert "2 passed" in done.stdout


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("multi-class", {"threshold": "youden"}, "for two classes or several labels per image. Received: youden"),
        ("multi-label", {"positive_class": "a"}, "one of two classes. Received: a for a multi-label task"),
        ("binary", {"positive_class": "c"}, "one of two classes. Received: c for a binary task with a | b"),
        (
            "multi-label",
            {"coverage": 0.9},
            "Received: 0.9 for a multi-label task, where each label is predicted on its",
        ),
        ("segmentation", {"referral_risk": 0.05}, "--referral-risk is for data with one class per image."),
    ],
)
def test_decisions_that_do_not_fit_the_data_are_refused(kind, given, message):
    names = ("a", "b") if kind == "binary" else ("a", "b", "c")
    with pytest.raises(InputError, match=re.escape(message)):
        require_operating_point(TrainConfig.create(given), make_task(kind, names))


def one_sided_stripes() -> ImageData:
    data = tiny_stripes()
    level = np.zeros_like(data.splits["val"].labels)
    return dataclasses.replace(data, splits=data.splits | {"val": Split(data.splits["val"].images, level)})


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_run_with_only_nan_epochs_is_reported(tmp_path, console):
    if "one-sided-stripes" not in catalog():
        samples = {"train": 60, "val": 20, "test": 30}
        loader = f"{__name__}:one_sided_stripes"
        register_data(
            DataEntry("one-sided-stripes", "test", "binary", ("level", "upright"), 1, 2, (28,), samples, loader)
        )
    config = config_for("one-sided-stripes", tmp_path, epochs=2, **EIGHT)
    metrics = train(config, console).metrics
    assert metrics["best_epoch"] == 2
    assert metrics["warnings"][0].startswith("val_auc is not a number in any of 2 epochs, so no epoch could be chosen")
    reported = printed(console)
    assert "val_auc nan no best epoch yet" in reported
    assert "warning: val_auc is not a number in any of 2 epochs" in reported
    assert "test of epoch 2, the last" in reported


def test_nan_predictions_are_not_counted():
    model = keras.Sequential([keras.Input((2,))])
    task = make_task("multi-class", ("a", "b"))
    model.compile(loss=task.loss(), metrics=task.metrics())
    logs = model.evaluate(np.full((3, 2), np.nan), np.array([0, 1, 1]), verbose=0, return_dict=True)
    assert all(np.isnan(value) for value in logs.values())
    (matrix,) = read_confusion(model)
    np.testing.assert_array_equal(matrix, np.zeros((2, 2), np.int64))


def test_a_nan_loss_is_reported(tiny_data, tmp_path, console):
    with pytest.raises(TrainingDiverged, match=r"must stay finite\. Received: nan in epoch \d+\. Lower"):
        train(config_for(tiny_data, tmp_path, epochs=50, optimizer="sgd", learning_rate=1e30, **EIGHT), console)


@pytest.mark.parametrize(
    ("precision", "model"),
    [pytest.param("mixed_bfloat16", {"model": "lnn"}, marks=pytest.mark.slow), ("mixed_float16", EIGHT)],
)
@pytest.mark.usefixtures("no_pictures")
def test_mixed_precision_trains_saves_and_predicts(tiny_data, tmp_path, console, precision, model):
    config = config_for(tiny_data, tmp_path, precision=precision, epochs=2, export="saved_model", **model)
    metrics = train(config, console).metrics
    assert metrics["test"]["auc"]["value"] is not None
    data = tiny_stripes().splits["test"].images
    found = [load_predictor(tmp_path / name).predict(data) for name in ("run", "exported/run")]
    np.testing.assert_allclose(*found, atol=2e-2)


def make_labels(kind: str) -> ImageData:
    generator = np.random.default_rng(0)
    names = ("a", "b", "c")

    def split(count: int) -> Split:
        images = generator.integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
        labels = np.arange(count) % 3
        if kind == "multi-label":
            return Split(images, np.eye(3, dtype=np.uint8)[labels] | (generator.random((count, 3)) < 0.3))
        return Split(images, labels)

    return ImageData(
        f"test-{kind}",
        kind,
        names,
        {s: split(n) for s, n in zip(("train", "val", "test"), (30, 15, 15), strict=True)},
        "",
    )


def register_labels(kind: str) -> str:
    name = f"test-{kind}"
    if name not in catalog():
        loader = f"{__name__}:labels_{kind.replace('-', '_')}"
        register_data(DataEntry(name, "test", kind, ("a", "b", "c"), 3, 2, (14,), {}, loader))
    return name


def labels_multi_label() -> ImageData:
    return make_labels("multi-label")


def labels_multi_class() -> ImageData:
    return make_labels("multi-class")


def labels_ordinal() -> ImageData:
    return make_labels("ordinal")


@pytest.mark.parametrize(
    ("kind", "class_weight"),
    [
        ("multi-label", "balanced"),
        pytest.param("multi-class", "balanced", marks=pytest.mark.slow),
        *(pytest.param(kind, "none", marks=pytest.mark.slow) for kind in ("multi-label", "ordinal")),
    ],
)
@pytest.mark.usefixtures("eager_models")
def test_every_task_is_trained_evaluated_and_exported(kind, class_weight, tmp_path, console):
    name = register_labels(kind)
    config = config_for(name, tmp_path, class_weight=class_weight, epochs=2, export="keras", **SMALL)
    result = train(config, console)
    assert set(result.metrics["per_class"]["test"]) == {"a", "b", "c"}
    assert result.metrics["positive_class"] is None
    assert pd.read_csv(result.folder.predictions).filter(like="probability").shape == (30, 3)
    curves = pd.read_csv(result.folder.class_accuracy, index_col="epoch")
    assert (list(curves.columns), list(curves.index)) == (["a", "b", "c"], [1, 2])
    assert result.folder.confusion.is_file() == (kind != "multi-label")
    if kind == "multi-label":
        np.testing.assert_allclose(curves.mean(axis=1), pd.read_csv(result.folder.history)["val_accuracy"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_run_killed_after_its_last_checkpoint_keeps_its_last_row(tiny_data, tmp_path, console, monkeypatch):
    def stop(self, rows):
        if len(rows) == 3:
            raise Killed

    config = config_for(tiny_data, tmp_path, export="keras", optimizer="adamw", **SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_history", stop)
        with pytest.raises(Killed):
            train(config, console)
    first = resume(config.run_dir, console)
    folder = first.folder
    assert list(pd.read_csv(folder.history)["epoch"]) == [1, 2, 3]
    again = resume(config.run_dir, console).metrics  # what is complete only gets its report once more
    assert again == first.metrics | {"seconds": again["seconds"]}
    train(config.model_copy(update={"run_dir": tmp_path / "other" / "run", "seed": 5}), console)
    assert read_signature(tmp_path / "exported" / "run").seed == 0
    assert read_signature(tmp_path / "exported" / "run-2").seed == 5


def draw_images(folder: Path, count: int, classes: tuple[str, str]) -> None:
    generator = np.random.default_rng(count)
    for index, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.integers(0, 90, (20, 20), dtype=np.uint8) + np.uint8(120 * index)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_own_folders_keep_their_classes_and_splits(tmp_path, console, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "b"
    draw_images(first, 12, ("dark", "light"))
    draw_images(second, 12, ("2_dark", "1_light"))
    config = config_for(f"folder:{first}", tmp_path, size=16, epochs=4, learning_rate=0.01, **EIGHT)
    metrics = train(config, console).metrics
    assert metrics["test"]["auc"]["value"] == 1.0
    with pytest.raises(InputError, match=r"dark \| light\. Received: binary with 1_light \| 2_dark"):
        evaluate_model(config.run_dir, data=f"folder:{second}")
    (second / "2_dark").rename(second / "z")
    (second / "1_light").rename(second / "light")
    (second / "z").rename(second / "dark")
    assert evaluate_model(config.run_dir, data=f"folder:{second}")["test"] == metrics["test"]
    draw_images(first, 14, ("dark", "light"))
    changed = evaluate_model(config.run_dir)
    assert changed["data_is"] == "other data"
    assert "no longer contains the data that the model was trained on: 0 of 24 images" in changed["warnings"][0]
    (config.run_dir / "metrics.json").unlink()
    with pytest.raises(InputError, match="the data that it began with"):
        resume(config.run_dir, console)


def test_defaults_come_from_the_published_protocol():
    config = complete_config(TrainConfig(model="lnn", epochs=3))
    assert (config.epochs, config.batch_size, config.optimizer, config.learning_rate) == (3, 128, "adam", 1e-3)
    assert config.augmentation == "none"
    assert None not in (config.monitor, config.schedule, config.early_stopping, config.weight_decay)


@pytest.mark.parametrize("model", ["lnn", "unet"])
def test_each_field_that_a_protocol_may_give_has_a_default(model):
    config = complete_config(TrainConfig(model=model))
    published = [name for name, field in TrainConfig.model_fields.items() if MODEL_DEFAULT in field.description]
    assert len(published) > 10
    assert [name for name in published if getattr(config, name) is None] == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "lnnn"}, "no model 'lnnn'"),
        ({"data": "phantom-brest"}, "no data set 'phantom-brest'"),
        ({"model_args": {"unit": 3}}, "no argument 'unit'"),
        ({"model_args": {"sequence_length": 7}}, "divide the 128 channels"),
        ({"augmentation": "mirrored"}, "no augmentation 'mirrored'. Did you mean mirror"),
        ({"model": "dnn", "data": register_tiny_volumes()}, "Model dnn reads images"),
        ({"data": "folder:nowhere"}, "nowhere"),
        ({"size": 64}, "these sizes: 28"),
        ({"export": "keras", "export_dir": __file__ + "/exports"}, "--export-dir must be a folder"),
        ({"xla": True}, "exclude each other"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_written(tiny_data, tmp_path, console, fields, message):
    with pytest.raises(InputError, match=message):
        train(config_for(tiny_data, tmp_path, **fields), console)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not xla_slows_convolutions(), reason="only a CPU computes convolutions slower under XLA")
def test_xla_skips_convolutions_on_a_cpu_and_reports_it(tiny_data, tmp_path, console):
    config = complete_config(
        config_for(tiny_data, tmp_path, xla=True, deterministic=False, model="lnn", model_args={"units": 8})
    )
    trainer = _Trainer(config, tiny_stripes(), console)
    trainer._introduce(RunFolder.create(config, {}), None)
    console.file.flush()
    assert trainer.model.jit_compile is False
    assert "on a CPU XLA computes convolutions more slowly" in Path(console.file.name).read_text()
    dense = build_model("dnn", (28, 28, 1), 2)
    assert compiles_whole_step(dense, config)
    assert not compiles_whole_step(dense, config.model_copy(update={"xla": False}))


def test_the_last_epoch_is_tested_if_it_is_kept(last_runs):
    found = last_runs[0]
    assert found.metrics["best_epoch"] == found.metrics["epochs"] == 3
    assert found.metrics["keep"] == "last"
    pairs = zip(weights_of(found.folder.best_model), weights_of(found.folder.last_model), strict=True)
    assert all(np.array_equal(kept, last) for kept, last in pairs)
    history = pd.read_csv(found.folder.history)
    assert found.metrics["val"]["accuracy"]["value"] == pytest.approx(history["val_accuracy"].iloc[-1])


def test_the_average_of_the_weights_is_validated_and_kept(last_runs):
    plain, averaged = last_runs
    last = [found.folder.read_checkpoint() for found in (plain, averaged)]
    for without, beside in zip(last[0].model, last[1].model, strict=True):
        np.testing.assert_array_equal(without, beside)  # training itself is the same
    weights = zip(weights_of(averaged.folder.best_model), weights_of(plain.folder.best_model), strict=True)
    assert any(not np.allclose(average, own) for average, own in weights)
    history = pd.read_csv(averaged.folder.history)
    assert averaged.metrics["val"]["accuracy"]["value"] == pytest.approx(history["val_accuracy"].iloc[-1])
    own = pd.read_csv(plain.folder.history)
    assert list(history["loss"]) == list(own["loss"])
    assert list(history["val_loss"]) != list(own["val_loss"])


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_continued_run_equals_one_uninterrupted_run(tiny_data, tmp_path, console):
    fields = SMALL | {"schedule": "cosine", "augmentation": "mirror", "epochs": 4, "test": False}
    whole = train(config_for(tiny_data, tmp_path, run_dir=tmp_path / "whole", **fields), console)
    first = train(config_for(tiny_data, tmp_path, run_dir=tmp_path / "first", stop_after=2, **fields), console)
    assert first.metrics["epochs"] == 2
    options = {"run_dir": tmp_path / "second", "start_from": tmp_path / "first"}
    second = train(config_for(tiny_data, tmp_path, **options, **fields), console)
    assert_same_run(second.folder, whole.folder)
    assert len(pd.read_csv(first.folder.history)) == 2
    assert "test" not in whole.metrics
    assert set(pd.read_csv(whole.folder.predictions)["split"]) == {"val"}
    labels = pd.read_csv(whole.folder.labels)
    assert list(labels["support"]) == [10, 10]
    for changes in ({"seed": 1}, {"optimizer": "sgd"}, {"model_args": {"units": 5}}):
        with pytest.raises(InputError, match=rf"with another {next(iter(changes))}\. Give"):
            train(config_for(tiny_data, tmp_path, **options | {"run_dir": None}, **fields | changes), console)
    with pytest.raises(InputError, match="must be a folder"):
        train(config_for(tiny_data, tmp_path, start_from=tmp_path / "nowhere", **fields), console)
