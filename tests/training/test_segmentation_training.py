"""Training of segmentation models: suitable options, records of each epoch, the best epoch, and resuming."""

import keras
import numpy as np
import pytest
from rich.console import Console

from keras_lnn.config import TrainConfig
from keras_lnn.data import DataEntry, ImageData, Split, catalog, register_data
from keras_lnn.errors import InputError
from keras_lnn.losses import FocalCrossentropy
from keras_lnn.runs.folder import RunFolder
from keras_lnn.tasks.kinds import make_task
from keras_lnn.tasks.segmentation import MOST_PIXEL_WEIGHT
from keras_lnn.training.compiling import compile_model
from keras_lnn.training.loop import _Trainer, train
from keras_lnn.training.protocol import complete_config

NAME = "tiny-squares"
CLASSES = ("background", "square", "dot")
TASK = make_task("segmentation", CLASSES)
GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 2, (2, 4, 5, 3)).astype(np.float32)
MASKS = GENERATOR.integers(0, 3, (2, 4, 5)).astype(np.uint8)


def tiny_squares() -> ImageData:
    """Bright squares, some with a brighter dot."""
    generator = np.random.default_rng(0)

    def split(count: int) -> Split:
        images = generator.integers(0, 60, (count, 12, 12, 1), dtype=np.uint8)
        masks = np.zeros((count, 12, 12), np.uint8)
        for index, (top, left) in enumerate(generator.integers(0, 6, (count, 2))):
            masks[index, top : top + 6, left : left + 6] = 1
            if index % 3:
                masks[index, top + 2 : top + 4, left + 2 : left + 4] = 2
        return Split(images + 80 * masks[..., None], masks)

    splits = {"train": split(24), "val": split(9), "test": split(9)}
    return ImageData(NAME, "segmentation", CLASSES, splits, checksum="none")


@pytest.fixture
def squares():
    if NAME not in catalog():
        register_data(
            DataEntry(
                name=NAME,
                title="squares",
                task="segmentation",
                class_names=CLASSES,
                channels=1,
                dimensions=2,
                sizes=(12,),
                samples={"train": 24, "val": 9, "test": 9},
                loader=f"{__name__}:tiny_squares",
            )
        )
    return NAME


def config_for(tmp_path, **fields):
    small = {"width": 4, "depth": 1, "dropout": 0.1}
    values = {"model": "unet", "model_args": small, "data": NAME, "run_dir": tmp_path / "run", "learning_rate": 1e-2}
    values |= {"epochs": 6, "batch_size": 8, "augmentation": "shift-rotate", "export": "none", "tensorboard": False}
    return complete_config(TrainConfig.create(values | fields))


def make_trainer(config):
    return _Trainer(config, tiny_squares(), Console(quiet=True))


@pytest.mark.slow
def test_segmentation_learns_and_keeps_the_epoch_of_best_dice(squares, tmp_path):
    fields = {"epochs": 8, "batch_size": 3, "learning_rate": 3e-2, "augmentation": "none"}
    config = config_for(tmp_path, loss="bce-dice", **fields)
    assert config.monitor == "val_dice"
    folder = RunFolder.create(config, {})
    history = make_trainer(config)._fit(folder, None).history
    names = {"loss", "accuracy", "pixel_error", "dice", "iou", "dice_square", "dice_dot"}
    assert set(history[0]) == names | {f"val_{name}" for name in names} | {"epoch", "learning_rate", "seconds"}
    values = [row["val_dice"] for row in history]
    assert max(values) > 0.7 > values[0]
    for row in history:
        assert row["val_dice"] == pytest.approx((row["val_dice_square"] + row["val_dice_dot"]) / 2, abs=1e-6)
        assert row["val_pixel_error"] == pytest.approx(1 - row["val_accuracy"], abs=1e-6)
    folder.read_best(int(np.argmax(values)) + 1)


@pytest.mark.slow
def test_a_resumed_segmentation_run_is_bit_identical(squares, tmp_path):
    config = config_for(tmp_path, epochs=4)
    whole = make_trainer(config)
    history = whole._fit(RunFolder.create(config, {}), None).history
    config = config_for(tmp_path, epochs=4, stop_after=2, run_dir=tmp_path / "other")
    folder = RunFolder.create(config, {})
    make_trainer(config)._fit(folder, None)
    trainer = make_trainer(config.model_copy(update={"stop_after": None}))
    recorder = trainer._fit(folder, folder.prepare_resume())
    for row, again in zip(history, recorder.history, strict=True):
        assert {**row, "seconds": 0} == {**again, "seconds": 0}
    for weights, again in zip(whole.model.get_weights(), trainer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, again)


