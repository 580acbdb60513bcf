"""CRNet's heads: published counts, every combination of backbone, sequence and recurrence, and error messages."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from forward import outputs_before_and_after, outputs_of, without_values

from keras_lnn.errors import InputError
from keras_lnn.layers import LTC, CfC, Patches
from keras_lnn.models.backbones import BACKBONES
from keras_lnn.registry import build_model, count_parameters, list_models
from keras_lnn.saved.export import export_model
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.signature import Signature, save_keras

# Without the LTC's own parameters, at 224x224x3 and two classes.
PUBLISHED = {
    "crnet-1fc": 549_986,
    "crnet-3fc": 22_240_022,
    "crnet-4fc": 22_865_074,
    "crnet-3fc32": 516_432,
    "crnet-3fc1024": 731_330,
    "crnet-yncp32": 511_350,
    "crnet-yncp1024": 580_642,
    "crnet-yncp1024ada": 2_752_610,
    "crnet-xyncp32": 511_422,
    "crnet-zncp32": 525_202,
    "crnet-zncp32bi": 525_234,
    "crnet-zncp1024ada": 788_466,
    "crnet-zncp1024adamax": 1_272_818,
    "crnet-pncp32-chunk-horque": 515_978,
    "crnet-pncp32-chunk-horzig": 515_978,
    "crnet-pncp32-slide-horque": 516_018,
    "crnet-pncp32-slide-horzig": 516_018,
    "crnet-pncp1024-slide-horque": 580_642,
}
# Those with about a thousand sensory neurons, which are joined one by one, beside one that always runs.
LARGE_WIRINGS = ("crnet-yncp1024ada", "crnet-zncp1024adamax", "crnet-pncp1024-slide-horque", "crnet-zncp1024ada")
# Steps, features and motor neurons of the progress report's designs.
EARLY = {
    "crnet-early-y": (8, 32, 1),
    "crnet-early-z": (16, 32, 1),
    "crnet-early-patches": (16, 32, 1),
    "crnet-early-y-double": (16, 128, 1),
    "crnet-early-y-half": (16, 512, 4),
}
SHAPE = (32, 32, 1)


def images_of(shape: tuple[int, ...], count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.float32)


def recurrences(model: keras.Model) -> list[LTC]:
    wrapped = [layer for layer in model.layers if isinstance(layer, keras.layers.Bidirectional)]
    inner = [part for layer in wrapped for part in (layer.forward_layer, layer.backward_layer)]
    return [layer for layer in [*model.layers, *inner] if isinstance(layer, LTC)]


def check(model: keras.Model, images: np.ndarray, path: Path, *, compiled: bool = True) -> None:
    """Models predict, train, and give the same outputs after saving and loading."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(images, training=True) - 3.0))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    before = outputs_before_and_after(model, images, path, compiled=compiled)
    assert before.shape == (len(images), 2)


def check_export(model: keras.Model, name: str, folder: Path) -> None:
    """A SavedModel with the same answers."""
    signature = Signature(
        model=name,
        model_args={},
        task="binary",
        class_names=("no", "yes"),
        image_shape=SHAPE,
        data="none",
        size=None,
        checksum="",
        licence="",
        parameters=count_parameters(model),
        seed=0,
        best_epoch=None,
        trained_by="a test",
    )
    save_keras(model, signature, folder / "signed.keras")
    images = images_of(SHAPE).astype(np.uint8)
    exported = load_predictor(export_model(folder / "signed.keras", folder / "exported"))
    expected = load_predictor(folder / "signed.keras").predict(images)
    np.testing.assert_allclose(exported.predict(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE_WIRINGS else name for name in PUBLISHED]
)
def test_parameter_counts_equal_the_published_ones(name):
    with without_values():
        model = build_model(name, (224, 224, 3), 2)
    of_recurrence = sum(
        int(np.prod(weight.shape)) for layer in recurrences(model) for weight in layer.trainable_weights
    )
    assert count_parameters(model) - of_recurrence == PUBLISHED[name]
    assert (of_recurrence > 0) == ("ncp" in name)


def test_all_crnets_are_registered():
    names = {entry.name for entry in list_models() if entry.family == "crnet"}
    assert names == {"crnet", *PUBLISHED, *EARLY, "crnet-early-1fc"}


def test_the_backbone_of_the_progress_report():
    assert count_parameters(build_model("crnet-early-1fc", (224, 224, 1), 2)) == 546_882


@pytest.mark.parametrize("name", EARLY)
def test_early_designs_have_the_expected_shapes(name):
    model = build_model(name, (224, 224, 1), 2)
    (layer,) = recurrences(model)
    steps, features, motor = EARLY[name]
    assert (layer.input.shape, layer.output.shape) == ((None, steps, features), (None, steps, motor))
    assert model.get_layer("logits").input.shape == (None, steps * motor)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PUBLISHED, *EARLY])
def test_models_train_save_reload_and_export(name, tmp_path):
    model = build_model(name, SHAPE, 2)
    check(model, images_of(SHAPE), tmp_path / "model.keras")
    check_export(model, name, tmp_path)


