"""Images, maps and volumes as sequences: the position of every value, and the inverse."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_lnn.errors import InputError
from keras_lnn.layers import Channels, Columns, Patches, RestoreMaps, Rows, Slices, apply_to_slices, scan_order

ORDERS = ("rows", "columns", "zigzag", "hilbert")
LAYERS = [
    Rows(),
    Columns(reverse=True),
    Channels(),
    Channels(2, reverse=True),
    *(Patches(2, order=order) for order in ORDERS),
    Patches(4, reverse=True),
]


def read(layer: keras.Layer, maps: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(maps))


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)


#  0  1 |  2  3 |  4  5
#  6  7 |  8  9 | 10 11
# 12 13 | 14 15 | 16 17
# 18 19 | 20 21 | 22 23
GRID = numbered(4, 6, 1)
BY_ROWS = [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11], [12, 13, 18, 19], [14, 15, 20, 21], [16, 17, 22, 23]]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Rows(), [list(range(start, start + 6)) for start in (0, 6, 12, 18)]),
        (Rows(reverse=True), [list(range(start, start + 6)) for start in (18, 12, 6, 0)]),
        (Columns(), [[start, start + 6, start + 12, start + 18] for start in range(6)]),
        (Patches(2), BY_ROWS),
        (Patches(2, order="columns"), [BY_ROWS[index] for index in (0, 3, 1, 4, 2, 5)]),
        (Patches(2, order="zigzag"), [BY_ROWS[index] for index in (0, 1, 2, 5, 4, 3)]),
        (Patches(2, order="zigzag", reverse=True), [BY_ROWS[index] for index in (3, 4, 5, 2, 1, 0)]),
        # The curve of a 4 by 4 square, of which the first two rows and three columns are there.
        (Patches(2, order="hilbert"), [BY_ROWS[index] for index in (0, 3, 4, 1, 2, 5)]),
        (Patches(3), [[0, 1, 2, 6, 7, 8, 12, 13, 14], [3, 4, 5, 9, 10, 11, 15, 16, 17]]),
        (
            Patches(3, stride=1, order="zigzag"),
            [
                [corner + row + column for row in (0, 6, 12) for column in (0, 1, 2)]
                for corner in (0, 1, 2, 3, 9, 8, 7, 6)
            ],
        ),
    ],
)
def test_sequences_equal_written_out_examples(layer, expected):
    np.testing.assert_array_equal(read(layer, GRID)[0], expected)
    np.testing.assert_array_equal(layer.positions((4, 6, 1)), expected)


def test_channels_are_read_as_steps():
    maps = np.arange(2 * 2 * 2 * 6, dtype=np.float32).reshape(2, 2, 2, 6)
    sequence = read(Channels(3), maps)
    assert sequence.shape == (2, 3, 8)
    # A step holds two whole channels, one after the other, each row by row.
    for step in range(3):
        expected = np.concatenate([maps[0, :, :, 2 * step].ravel(), maps[0, :, :, 2 * step + 1].ravel()])
        np.testing.assert_array_equal(sequence[0, step], expected)
    np.testing.assert_array_equal(read(Channels(), maps)[1, 4], maps[1, :, :, 4].ravel())


def test_volumes_are_read_along_axes_and_in_cubes():
    volume = np.random.default_rng(0).normal(size=(2, 4, 6, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(read(Slices(), volume), volume.reshape(2, 4, -1))
    np.testing.assert_array_equal(read(Rows(), volume)[:, 5], volume[:, :, 5].reshape(2, -1))
    np.testing.assert_array_equal(read(Columns(), volume)[:, 7], volume[:, :, :, 7].reshape(2, -1))
    np.testing.assert_array_equal(read(Channels(), volume)[:, 2], volume[..., 2].reshape(2, -1))
    cubes = read(Patches(2, order="zigzag"), volume)
    assert cubes.shape == (2, 2 * 3 * 4, 8 * 3)
    # The second slice of cubes is read from its last cube back.
    np.testing.assert_array_equal(cubes[:, 12], volume[:, 2:, 4:, 6:].reshape(2, -1))
    np.testing.assert_array_equal(cubes[:, 23], volume[:, 2:, :2, :2].reshape(2, -1))
    overlapping = read(Patches(3, stride=1), volume)
    assert overlapping.shape == (2, 2 * 4 * 6, 27 * 3)
    np.testing.assert_array_equal(overlapping[:, -1], volume[:, 1:, 3:, 5:].reshape(2, -1))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.parametrize("shape", [(4, 8, 6), (8, 4, 4, 2)])
def test_every_value_is_read_once_and_can_be_restored(layer, shape):
    maps = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    sequence = read(layer, maps)
    np.testing.assert_array_equal(np.sort(sequence.reshape(3, -1)), np.sort(maps.reshape(3, -1)))
    np.testing.assert_array_equal(read(layer.inverse(shape), sequence), maps)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=3), st.sampled_from(ORDERS))
def test_a_scan_visits_each_cell_once(grid, order):
    assert sorted(scan_order(tuple(grid), order)) == list(range(int(np.prod(grid))))


@pytest.mark.parametrize("grid", [(8, 8), (16, 16), (4, 4, 4), (8, 8, 8)])
@pytest.mark.parametrize("order", ["zigzag", "hilbert"])
def test_the_next_cell_is_a_neighbour(grid, order):
    places = np.stack(np.unravel_index(scan_order(grid, order), grid))
    assert (np.abs(np.diff(places)).sum(axis=0) == 1).all()


def test_hilbert_order_preserves_neighbourhoods():
    """Adjacent cells are closer in the sequence than row by row, by the mean logarithm of the distance."""
    cells = np.argsort(scan_order((16, 16), "hilbert")).reshape(16, 16)
    rows = np.arange(256).reshape(16, 16)

    def distance(places: np.ndarray) -> float:
        steps = [np.abs(np.diff(places, axis=axis)).ravel() for axis in (0, 1)]
        return float(np.log(np.concatenate(steps)).mean())

    assert distance(cells) < distance(rows)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Channels(4), (2, 2, 6), r"divide the 6 channels\. Received: 4"),
        (Channels(0), (2, 2, 6), r"divide the 6 channels\. Received: 0"),
        (Patches(5), (8, 4, 1), r"not be larger than the map\. Received: patches of 5 on a map of 8x4"),
        (Slices(), (8, 4, 1), r"Slices reads volumes"),
        (Rows(), (None, 4, 1), r"maps of known size"),
        (Rows(), (4,), r"maps of known size"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(InputError, match=message):
        layer(keras.Input(shape))


@pytest.mark.parametrize(("size", "stride"), [(0, None), (2, 0)])
def test_patches_have_a_size_and_a_stride(size, stride):
    with pytest.raises(InputError, match="at least 1"):
        Patches(size, stride)


@pytest.mark.parametrize("layer", [Patches(2, stride=1), Patches(3)])
def test_overlapping_or_incomplete_patches_have_no_inverse(layer):
    with pytest.raises(InputError, match="each value once"):
        layer.inverse((8, 8, 1))


def test_sequence_layers_are_restored_from_a_file(tmp_path):
    inputs = keras.Input((8, 8, 4))
    outputs = [
        layer(inputs) for layer in (Rows(reverse=True), Columns(), Channels(2), Patches(3, 2, "hilbert", reverse=True))
    ]
    zigzag = Patches(4, order="zigzag")
    outputs.append(zigzag.inverse((8, 8, 4))(zigzag(inputs)))
    model = keras.Model(inputs, outputs)
    maps = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for before, after in zip(model.predict_on_batch(maps), again.predict_on_batch(maps), strict=True):
        np.testing.assert_array_equal(before, after)
    assert isinstance(again.layers[-1], RestoreMaps)


def test_every_slice_is_processed_by_the_same_block():
    inputs = keras.Input((3, 4, 4, 1))
    convolution = keras.layers.Conv2D(2, 3)
    model = keras.Model(inputs, apply_to_slices(convolution, inputs))
    volumes = np.random.default_rng(0).normal(size=(5, 3, 4, 4, 1)).astype(np.float32)
    outputs = model.predict(volumes, verbose=0)
    assert outputs.shape == (5, 3, 2, 2, 2)
    for depth in range(3):
        np.testing.assert_allclose(outputs[:, depth], convolution(volumes[:, depth]), atol=1e-5)
