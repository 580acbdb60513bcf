"""Augmentation: no change without operations, known changes with them, equal changes for equal steps."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_lnn.data.augment.operations import RECIPES, augmentation_names, list_operations, make_augmentation
from keras_lnn.data.augment.step_seed import StepSeed
from keras_lnn.data.augment.times import TIME_OPERATIONS
from keras_lnn.data.catalog import catalog
from keras_lnn.errors import InputError

IMAGES = np.random.default_rng(0).uniform(0, 255, (16, 20, 20, 3)).astype(np.float32)
SHAPE = IMAGES.shape[1:]
NAMES = [name for name in augmentation_names() if name not in TIME_OPERATIONS and name != "none"]
OPERATIONS = [name for name in NAMES if name not in RECIPES]
VALUE_OPERATIONS = ["noise", "blur", "brightness", "contrast"]
GRID_OPERATIONS = ["flip-shift", "turn-right-angles"]
GRID_ONLY = [*GRID_OPERATIONS, "turn-right-angles+flip-shift"]
AFFINE_OPERATIONS = [name for name in OPERATIONS if name not in VALUE_OPERATIONS + GRID_OPERATIONS]


def apply_steps(name: str, images: np.ndarray, seed: int, *steps: int) -> list[np.ndarray]:
    augment = make_augmentation(name, images.shape[1:], seed)
    dataset = tf.data.Dataset.from_tensor_slices(np.array(steps)).map(lambda step: augment(images, step))
    return [changed.numpy() for changed in dataset]


def apply(name: str, images: np.ndarray = IMAGES, seed: int = 0, step: int = 5) -> np.ndarray:
    return np.asarray(make_augmentation(name, images.shape[1:], seed)(images, step))


def test_the_augmentation_none_changes_nothing():
    assert make_augmentation("none", SHAPE, 0) is None


# Those of several operations take longest, and are compared as augmentations of volumes, too.
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("crnet", "flip-turn-shift") else name for name in NAMES],
)
def test_augmentation_depends_only_on_seed_and_step(name):
    first, other, again = apply_steps(name, IMAGES, 0, 5, 6, 5)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, apply(name), atol=1e-3)  # another augmentation of the same seed, called eagerly
    assert not np.array_equal(first, other)
    assert not np.allclose(first, make_augmentation(name, SHAPE, 1)(IMAGES, 5), atol=1e-3)
    assert first.shape == IMAGES.shape


@pytest.mark.parametrize(("name", "sides"), [("crnet", (9, 9)), ("flip-turn-shift", (4, 4, 4))])
def test_all_hosts_together_augment_as_one(name, sides):
    images = np.random.default_rng(0).uniform(0, 255, (6, *sides, 1)).astype(np.float32)
    masks = np.random.default_rng(1).integers(0, 3, (6, *sides), dtype=np.uint8)
    whole = make_augmentation(name, images.shape[1:], 7)(images, 5, masks)
    rows = [slice(2 * host, 2 * host + 2) for host in range(3)]
    augment = [make_augmentation(name, images.shape[1:], 7, host=host, hosts=3) for host in range(3)]
    parts = [apply_it(images[here], 5, masks[here]) for apply_it, here in zip(augment, rows, strict=True)]
    for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-3)


# Recipes have the other operations; images are compared in the test above.
@pytest.mark.parametrize("name", [*RECIPES, *(pytest.param(name, marks=pytest.mark.slow) for name in OPERATIONS)])
def test_augmentation_of_volumes_is_equal_eagerly_and_in_tf_data(name):
    volumes = np.random.default_rng(0).uniform(0, 255, (4, 6, 20, 20, 1)).astype(np.float32)
    np.testing.assert_allclose(apply(name, volumes), apply_steps(name, volumes, 0, 5)[0], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_augmented_values_keep_their_range(name):
    images = np.where(IMAGES > 128, 255, 0).astype(np.float32)
    changed = apply(name, images)
    assert changed.min() >= 0
    assert changed.max() <= 255 + 1e-3


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("noise", "brightness")])
def test_a_uniform_image_is_unchanged(name):
    images = np.full((8, 12, 12, 2), 77, np.float32)
    np.testing.assert_allclose(apply(name, images), images, rtol=1e-5)


def test_the_changes_are_small_and_different_for_each_image():
    image = np.zeros((32, 28, 28, 1), np.float32)
    image[:, 12:16, 12:16] = 200
    changed = apply("shift-rotate", image)
    rows = (changed[..., 0].sum(axis=2) * np.arange(28)).sum(axis=1) / changed[..., 0].sum(axis=(1, 2))
    assert np.abs(rows - 13.5).max() < 3.5
    assert rows.std() > 0.5


def test_only_mirror_mirrors():
    image = np.zeros((64, 28, 28, 1), np.float32)
    image[:, :, :10] = 200
    for name, mirrors in (("mirror", True), ("shift-rotate", False)):
        right = apply(name, image)[:, :, 18:].mean(axis=(1, 2, 3)) > 100
        assert right.any() == mirrors
        assert not right.all()


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("shift", lambda: keras.layers.RandomTranslation(0.08, 0.08, fill_mode="nearest")),
        ("rotate", lambda: keras.layers.RandomRotation(15 / 360, fill_mode="nearest")),
        ("turn", lambda: keras.layers.RandomRotation(0.5, fill_mode="nearest")),
        ("flip", lambda: keras.layers.RandomFlip("horizontal")),
    ],
    ids=["shift", "rotate", "turn", "flip"],
)
@pytest.mark.parametrize("shape", [(24, 24, 1), (24, 13, 2)])
def test_a_single_operation_equals_the_keras_layer(name, layer, shape):
    images = smooth_images(shape)
    np.testing.assert_allclose(apply(name, images), apply_layers([layer()], images), atol=0.1)


def test_several_operations_equal_keras_layers_interpolated_once():
    # What is linear over the image does not change by being interpolated again, save at the border.
    images = np.stack(np.meshgrid(*[np.linspace(0, 200, 24, dtype=np.float32)] * 2), axis=-1)[None].repeat(16, axis=0)
    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomTranslation(0.08, 0.08, fill_mode="nearest"),
        keras.layers.RandomRotation(15 / 360, fill_mode="nearest"),
    ]
    changed, expected = apply("mirror", images), apply_layers(layers, images)
    np.testing.assert_allclose(changed[:, 6:-6, 6:-6], expected[:, 6:-6, 6:-6], atol=1e-3)
    noise = np.random.default_rng(0).uniform(0, 255, (16, 24, 24, 1)).astype(np.float32)
    assert apply("mirror", noise).std() > 1.05 * apply_layers(layers, noise).std()


def apply_layers(layers: list, images: np.ndarray) -> np.ndarray:
    draw = StepSeed(0)
    draw.begin(5)
    for layer in layers:
        change = layer.get_random_transformation(images, training=True, seed=draw)
        images = layer.transform_images(images, change, training=True)
    return keras.ops.convert_to_numpy(images)


def smooth_images(shape: tuple[int, ...]) -> np.ndarray:
    """Returns images with a few bright bumps each, which extend along the slices in volumes."""
    generator, places = np.random.default_rng(1), np.indices(shape[:-1])
    images = np.zeros((16, *shape), np.float32)
    for image in images:
        for _ in range(4):
            middle = generator.uniform(0.2, 0.8, len(places)) * shape[:-1]
            distance = sum((place - here) ** 2 for place, here in zip(places, middle, strict=True))
            image += 120 * np.exp(-distance / 18)[..., None]
    return np.clip(images, 0, 255)


@pytest.mark.parametrize("name", ["flip-both", "any-orientation"])
def test_half_of_the_randomly_flipped_images_are_mirror_images(name):
    image = np.zeros((64, 28, 28, 3), np.float32)
    for channel, (row, column) in enumerate([(8, 8), (8, 18), (18, 8)]):
        image[:, row : row + 3, column : column + 3, channel] = 200
    changed = apply(name, image)
    rows, columns = (np.einsum("bijc,ij->bc", changed, place) for place in np.indices((28, 28)))
    rows, columns = rows / changed.sum(axis=(1, 2)), columns / changed.sum(axis=(1, 2))
    first, second = (np.stack([rows[:, end] - rows[:, 0], columns[:, end] - columns[:, 0]], axis=1) for end in (1, 2))
    sides = first[:, 1] * second[:, 0] - first[:, 0] * second[:, 1]
    assert (np.abs(sides) > 80).all()
    assert 16 < (sides > 0).sum() < 48
    if name == "flip-both":
        assert set(zip(np.sign(rows[:, 0] - 13.5), np.sign(columns[:, 0] - 13.5), strict=True)) == {
            *itertools.product((-1, 1), repeat=2)
        }


def test_a_resized_crop_shows_a_part_of_the_image():
    height, width = 40, 30
    ramps = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    changed = apply("resized-crop", ramps[None].repeat(256, axis=0))
    across = np.diff(changed[:, height // 2, 3:-3, 0], axis=1)
    down = np.diff(changed[:, 3:-3, width // 2, 1], axis=1)
    for steps in (across, down):
        np.testing.assert_allclose(steps, steps.mean(axis=1, keepdims=True) * np.ones_like(steps), atol=1e-3)
        assert steps.min() > 0.8 - 1e-3
        assert steps.max() < 1 + 1e-3
    area = across.mean(axis=1) * down.mean(axis=1)
    assert area.min() > 0.8 - 1e-3
    assert area.std() > 0.04
    assert (across.mean(axis=1) - down.mean(axis=1)).std() > 0.03
    # The part begins and ends within the image: half a pixel of the crop beyond a border is the border's.
    middles = changed[:, height // 2, width // 2, 0] + 0.5 * (width % 2 == 0) * -across.mean(axis=1) + 0.5
    assert (middles - across.mean(axis=1) * width / 2 > -1e-2).all()
    assert (middles + across.mean(axis=1) * width / 2 < width + 1e-2).all()


def test_noise_is_gaussian_with_its_own_strength_per_image():
    images = np.full((32, 40, 41, 1), 128, np.float32)
    noise = (apply("noise", images) - images).reshape(32, -1)
    strengths = noise.std(axis=1)
    assert strengths.max() < 0.05 * 255 * 1.1
    assert strengths.max() > 3 * strengths.min()
    standard = noise / strengths[:, None]
    assert abs(standard.mean()) < 0.02
    assert (standard**4).mean() == pytest.approx(3, abs=0.1)
    assert np.abs(np.corrcoef(noise) - np.eye(32)).max() < 0.15
    assert abs(np.corrcoef(standard[:, :-1].ravel(), standard[:, 1:].ravel())[0, 1]) < 0.02


def test_blur_is_gaussian_with_its_own_width_per_image():
    images = np.zeros((64, 15, 15, 2), np.float32)
    images[:, 7, 7] = 200, 100
    changed = apply("blur", images)
    np.testing.assert_allclose(changed.sum(axis=(1, 2)), [[200, 100]] * 64, rtol=1e-4)
    np.testing.assert_allclose(changed[..., 0], 2 * changed[..., 1], atol=1e-4)
    profiles = changed[:, :, :, 0].sum(axis=1)
    np.testing.assert_allclose(changed[..., 0] * 200, profiles[:, :, None] * profiles[:, None], atol=0.1)
    right = profiles[:, 7:] / profiles[:, 7:8]
    np.testing.assert_allclose(profiles[:, 7::-1] / profiles[:, 7:8], right, atol=1e-5)
    for steps in (2, 3):
        seen = right[:, steps] > 0
        np.testing.assert_allclose(right[seen, steps], right[seen, 1] ** steps**2, atol=1e-4)
    assert (right[:, 4:] == 0).all()
    wide = right[:, 1] > 0.7
    assert {int((row > 0).sum()) for row in right[wide]} == {2, 3, 4}


def test_brightness_moves_all_values_of_an_image_alike():
    images = np.random.default_rng(0).uniform(60, 190, (32, 9, 9, 3)).astype(np.float32)
    change = apply("brightness", images) - images
    np.testing.assert_allclose(change, change[:, :1, :1, :1] * np.ones_like(change), atol=1e-3)
    assert np.abs(change).max() <= 0.2 * 255
    assert change[:, 0, 0, 0].std() > 20


@pytest.mark.parametrize("shape", [(9, 9, 3), (4, 9, 9, 1)])
def test_contrast_stretches_around_the_mean(shape):
    images = np.random.default_rng(0).uniform(60, 190, (32, *shape)).astype(np.float32)
    axes = tuple(range(1, len(shape)))
    changed, means = apply("contrast", images), images.mean(axis=axes, keepdims=True)
    factors = (changed - means).std(axis=axes) / (images - means).std(axis=axes)
    np.testing.assert_allclose(changed.mean(axis=axes, keepdims=True), means, rtol=1e-4)
    np.testing.assert_allclose(factors, factors[:, :1] * np.ones_like(factors), rtol=1e-3)
    assert 0.8 <= factors.min() < 0.9
    assert 1.1 < factors.max() <= 1.2


@pytest.mark.parametrize("name", [*AFFINE_OPERATIONS, "blur", "brightness", "contrast", "mirror", "any-orientation"])
def test_all_slices_of_a_volume_change_together(name):
    volume = np.repeat(IMAGES[:4, None, :, :, :1], 6, axis=1)
    changed = apply(name, volume)
    assert changed.shape == volume.shape
    for depth in range(1, 6):
        np.testing.assert_allclose(changed[:, depth], changed[:, 0], atol=1e-3)
    assert not np.allclose(changed, volume)


@pytest.mark.parametrize("sides", [(20, 20), (24, 13), (6, 20, 20), (12, 12, 12)], ids=str)
@pytest.mark.parametrize("name", [*AFFINE_OPERATIONS, *GRID_OPERATIONS, *RECIPES])
def test_a_mask_stays_on_its_image(name, sides):
    if "turn-right-angles" in list_operations(name) and sides == (24, 13):
        pytest.skip("it has no axes of equal length")
    # The image says in its channels, and the mask in its digits, where each pixel was.
    places = np.indices(sides)
    images = np.repeat(np.moveaxis(places, 0, -1)[None].astype(np.float32), 16, axis=0)
    masks = np.repeat(sum(place * 100**axis for axis, place in enumerate(places))[None], 16, axis=0)
    _, moved = make_augmentation(name, images.shape[1:], 0)(images, 5, masks)
    assert moved.dtype == masks.dtype
    assert set(np.unique(moved)) <= set(np.unique(masks))
    assert not np.array_equal(moved, masks)
    name = "+".join(operation for operation in list_operations(name) if operation not in VALUE_OPERATIONS)
    moved_images = apply(name, images)
    for axis in range(len(sides)):
        digits = moved.numpy() // 100**axis % 100
        assert np.abs(digits - moved_images[..., axis]).max() <= (0 if name in GRID_ONLY else 0.5 + 1e-3)


@pytest.mark.parametrize("name", VALUE_OPERATIONS)
def test_operations_on_pixel_values_do_not_change_masks(name):
    masks = (IMAGES[..., 0] > 100).astype(np.int64)
    images, kept = make_augmentation(name, SHAPE, 0)(IMAGES, 5, masks)
    np.testing.assert_array_equal(kept, masks)
    np.testing.assert_array_equal(images, make_augmentation(name, SHAPE, 0)(IMAGES, 5))


def test_masks_move_with_their_images_inside_tf_data():
    masks = (IMAGES[..., 0] > 100).astype(np.int32)
    augment = make_augmentation("crnet", SHAPE, 0)
    dataset = tf.data.Dataset.from_tensors((IMAGES, np.int64(5), masks)).map(augment)
    for part, eager in zip(next(iter(dataset)), augment(IMAGES, 5, masks), strict=True):
        np.testing.assert_allclose(part, eager, atol=1e-3)


@pytest.mark.parametrize(
    "masks",
    [IMAGES[..., 0], np.zeros(IMAGES.shape, np.uint8), np.zeros((16, 20, 19), np.uint8)],
    ids=["no whole numbers", "channels", "another size"],
)
def test_masks_hold_one_integer_per_pixel(masks):
    with pytest.raises(InputError, match=r"Masks must be whole numbers of the shape \(batch, 20, 20\)\. Received"):
        make_augmentation("flip", SHAPE, 0)(IMAGES, 5, masks)


def numbered_pixels(sides: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray]:
    """One image whose every pixel has its own value, and a batch of it."""
    image = np.arange(np.prod(sides), dtype=np.float32).reshape(sides)
    return image, np.repeat(image[None, ..., None], count, axis=0)


def turned_by_right_angles(image: np.ndarray, planes: list[tuple[int, int]]) -> set[bytes]:
    """Returns all images that repeated quarter turns in these planes produce."""
    known, new = set(), [image]
    while new:
        image = new.pop()
        if image.tobytes() not in known:
            known.add(image.tobytes())
            new += [np.rot90(image, axes=plane) for plane in planes]
    return known


@pytest.mark.parametrize(
    ("sides", "planes", "count"),
    [
        ((3, 3), [(0, 1)], 4),
        ((4, 4, 4), [(0, 1), (1, 2), (0, 2)], 24),
        ((5, 3, 3), [(1, 2)], 4),
        ((3, 3, 4), [(0, 1)], 4),
        ((3, 4, 3), [(0, 2)], 4),
    ],
    ids=str,
)
def test_right_angles_reach_all_rotations_without_mirroring(sides, planes, count):
    image, batch = numbered_pixels(sides, 400)
    expected = turned_by_right_angles(image, planes)
    assert len(expected) == count
    assert {one.tobytes() for one in apply("turn-right-angles", batch)} == expected


def test_flip_turn_shift_reaches_every_mirrored_rotation():
    # A side of 4 is too short for a shift.
    image, batch = numbered_pixels((4, 4, 4), 1000)
    planes = [(0, 1), (1, 2), (0, 2)]
    expected = turned_by_right_angles(image, planes) | turned_by_right_angles(image[::-1], planes)
    seen = [one.tobytes() for one in apply("flip-turn-shift", batch)]
    assert set(seen) == expected
    assert len(expected) == 48
    assert max(map(seen.count, expected)) < 50


def test_combined_whole_pixel_moves_equal_the_operations_in_turn():
    volume = np.random.default_rng(0).uniform(0, 255, (8, 13, 13, 13, 2)).astype(np.float32)
    turn, move = (make_augmentation(name, volume.shape[1:], 0) for name in ("turn-right-angles", "flip-turn-shift"))
    # The turn is the first to draw, so it is the same in both.
    turned = turn(volume, 5).numpy()
    for one, before in zip(move(volume, 5).numpy(), turned, strict=True):
        assert any(
            np.array_equal(one, before[np.ix_(*lines)])
            for lines in itertools.product(*[possible_lines(13) for _ in range(3)])
        )


def possible_lines(side: int) -> list[np.ndarray]:
    rows, most = np.arange(side), round(0.08 * side)
    shifted = [np.clip(rows + shift, 0, side - 1) for shift in range(-most, most + 1)]
    return shifted + [side - 1 - lines for lines in shifted]


@pytest.mark.parametrize("shape", [(5, 28, 12, 1), (28, 14, 2)])
def test_flip_shift_mirrors_and_moves_by_whole_pixels_along_every_axis(shape):
    # Every pixel says where it was, so that what happened along each axis can be read off.
    places = np.stack(np.meshgrid(*map(np.arange, shape[:-1]), indexing="ij"), axis=0)
    seen = [set() for _ in shape[:-1]]
    for axis, coordinates in enumerate(places):
        image = np.broadcast_to(coordinates[..., None], shape).astype(np.float32)
        changed = apply("flip-shift", np.repeat(image[None], 64, axis=0))
        lines = np.moveaxis(changed, axis + 1, -1).reshape(64, -1, shape[axis])
        assert (lines == lines[:, :1]).all()
        rows, most = np.arange(shape[axis]), round(0.08 * shape[axis])
        known = {
            tuple(order): (shift, flip)
            for shift in range(-most, most + 1)
            for flip, order in enumerate(
                (np.clip(rows + shift, 0, len(rows) - 1), len(rows) - 1 - np.clip(rows + shift, 0, len(rows) - 1))
            )
        }
        seen[axis] = {known[tuple(line.astype(int))] for line in lines[:, 0]}
        assert {flip for _, flip in seen[axis]} == {0, 1}
        assert len({shift for shift, _ in seen[axis]}) == 2 * most + 1


def test_every_data_set_names_an_existing_augmentation():
    for entry in catalog().values():
        assert list_operations(entry.augmentation)


def test_names_are_joined_by_plus():
    assert list_operations("none") == []
    assert list_operations("mirror + noise") == ["flip", "shift", "rotate", "noise"]
    assert {part for name in RECIPES for part in list_operations(name)} <= set(OPERATIONS)
    np.testing.assert_array_equal(apply("flip+shift+rotate"), apply("mirror"))
    assert not np.array_equal(apply("noise+flip"), apply("flip+noise"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("miror", "no augmentation 'miror'. Did you mean mirror"),
        ("flip+nose", "no augmentation 'nose'. Did you mean noise"),
        ("flip+", "no augmentation ''. Choose from"),
        ("none+flip", "The augmentation none cannot be combined with others. Received: 'none\\+flip'"),
        ("flip+auto", "The augmentation auto cannot be combined"),
    ],
)
def test_a_mistaken_name_is_reported(name, message):
    with pytest.raises(InputError, match=message):
        make_augmentation(name, SHAPE, 0)


@pytest.mark.parametrize(("name", "shape"), [("turn-right-angles", (20, 12, 3)), ("flip-turn-shift", (5, 6, 7, 1))])
def test_right_angles_need_axes_of_equal_length(name, shape):
    with pytest.raises(InputError, match=f"two axes of equal length. Received: images of {shape[0]}x{shape[1]}x"):
        make_augmentation(name, shape, 0)


@pytest.mark.parametrize("shape", [(28, 28), (2, 5, 28, 28, 1)])
def test_images_have_rows_columns_and_channels(shape):
    with pytest.raises(InputError, match="Images must be"):
        make_augmentation("flip", shape, 0)
