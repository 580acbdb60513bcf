"""ONNX, LiteRT and OpenVINO: each model predicts in its runtime what Keras predicts, and needs no TensorFlow there."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tiny_models  # noqa: F401, registers the networks

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.ensembles.joining import join_models
from keras_lnn.errors import InputError
from keras_lnn.registry import build_model, get_model, list_models
from keras_lnn.saved.export import export_model
from keras_lnn.saved.formats import FORMATS
from keras_lnn.saved.predictor import KerasPredictor, find_model, load_predictor
from keras_lnn.saved.signature import Signature, save_keras
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.prediction_sets import PredictionSets
from keras_lnn.tasks.referral import Referral

RUNTIMES = [name for name, format in FORMATS.items() if format.runtime is not None]
NAMES = {2: ("no", "yes"), 3: ("a", "b", "c")}


def make_predictor(name, shape, task, outputs, **changes):
    model = build_model(name, shape, outputs)
    values = {"model": name, "model_args": {}, "task": task, "class_names": NAMES[outputs], "image_shape": shape}
    values |= {"data": "d", "size": None, "checksum": "md5:0", "licence": "", "parameters": 1, "seed": 0}
    return KerasPredictor(model, Signature(**values, best_epoch=1, trained_by="a test", **changes))


def draw(predictor, count=5):
    shape, generator = predictor.signature.image_shape, np.random.default_rng(2)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    if predictor.signature.time_unit is None:
        return images
    lengths = 1 + np.arange(count) % shape[0]
    times = [np.cumsum(generator.exponential(2.0, length)) for length in lengths]
    return SeriesArray.join([one[:n] for one, n in zip(images, lengths, strict=True)], times, "days", shape[0])


def export(predictor, format, folder):
    save_keras(predictor.model, predictor.signature, folder / "best.keras")
    return export_model(folder / "best.keras", folder / format, format, None, draw(predictor, 3))


def expect_the_same(predictor, exported):
    loaded, images = load_predictor(exported), draw(predictor)
    np.testing.assert_allclose(loaded.predict(images), predictor.predict(images), atol=1e-5)
    assert (exported / "README.md").read_text().count("| Difference | at most") == 1
    return loaded, images


@pytest.fixture(scope="module")
def promising(tmp_path_factory):
    """Three classes with a calibration, prediction sets and a referral, exported to each runtime."""
    keras.utils.set_random_seed(3)
    changes = {
        "calibration": Calibration("vector", (1.5, 0.5, 2.0), (0.1, -0.2, 0.0)),
        "sets": PredictionSets(0.9, False, (0.2, 0.3, 0.34)),
        "referral": Referral(0.1, 0.45),
    }
    predictor = make_predictor("tiny-dense", (8, 8, 1), "multi-class", 3, **changes)
    folder = tmp_path_factory.mktemp("promising")
    return predictor, {format: export(predictor, format, folder) for format in RUNTIMES}


@pytest.mark.parametrize("format", RUNTIMES)
def test_a_runtime_gives_calibrated_probabilities_decisions_sets_and_referral(promising, format):
    predictor, exported = promising
    loaded, images = expect_the_same(predictor, exported[format])
    outputs, probabilities = loaded.serve(images), loaded.predict(images)
    np.testing.assert_array_equal(outputs["predicted"].argmax(1), probabilities.argmax(1))
    for name, expected in predictor.signature.find_promised(probabilities).items():
        np.testing.assert_array_equal(outputs[name], expected)
    assert len({*outputs["set"].sum(1)}) > 1
    assert "thresholds" not in outputs


@pytest.mark.parametrize("format", RUNTIMES)
def test_a_runtime_decides_by_the_thresholds(format, tmp_path):
    keras.utils.set_random_seed(1)
    predictor = make_predictor("tiny-dense", (8, 8, 1), "binary", 2)
    images = draw(predictor, 5)
    level = float(np.median(predictor.predict(images)[:, 1]))
    predictor = make_thresholded(predictor, level)
    loaded, _ = expect_the_same(predictor, export(predictor, format, tmp_path))
    outputs = loaded.serve(images)
    np.testing.assert_allclose(outputs["thresholds"], [1 - level, level], atol=1e-7)
    np.testing.assert_array_equal(outputs["predicted"][:, 1], loaded.predict(images)[:, 1] > level)
    assert outputs["predicted"][:, 1].sum() in (2, 3)


def make_thresholded(predictor, level):
    levels = {"thresholds": (1 - level, level), "threshold_rule": "youden"}
    return KerasPredictor(predictor.model, dataclasses.replace(predictor.signature, **levels))


def test_an_onnx_file_describes_itself(promising):
    import onnxruntime

    predictor, exported = promising
    session = onnxruntime.InferenceSession(exported["onnx"] / "model.onnx")
    known = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    assert known["class_names"] == ["a", "b", "c"]
    assert Signature.from_json(known["keras_lnn"]) == predictor.signature
    assert [one.shape[0] for one in session.get_inputs()] == ["samples"]
    assert session.run(["class_names"], {"images": draw(predictor)})[0].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("format", RUNTIMES)
def test_the_file_inside_an_export_is_as_good_as_its_folder(promising, format):
    folder = promising[1][format]
    (file,) = folder.glob(FORMATS[format].pattern)
    assert find_model(file) == folder
    assert f"library_name: {FORMATS[format].library}\n" in (folder / "README.md").read_text()


def test_openvino_reports_nothing_to_its_maker(promising):
    assert load_predictor(promising[1]["openvino"])
    assert sys.modules["openvino_telemetry"] is None


@pytest.mark.parametrize("format", RUNTIMES)
def test_a_damaged_file_is_one_clear_line(promising, format, tmp_path):
    source = promising[1][format]
    for path in source.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content if path.suffix in (".json", ".md") else content[: len(content) // 3])
    with pytest.raises(InputError, match=r"must be whole. Received: .* Export it again\."):
        load_predictor(tmp_path)


def test_a_format_whose_runtime_is_missing_names_the_extra(promising, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    for call in (lambda: load_predictor(promising[1]["onnx"]), lambda: export_model("x", tmp_path, "onnx")):
        with pytest.raises(InputError, match=r'Received: an environment without it\. Install .*"keras-lnn\[onnx\]"'):
            call()


def test_an_onnx_file_predicts_without_the_packages_of_training(promising, tmp_path):
    predictor, exported = promising
    images = draw(predictor)
    for place, image in enumerate(images):
        PIL.Image.fromarray(image[..., 0]).save(tmp_path / f"{place}.png")
    options = [str(exported["onnx"]), str(tmp_path), "--output", str(tmp_path / "out.csv")]
    call = [sys.executable, "-c", _WITHOUT_TRAINING, "predict", *options]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(tmp_path / "out.csv")[[f"probability {name}" for name in NAMES[3]]]
    np.testing.assert_allclose(found, predictor.predict(images), atol=1e-5)


# What the extra `train` brings is not to be found there.
_WITHOUT_TRAINING = """
import sys
from keras_lnn.cli.parsing import _OF_TRAINING
sys.modules |= dict.fromkeys(_OF_TRAINING)
from keras_lnn.cli.main import run
run()
"""


def test_what_needs_the_packages_of_training_says_so():
    call = [sys.executable, "-c", _WITHOUT_MEDMNIST, "train", "--model", "lnn"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "needs what the extra train brings. Received: an environment without medmnist. Install it:" in done.stderr


_WITHOUT_MEDMNIST = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "medmnist" else find(name, *more)
from keras_lnn.cli.main import run
run()
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_installation_for_onnx_alone_predicts(promising, tmp_path):
    """It installs packages, and so needs their registry."""
    predictor, exported = promising
    PIL.Image.fromarray(draw(predictor)[0, ..., 0]).save(tmp_path / "scan.png")
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet", f"{Path(__file__).parents[2]}[onnx]"]
    subprocess.run(install, check=True)
    installed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "onnxruntime" in installed
    assert "tensorflow" not in installed
    call = [python, "-m", "keras_lnn", "predict", exported["onnx"], "scan.png", "--output", "out.csv"]
    subprocess.run(call, cwd=tmp_path, check=True)
    found = pd.read_csv(tmp_path / "out.csv")[[f"probability {name}" for name in NAMES[3]]]
    np.testing.assert_allclose(found, predictor.predict(draw(predictor)[:1]), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("format", RUNTIMES)
def test_an_ensemble_that_mirrors_images_predicts_the_same(format, tmp_path):
    single = make_predictor("tiny-liquid", (28, 28, 1), "binary", 2)
    models = [build_model("tiny-liquid", (28, 28, 1), 2) for _ in range(2)]
    joined = join_models(models, [None, None], single.signature.get_task(), axes=(1, 2))
    predictor = KerasPredictor(joined, single.signature)
    expect_the_same(predictor, export(predictor, format, tmp_path))


def make_registered(name):
    """The smallest model of a name that its network allows, with random weights."""
    entry = get_model(name)
    shapes = {"series": [(3, 28, 28, 1)]}.get(entry.reads, [(28, 28, 1), (28, 28, 28, 1)])
    outputs = 3 if entry.predicts == "masks" else 2
    task = "segmentation" if entry.predicts == "masks" else "binary"
    unit = {"time_unit": "days", "median_interval": 2.0} if entry.reads == "series" else {}
    keras.utils.set_random_seed(7)
    for shape in shapes:
        try:
            return make_predictor(name, shape, task, outputs, **unit)
        except InputError:
            continue
    raise AssertionError(f"no shape fits {name}")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("format", ["saved_model", *RUNTIMES])
@pytest.mark.parametrize("name", [entry.name for entry in list_models() if entry.family != "test"])
def test_each_registered_network_predicts_the_same_in_each_runtime(name, format, tmp_path):
    predictor = make_registered(name)
    expect_the_same(predictor, export(predictor, format, Path(tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "lnn-3d", "lnn-series"])
def test_masks_volumes_and_series_predict_nearly_the_same_with_openvino_in_int8(name, tmp_path):
    import openvino

    predictor = make_registered(name)
    save_keras(predictor.model, predictor.signature, tmp_path / "best.keras")
    folder = export_model(tmp_path / "best.keras", tmp_path / "out", "openvino", None, draw(predictor, 20), "int8")
    images = draw(predictor, 12)
    found, expected = load_predictor(folder).predict(images), predictor.predict(images)
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert np.abs(found - expected).max() > 1e-6
    model = openvino.Core().read_model(folder / "model.xml")
    read = ((node, source.get_node()) for node in model.get_ops() for source in node.input_values())
    readers = {node.get_type_name() for node, source in read if source.get_type_name() == "FakeQuantize"}
    assert not readers & {"Loop", "Softmax", "Interpolate", "Select", "Greater", "Less", "Equal"}
