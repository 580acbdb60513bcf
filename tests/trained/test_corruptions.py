"""Corruptions: identity of shape, known effects, the same again, and what is measured and written."""

import numpy as np
import pandas as pd
import pytest
from quick_predictors import Brightness

from keras_lnn.data.arrays import SeriesArray, Split
from keras_lnn.data.corruptions import CORRUPTIONS, STRENGTHS, corrupt_images
from keras_lnn.errors import InputError
from keras_lnn.plots import plot_corruptions
from keras_lnn.trained.corruptions import measure_corruptions
from keras_lnn.trained.measured_words import describe_corruptions, mean_losses
from keras_lnn.trained.robustness import write_robustness

GENERATOR = np.random.default_rng(0)
SMOOTH = (60 + 120 * np.linspace(0, 1, 24)[:, None] * np.ones(32)).astype(np.float32)
IMAGES = np.clip(SMOOTH + 8 * GENERATOR.standard_normal((6, 24, 32)), 0, 255).astype(np.uint8)[..., None]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_corruption_changes_images_more_with_its_strength_and_the_same_again(kind):
    distances = []
    for strength in STRENGTHS:
        corrupted = corrupt_images(IMAGES, kind, strength, seed=3)
        found = corrupted[:]
        assert (found.shape, found.dtype, len(corrupted)) == (IMAGES.shape, np.uint8, 6)
        np.testing.assert_array_equal(corrupted[np.array([4, 1])], found[[4, 1]])
        np.testing.assert_array_equal(corrupted[2], found[2])
        distances.append(np.abs(found.astype(float) - IMAGES).mean())
    assert distances[0] > 0
    assert distances[-1] > distances[0]
    # Sampling at other places can be nearer by chance.
    assert kind == "pixelation" or np.all(np.diff(distances) > -0.02 * distances[-1])


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_colours_volumes_and_single_pixels_keep_their_shape(kind):
    for shape in ((2, 8, 9, 3), (2, 5, 8, 9, 1), (1, 1, 1, 1)):
        images = np.full(shape, 100, np.uint8)
        assert corrupt_images(images, kind, 5)[:].shape == shape


@pytest.mark.parametrize("kind", ["missing-lines", "stripes", "motion", "gamma", "pixelation"])
def test_the_slices_of_a_volume_are_corrupted_alike(kind):
    volume = np.repeat(IMAGES[:1], 3, axis=0)[None]
    first, second, third = corrupt_images(volume, kind, 4)[0]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_known_effects():
    flat = np.full((200, 16, 16, 1), 100, np.uint8)

    def changed(kind, strength):
        return corrupt_images(flat, kind, strength)[:].astype(float)

    assert changed("noise", 2).std() == pytest.approx(0.08 * 255, rel=0.05)
    assert changed("speckle", 2).std() == pytest.approx(20, rel=0.05)
    assert set(np.unique(changed("brightness", 2))) == {74.0, 126.0}
    for kind in ("blur", "motion", "contrast", "pixelation"):
        np.testing.assert_array_equal(changed(kind, 5), flat)
    lost = changed("missing-lines", 4)
    assert ((lost == 0).mean(axis=(1, 2, 3)) == 3 / 16).all()
    half = corrupt_images(IMAGES, "contrast", 3)[:].astype(float).std(axis=(1, 2, 3))
    np.testing.assert_allclose(half, 0.45 * IMAGES.std(axis=(1, 2, 3)), rtol=0.02)
    point = np.zeros((1, 20, 20, 1), np.uint8)
    point[0, 10, 10] = 200
    moved = corrupt_images(point, "motion", 4)[0][..., 0]
    # Over a fifth of the side, along one axis.
    assert moved.sum() == pytest.approx(200, abs=4)
    assert sorted([len(np.flatnonzero(moved.any(axis=0))), len(np.flatnonzero(moved.any(axis=1)))]) == [1, 5]


def test_frames_of_series_are_corrupted_and_keep_their_times():
    series = SeriesArray.join([IMAGES[:2], IMAGES[2:5]], [np.arange(2.0), np.arange(3.0)], "minutes")
    found = corrupt_images(series, "noise", 3)
    assert isinstance(found, SeriesArray)
    np.testing.assert_array_equal(found.times(), series.times())
    assert (found[:] != series[:]).mean() > 0.5
    np.testing.assert_array_equal(found[1:2], found[:][1:])


class ReadBrightness(Brightness):
    """Reads images as models do, in pieces."""

    def predict_compact(self, images):
        return self.predict(images[:])


@pytest.fixture(scope="module")
def measured():
    predictor = ReadBrightness("dark", "bright")
    labels = np.arange(40) % 2
    images = (
        np.full((40, 12, 12, 1), 100, np.uint8)
        + (40 * labels + np.arange(40) % 7).astype(np.uint8)[:, None, None, None]
    )
    split = Split(images, labels)
    parts = [Split(images[:10], labels[:10]), Split(images[10:], labels[10:])]
    reported = []
    rows = measure_corruptions(
        *("mine", predictor, parts, split, predictor.predict(images), predictor.signature), progress=reported.append
    )
    return rows, reported


def test_the_metric_falls_with_what_the_model_depends_on(measured):
    rows, reported = measured
    assert len(rows) == len(CORRUPTIONS) * 6
    assert reported == pytest.approx((np.arange(12)[:, None] + np.arange(6) / 5).ravel() / 12)
    table = pd.DataFrame(rows).set_index(["corruption", "strength"])
    # The mean grey value is all that it reads, which blur and lower contrast keep.
    assert (table.loc["blur", "auc"] == 1).all()
    assert (table.loc["contrast", "auc"] == 1).all()
    assert table.loc[("brightness", 5), "auc"] < 0.9
    assert table.loc[("brightness", 0), "relative_loss"] == 0
    losses = mean_losses(rows)
    assert losses["blur"] == 0
    assert losses["brightness"] == pytest.approx(1 - table.loc["brightness", "auc"][1:].mean())
    sentence = describe_corruptions(rows, "auc")
    assert sentence.startswith(
        f"Corruptions cost {np.mean(list(losses.values())):.1%} of the AUC, the mean over 12 kinds"
    )


def test_the_table_and_the_picture_are_written(measured, tmp_path):
    rows, _ = measured
    some = [row for row in rows if row["corruption"] in ("noise", "jpeg")]
    written = write_robustness("corruptions", some, "auc", "mine on data", tmp_path / "out")
    assert list(pd.read_csv(written["corruptions"])) == [
        *("model", "corruption", "strength", "auc", "auc_low", "auc_high", "relative_loss"),
    ]
    assert written["picture"].stat().st_size > 1000
    with pytest.raises(InputError, match="A table of corruptions must have rows of noise"):
        plot_corruptions(pd.DataFrame(some), "auc", "AUC", {"noise": "noise"}, "mine")
