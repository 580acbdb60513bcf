"""Exported models: equal to the Keras model, usable without Keras, and refused where they are foreign."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_models  # noqa: F401, registers the networks
from conftest import run_models_eagerly
from PIL import Image
from scipy.special import expit

from keras_lnn.backend.devices import xla_slows_convolutions
from keras_lnn.errors import InputError
from keras_lnn.evaluation.checked import CheckedPredictions
from keras_lnn.registry import build_model
from keras_lnn.saved.export import export_model
from keras_lnn.saved.image_predictions import predict_files
from keras_lnn.saved.predictor import KerasPredictor, find_model, load_model, load_predictor
from keras_lnn.saved.signature import SIGNATURE_FILE, Signature, save_keras
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.prediction_sets import PredictionSets
from keras_lnn.tasks.referral import Referral

pytestmark = pytest.mark.usefixtures("eager_models")
PROMISED = {"sets": PredictionSets(0.9, False, (0.5, 0.2)), "referral": Referral(0.05, 0.52)}
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)


def make_signature(**changes) -> Signature:
    values = {
        "model": "lnn",
        "model_args": {"units": 19},
        "task": "binary",
        "class_names": ("malignant", "normal, benign"),
        "image_shape": (28, 28, 1),
        "data": "breastmnist",
        "size": None,
        "checksum": "md5:0",
        "licence": "CC BY 4.0",
        "parameters": 263_048,
        "seed": 3,
        "best_epoch": 7,
        "trained_by": "keras-lnn test",
    }
    return Signature(**(values | changes))


def save_new(name, path):
    keras.utils.set_random_seed(0)
    save_keras(build_model(name, (28, 28, 1), 2), make_signature(**PROMISED), path)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_new("tiny-dense", tmp_path_factory.mktemp("models") / "best.keras")


@pytest.fixture(scope="module")
def liquid(tmp_path_factory):
    """A model with a layer of this package, which is compiled wherever it is loaded."""
    return save_new("tiny-liquid", tmp_path_factory.mktemp("models") / "best.keras")


@pytest.fixture(scope="module")
def exported(liquid):
    with pytest.MonkeyPatch.context() as patched:
        run_models_eagerly(patched)
        return export_model(liquid, liquid.parent / "exported")


HIDDEN = ("keras", "tf_keras", "ncps", "keras_lnn", "custom_metrics")


@pytest.fixture(scope="module")
def served(exported):
    """The exported model, loaded once where neither Keras nor this package can be imported."""
    with pytest.MonkeyPatch.context() as patched:
        for name in HIDDEN:
            patched.setitem(sys.modules, name, None)
        return tf.saved_model.load(str(exported))


def test_a_signature_is_restored_with_every_field():
    two = {"thresholds": (0.3, 0.7), "threshold_rule": "youden", "positive_class": "malignant"}
    both = Calibration("vector", (0.5, 2.0), (0.0, -1.5))
    of_labels = make_signature(task="multi-label", thresholds=(0.25, 0.5), calibration=both)
    promised = {"sets": PredictionSets(0.9, True, (0.25, 0.0)), "referral": Referral(0.05, None)}
    of_two = make_signature(**two, calibration=Calibration("temperature", (0.5,)), **promised)
    for signature in (of_two, of_labels):
        content = json.loads(json.dumps(signature.to_json()))
        assert Signature.from_json(content) == signature
    # Two classes have one decision, so that one threshold follows from the other.
    for wrong, rule in (
        ({"thresholds": [0.3, 0.3]}, "must sum to one"),
        ({"positive_class": "c"}, "positive_class must be one of two classes"),
        ({"task": "multi-class", "thresholds": [0.5, 0.5]}, "each of two classes or of several labels"),
        ({"calibration": {"method": "temperature"}}, "must have method, scales and offsets"),
        ({"calibration": {"method": "isotonic", "scales": [1.0], "offsets": []}}, "calibration must have positive"),
        ({"calibration": {"method": ["vector"], "scales": [1.0], "offsets": []}}, "calibration must have positive"),
        ({"calibration": {"method": "vector", "scales": [1.0], "offsets": [1.0]}}, "calibration must have positive"),
        ({"calibration": {"method": "vector", "scales": [-1.0, 1.0], "offsets": []}}, "calibration must have positive"),
        ({"calibration": {"method": "vector", "scales": ["1"], "offsets": []}}, "must be numbers"),
        ({"sets": {"coverage": 0.9, "by_class": False, "levels": [0.5]}}, "one level from 0 to 1 for each class"),
        ({"sets": {"coverage": 0.9, "by_class": False, "levels": ["a", "b"]}}, "must be numbers"),
        ({"sets": {"coverage": 0.9}}, "must have coverage, by_class and levels"),
        ({"referral": {"risk": 2, "confidence": 0.5}}, "a risk between 0 and 1"),
        ({"referral": [0.05]}, "must have risk and confidence"),
        ({"task": "multi-label", "referral": {"risk": 0.1, "confidence": 0.5}}, "neither sets nor a referral"),
    ):
        with pytest.raises(ValueError, match=rule):
            Signature.from_json(make_signature().to_json() | wrong)
    # Of a version that knew no thresholds and no calibration.
    older = Signature.from_json({name: content[name] for name in content if name not in (*two, "calibration")})
    assert (older.thresholds, older.threshold_rule, older.positive_class, older.calibration) == (None,) * 4


def test_predicted_labels_use_the_chosen_thresholds(tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model("tiny-dense", (28, 28, 1), 3)
    calibration = Calibration("vector", (2.0, 1.0, 0.5), (0.0, 1.0, -1.0))
    labels = {"task": "multi-label", "class_names": ("a", "b", "c"), "calibration": calibration}
    save_keras(model, make_signature(**labels), tmp_path / "plain.keras")
    probabilities = load_predictor(tmp_path / "plain.keras").predict(IMAGES)
    logits = model.predict_on_batch(IMAGES.astype("float32"))
    np.testing.assert_allclose(probabilities, expit(logits * [2.0, 1.0, 0.5] + [0.0, 1.0, -1.0]), atol=1e-6)
    thresholds = tuple(float(np.median(column)) for column in probabilities.T)
    save_keras(model, make_signature(**labels, thresholds=thresholds), tmp_path / "tuned.keras")
    folder = export_model(tmp_path / "tuned.keras", tmp_path / "served")
    served = tf.saved_model.load(str(folder))
    answer = served.serve(IMAGES)
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-6)
    above = answer["probabilities"].numpy().astype(np.float64) > thresholds
    np.testing.assert_array_equal(answer["predicted"], above)
    assert 0 < above.sum() < above.size
    card = (folder / "README.md").read_text()
    assert "a above 0." in card
    assert "| Calibration | temperatures a 0.5, b 1, c 2; offsets b +1, c -1, fitted on validation |" in card
    for index, image in enumerate(IMAGES):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{index}.png")
    predictor = load_predictor(folder)
    table = predict_files(predictor, [tmp_path / f"{index}.png" for index in range(len(IMAGES))])
    for row, names in enumerate(table["predicted"].str.split("|")):
        assert [name in names for name in "abc"] == list(above[row])


def test_binary_predictions_use_the_threshold_in_every_format(saved, tmp_path):
    predictor = load_predictor(saved)
    second = predictor.predict(IMAGES)[:, 1]
    level = float(np.median(second))
    about = {"threshold_rule": "sensitivity=.9", "positive_class": "malignant", "thresholds": (1 - level, level)}
    assert isinstance(predictor, KerasPredictor)
    save_keras(predictor.model, make_signature(**about), tmp_path / "tuned.keras")
    folder = export_model(tmp_path / "tuned.keras", tmp_path / "served")
    served = tf.saved_model.load(str(folder))
    answer = served.serve(IMAGES)
    benign = answer["probabilities"].numpy()[:, 1].astype(np.float64) > level
    np.testing.assert_array_equal(answer["predicted"], np.stack([~benign, benign], axis=1))
    assert 0 < benign.sum() < len(benign)
    card = (folder / "README.md").read_text()
    assert f"| Thresholds | malignant above {1 - level:.3f}; chosen on validation by sensitivity=.9 |" in card
    paths = [tmp_path / f"{index}.png" for index in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    names = np.array(["malignant", "normal, benign"])[benign.astype(int)]
    assert list(predict_files(load_predictor(folder), paths)["predicted"]) == list(names)
    assert list(predict_files(load_predictor(tmp_path / "tuned.keras"), paths)["predicted"]) == list(names)


def test_one_of_several_classes_is_predicted(served):
    answer = served.serve(IMAGES)
    np.testing.assert_array_equal(
        np.argmax(answer["predicted"].numpy(), axis=1), np.argmax(answer["probabilities"].numpy(), axis=1)
    )
    assert answer["predicted"].numpy().sum() == len(IMAGES)


def nearly_tied_model(image_shape):
    """The second logit of a pixel exceeds the first one by its value times 1e-8, which a softmax can round off."""
    inputs = keras.Input(image_shape)
    outputs = keras.layers.Dense(2, use_bias=False)(inputs)
    model = keras.Model(inputs, outputs if image_shape[0] > 1 else keras.layers.Flatten()(outputs))
    model.layers[1].set_weights([np.array([[-1e-8, 0.0]], np.float32)])
    return model


def test_near_ties_are_decided_equally_in_every_format(tmp_path):
    names = ("first", "second")
    save_keras(
        nearly_tied_model((1, 1, 1)), make_signature(class_names=names, image_shape=(1, 1, 1)), tmp_path / "m.keras"
    )
    images = np.arange(32, dtype=np.uint8).reshape(32, 1, 1, 1)
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{number:02}.png")
    model = tf.saved_model.load(str(export_model(tmp_path / "m.keras", tmp_path / "out")))
    served = model.serve(images)
    predictor = load_predictor(tmp_path / "m.keras")
    probabilities = predictor.predict(images)
    measured = CheckedPredictions.checked(np.arange(32) % 2, probabilities, "binary", names, None).predicted
    table = predict_files(predictor, [tmp_path / f"{number:02}.png" for number in range(32)])
    np.testing.assert_array_equal(served["probabilities"], probabilities.astype(np.float32))
    np.testing.assert_array_equal(served["predicted"], measured)
    assert list(table["predicted"]) == [names[index] for index in measured.argmax(axis=1)]


def test_exported_masks_are_equal_where_classes_are_nearly_tied(tmp_path):
    signature = make_signature(task="segmentation", class_names=("background", "lesion"), image_shape=(8, 8, 1))
    save_keras(nearly_tied_model((8, 8, 1)), signature, tmp_path / "m.keras")
    images = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    predictor = load_predictor(tmp_path / "m.keras")
    answer = predictor.predict_compact(images)
    # A softmax in float32 makes both probabilities one half.
    assert answer[0, 0, 1] == 0
    assert answer[0, 7, 7] == 1
    np.testing.assert_array_equal(answer, signature.get_task().decide(predictor.predict(images)))
    served = load_predictor(export_model(tmp_path / "m.keras", tmp_path / "out"))
    np.testing.assert_array_equal(served.predict_compact(images), answer)


def test_both_formats_reproduce_the_model(liquid, exported):
    expected = load_predictor(liquid).predict(IMAGES)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)
    again = export_model(liquid, liquid.parent / "as_keras", "keras")
    for folder in (exported, again):
        predictor = load_predictor(folder)
        assert predictor.signature == make_signature(**PROMISED)
        np.testing.assert_allclose(predictor.predict(IMAGES), expected, atol=1e-6)
    assert isinstance(predictor, KerasPredictor)
    assert predictor.model.jit_compile != xla_slows_convolutions()


def test_an_export_predicts_where_keras_and_this_package_cannot_be_imported(liquid, served, monkeypatch):
    expected = load_predictor(liquid).predict(IMAGES)
    with monkeypatch.context() as patched:
        for name in HIDDEN:
            patched.setitem(sys.modules, name, None)
        by_signature = served.signatures["serving_default"](images=tf.constant(IMAGES))
        answer = served.serve(IMAGES)
    assert [name.decode() for name in answer["class_names"].numpy()] == ["malignant", "normal, benign"]
    np.testing.assert_array_equal(by_signature["probabilities"], answer["probabilities"])
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    promised = make_signature(**PROMISED).find_promised(answer["probabilities"].numpy().astype(np.float64))
    assert set(promised) == {"set", "refer"}
    for name, found in promised.items():
        np.testing.assert_array_equal(answer[name], found)
        np.testing.assert_array_equal(by_signature[name], found)


@pytest.mark.slow
def test_an_export_predicts_in_a_process_without_keras_and_this_package(liquid, exported, tmp_path):
    code = f"""
