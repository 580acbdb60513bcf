"""The features of a run's training images: computed once per model, kept in its folder, or why they cannot be."""

import dataclasses

import numpy as np
import pytest
from conftest import TINY, register_tiny_data, tiny_stripes
from quick_predictors import make_signature
from tiny_models import tiny_dense

from keras_lnn.config import TrainConfig
from keras_lnn.data import load_data
from keras_lnn.errors import InputError
from keras_lnn.explaining.features import read_features
from keras_lnn.explaining.likeness import measure_likeness
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.signature import save_keras
from keras_lnn.trained import learned_features
from keras_lnn.trained.evaluate import LastLoaded
from keras_lnn.trained.learned_features import compare_with_learned, load_learned_features


def write_model(path, **changes):
    known = {"model": "tiny-dense", "data": TINY, "task": "binary", "class_names": ("level", "upright")}
    known |= {"image_shape": (28, 28, 1), "size": 28, "checksum": "none"} | changes
    save_keras(tiny_dense((28, 28, 1), 2), make_signature(**known), path)


@pytest.fixture
def run(tmp_path):
    register_tiny_data()
    folder = RunFolder.create(TrainConfig(model="tiny-dense", data=TINY, run_dir=tmp_path / "run"), {})
    write_model(folder.best_model)
    return folder


def test_features_of_a_run_are_kept_for_its_present_model(run, monkeypatch):
    done = []
    learned = load_learned_features(run.path, progress=done.append)
    assert done == [0.75, 1.0]
    assert run.features.is_file()
    assert (len(learned.rows), len(learned.validation)) == (60, 20)
    images = tiny_stripes().splits["train"].images
    features = read_features(load_predictor(run.path), images[7:8])
    assert learned.find_neighbours(features, 1).rows.tolist() == [[7]]
    with monkeypatch.context() as patched:
        patched.setattr(learned_features, "open_learned_splits", None)
        np.testing.assert_array_equal(load_learned_features(run.path).directions, learned.directions)
        write_model(run.best_model)  # of other weights
        with pytest.raises(TypeError):
            load_learned_features(run.path)


def test_samples_are_compared_with_what_a_run_has_learned(run):
    images = tiny_stripes().splits["train"].images
    found = compare_with_learned(run.path, load_predictor(run.path), images[7:9], LastLoaded())
    assert found.neighbours.rows[:, 0].tolist() == [7, 8]
    np.testing.assert_array_equal(found.training_images[7:9], images[7:9])
    assert (len(found.likeness.p_values), found.absence) == (2, "")
    assert "20 validation images" in found.describe()


def test_changed_training_images_are_not_drawn_as_neighbours(run, monkeypatch):
    predictor, images = load_predictor(run.path), tiny_stripes().splits["train"].images
    learned = load_learned_features(run.path)
    changed = dataclasses.replace(learned, rows=learned.rows + 1)
    monkeypatch.setattr(learned_features, "load_learned_features", lambda *_: changed)
    found = compare_with_learned(run.path, predictor, images[7:8], LastLoaded())
    assert found.training_images is None
    assert "have changed since their features were kept. Remove " in found.absence
    assert found.describe().endswith("features.npz.")


def test_a_file_alone_or_a_run_without_its_data_gives_one_sentence(run, tmp_path):
    predictor, images = load_predictor(run.path), tiny_stripes().splits["train"].images[:1]
    found = compare_with_learned(run.best_model, predictor, images, LastLoaded())
    assert found == (
        f"It is not known whether images are like those that {run.best_model} has learned from. A .keras file does"
        " not hold those images: explain its run."
    )
    run.config.write_text(TrainConfig(model="tiny-dense", data="folder:/nowhere", run_dir=run.path).to_yaml())
    found = compare_with_learned(run.path, predictor, images, LastLoaded())
    assert found.startswith(f"It is not known whether images are like those that {run.path} has learned from. ")
    assert "/nowhere, which does not exist here." in found


def test_a_model_whose_data_are_gone_or_changed_says_that_it_cannot_be_told(tmp_path):
    register_tiny_data()
    write_model(tmp_path / "gone.keras", data="folder:/nowhere/images")
    with pytest.raises(InputError, match=r"^It is not known whether .*gone.keras has learned from\. ") as found:
        load_learned_features(tmp_path / "gone.keras")
    assert str(found.value).endswith(" keeps only this short name), which does not exist here.")


@pytest.mark.slow
def test_false_alarms_and_detections_on_phantoms(tmp_path):
    from scipy.ndimage import zoom

    from keras_lnn.training.loop import train

    # Measured: 20 of 400 test images (5.0%, 95% interval 3.1% to 7.6%), 76% of inverted images, all images of noise and
    # 99.5% of chests.
    config = {"model": "lnn", "data": "phantom-breast", "epochs": 10, "export": "none", "tensorboard": False}
    train(TrainConfig.create(config | {"run_dir": tmp_path / "run"}))
    learned, predictor = load_learned_features(tmp_path / "run"), load_predictor(tmp_path / "run")
    test = np.asarray(load_data("phantom-breast").splits["test"].images[:])
    chest = np.asarray(load_data("phantom-chest").splits["test"].images[:200])
    others = {
        "inverted": 255 - test,
        "noise": np.random.default_rng(0).integers(0, 256, test.shape, dtype=np.uint8),
        "chest": zoom(chest, (1, 28 / chest.shape[1], 28 / chest.shape[2], 1), order=1),
    }
    found = {name: measure_likeness(learned, read_features(predictor, images)) for name, images in others.items()}
    alarms = measure_likeness(learned, read_features(predictor, test)).unlike.mean()
    assert 0.005 < alarms < 0.12
    for name, least in (("inverted", 0.4), ("noise", 0.95), ("chest", 0.9)):
        assert found[name].unlike.mean() > least, name
