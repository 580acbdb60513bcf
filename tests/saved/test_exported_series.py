"""Saved models of series: the same predictions after each export, and a card whose code runs."""

import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from conftest import run_models_eagerly
from tiny_series import make_series_data, register_tiny_series

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.layers import ElapsedTime
from keras_lnn.pages.run_tables import splits_table
from keras_lnn.registry import build_model
from keras_lnn.saved.card import CARD_FILE, describe_model
from keras_lnn.saved.export import export_model
from keras_lnn.saved.predictor import KerasPredictor, find_model, load_predictor
from keras_lnn.saved.results import describe_result
from keras_lnn.saved.signature import Signature, save_keras
from keras_lnn.trained.evaluate import describe_measured, evaluate_model

pytestmark = pytest.mark.usefixtures("eager_models")
DATA = make_series_data()
STEPS, CLASSES = DATA.image_shape[0], DATA.class_names


def make_signature(**changes):
    values = {"model": "lnn-series", "model_args": {}, "task": "binary", "class_names": CLASSES, "size": None}
    values |= {"image_shape": DATA.image_shape, "data": DATA.name, "checksum": DATA.checksum, "licence": ""}
    values |= {"parameters": 9, "seed": 0, "best_epoch": 1, "trained_by": "keras-lnn test"}
    values |= {"time_unit": "minutes", "median_interval": 2.0, "thresholds": (0.4, 0.6)}
    return Signature(**values | changes)


def make_predictor(**arguments):
    """A model with random weights and biases, and with a scale of time that is not 1."""
    generator = np.random.default_rng(3)
    model = build_model("lnn-series", DATA.image_shape, 2, **{"features": 8, "units": 6} | arguments)
    for variable in model.trainable_variables:
        variable.assign(variable + generator.normal(0, 0.2, variable.shape))
    for layer in model.layers:
        if isinstance(layer, ElapsedTime):
            layer.adapt(np.array([[0.0, 2.0]]))
    return KerasPredictor(model, make_signature())


def save(predictor, path):
    save_keras(predictor.model, predictor.signature, path)
    return path


@pytest.fixture(scope="module")
def predictor():
    return make_predictor()


@pytest.fixture(scope="module")
def saved(predictor, tmp_path_factory):
    return save(predictor, tmp_path_factory.mktemp("models") / "best.keras")


@pytest.fixture(scope="module")
def exported(saved):
    with pytest.MonkeyPatch.context() as patched:
        run_models_eagerly(patched)
        return export_model(saved, saved.parent / "exported")


def uneven_series():
    """Series of every length at times of very different distances, the last ones with as many zeros between them."""
    generator = np.random.default_rng(1)
    lengths = [*range(1, STEPS + 1), STEPS]
    frames = [generator.integers(0, 256, (length, 1, 1, 1)) // np.arange(1, 13)[:, None] for length in lengths]
    frames = [np.broadcast_to(part, (len(part), *DATA.image_shape[1:])).astype(np.uint8) for part in frames]
    times = [np.cumsum(generator.exponential(10.0 ** generator.uniform(-2, 2), length)) for length in lengths]
    times[-1] = np.zeros(STEPS)
    return SeriesArray.join(frames, times, "minutes", STEPS)


def serve_plainly(folder, series):
    """Returns what a SavedModel gives in plain TensorFlow; what follows the last frame is rubbish."""
    lengths = series.lengths.astype(np.int32)
    is_frame = np.arange(series.steps) < lengths[:, None]
    images = np.where(is_frame[..., None, None, None], series[:], 77).astype(np.uint8)
    # Times may have any start.
    times = np.where(is_frame, series.times() + 8.0, np.nan).astype(np.float32)
    times[0, 1:] = -5.0
    model = tf.saved_model.load(str(folder))
    return model.serve(images, times, lengths)


def test_a_saved_model_gives_the_probabilities_of_its_model_in_plain_tensorflow(predictor, exported):
    series = uneven_series()
    expected = predictor.predict(series)
    assert np.ptp(expected, axis=0).min() > 0.05  # the series are told apart
    served = serve_plainly(exported, series)
    np.testing.assert_allclose(served["probabilities"], expected, atol=1e-5)
    assert served["class_names"].numpy().astype(str).tolist() == list(CLASSES)
    np.testing.assert_array_equal(served["predicted"][:, 1], expected[:, 1] > 0.6)
    np.testing.assert_allclose(load_predictor(exported).predict(series), expected, atol=1e-5)


@pytest.fixture(scope="module")
def exported_keras(saved, tmp_path_factory):
    """The model as a ``.keras`` file with its card."""
    with pytest.MonkeyPatch.context() as patched:
        run_models_eagerly(patched)
        return export_model(saved, tmp_path_factory.mktemp("keras") / "exported", "keras")


def test_a_reloaded_keras_file_gives_the_same(predictor, exported_keras):
    series = uneven_series()
    assert find_model(exported_keras).suffix == ".keras"
    again = load_predictor(exported_keras)
    assert again.signature == predictor.signature
    np.testing.assert_array_equal(again.predict(series), predictor.predict(series))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [{"head": head} for head in ("ltc", "lstm", "gru", "gru-d", "transformer", "mean", "last")]
    + [{"wired": True, "units": 12}, {"mixed_memory": True}, {"times": "both"}, {"backbone": "cnn"}],
    ids=lambda arguments: "-".join(map(str, arguments.values())),
)
def test_every_head_is_the_same_in_plain_tensorflow(arguments, tmp_path):
    predictor, series = make_predictor(**arguments), uneven_series()
    folder = export_model(save(predictor, tmp_path / "a.keras"), tmp_path / "exported")
    served = serve_plainly(folder, series)
    np.testing.assert_allclose(served["probabilities"], predictor.predict(series), atol=1e-5)


