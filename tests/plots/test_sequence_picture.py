"""The picture of a sequence shows the way that the layer goes."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from keras_lnn.layers import Channels, Columns, Patches, Rows
from keras_lnn.plots import plot_sequence, save_figure

GENERATOR = np.random.default_rng(0)


def maps_of(*shape: int) -> np.ndarray:
    return GENERATOR.random(shape).astype(np.float32)


@pytest.mark.parametrize("layer", [Rows(), Columns(reverse=True), Patches(2, 1, "zigzag"), Patches(2, order="hilbert")])
@pytest.mark.parametrize("image", [None, np.zeros((20, 20, 1), np.uint8), np.zeros((20, 20, 3), np.uint8)])
def test_the_path_joins_patch_centres_in_reading_order(layer, image, tmp_path):
    shape = (8, 8, 3)
    positions = layer.positions(shape)
    figure = plot_sequence(positions, maps_of(*shape), image, "How it reads")
    (lines,) = (part for part in figure.axes[0].collections if isinstance(part, LineCollection))
    drawn = np.array([segment[0] for segment in lines.get_segments()] + [lines.get_segments()[-1][1]])
    expected = np.stack(np.unravel_index(positions, shape)[:2]).mean(axis=-1).T
    np.testing.assert_allclose(drawn[:, ::-1], expected)
    number = np.asarray(figure.axes[1].images[0].get_array())
    for step in (0, len(positions) - 1):
        rows, columns = np.unravel_index(positions[step], shape)[:2]
        assert number[rows, columns].max() <= step + 1
    if image is not None and image.shape[-1] == 3:
        save_figure(figure, tmp_path / "way.png")
    assert f"{len(positions)} steps of {positions.shape[1]} values" in figure.get_suptitle()


def test_channels_are_shown_one_by_one():
    maps = maps_of(5, 4, 40)
    figure = plot_sequence(Channels(20).positions(maps.shape), maps, None, "Channels")
    assert "the first 16" in figure.get_suptitle()
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(shown) == 16
    step = maps[..., 6:8]
    scaled = (step - step.min()) / np.ptp(step)
    np.testing.assert_allclose(shown[3], np.concatenate([scaled[..., 0], scaled[..., 1]], axis=1), atol=1e-6)


def test_a_strong_channel_leaves_the_others_visible():
    maps = maps_of(4, 4, 32)
    maps[..., 5] *= 1000
    maps[..., 9] = 0.0
    figure = plot_sequence(Channels(32).positions(maps.shape), maps, None, "Channels")
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert all((step.min(), step.max()) == (0, 1) for place, step in enumerate(shown) if place != 9)
    assert (shown[9] == 0.5).all()


def test_many_channels_of_a_step_make_a_square():
    maps = maps_of(3, 3, 20)
    figure = plot_sequence(Channels(4).positions(maps.shape), maps, None, "Channels")
    assert figure.axes[0].images[0].get_array().shape == (9, 6)  # five channels, and one place that is left over


def test_steps_of_one_value_have_a_common_scale():
    maps = np.linspace(0, 1, 8, dtype=np.float32).reshape(1, 1, 8)
    figure = plot_sequence(Channels(8).positions(maps.shape), maps, None, "Channels")
    shown = [float(axes.images[0].get_array()[0, 0]) for axes in figure.axes if axes.images]
    np.testing.assert_allclose(shown, np.linspace(0, 1, 8), atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4, 8), (3, 4, 4, 8)])
def test_one_step_needs_no_scale_of_steps(shape):
    figure = plot_sequence(np.arange(np.prod(shape))[None], maps_of(*shape), None, "One")
    assert not any("first step that reads it" in axes.get_ylabel() for axes in figure.axes)


def test_volumes_are_shown_by_slices():
    shape = (6, 4, 4, 2)
    positions = Patches(2, order="zigzag").positions(shape)
    figure = plot_sequence(positions, maps_of(*shape), None, "Cubes")
    panels = [axes for axes in figure.axes if axes.get_title().startswith("slice")]
    assert [axes.get_title() for axes in panels] == [f"slice {number}" for number in range(1, 7)]
    np.testing.assert_array_equal(panels[0].images[0].get_array(), np.kron([[1, 2], [4, 3]], np.ones((2, 2))))
    np.testing.assert_array_equal(panels[2].images[0].get_array(), np.kron([[8, 7], [5, 6]], np.ones((2, 2))))