@pytest.mark.parametrize(
    "recurrence", ["dense", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gru", "rnn", "ltc", "cfc"))]
)
def test_every_recurrence_reads_several_sequences(recurrence, tmp_path):
    directions = "forwards" if recurrence == "dense" else "both"
    arguments = {"sequence": "rows+patches", "order": "hilbert", "patch_size": 2, "map_side": 4, "map_channels": 4}
    model = build_model("crnet", SHAPE, 2, recurrence=recurrence, directions=directions, backbone="none", **arguments)
    # An export holds a graph, too.
    check(model, images_of(SHAPE), tmp_path / "model.keras", compiled=recurrence != "dense")
    check_export(model, "crnet", tmp_path)
    answers = {tuple(layer.output.shape) for layer in model.layers if layer.name.startswith("flatten")}
    assert answers == {(None, 4 * (1 if recurrence == "dense" else 2))}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_works_with_every_head(backbone):
    model = build_model("crnet", (28, 28, 3), 5, backbone=backbone, sequence="channels", recurrence="lstm")
    assert model.output_shape == (None, 5)
    assert model.get_layer("lstm_channels").input.shape == (None, 16, 36)


def test_reading_backwards_reverses_the_steps():
    keras.utils.set_random_seed(0)
    ahead = build_model("crnet", SHAPE, 2, recurrence="gru", backbone="none", directions="forwards")
    keras.utils.set_random_seed(0)
    back = build_model("crnet", SHAPE, 2, recurrence="gru", backbone="none", directions="backwards")
    images = images_of(SHAPE)
    steps = outputs_of(keras.Model(ahead.input, ahead.get_layer("gru_channels").input), images)
    gru, reverse = ahead.get_layer("gru_channels"), back.get_layer("gru_channels")
    np.testing.assert_allclose(gru(steps[:, ::-1]), reverse(steps), atol=1e-5)


def test_volumes_are_read_slice_by_slice():
    shape = (6, 28, 28, 1)
    model = build_model("crnet", shape, 2, sequence="slices", backbone="lnn", map_side=2, map_channels=4)
    assert recurrences(model)[0].input.shape == (None, 6, 16)
    assert outputs_of(model, images_of(shape)).shape == (3, 2)
    cubes = build_model("crnet", shape, 2, sequence="patches", patch_size=2, recurrence="rnn", backbone="recurrent")
    assert cubes.get_layer("rnn_patches").input.shape == (None, 3 * 3 * 3, 8 * 16)


def test_arguments_change_the_documented_layers():
    model = build_model("crnet-pncp32-chunk-horzig", SHAPE, 2, patch_size=4, order="hilbert", resize=64, step_units=9)
    (patches,) = (layer for layer in model.layers if isinstance(layer, Patches))
    assert (patches.size, patches.order) == (4, "hilbert")
    assert recurrences(model)[0].input.shape == (None, 4, 9)
    assert any(isinstance(layer, keras.layers.Resizing) and layer.height == 64 for layer in model.layers)
    liquid = build_model("crnet", SHAPE, 2, recurrence="cfc", inter_neurons=20, command_neurons=9, motor_neurons=3)
    (cfc,) = (layer for layer in liquid.layers if isinstance(layer, CfC))
    assert cfc.built_wiring.units == 32
    assert cfc.output.shape == (None, 16, 3)


def test_he_normal_is_chosen_by_name():
    def spread(initialisation: str) -> float:
        model = build_model("crnet-1fc", SHAPE, 2, initialisation=initialisation)
        kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        return float(np.std(keras.ops.convert_to_numpy(kernels[-1])) * np.sqrt(np.prod(kernels[-1].shape[:-1]) / 2))

    assert spread("he-normal") == pytest.approx(1.0, abs=0.02)
    assert spread("lecun-normal") == pytest.approx(np.sqrt(0.5), abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "crnett"}, "no backbone 'crnett'. Did you mean crnet"),
        ({"sequence": "row"}, "no sequence 'row'. Did you mean rows"),
        ({"sequence": "rows+rows"}, "read once. Received: rows\\+rows"),
        ({"sequence": "slices"}, "Slices reads volumes"),
        ({"sequence": "patches", "patch_size": 9}, "larger than the map. Received: patches of 9 on a map of 6x6"),
        ({"sequence": "none", "map_side": None, "pool": 9}, "pool must not be larger than the map"),
        ({"hidden": "12"}, "hidden is for a head without a sequence"),
        ({"hidden": "12-"}, "hidden of model crnet .* Received: '12-'"),
        ({"recurrence": "dense", "directions": "both"}, "no directions. Received: directions=both"),
        ({"recurrence": "transformer"}, "must be 'ltc', 'cfc'"),
        ({"resize": 9}, "needs at least 15 pixels per side. Received: 9"),
    ],
)
def test_invalid_combinations_are_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        build_model("crnet", SHAPE, 2, **arguments)
    assert "\n" not in str(caught.value)
