"""The model of an ensemble: the mean of its members' probabilities, in each form that a model has."""

import html
import json
import re
import shlex

import keras
import numpy as np
import pytest
import tiny_models  # noqa: F401  registers the smallest networks
from conftest import register_tiny_data, run_models_eagerly, tiny_stripes
from mask_run_samples import NAMES, write_mask_run
from mask_run_samples import make_truth as make_masks
from mask_run_samples import signature as mask_signature
from quick_predictors import make_signature
from run_samples import write_run
from tiny_series import make_series_data

from keras_lnn.cli.main import main
from keras_lnn.cli.parsing import parse_command
from keras_lnn.data import DataEntry, ImageData, Split, catalog, load_data, register_data
from keras_lnn.ensembles.joining import join_models
from keras_lnn.ensembles.layout import CONTENTS
from keras_lnn.ensembles.members import open_members
from keras_lnn.ensembles.page import list_commands
from keras_lnn.ensembles.unseen import predict_mirrored
from keras_lnn.ensembles.writing import make_ensemble
from keras_lnn.errors import InputError
from keras_lnn.layers import MeanOfMembers
from keras_lnn.registry import build_model
from keras_lnn.saved.export import export_model
from keras_lnn.saved.keras_files import load_keras
from keras_lnn.saved.predictor import KerasPredictor, load_predictor, predict_logits, read_as_steps
from keras_lnn.saved.results import describe_metric
from keras_lnn.saved.signature import read_signature, save_keras
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.kinds import make_task
from keras_lnn.tasks.prediction_tables import read_probabilities
from keras_lnn.trained.evaluate import evaluate_model
from keras_lnn.training.report import measure_split

pytestmark = pytest.mark.usefixtures("eager_models")
DATA = tiny_stripes()
CALIBRATIONS = (Calibration("vector", (1.5,), (0.0, 0.7)), None)
CALIBRATION_OF_THREE = Calibration("temperature", (1.7,))