import sys
for name in {HIDDEN!r}:
    sys.modules[name] = None
import numpy as np, tensorflow as tf
model = tf.saved_model.load({str(exported)!r})
images = np.load({str(tmp_path / "images.npy")!r})
served = model.signatures["serving_default"](images=tf.constant(images))
answer = model.serve(images)
assert [name.decode() for name in answer["class_names"].numpy()] == ["malignant", "normal, benign"]
np.testing.assert_array_equal(served["probabilities"], answer["probabilities"])
np.save({str(tmp_path / "answer.npy")!r}, answer["probabilities"].numpy())
"""
    np.save(tmp_path / "images.npy", IMAGES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), load_predictor(liquid).predict(IMAGES), atol=1e-6)


def test_the_endpoint_takes_raw_bytes_of_any_number(served):
    specification = served.signatures["serving_default"].structured_input_signature[1]["images"]
    assert specification.dtype == tf.uint8
    assert tuple(specification.shape) == (None, 28, 28, 1)
    assert served.serve(IMAGES[:1])["probabilities"].shape == (1, 2)


def test_an_export_holds_a_card_and_a_signature(saved, exported, tmp_path):
    signature = json.loads((exported / SIGNATURE_FILE).read_text())
    assert signature["class_names"] == ["malignant", "normal, benign"]
    assert signature["input"]["dtype"] == "uint8"
    assert "Not tested yet" in (exported / "README.md").read_text()
    estimate = {"value": 0.9, "low": 0.85, "high": None}
    metrics = {"test": {"auc": estimate, "f1": estimate}, "positive_class": "normal, benign", "warnings": ["Careful."]}
    card = (export_model(saved, tmp_path / "card", "keras", metrics) / "README.md").read_text()
    for part in (
        "| AUC | 0.9000 | 0.8500 to not defined |",
        "Not for diagnosis",
        "CC BY 4.0",
        "Careful.",
        "263,048",
        "average precision is normal, benign.",
    ):
        assert part in card


def test_an_export_replaces_only_an_export(saved, tmp_path):
    folder = tmp_path / "out"
    assert export_model(saved, folder, "keras") == folder
    before = (folder / "model.keras").stat().st_ino
    assert export_model(saved, folder, "keras") == folder
    assert (folder / "model.keras").stat().st_ino != before
    # What is of another format stays.
    assert export_model(saved, folder, "saved_model") == tmp_path / "out-saved-model"
    assert export_model(saved, folder, "saved_model") == tmp_path / "out-saved-model"
    assert (folder / "model.keras").is_file()
    assert (tmp_path / "out-saved-model" / "saved_model.pb").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="must be new or an earlier export"):
        export_model(saved, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="path must not contain"):
        export_model(saved, tmp_path / "out[1]")
    with pytest.raises(InputError, match="exported already"):
        export_model(tmp_path / "out-saved-model", tmp_path / "again")


def test_an_export_that_differs_is_not_kept(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(KerasPredictor, "predict", lambda self, images: np.full((len(images), 2), 0.123))
    with pytest.raises(RuntimeError, match="probabilities differ from"):
        export_model(saved, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_multi_label_model_gives_independent_probabilities(tmp_path):
    signature = make_signature(task="multi-label", class_names=("a", "b", "c"), model="tiny-dense")
    save_keras(build_model("tiny-dense", (28, 28, 1), 3), signature, tmp_path / "m.keras")
    folder = export_model(tmp_path / "m.keras", tmp_path / "out")
    found = load_predictor(folder).predict(IMAGES)
    np.testing.assert_allclose(found, load_predictor(tmp_path / "m.keras").predict(IMAGES), atol=1e-6)
    assert not np.allclose(found.sum(axis=1), 1, atol=1e-3)


def foreign_keras(path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(path)


def pickled(path):
    path.write_bytes(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello\x94.")


def empty_folder(path):
    path.mkdir()


def wrong_signature(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(SIGNATURE_FILE, '{"made_by": "somebody"}')


@pytest.mark.parametrize("make", [foreign_keras, pickled, empty_folder, wrong_signature])
def test_foreign_models_are_refused(make, tmp_path):
    make(tmp_path / "x.keras")
    for load in (load_model, load_predictor):
        with pytest.raises(InputError, match="that keras-lnn has saved") as caught:
            load(tmp_path / "x.keras")
        assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(saved, tmp_path):
    (tmp_path / "x.keras").write_bytes(saved.read_bytes()[:-4000])
    with pytest.raises(InputError, match="whole one"):
        load_model(tmp_path / "x.keras")


def test_code_hidden_in_a_model_is_not_run(saved, tmp_path):
    inputs = keras.Input((28, 28, 1))
    outputs = keras.layers.Lambda(lambda x: x[:, 0, :2, 0], output_shape=(2,))(inputs)
    save_keras(keras.Model(inputs, outputs), make_signature(), tmp_path / "x.keras")
    with pytest.raises(InputError, match="safe mode"):
        load_model(tmp_path / "x.keras")


def test_models_are_found_by_name(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_model(saved, tmp_path / "saved_models" / "mine", "keras")
    assert find_model("mine").name == "model.keras"
    assert load_model("mine").count_params() == load_model(saved).count_params()
    with pytest.raises(InputError, match="Received: yours, which does not exist"):
        find_model("yours")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("model: lnn")
    with pytest.raises(InputError, match=r"must be complete.*--resume"):
        find_model(run)


def test_an_export_of_a_model_in_memory_does_not_load_it_again(saved, tmp_path, monkeypatch):
    loaded, opened = load_predictor(saved), []

    def load(path):
        opened.append(path)
        return load_predictor(path)

    monkeypatch.setattr("keras_lnn.saved.export.load_predictor", load)
    folder = export_model(saved, tmp_path / "out", "keras", loaded=loaded)
    # The export alone is loaded, to be compared.
    assert len(opened) == 1
    assert opened[0] != saved
    np.testing.assert_array_equal(load_predictor(folder).predict(IMAGES), loaded.predict(IMAGES))
