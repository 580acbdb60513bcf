"""lnn-3d: parameter counts of the model and its controls, its input, saving and loading."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from forward import outputs_before_and_after, outputs_of

from keras_lnn.errors import InputError
from keras_lnn.models.volumes import _erode, _slices_along
from keras_lnn.registry import build_model, count_parameters

SHAPE = (28, 28, 28, 1)
KINDS = ["ltc", "cfc", "lstm", "dense"]
# As small as the model takes them.
SMALL = (12, 12, 12, 1)
VOLUMES = np.random.default_rng(0).integers(0, 256, (3, *SMALL)).astype(np.float32)


def test_lnn_3d_and_its_controls_have_similar_parameter_counts():
    ltc, lstm, dense = (
        count_parameters(build_model("lnn-3d", SHAPE, 2, recurrence=kind)) for kind in KINDS if kind != "cfc"
    )
    assert ltc == 34_632
    assert 0.98 < lstm / ltc < 1.02
    assert 0.98 < dense / ltc < 1.02


@pytest.mark.parametrize(
    "kind", [kind if kind == "cfc" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_models_train_save_and_reload(kind, tmp_path):
    model = build_model("lnn-3d", SMALL, 2, recurrence=kind)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(VOLUMES, training=True) - 1.0))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    outputs_before_and_after(model, VOLUMES, tmp_path / "model.keras", compiled=False)


@pytest.mark.parametrize("kind", ["lstm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[:2])])
def test_a_graph_agrees_with_eager_calls(kind):
    model = build_model("lnn-3d", SMALL, 2, recurrence=kind)
    np.testing.assert_allclose(model.predict_on_batch(VOLUMES), outputs_of(model, VOLUMES), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_mirror_images_have_equal_predictions():
    model = build_model("lnn-3d", SMALL, 2)
    for axis in (1, 2, 3):
        mirrored = np.ascontiguousarray(np.flip(VOLUMES, axis))
        np.testing.assert_allclose(outputs_of(model, mirrored), outputs_of(model, VOLUMES), atol=1e-4)
    plain = build_model("lnn-3d", SMALL, 2, views=False)
    assert not np.allclose(
        outputs_of(plain, np.ascontiguousarray(VOLUMES[:, ::-1])), outputs_of(plain, VOLUMES), atol=1e-4
    )


def test_all_axes_are_read_by_the_same_weights():
    model = build_model("lnn-3d", (16, 16, 16, 1), 2, views=False, recurrence="cfc")
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv3D)]
    for layer in convolutions:  # the same along each axis, so that only the reading is looked at
        kernel = layer.get_weights()[0]
        turns = [
            kernel.transpose(*order, 3, 4)
            for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        ]
        layer.set_weights([np.mean(turns, axis=0)])
    volumes = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 16, 1)).astype(np.float32)
    for order in ((0, 2, 1, 3, 4), (0, 3, 2, 1, 4)):
        turned = np.ascontiguousarray(volumes.transpose(order))
        np.testing.assert_allclose(outputs_of(model, turned), outputs_of(model, volumes), atol=1e-4)


def test_predictions_do_not_depend_on_other_samples():
    # The views of all samples are one batch, whatever reads their slices.
    model = build_model("lnn-3d", SMALL, 2, recurrence="lstm")
    alone = np.concatenate([outputs_of(model, VOLUMES[index : index + 1]) for index in range(2)])
    np.testing.assert_allclose(outputs_of(model, VOLUMES[:2]), alone, atol=1e-4)


@pytest.mark.slow
def test_the_distance_between_slices_is_their_elapsed_time():
    keras.utils.set_random_seed(0)
    near = build_model("lnn-3d", SMALL, 2)
    keras.utils.set_random_seed(0)
    far = build_model("lnn-3d", SMALL, 2, slice_distance=4.0)
    assert not np.allclose(outputs_of(near, VOLUMES), outputs_of(far, VOLUMES), atol=1e-4)
    keras.utils.set_random_seed(0)
    timeless = build_model("lnn-3d", SMALL, 2, recurrence="lstm", slice_distance=4.0)
    keras.utils.set_random_seed(0)
    same = build_model("lnn-3d", SMALL, 2, recurrence="lstm")
    np.testing.assert_allclose(outputs_of(timeless, VOLUMES), outputs_of(same, VOLUMES), atol=1e-5)


@pytest.mark.parametrize(
    "shape",
    [(12, 30, 20, 3), *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((64, 64, 64, 1), (20, 120, 120, 1)))],
)
def test_volumes_of_any_shape_are_accepted(shape):
    model = build_model("lnn-3d", shape, 5, recurrence="dense")
    assert outputs_of(model, np.full((2, *shape), 100.0, np.float32)).shape == (2, 5)


def test_an_empty_volume_has_a_finite_prediction():
    model = build_model("lnn-3d", SMALL, 2)
    assert np.isfinite(outputs_of(model, np.zeros((1, *SMALL), np.float32))).all()


def test_erosion_keeps_the_inside_of_a_region():
    ball = np.zeros((1, 7, 7, 7, 1), np.float32)
    ball[0, 2:5, 2:5, 2:5] = 1
    inside = keras.ops.convert_to_numpy(_erode(ball))
    assert inside.sum() == 1
    assert inside[0, 3, 3, 3, 0] == 1


def test_features_of_a_slice_are_means_over_its_tissue():
    tissue = np.zeros((1, 4, 3, 2, 1), np.float32)
    tissue[0, 1, :2] = 1.0
    maps = np.random.default_rng(0).normal(size=(1, 4, 3, 2, 5)).astype(np.float32)
    features, amount = map(keras.ops.convert_to_numpy, _slices_along(1, tissue, maps))
    assert features.shape == (1, 4, 11)
    np.testing.assert_allclose(amount[0, :, 0], [0, 4 / 6, 0, 0], atol=1e-6)
    np.testing.assert_allclose(features[0, 1, 5:10], maps[0, 1, :2].mean(axis=(0, 1)), atol=5e-3)
    np.testing.assert_allclose(features[0, :, :5], maps[0].max(axis=(1, 2)), atol=1e-6)
    assert _slices_along(3, tissue, maps)[0].shape == (1, 2, 11)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((28, 28, 1), {}, r"lnn-3d reads volumes .* Received: shape \(28, 28, 1\)"),
        ((8, 28, 28, 1), {}, "at least 12 slices"),
        (SHAPE, {"units": 12, "features": 10}, "features must be at most units minus 3. Received: 10 with 12 units"),
        (SHAPE, {"slice_distance": 0}, "slice_distance of model lnn-3d must be greater than 0"),
    ],
)
def test_unsuitable_inputs_are_refused_in_one_line(shape, arguments, message):
    with pytest.raises(InputError, match=message):
        build_model("lnn-3d", shape, 2, **arguments)