def run_card(folder, names):
    """Runs the code of a card, and returns the names that it leaves."""
    (code,) = re.findall("```python\n(.*?)```", (folder / CARD_FILE).read_text(encoding="utf-8"), re.DOTALL)
    exec(code.replace("path/to/this/folder", str(folder)), names)
    return names


def test_the_code_of_a_card_runs(predictor, exported, exported_keras):
    series = uneven_series()
    lengths = series.lengths.astype(np.int32)
    given = {"images": series[:], "times": np.nan_to_num(series.times()).astype(np.float32), "lengths": lengths}
    served = run_card(exported, dict(given))["result"]
    np.testing.assert_allclose(served["probabilities"], predictor.predict(series), atol=1e-5)
    lists = {"frames": [series[row][:n] for row, n in enumerate(lengths)]}
    lists["times"] = [series.times(row)[:n] for row, n in enumerate(lengths)]
    names = run_card(exported_keras, lists)
    np.testing.assert_array_equal(names["model"].predict(names["images"]), predictor.predict(series))


def test_a_card_says_what_the_inputs_of_series_are(exported):
    facts = describe_model(make_signature(), None)
    assert facts["Input"].startswith(f"raw uint8 series (samples, {STEPS}, 12, 12, 1)")
    assert facts["Times"].startswith(f"of each frame in minutes, from any start; 1 to {STEPS} frames")
    assert "2 in the training data" in facts["Times"]
    assert "Times" not in describe_model(make_signature(time_unit=None), None)
    card = (exported / CARD_FILE).read_text(encoding="utf-8")
    assert f"# times: float32, (samples, {STEPS}), of each frame in minutes" in card


def test_a_signature_of_series_comes_back_and_has_a_unit_that_is_one():
    content = json.loads(json.dumps(make_signature().to_json()))
    assert content["times"]["times"]["unit"] == "minutes"
    assert Signature.from_json(content) == make_signature()
    wrong = ({"time_unit": "m`\n"}, {"time_unit": 3}, {"median_interval": 0}, {"median_interval": float("nan")})
    for change in (*wrong, {"image_shape": [12, 12, 1]}):
        with pytest.raises(ValueError, match=r"time_unit|median_interval|image_shape"):
            Signature.from_json(content | change)


def test_an_exported_model_is_evaluated_on_series(predictor, exported):
    found = evaluate_model(exported, data=register_tiny_series(), split="test")
    test = DATA.splits["test"]
    right = (predictor.predict(test.images).argmax(axis=1) == test.labels).mean()
    assert found["test"]["accuracy"]["value"] == pytest.approx(right)
    assert describe_measured(found).endswith(f"{len(test)} series")
    assert describe_result(found | {"task": "binary"}).endswith(f"over {len(test)} test series")


def test_tables_and_commands_of_a_page_speak_of_series():
    metrics = {"splits": {"test": {"images": 7, "patients": None, "classes": {"a": 7}}}}
    metrics |= {"intervals_over": {"test": {"unit": "series", "count": 7, "images": 7, "samples": "series"}}}
    table = splits_table(metrics)
    assert table.rows[0] == ["all series", "7"]
    assert table.caption == "Series per split and class"
    assert describe_model(make_signature(), metrics)["Splits"] == "test 7 series"
    assert describe_model(dataclasses.replace(make_signature(), time_unit=None), metrics)["Splits"] == "test 7 images"


def test_series_of_patients_are_counted_as_such():
    test = DATA.splits["test"]
    grouped = dataclasses.replace(test, groups=[f"p{row // 2}" for row in range(len(test))])
    predicted = np.full((len(test), 2), 0.5)
    basis = make_signature().get_task().measure(grouped, predicted).basis
    assert str(basis) == f"{len(test) // 2} patients ({len(test)} series)"
    assert str(make_signature().get_task().measure(test, predicted).basis) == f"{len(test)} series"
