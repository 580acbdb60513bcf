"""Pictures of segmentations: their texts, their outlines, and undefined values."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from keras_lnn import plots
from keras_lnn.errors import InputError
from keras_lnn.evaluation.mask_overlaps import measure_masks
from keras_lnn.plots.masks import class_colour

NAMES = ("background", "liver", "tumour")


def make_cases(volumes=False, samples=9):
    generator = np.random.default_rng(0)
    shape = (samples, 3, 16, 12) if volumes else (samples, 16, 12)
    truth, predicted = np.zeros((2, *shape), np.uint8)
    for row in range(1, samples):
        truth[row, ..., 3:12, 2:8] = 1
        predicted[row, ..., 3 : 12 - row, 2:8] = 1
    truth[1, ..., 5:7, 4:6] = 2
    images = generator.integers(0, 256, (*shape, 1), dtype=np.uint8)
    dice = measure_masks(truth, predicted, NAMES).dice
    return plots.MaskCases(images, truth, predicted, NAMES, dice, [f"scan-{row}.png" for row in range(samples)])


def texts(figure):
    figure.canvas.draw()
    found = []
    for axes in figure.axes:
        found += [
            axes.get_title(),
            axes.get_title("left"),
            axes.get_xlabel(),
            *(text.get_text() for text in axes.texts),
        ]
    return [text for text in [*found, *(text.get_text() for text in figure.texts)] if text]


@pytest.mark.parametrize("volumes", [False, True])
def test_the_gallery_shows_best_first_and_worst_first_with_their_values(volumes, tmp_path):
    cases = make_cases(volumes)
    figure = plots.plot_mask_gallery(cases, count=2)
    shown = [axes.get_title() for axes in figure.axes]
    assert shown[:2] == ["scan-2.png", "scan-3.png"]  # of scan-1 the tumour is missed
    assert shown[4:] == ["scan-8.png", "scan-7.png"]
    assert figure.axes[0].get_xlabel() == f"liver {cases.dice[2, 0]:.3f}\ntumour -"
    assert "Best of 8 by mean Dice" in texts(figure)
    plots.save_figure(figure, tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").stat().st_size > 5000


def test_truth_and_prediction_have_colours_of_their_own_in_the_gallery():
    figure = plots.plot_mask_gallery(make_cases(), count=2)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("truth", "liver, predicted", "tumour, predicted")
    ]
    # Of the liver: a dark rim and the truth in white, and the prediction upon them in the colour of its class.
    drawn = [(tuple(lines.get_edgecolor()[0][:3]), lines.get_linewidth()[0]) for lines in figure.axes[0].collections]
    assert drawn[:2] == [((0, 0, 0), 3.6), ((1, 1, 1), 2.8)]
    assert drawn[-1] == (pytest.approx(to_rgb(class_colour(0))), 1.3)


@pytest.mark.parametrize("samples", [4, 9, 16])
def test_no_case_is_in_the_gallery_twice(samples):
    figure = plots.plot_mask_gallery(make_cases(samples=samples), count=6)
    shown = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(shown) == len(set(shown)) == 3 * ((samples - 1) // 3)


def test_outlines_follow_the_sides_of_pixels():
    cases = make_cases()
    figure = plots.plot_mask_overlays(cases, count=3)
    truth = figure.axes[3]
    paths = np.concatenate([path.vertices for path in truth.collections[0].get_paths()])
    assert paths[:, 0].min() == pytest.approx(1.5, abs=0.13)
    assert paths[:, 0].max() == pytest.approx(7.5, abs=0.13)
    assert paths[:, 1].min() == pytest.approx(2.5, abs=0.13)
    assert paths[:, 1].max() == pytest.approx(11.5, abs=0.13)
    # Lines leave the images as large as those without.
    assert truth.get_xlim() == figure.axes[0].get_xlim() == (-0.5, 11.5)
    assert not figure.axes[0].collections
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["liver", "tumour"]


def test_the_slice_with_most_mask_pixels_is_drawn():
    cases = make_cases(volumes=True)
    cases.truth[3, :2] = 0
    cases.predicted[3, :2] = 0
    figure = plots.plot_mask_gallery(cases, count=8)
    drawn = next(axes for axes in figure.axes if axes.get_title() == "scan-3.png")
    assert np.array_equal(drawn.images[0].get_array(), cases.images[3, 2, ..., 0])


def test_colours_repeat_for_many_classes():
    assert len({class_colour(index) for index in range(6)}) == 6
    assert class_colour(0) == class_colour(6)


def test_masks_of_another_size_are_refused():
    cases = make_cases()
    with pytest.raises(InputError, match="as large as their images"):
        plots.MaskCases(cases.images, cases.truth[:, :-1], cases.predicted, NAMES, cases.dice)
    with pytest.raises(InputError, match="one number for each"):
        plots.MaskCases(cases.images, cases.truth, cases.predicted, NAMES, cases.dice[:, :1])


def test_dice_history_has_one_line_per_class_and_the_kept_values():
    history = pd.DataFrame({"epoch": [1, 2, 3], "val_dice": [0.1, 0.4, 0.3], "val_dice_liver": [0.2, 0.8, 0.6]})
    figure = plots.plot_dice_history(history, ["liver", "tumour"], 2)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "all classes: 0.400",
        "liver: 0.800",
    ]
    assert list(figure.axes[0].lines[1].get_ydata()) == [0.2, 0.8, 0.6]
    nothing = plots.plot_dice_history(pd.DataFrame({"epoch": [1], "loss": [0.3]}), ["liver"], 1)
    assert "Dice was not measured while training" in texts(nothing)


def test_the_spread_counts_the_images_that_have_a_dice():
    cases = make_cases()
    figure = plots.plot_dice_spread(cases.dice, NAMES[1:])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    liver = cases.dice[1:, 0]
    assert labels == [f"liver\nmedian {np.median(liver):.3f}, 8 of 9 images", "tumour\nmedian 0.000, 1 of 9 images"]
    dots = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert sorted(dots.get_xdata()) == pytest.approx(sorted(liver))
    empty = plots.plot_dice_spread(np.full((3, 1), np.nan), ["liver"])
    assert [label.get_text() for label in empty.axes[0].get_yticklabels()] == ["liver\n0 of 3 images"]
    with pytest.raises(InputError, match="one column per class"):
        plots.plot_dice_spread(cases.dice, NAMES)
