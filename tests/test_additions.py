"""The examples of CONTRIBUTING: each addition takes effect from one place."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from custom_metrics import _RESULTS, ClassificationMetrics
from keras_lnn import registry
from keras_lnn.cli.main import COMMANDS, main
from keras_lnn.config import TrainConfig
from keras_lnn.data.augment.operations import make_augmentation
from keras_lnn.data.augment.values import VALUE_OPERATIONS
from keras_lnn.data.catalog import _REGISTERED, OWN_SOURCES, is_own, split_own
from keras_lnn.evaluation.metrics import METRICS, metric_label
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.registry import build_model, model_names
from keras_lnn.saved.export import export_model
from keras_lnn.saved.formats import FORMATS
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.signature import Signature, save_keras
from keras_lnn.tasks.kinds import KINDS, list_monitors, make_task
from keras_lnn.tasks.task import PROBABILITY_LOSSES

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^(An? [a-z ]+)[^\n]*:\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
TABLES = (METRICS, VALUE_OPERATIONS, KINDS, FORMATS, PROBABILITY_LOSSES, COMMANDS, OWN_SOURCES)
TABLES += (_REGISTERED, _RESULTS, registry._MODELS)


@pytest.fixture
def run(monkeypatch):
    """Runs an example as the module ``additions``; what it has added is gone after the test."""
    registry.list_models()  # those of the package are registered by the first call
    kept = [dict(table) for table in TABLES]

    def run_example(name, module="additions"):
        added = types.ModuleType(module)
        monkeypatch.setitem(sys.modules, module, added)
        exec(compile(EXAMPLES[name], name, "exec", dont_inherit=True), vars(added))
        return added

    yield run_example
    for table, content in zip(TABLES, kept, strict=True):
        table.clear()
        table.update(content)


def test_the_example_of_a_model_is_built(run):
    run("A model")
    assert "two-layers" in model_names()
    assert build_model("two-layers", (8, 8, 1), 2, units=3).output_shape == (None, 2)


def test_the_example_of_a_data_set_is_loaded(run):
    run("A data set")
    from keras_lnn.data import load_data

    data = load_data("stripes")
    assert data.class_names == ("vertical", "horizontal")
    assert len(data.splits["test"]) == 8


def test_the_example_of_a_source_of_images_is_loaded(run):
    added = run("A source of images")
    source, place = split_own("archive:somewhere")
    assert (source.loader, place) == ("additions:load_archive", "somewhere")
    assert callable(added.load_archive)
    assert is_own("archive:somewhere")


def test_the_example_of_a_metric_is_evaluated(run):
    run("A metric of the test")
    truth, probabilities = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    found = evaluate_predictions(truth, probabilities, task="binary", class_names=("no", "yes"))
    assert found.metrics["npv"].value == 0.5
    assert metric_label("npv") == "negative predictive value"


def test_a_metric_of_each_epoch(run):
    run("A metric of each epoch")
    metric = ClassificationMetrics("multi-class", ["npv", "npv_per_class"], class_names=["a", "b"])
    metric.update_state(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]], np.float32))
    found = {name: float(value) for name, value in metric.result().items()}
    # Of the two samples that are not predicted as a, one is not a; likewise for b.
    assert found == {"npv": 0.5, "npv_a": 0.5, "npv_b": 0.5}


def test_the_example_of_a_loss_is_used(run):
    run("A loss")
    assert TrainConfig(loss="absolute-error").loss == "absolute-error"
    loss = make_task("binary", ("no", "yes")).loss("absolute-error")
    assert float(loss(np.array([1]), np.array([[0.0, 0.0]], np.float32))) == pytest.approx(0.5)


def test_the_example_of_an_augmentation_is_applied(run):
    run("An augmentation")
    images = np.full((2, 8, 8, 1), 200.0, np.float32)
    augment = make_augmentation("invert", (8, 8, 1), 0)
    found = augment(images, 0)
    np.testing.assert_array_equal(np.asarray(found[0] if isinstance(found, tuple) else found), 55.0)


def test_the_example_of_a_task_is_used(run):
    run("A task")
    assert make_task("stages", ("I", "II", "III")).outputs == 3
    assert "val_stages" in list_monitors()
    assert TrainConfig(monitor="val_stages").monitor == "val_stages"


def test_the_example_of_a_command_is_run(run, capsys):
    run("A command", "keras_lnn.cli.hello")
    assert main(["hello", "--name", "Ada"]) == 0
    assert capsys.readouterr().out == "hello Ada\n"
    main(["--help"])
    assert "hello" in capsys.readouterr().out


def test_the_example_of_an_export_format_is_written(run, tmp_path):
    run("A model", "other")
    run("An export format")
    signature = Signature("two-layers", {}, "binary", ("no", "yes"), (8, 8, 1), "d", None, "", "", 1, 0, 1, "a test")
    save_keras(build_model("two-layers", (8, 8, 1), 2), signature, tmp_path / "best.keras")
    folder = export_model(tmp_path / "best.keras", tmp_path / "out", "npz")
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    expected = load_predictor(tmp_path / "best.keras").predict(images)
    np.testing.assert_array_equal(load_predictor(folder).predict(images), expected)
