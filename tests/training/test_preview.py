"""The sheet of augmented images shows what a run would see."""

import numpy as np
import pytest
from PIL import Image
from tiny_series import register_tiny_series

from keras_lnn.config import TrainConfig
from keras_lnn.data import load_data
from keras_lnn.data.pipeline import training_batches
from keras_lnn.training.preview import draw_augmentation, show_augmentation
from keras_lnn.training.protocol import complete_config

pytestmark = pytest.mark.usefixtures("abdomens_drawn_once")


def drawn(figure) -> np.ndarray:
    """The images of all rows, (rows, columns, height, width)."""
    pictures = np.stack([np.asarray(axes.images[0].get_array()) for axes in figure.axes])
    return pictures.reshape(-1, 8, *pictures.shape[1:])


@pytest.mark.parametrize(
    ("asked", "done"), [("auto", "mirror"), pytest.param("flip+noise", "flip+noise", marks=pytest.mark.slow)]
)
def test_the_sheet_shows_the_stream_of_the_run(tiny_data, asked, done):
    config = complete_config(
        TrainConfig.create({"data": tiny_data, "augmentation": asked, "batch_size": 16, "seed": 4})
    )
    data = load_data(tiny_data)
    figure = draw_augmentation(config, data)
    rows, split = drawn(figure), data.splits["train"]
    samples = [0, 12, 24, 35, 47, 59]
    np.testing.assert_array_equal(rows[:, 0], split.images[samples][..., 0])
    stream = list(training_batches(split, batch_size=16, seed=4, epochs=7, augmentation=done))
    for epoch in range(7):
        images = np.concatenate([images for images, _ in stream[4 * epoch : 4 * epoch + 4]])[..., 0]
        for row in rows[:, epoch + 1]:
            assert np.abs(images - row.astype(np.float32)).max(axis=(1, 2)).min() < 0.51
    words = [text.get_text() for text in figure.texts]
    assert done in words[0]
    assert "seed 4" in words[0].replace("\n", " ")
    assert words[1:3] == ["#0: level", "#12: level"]


def test_images_are_unchanged_without_augmentation(tiny_data):
    config = complete_config(TrainConfig.create({"data": tiny_data, "augmentation": "none"}))
    rows = drawn(draw_augmentation(config, load_data(tiny_data)))
    assert (rows == rows[:, :1]).all()


def test_the_caption_names_all_labels_of_an_image():
    config = complete_config(TrainConfig.create({"data": "phantom-chest", "augmentation": "flip"}))
    figure = draw_augmentation(config, load_data("phantom-chest"))
    words = [text.get_text() for text in figure.texts]
    assert "#800: no label" in words
    assert "#1199: effusion, infiltration" in words


@pytest.mark.parametrize(
    ("model", "data"),
    [("unet", "phantom-liver"), pytest.param("unet-lnn", "phantom-liver-volumes", marks=pytest.mark.slow)],
)
def test_images_are_captioned_by_the_classes_in_their_masks(model, data):
    config = complete_config(TrainConfig.create({"model": model, "data": data}))
    loaded = load_data(data, size=32)
    figure = draw_augmentation(config, loaded)
    masks = loaded.splits["train"].labels
    reported = {text.get_text() for text in figure.texts if text.get_text().startswith("#")}
    assert len(reported) == 6
    for sample, words in (text[1:].split(": ") for text in reported):
        assert words == (", ".join(("liver", "tumour")[: masks[int(sample)].max()]) or "-")


def test_series_are_shown_as_rows_of_the_frames_that_stay_with_their_times():
    name = register_tiny_series()
    config = complete_config(
        TrainConfig.create({"model": "lnn-series", "data": name, "augmentation": "drop-frames+noise"})
    )
    data = load_data(name)
    figure = draw_augmentation(config, data)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(shown, data.splits["train"].images[0][0, ..., 0])
    words = [text.get_text() for text in figure.texts]
    assert "series as seen in training" in " ".join(words[0].split())
    assert data.series is not None
    titles = [axes.get_title() for axes in figure.axes]
    starts = [place for place, title in enumerate(titles) if "\n" in title]
    assert [titles[place].partition("\n")[0] for place in starts] == ["original", "epoch 1", "epoch 2"] * 3
    first = data.series.times(0)
    assert titles[1 : starts[1]] == [f"{time:.3g}" for time in first[1:] if np.isfinite(time)]
    # Frames are left out.
    counts = np.diff([*starts, len(titles)]).reshape(3, 3)
    assert (counts[:, 1:] <= counts[:, :1]).all()
    assert (counts[:, 1:] < counts[:, :1]).any()


def test_the_preview_file_is_a_picture(tiny_data, tmp_path):
    path = tmp_path / "sheets" / "mirror.png"
    show_augmentation(TrainConfig.create({"data": tiny_data, "augmentation": "mirror"}), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 900
