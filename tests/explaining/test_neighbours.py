"""Features of networks, and the training images nearest by them."""

import keras
import numpy as np
import pytest
from explained_models import draw_images, make_convolutions, make_predictor

from keras_lnn.data.arrays import SeriesArray, Split
from keras_lnn.errors import InputError
from keras_lnn.explaining import neighbours
from keras_lnn.explaining.features import WIDTH, project, read_features
from keras_lnn.explaining.neighbours import LearnedFeatures, learn_features, read_features_file, write_features
from keras_lnn.layers import CfC, FlippedViews, LearnedScale, MeanOfViews, Rows, SingleLogit, apply_to_slices

IMAGES = draw_images(5, 8, 8, 1)


def values_of(model, name, images=IMAGES):
    """Returns the output of a layer."""
    inner = keras.Model(model.inputs, model.get_layer(name).output)
    return keras.ops.convert_to_numpy(inner([images.astype("float32")]))


def make_learned(directions, **changes):
    """Returns learned features that are directions already."""
    directions = np.asarray(directions, np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    count = len(directions)
    values = {
        "rows": np.arange(count),
        "names": [f"{row}.png" for row in range(count)],
        "labels": ["a"] * count,
        "patients": None,
    }
    return LearnedFeatures(
        **{"directions": directions.astype(np.float32), "validation": np.zeros(0)} | values | changes
    )


@pytest.fixture(scope="module")
def convolutions():
    keras.utils.set_random_seed(0)  # with some weights all features but one are off, and all images are alike
    return make_predictor(make_convolutions())


def test_features_are_what_the_last_layer_with_weights_reads(convolutions):
    expected = values_of(convolutions.model, "second_relu").mean(axis=(1, 2))
    np.testing.assert_allclose(read_features(convolutions, IMAGES), expected, rtol=1e-5)


def test_features_are_found_in_nested_networks_and_before_layers_without_weights():
    inner = make_convolutions(classes=1)
    inputs = keras.Input((8, 8, 1))
    nested = inner(inputs)
    for outputs in (SingleLogit()(nested), LearnedScale()(SingleLogit()(nested)), keras.Sequential([inner])(inputs)):
        found = read_features(make_predictor(keras.Model(inputs, outputs)), IMAGES)
        np.testing.assert_allclose(found, values_of(inner, "second_relu").mean(axis=(1, 2)), rtol=1e-5)


def test_features_of_several_ways_to_the_logits_stand_side_by_side():
    inputs = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(3, 1, name="maps")(inputs)
    logits = keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(maps))
    # Maps of the classes that are averaged, as class activation maps need them: the layer reads maps, not a vector.
    logits += keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 1)(maps))
    model = keras.Model(inputs, logits)
    found, maps = read_features(make_predictor(model), IMAGES), values_of(model, "maps")
    assert found.shape == (5, 6)
    for part in (maps.max(axis=(1, 2)), maps.mean(axis=(1, 2))):
        assert any(np.allclose(found[:, place : place + 3], part, rtol=1e-5) for place in (0, 3))


@pytest.mark.parametrize("returns_steps", [False, True])
def test_steps_stand_side_by_side_where_a_recurrent_layer_reads_them_up_to_its_one_output(returns_steps):
    inputs = keras.Input((8, 8, 1))
    steps = Rows()(keras.layers.Rescaling(1 / 255)(inputs))
    logits = CfC(2, backbone_layers=0, return_sequences=returns_steps)(steps)
    logits = keras.layers.GlobalMaxPooling1D()(logits) if returns_steps else logits
    found = read_features(make_predictor(keras.Model(inputs, logits)), IMAGES)
    rows = IMAGES[..., 0] / 255
    np.testing.assert_allclose(found, rows.mean(axis=1) if returns_steps else rows.reshape(5, 64), rtol=1e-5)


def test_features_of_mirror_images_and_slices_are_averaged_over_each_sample():
    volumes = draw_images(3, 4, 8, 8, 1)
    inputs = keras.Input((4, 8, 8, 1))
    views = FlippedViews((1, 3))(inputs)
    dense = keras.layers.Dense(2)

    def read_slice(slices):
        return dense(slices[:, 0, :, 0])  # the first row, which mirroring turns round

    logits = keras.layers.GlobalAveragePooling1D()(apply_to_slices(read_slice, views))
    predictor = make_predictor(keras.Model(inputs, MeanOfViews(4)(logits)))
    rows = volumes[:, :, 0, :, 0].mean(axis=1)
    np.testing.assert_allclose(read_features(predictor, volumes), (rows + rows[:, ::-1]) / 2, rtol=1e-5)


def test_features_of_segmentation_are_the_mean_of_the_smallest_maps():
    inputs = keras.Input((8, 8, 1))
    fine = keras.layers.Conv2D(2, 3, padding="same", name="fine")(inputs)
    small = keras.layers.Conv2D(3, 3, padding="same", name="small")(keras.layers.MaxPooling2D(2)(fine))
    logits = keras.layers.Conv2D(3, 1)(keras.layers.UpSampling2D(2)(small))
    model = keras.Model(inputs, logits)
    found = read_features(make_predictor(model, "segmentation"), IMAGES)
    np.testing.assert_allclose(found, values_of(model, "small").mean(axis=(1, 2)), rtol=1e-4)