FEWER_LOSSES = ("cross-entropy", "soft-f1")  # one of each pixel and one of a batch; a whole run has bce-dice
LOSSES = ["cross-entropy", "focal", "bce-dice", "focal-tversky", "soft-f1", "mean-squared-error"]


@pytest.mark.parametrize("class_weight", [pytest.param("none", marks=pytest.mark.slow), "balanced"])
@pytest.mark.parametrize(
    "loss", [pytest.param(loss, marks=[] if loss in FEWER_LOSSES else pytest.mark.slow) for loss in LOSSES]
)
def test_every_loss_trains(loss, class_weight, squares, tmp_path):
    config = config_for(tmp_path, loss=loss, class_weight=class_weight)
    keras.utils.set_random_seed(0)
    train_split = tiny_squares().splits["train"]
    inputs = keras.Input((12, 12, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1)(keras.layers.Rescaling(1 / 255)(inputs)))
    assert compile_model(model, TASK, config, 60, train_split.labels) is None
    losses = [model.train_on_batch(train_split.images, train_split.labels, return_dict=True) for _ in range(60)]
    assert losses[-1]["loss"] < losses[0]["loss"] - 0.01


def test_the_loss_is_the_mean_over_all_pixels():
    p = np.exp(LOGITS.astype(float))
    p = np.take_along_axis(p / p.sum(axis=-1, keepdims=True), MASKS[..., None].astype(int), axis=-1)[..., 0]
    weights = np.array([0.5, 2.0, 3.0])
    assert float(TASK.loss()(MASKS, LOGITS)) == pytest.approx(-np.log(p).mean(), rel=1e-5)
    weighted = (-np.log(p) * weights[MASKS]).mean()
    assert float(TASK.loss("cross-entropy", weights)(MASKS, LOGITS)) == pytest.approx(weighted, rel=1e-5)
    focal = (-((1 - p) ** 2) * np.log(p) * weights[MASKS]).mean()
    loss = TASK.loss("focal", weights)
    assert float(loss(MASKS[..., None], LOGITS)) == pytest.approx(focal, rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    with pytest.raises(ValueError, match=r"class_weights must have one weight per class, 3 in all\. Received: 2"):
        FocalCrossentropy(class_weights=[1, 2])(MASKS, LOGITS)


def test_weights_of_rare_classes_are_limited():
    masks = np.zeros((10, 10, 10), np.uint8)
    masks[:, :2] = 1
    masks[0, 5, 5] = 2
    none, weights = TASK.balanced_weights(masks)
    assert none is None
    np.testing.assert_allclose(weights, [1000 / (3 * 799), 1000 / (3 * 200), MOST_PIXEL_WEIGHT])


def test_probabilities_are_a_softmax_over_the_classes_of_each_pixel():
    assert (TASK.outputs, TASK.predicts, make_task("binary", ("a", "b")).predicts) == (3, "masks", "classes")
    found = keras.ops.convert_to_numpy(TASK.probabilities(LOGITS))
    exponentials = np.exp(LOGITS)
    np.testing.assert_allclose(found, exponentials / exponentials.sum(axis=-1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "cnn", "model_args": {}}, "predicts masks. Received: cnn, which predicts classes, for tiny-sq"),
        ({"data": "phantom-breast"}, "predicts classes. Received: unet, which predicts masks, for phantom-breast"),
        ({"monitor": "val_auc"}, "masks must be one of val_loss, val_dice.* Received: val_auc for unet"),
        ({"model": "cnn", "model_args": {}, "monitor": "val_dice"}, "classes must be one of val_loss, val_accuracy"),
        ({"loss": "asymmetric"}, "for several labels per image. Received: a segmentation task"),
    ],
)
def test_unsuitable_options_are_refused_without_creating_a_folder(fields, message, squares, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        config = config_for(tmp_path, **fields)
        train(config, Console(quiet=True))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_unknown_task_is_one_line():
    with pytest.raises(InputError, match=r"must be binary.* or segmentation\. Received: regression"):
        make_task("regression", ("a", "b"))
