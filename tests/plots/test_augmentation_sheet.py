"""The sheet of augmented images: each image in a row of its own, the original first."""

import numpy as np
import pytest
from plot_cases import numbered_images

from keras_lnn import plots
from keras_lnn.errors import InputError


def numbered_versions(count: int, epochs: int, shape: tuple[int, ...] = (6, 6, 1)) -> np.ndarray:
    """Returns uniform images whose brightness, slightly off an integer, encodes image and epoch."""
    numbers = 10 * np.arange(count)[:, None] + np.arange(1, epochs + 1)
    return np.broadcast_to(numbers.reshape(count, epochs, *[1] * len(shape)) + 0.4, (count, epochs, *shape))


def test_each_image_precedes_its_augmented_versions():
    figure = plots.plot_augmentation(numbered_images(3) * 10, numbered_versions(3, 7), ["one", "two", "three"], "Flips")
    brightness = [int(axes.images[0].get_array().flat[0]) for axes in figure.axes]
    assert brightness == list(range(0, 8)) + list(range(10, 18)) + list(range(20, 28))
    above = [axes.get_title() for axes in figure.axes]
    assert above == ["original", *(f"epoch {epoch}" for epoch in range(1, 8)), *[""] * 16]
    assert [text.get_text() for text in figure.texts] == ["Flips: images as seen in training", "one", "two", "three"]


def test_masks_are_outlined_on_each_version():
    masks = np.zeros((2, 3, 6, 6), np.uint8)
    masks[0, :, 1:4, 1:4] = 1
    masks[1, 2, 2:5, 2:5] = 2
    arguments = (numbered_images(2) * 10, numbered_versions(2, 2), ["one", "two"], "Flips")
    figure = plots.plot_augmentation(*arguments, masks, ("background", "liver", "tumour"))
    assert [len(axes.collections) for axes in figure.axes] == [1, 1, 1, 0, 0, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["liver", "tumour"]
    with pytest.raises(InputError, match="for each image and each of its versions"):
        plots.plot_augmentation(*arguments, masks[:, :2], ("background", "liver", "tumour"))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_shows_the_middle_slice_of_volumes(channels):
    volumes = np.zeros((2, 5, 4, 4, channels), dtype=np.uint8)
    volumes[:, 2] = 77
    figure = plots.plot_augmentation(volumes, volumes[:, None] + 0.5, ["a", "b"], "Flips")
    assert len(figure.axes) == 4
    for axes, value in zip(figure.axes, [77, 78] * 2, strict=True):
        assert axes.images[0].get_array().shape == ((4, 4) if channels == 1 else (4, 4, 3))
        assert (np.abs(axes.images[0].get_array() - float(value)) <= 0.5).all()
    assert "middle slice of each volume" in figure.texts[0].get_text().replace("\n", " ")


@pytest.mark.parametrize(
    ("versions", "names", "message"),
    [
        (numbered_versions(2, 7), 3, "with one name per sample"),
        (numbered_versions(3, 7), 2, "with one name per sample"),
        (numbered_versions(3, 7, (6, 5, 1)), 3, "with one name per sample"),
        (numbered_versions(3, 8), 3, r"1 to 7 epochs\. Received: 8"),
        (numbered_versions(3, 0), 3, r"1 to 7 epochs\. Received: 0"),
    ],
    ids=["lengths", "names", "size", "many", "none"],
)
def test_the_sheet_refuses_unsuitable_images(versions, names, message):
    with pytest.raises(InputError, match=message):
        plots.plot_augmentation(numbered_images(3), versions, ["x"] * names, "Flips")