def sign(**changes):
    about = {"model": "tiny-dense", "task": "binary", "class_names": DATA.class_names, "image_shape": DATA.image_shape}
    about |= {"data": DATA.name, "size": None, "checksum": DATA.checksum, "positive_class": "upright"}
    return make_signature(**about | changes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two untrained runs of one data set, the first of them calibrated."""
    register_tiny_data()
    folder, truth = tmp_path_factory.mktemp("runs"), DATA.splits["test"].labels
    with pytest.MonkeyPatch.context() as patched:
        run_models_eagerly(patched)
        for seed, calibration in enumerate(CALIBRATIONS):
            keras.utils.set_random_seed(seed)
            predictor = KerasPredictor(build_model("tiny-dense", DATA.image_shape, 2), sign(calibration=calibration))
            probabilities = predictor.predict(DATA.splits["test"].images)
            about = {"class_names": DATA.class_names, "model": "tiny-dense", "data": DATA.name, "seed": seed}
            about |= {"augmentation": "mirror"}
            path = write_run(folder / f"run-{seed}", truth, probabilities, positive_class="upright", **about)
            save_keras(predictor.model, predictor.signature, path / "best.keras")
    return folder


@pytest.fixture(scope="module")
def made(runs):
    with pytest.MonkeyPatch.context() as patched:
        run_models_eagerly(patched)
        return make_ensemble([runs], runs.parent / "joined")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_layer_gives_the_mean_of_the_probabilities(activation):
    random = np.random.default_rng(0)
    # Far apart: one member is certain, and a probability that is computed first would round to 0 or 1.
    logits = [random.normal(size=(2, 3, 4)).astype("float32"), random.normal(0, 60, (2, 3, 4)).astype("float32")]
    layer = MeanOfMembers(activation, [[2.0], [0.5, 1.0, 1.5, 2.0]], [[0.1, 0.2, 0.3, 0.4], []])
    layer = MeanOfMembers.from_config(json.loads(json.dumps(layer.get_config())))
    function = getattr(keras.ops, activation)
    calibrated = [logits[0] * 2 + np.array([0.1, 0.2, 0.3, 0.4]), logits[1] * np.array([0.5, 1.0, 1.5, 2.0])]
    expected = np.mean([keras.ops.convert_to_numpy(function(one.astype("float32"))) for one in calibrated], axis=0)
    found = layer(logits)
    assert np.isfinite(keras.ops.convert_to_numpy(found)).all()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(function(found)), expected, rtol=1e-4, atol=1e-7)
    for wrong in (("relu", [[1.0]], [[]]), ("softmax", [], []), ("softmax", [[1.0]], [[], []])):
        with pytest.raises(ValueError, match="must"):
            MeanOfMembers(*wrong)


def test_an_ensemble_predicts_the_mean_of_its_members(made, runs):
    images = DATA.splits["test"].images
    members = [load_predictor(runs / f"run-{seed}").predict(images) for seed in range(2)]
    ensemble = load_predictor(made.folder)
    np.testing.assert_allclose(ensemble.predict(images), np.mean(members, axis=0), atol=1e-6)
    assert ensemble.signature == made.signature
    assert made.signature.calibration is None
    assert [member.run for member in made.signature.ensemble.members] == ["run-0", "run-1"]
    measured = evaluate_model(made.folder / "ensemble.keras")
    assert measured["test"]["auc"]["value"] == pytest.approx(made.gain.ensemble.estimate.value)
    assert json.loads((made.folder / "ensemble.json").read_text())["gain"]["samples"] == "30 images"
    assert len((made.folder / "ensemble.csv").read_text().splitlines()) == 5


def test_the_page_shows_members_gain_and_calibration(made, runs):
    page = (made.folder / "ensemble.html").read_text()
    assert "Ensemble of 2 tiny-dense on tiny-stripes" in page
    assert made.gain.explain() in html.unescape(page)
    content = json.loads((made.folder / "ensemble.json").read_text())
    before = content["uncalibrated"]["expected_calibration_error"]["value"]
    split = DATA.splits["test"]
    plain = [KerasPredictor(load_keras(runs / f"run-{seed}" / "best.keras"), sign()) for seed in range(2)]
    mean = np.mean([one.predict(split.images) for one in plain], axis=0)
    assert before == pytest.approx(measure_split(split, mean, sign()).metrics["expected_calibration_error"].value)
    assert f"{describe_metric(before)} if the probabilities of its members are averaged without" in page
    assert page.count("<img") == len(list((made.folder / "plots").glob("*.png"))) == 2
    names = {file.name for file in made.folder.iterdir()}
    assert set(re.findall(r'<dt><a href="([^"]+)"', page)) == names == set(CONTENTS)


def test_the_commands_of_the_page_are_valid(made):
    from keras_lnn.cli import evaluate, explain, export, predict

    commands = [shlex.split(command) for _, command in list_commands(made.folder, "images", "folder:my scans")]
    place = str(made.folder)
    (_, _, *predicting), (_, _, *evaluating), (_, _, *explaining), (_, _, *exporting) = commands
    assert parse_command(predict.PredictCommand, predicting, "predict").model == place
    measured = parse_command(evaluate.EvaluateCommand, evaluating, "evaluate")
    assert (measured.model, measured.data) == (place, "folder:my scans")
    assert parse_command(explain.ExplainCommand, explaining, "explain").model == place
    assert parse_command(export.ExportCommand, exporting, "export").run == place


def test_the_table_of_predictions_is_that_of_a_run(made):
    truth, probabilities, _, exclusive = read_probabilities(made.folder / "predictions.csv", "test", DATA.class_names)
    assert exclusive
    assert truth.tolist() == DATA.splits["test"].labels.tolist()
    expected = load_predictor(made.folder).predict(DATA.splits["test"].images)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_an_ensemble_is_exported_like_any_model(made, tmp_path):
    folder = export_model(made.folder, tmp_path / "exported", "keras")
    images = DATA.splits["test"].images
    np.testing.assert_allclose(load_predictor(folder).predict(images), load_predictor(made.folder).predict(images))
    assert "mean of the probabilities of 2 tiny-dense" in (folder / "README.md").read_text()


@pytest.mark.slow
def test_a_savedmodel_of_an_ensemble_predicts_the_same(made, tmp_path):
    folder = export_model(made.folder, tmp_path / "exported")
    images = DATA.splits["test"].images
    expected = load_predictor(made.folder).predict(images)
    np.testing.assert_allclose(load_predictor(folder).predict(images), expected, atol=1e-5)
    assert read_signature(folder) == made.signature


def test_members_read_the_same_inputs(tmp_path):
    models = []
    for name in ("first", "second"):
        inputs = [keras.Input((6, 2), name="frames"), keras.Input((6,), name="times")]
        read = keras.layers.Concatenate()([keras.layers.Flatten()(inputs[0]), inputs[1]])
        models.append(keras.Model(inputs, keras.layers.Dense(2)(read), name=name))
    joined, task = join_models(models, [None, None], make_task("binary", ("a", "b"))), make_task("binary", ("a", "b"))
    joined.save(tmp_path / "joined.keras")
    given = [np.random.default_rng(0).normal(size=(3, *shape)).astype("float32") for shape in ((6, 2), (6,))]
    expected = np.mean([task.probabilities(model(given)) for model in models], axis=0)
    np.testing.assert_allclose(task.probabilities(load_keras(tmp_path / "joined.keras")(given)), expected, atol=1e-6)
    assert [one.name for one in joined.inputs] == ["frames", "times"]


@pytest.mark.slow
def test_an_ensemble_of_series_reads_their_times(tmp_path):
    series = make_series_data()
    models = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        models.append(build_model("lnn-series", series.image_shape, 2, features=4, units=6))
    task, images = make_task("binary", series.class_names), series.splits["test"].series
    expected = np.mean([task.probabilities(predict_logits(model, images)) for model in models], axis=0)
    joined = join_models(models, [None, None], task)
    joined.save(tmp_path / "joined.keras")
    for model in (joined, load_keras(tmp_path / "joined.keras")):
        np.testing.assert_allclose(task.probabilities(predict_logits(model, images)), expected, atol=1e-5)


def test_an_ensemble_is_not_built_again_for_longer_series(made):
    with pytest.raises(InputError, match=r"Received: an ensemble, for 9 instead of 28 frames. Leave out --max-steps"):
        read_as_steps(load_predictor(made.folder), 9)


@pytest.mark.parametrize(("kind", "shape"), [("segmentation", (4, 4, 3)), ("multi-label", (3,))])
def test_masks_and_several_labels_are_averaged(kind, shape):
    models = []
    for _ in range(2):
        inputs = keras.Input((4, 4, 1), name="images")
        layer = keras.layers.Conv2D(3, 1) if len(shape) == 3 else keras.layers.Dense(3)
        features = inputs if len(shape) == 3 else keras.layers.Flatten()(inputs)
        models.append(keras.Model(inputs, layer(features)))
    task = make_task(kind, ("a", "b", "c"))
    images = np.random.default_rng(0).integers(0, 9, (5, 4, 4, 1), dtype=np.uint8)
    expected = np.mean([task.probabilities(predict_logits(model, images)) for model in models], axis=0)
    found = task.probabilities(predict_logits(join_models(models, [None, None], task), images))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.shape == (5, *shape)


def test_the_command_prints_the_gain_and_what_is_promised(runs, tmp_path, capsys):
    members, joined = [str(runs / f"run-{seed}") for seed in range(2)], tmp_path / "joined"
    promises = ["--coverage", ".7", "--coverage-by-class", "--referral-risk", ".9"]
    assert main(["ensemble", *members, "--output", str(joined), *promises]) == 0
    out = capsys.readouterr().out
    assert "Prediction sets are chosen on validation to contain the true class of 0.7 of all images of each" in out
    sets = json.loads((joined / "ensemble.json").read_text())["sets"]
    assert evaluate_model(joined)["sets"]["test"] == sets["test"]
    page = (joined / "ensemble.html").read_text()
    assert "Prediction sets on the test split" in page
    assert "Referring to a human" in page
    card = (export_model(joined, tmp_path / "exported", "keras") / "README.md").read_text()
    assert "| Prediction sets | 0.7 of samples of each class" in card
    assert "approximately" not in card
    assert "AUC on 30 images of the test split: ensemble" in out
    assert "mean of the 2 members" in out
    assert (tmp_path / "joined" / "ensemble.keras").is_file()


def test_one_run_with_its_mirror_images_is_an_ensemble(runs, tmp_path):
    made = make_ensemble([runs / "run-1"], tmp_path / "joined", mirror=True)
    images = DATA.splits["test"].images
    single = load_predictor(runs / "run-1")
    expected = (single.predict(images) + single.predict(images[:, :, ::-1].copy())) / 2
    np.testing.assert_allclose(load_predictor(made.folder).predict(images), expected, atol=1e-6)
    assert made.signature.ensemble.mirrored == (2,)
    assert "over 2 mirror images of each image" in made.signature.ensemble.describe()
    assert "its member" in made.gain.describe()
    # These files have other validation labels than the data.
    assert "without mirror images, which need the data: The val samples of a run must be those" in made.notes[0]
    (member,) = open_members([runs / "run-1"], 1)
    np.testing.assert_allclose(predict_mirrored(member, member.read("test"), (2,), load_data), expected, atol=1e-6)


def load_scans():
    """Images of masks whose pixels are brighter where the class is higher."""
    truth = make_masks()
    images = (truth[..., None] * 80 + np.random.default_rng(0).integers(0, 80, (*truth.shape, 1))).astype(np.uint8)
    parts = {"train": slice(None), "val": slice(0, len(truth) // 2), "test": slice(None)}
    groups = [f"p{row % 8}" for row in range(len(truth))]
    splits = {name: Split(images[rows], truth[rows], None, groups[rows]) for name, rows in parts.items()}
    return ImageData("bright-scans", "segmentation", NAMES, splits, "sha256:a")


@pytest.mark.parametrize("kind", ["segmentation", "multi-class"])
def test_mirror_images_are_averaged_and_masks_mirrored_back(kind):
    inputs = keras.Input((4, 5, 1))
    maps = keras.layers.Conv2D(3, 3, padding="same")(inputs)
    model = keras.Model(inputs, maps if kind == "segmentation" else keras.layers.Dense(3)(keras.layers.Flatten()(maps)))
    images = np.random.default_rng(0).integers(0, 9, (5, 4, 5, 1), dtype=np.uint8)
    task = make_task(kind, ("a", "b", "c"))
    found = task.probabilities(predict_logits(join_models([model], [CALIBRATION_OF_THREE], task, (1, 2)), images))
    calibrated, expected = make_task(kind, ("a", "b", "c"), CALIBRATION_OF_THREE), []
    for axes in ((), (1,), (2,), (1, 2)):
        logits = predict_logits(model, np.flip(images, axes) if axes else images)
        one = keras.ops.convert_to_numpy(calibrated.probabilities(logits))
        expected.append(np.flip(one, axes) if kind == "segmentation" and axes else one)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-5)


@pytest.mark.slow
def test_masks_are_joined_and_their_gain_is_measured(tmp_path):
    data = load_scans()
    about = ("bright-scans", "masks", "segmentation", NAMES, 1, 2, (12,), dict.fromkeys(data.splits, 24))
    if data.name not in catalog():
        register_data(DataEntry(*about, f"{__name__}:load_scans"))
    members = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((12, 12, 1))
        model = keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same")(keras.layers.Rescaling(1 / 255)(inputs)))
        signature = mask_signature(data=data.name, checksum=data.checksum, size=None)
        predictor = KerasPredictor(model, signature)
        masks = predictor.predict_compact(data.splits["test"].images)
        run = write_mask_run(tmp_path / f"run-{seed}", data.splits["test"].labels, masks, data=data.name, seed=seed)
        save_keras(model, signature, run / "best.keras")
        members.append(predictor)
    made = make_ensemble([tmp_path / "run-0", tmp_path / "run-1"], tmp_path / "joined")
    images = data.splits["test"].images
    expected = np.mean([member.predict(images) for member in members], axis=0)
    np.testing.assert_allclose(load_predictor(made.folder).predict(images), expected, atol=1e-6)
    assert (made.notes, made.gain.metric, made.signature.thresholds) == ((), "dice", None)
    assert made.gain.mean.difference.low < made.gain.mean.difference.high
