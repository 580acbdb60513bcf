"""Runs on series of images in time: what they leave, and that a stopped one goes on as if it had not been stopped."""

import dataclasses
import html
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from tiny_series import make_series_data, register_tiny_series

from keras_lnn.comparing.comparison import compare
from keras_lnn.comparing.runs import load_runs
from keras_lnn.comparing.writing import write_comparison
from keras_lnn.config import TrainConfig
from keras_lnn.data.arrays import SeriesArray
from keras_lnn.data.pipeline import training_batches
from keras_lnn.layers import ElapsedTime
from keras_lnn.registry import build_model
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.predictor import load_model, load_predictor
from keras_lnn.saved.signature import read_signature
from keras_lnn.trained.evaluate import describe_measured, evaluate_model
from keras_lnn.training.loop import _describe_samples, _describe_times, _learn_intervals, resume, train
from keras_lnn.training.variables import model_variables

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from series_samples import write_series

DATA = make_series_data()
STEPS = DATA.image_shape[0]


@pytest.fixture
def console(tmp_path):
    with open(tmp_path / "console.txt", "w") as file:
        yield Console(file=file, width=140, markup=False)


def config_for(place, **fields):
    values = {"model": "lnn-series", "data": register_tiny_series(), "epochs": 2, "batch_size": 8, "tensorboard": False}
    values |= {"model_args": {"dropout": 0.4, "features": 4, "units": 4}, "augmentation": "mirror", "export": "none"}
    values |= {"explanations": False}
    return TrainConfig.create(values | {"run_dir": place} | fields)


class Killed(BaseException):
    pass


def stop_after_first(config, console, monkeypatch):
    """Trains, and dies once the first epoch is written."""

    def stop(self, checkpoint, best_epoch, write=RunFolder.write_checkpoint):
        write(self, checkpoint, best_epoch)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_checkpoint", stop)
        with pytest.raises(Killed):
            train(config, console)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["cfc", "transformer"])
def test_a_stopped_run_on_series_goes_on_bit_for_bit(tmp_path, console, monkeypatch, head):
    monkeypatch.setattr("keras_lnn.training.report._draw", lambda *_: None)
    arguments = {"dropout": 0.4, "features": 4, "units": 4, "head": head}
    whole = train(config_for(tmp_path / "whole", model_args=arguments), console).folder
    stop_after_first(config_for(tmp_path / "killed", model_args=arguments), console, monkeypatch)
    again = resume(tmp_path / "killed", console).folder
    for name in ("last_model", "best_model"):
        pairs = [load_model(getattr(folder, name)).get_weights() for folder in (whole, again)]
        assert all(np.array_equal(left, right) for left, right in zip(*pairs, strict=True))
    histories = [pd.read_csv(folder.history).drop(columns="seconds") for folder in (whole, again)]
    pd.testing.assert_frame_equal(*histories)
    assert whole.predictions.read_text() == again.predictions.read_text()


def test_batches_of_series_go_on_with_the_same_order_times_and_augmentation():
    split, fields = DATA.splits["train"], {"batch_size": 5, "seed": 3, "epochs": 2, "augmentation": "mirror"}
    steps = -(-len(split) // 5)
    whole = list(training_batches(split, **fields))[steps:]
    rest = list(training_batches(split, first_epoch=1, **fields))
    assert len(whole) == len(rest) == steps
    for (inputs, labels), (others, other_labels) in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(labels, other_labels)
        for part, other in zip(inputs, others, strict=True):
            np.testing.assert_array_equal(part, other)


def test_the_scale_of_time_and_the_state_of_dropout_are_kept_in_checkpoints():
    model = build_model("lnn-series", DATA.image_shape, 2, features=4, units=4, dropout=0.4)
    _learn_intervals(model, DATA)
    gaps = np.concatenate([np.diff(times[np.isfinite(times)]) for times in DATA.series.times()])
    median = float(np.median(gaps[gaps > 0]))
    kept = model_variables(model)
    (scale,) = [layer.unit_time for layer in model.layers if isinstance(layer, ElapsedTime)]
    assert any(variable is scale for variable in kept)
    assert float(scale) == pytest.approx(median)
    assert _describe_times(DATA) == {"time_unit": "minutes", "median_interval": median}
    dropout = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dropout))
    assert any(variable is dropout.seed_generator.state for variable in kept)


def test_series_of_one_frame_have_no_interval():
    train_split = DATA.splits["train"]
    assert isinstance(train_split.images, SeriesArray)
    single = dataclasses.replace(train_split.images, lengths=np.ones_like(train_split.images.lengths))
    splits = {**DATA.splits, "train": dataclasses.replace(train_split, images=single)}
    assert _describe_times(dataclasses.replace(DATA, splits=splits)) == {
        "time_unit": "minutes",
        "median_interval": None,
    }


def test_the_introduction_says_that_samples_are_series():
    assert _describe_samples(DATA) == f"series of up to {STEPS} frames of 12x12x1 with times in minutes"


@pytest.mark.slow
def test_a_run_on_series_leaves_their_pictures_and_a_page(tmp_path, console):
    fields = {"export": "saved_model", "export_dir": tmp_path / "exported"}
    result = train(config_for(tmp_path / "run", **fields), console)
    names = {path.stem for path in result.folder.plots.iterdir()}
    assert {"images", "series", "course"} <= names
    assert "examples" not in names
    page, text = result.folder.report.read_text(encoding="utf-8"), Path(console.file.name).read_text()
    assert page.count("<img ") == len(names)
    count = len(DATA.splits["test"])
    for words in (
        f"over {count} test series",
        "all series",
        "Hard and wrong series",
        "Predictions while frames arrive",
    ):
        assert words in page
    assert f"{count} test series of up to {STEPS} frames of 12x12x1 with times in minutes" in text
    assert read_signature(result.folder.best_model).time_unit == "minutes"
    test = pd.read_csv(result.folder.predictions).query("split == 'test'")
    found = load_predictor(tmp_path / "exported" / "run").predict(DATA.splits["test"].images)
    np.testing.assert_allclose(found, test[[f"probability {name}" for name in DATA.class_names]], atol=1e-5)


def texts_of(page):
    """The visible text of a page."""
    return html.unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL))


@pytest.mark.slow
def test_no_text_on_a_run_of_own_series_calls_them_images(tmp_path, console):
    table = write_series(tmp_path)
    fields = {"data": f"series:{table}", "size": 12, "epochs": 1, "export": "keras"}
    run = train(config_for(tmp_path / "run", **fields, export_dir=tmp_path / "exported"), console)
    write_comparison(compare(load_runs([run.folder.path])), tmp_path / "comparison", console)
    metrics = evaluate_model(run.folder.path, split="all")
    texts = [
        texts_of(run.folder.report.read_text(encoding="utf-8")),
        texts_of((tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")),
        next((tmp_path / "exported").rglob("README.md")).read_text(encoding="utf-8"),
        Path(console.file.name).read_text(encoding="utf-8"),
        "\n".join([describe_measured(metrics), *metrics["warnings"]]),
    ]
    calls = re.compile(r"[^\n]*\b(?:(?:all|test|training|own|of|the|wrong|these|\d) images|each image)\b[^\n]*")
    assert [found for text in texts for found in calls.findall(text)] == []