def test_features_of_series_leave_out_padded_frames():
    images, times = keras.Input((4, 2, 2, 1), name="images"), keras.Input((4,), name="times")
    frames = keras.layers.Reshape((4, 4))(images / 255)
    mask = keras.ops.logical_not(keras.ops.isnan(times))
    logits = keras.layers.GRU(2)(frames, mask=mask)
    series = SeriesArray.join(
        [draw_images(2, 2, 2, 1), draw_images(4, 2, 2, 1, seed=1)], [[0, 1], [0, 1, 2, 3]], "hours"
    )
    predictor = make_predictor(keras.Model([images, times], logits), image_shape=(4, 2, 2, 1), time_unit="hours")
    expected = [series[0][:2].reshape(2, 4).mean(axis=0) / 255, series[1].reshape(4, 4).mean(axis=0) / 255]
    np.testing.assert_allclose(read_features(predictor, series), expected, rtol=1e-5)


def test_a_network_without_weights_has_no_features():
    inputs = keras.Input((2, 1, 1))
    with pytest.raises(InputError, match="which has no weights"):
        read_features(make_predictor(keras.Model(inputs, keras.layers.Flatten()(inputs))), draw_images(1, 2, 1, 1))


def test_wide_features_are_projected_and_keep_their_angles():
    features = np.random.default_rng(0).normal(size=(20, 3000)).astype(np.float32)
    features[10:] = features[:10] + 0.3 * features[10:]
    narrow = project(features)
    assert narrow.shape == (20, WIDTH)
    cosines = [(part @ part.T) / np.outer(*[np.linalg.norm(part, axis=1)] * 2) for part in (features, narrow)]
    np.testing.assert_allclose(cosines[1], cosines[0], atol=0.15)
    np.testing.assert_array_equal(project(features[:, :WIDTH]), features[:, :WIDTH])
    # Kept features would be wrong if the signs ever changed.
    np.testing.assert_allclose(project(np.eye(1, 3000, dtype=np.float32))[0, :6] * np.sqrt(WIDTH), SIGNS)


SIGNS = [1, -1, 1, 1, 1, -1]


def test_neighbours_are_nearest_by_angle_with_one_image_of_each_patient():
    angles = np.radians([0, 10, 20, 30, 90])
    learned = make_learned(np.stack([np.cos(angles), np.sin(angles)], axis=1), rows=np.array([3, 4, 7, 8, 9]))
    found = learned.find_neighbours(np.array([[5.0, 0.0], [0.0, 0.1]]), 3)
    assert found.rows.tolist() == [[3, 4, 7], [9, 8, 7]]
    np.testing.assert_allclose(found.distances[0], 1 - np.cos(angles[:3]), atol=1e-3)
    assert found.names[1] == ["4.png", "3.png", "2.png"]
    by_patient = make_learned(learned.directions, patients=["p", "q", "p", "q", "r"])
    assert by_patient.find_neighbours(np.array([[5.0, 0.0]]), 5).rows.tolist() == [[0, 1, 4]]
    dead = learned.find_neighbours(np.zeros((1, 2), np.float32), 1)
    assert dead.distances.tolist() == [[1.0]]
    with pytest.raises(InputError, match=r"count must be at least 1\. Received: 0"):
        learned.find_neighbours(np.ones((1, 2)), 0)


def test_the_distance_from_what_was_learned_is_that_to_the_tenth_nearest_image():
    learned = make_learned(np.random.default_rng(0).normal(size=(30, 4)))
    features = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    every = learned.find_neighbours(features, 30).distances
    np.testing.assert_allclose(learned.measure_distances(features), every[:, 9])
    few = make_learned(learned.directions[:4])
    np.testing.assert_allclose(few.measure_distances(features), few.find_neighbours(features, 4).distances[:, 3])


def test_learned_features_find_the_training_images_themselves_and_survive_a_file(convolutions, tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_IMAGES", 12)
    images, labels = draw_images(20, 8, 8, 1, seed=3), np.arange(20) % 2
    train = Split(images, labels, names=[f"{row}.png" for row in range(20)], groups=[f"p{row}" for row in range(20)])
    val = Split(draw_images(6, 8, 8, 1, seed=4), np.zeros(6, int), groups=["a", "a", "a", "b", "b", "c"])
    learned = learn_features(convolutions, train, val)
    assert learned.rows.tolist() == sorted(set(learned.rows.tolist()))
    assert len(learned.rows) == 12
    assert learned.validation.shape == (3,)
    assert (np.diff(learned.validation) >= 0).all()
    nearest = learned.find_neighbours(read_features(convolutions, images[learned.rows]), 1)
    assert nearest.rows[:, 0].tolist() == learned.rows.tolist()
    assert nearest.labels[0] == ["ab"[learned.rows[0] % 2]]
    assert nearest.names[0] == [f"{learned.rows[0]}.png"]
    assert nearest.distances.max() < 1e-6
    path = tmp_path / "features.npz"
    assert read_features_file(path, "digest") is None
    write_features(path, learned, "digest")
    again = read_features_file(path, "digest")
    for name in ("directions", "rows", "validation"):
        np.testing.assert_array_equal(getattr(again, name), getattr(learned, name))
        assert getattr(again, name).dtype == getattr(learned, name).dtype
    assert (again.names, again.labels, again.patients) == (learned.names, learned.labels, learned.patients)
    assert read_features_file(path, "of another model") is None
    path.write_bytes(path.read_bytes()[:300])
    assert read_features_file(path, "digest") is None
