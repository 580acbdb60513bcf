"""Saving: every picture is saved without clipped text, and drawing changes no global state."""

import subprocess
import sys

import numpy as np
import pytest
from ncps.wirings import AutoNCP
from PIL import Image
from plot_cases import (
    CHEST,
    TISSUE,
    built,
    make_class_accuracy,
    make_history,
    numbered_images,
    predict_classes,
    predict_labels,
)

from keras_lnn import plots
from keras_lnn.errors import InputError


def predictions_of(case):
    if case == "two classes":
        return *predict_classes(2), "binary", ["malignant", "normal, benign"]
    if case == "fourteen labels":
        return *predict_labels(14), "multi-label", CHEST
    return *predict_classes(11), "multi-class", [f"colorectal adenocarcinoma epithelium {index}" for index in range(11)]


def draw(picture, case):
    given = predictions_of(case)
    if picture == "examples":
        return plots.plot_examples(numbered_images(len(given[0])), *given)
    if picture == "contact_sheet":
        return plots.plot_contact_sheet(numbered_images(len(given[0])), given[0], given[3], count=2)
    return getattr(plots, f"plot_{picture}")(*given)


OTHER_PICTURES = {
    "history": lambda: plots.plot_history(make_history(learning_rate=np.geomspace(1e-2, 1e-5, 5)), 3),
    "history of one epoch": lambda: plots.plot_history(make_history(1), 1),
    "class accuracy": lambda: plots.plot_class_accuracy(make_class_accuracy(9, CHEST), 3, multi_label=True),
    "class accuracy of one epoch": lambda: plots.plot_class_accuracy(make_class_accuracy(1, ["a", "b" * 60]), None),
    "class correlation": lambda: plots.plot_class_correlation(make_class_accuracy(9, CHEST).corr(), 9),
    "class correlation of three": lambda: plots.plot_class_correlation(make_class_accuracy(9, TISSUE).corr(), 9),
    "wiring": lambda: plots.plot_wiring(built(AutoNCP(19, 2), 16), "$ costs $"),
    "large wiring": lambda: plots.plot_wiring(built(AutoNCP(60, 5), 400), "A title as long as those of runs " * 4),
}


PICTURES = ("roc", "precision_recall", "confusion", "reliability", "examples", "contact_sheet")
# Long names of many classes; the others have a panel or a line per class, as those of fourteen labels.
SHOW_CLASSES = ("confusion", "examples")


@pytest.mark.parametrize(
    ("picture", "case"),
    [
        *((picture, "fourteen labels") for picture in PICTURES),
        *((picture, "eleven classes") for picture in SHOW_CLASSES),
        *(
            pytest.param(picture, case, marks=pytest.mark.slow)
            for picture in PICTURES
            for case in ("two classes", "eleven classes")
            if (picture, case) not in ((shown, "eleven classes") for shown in SHOW_CLASSES)
        ),
    ],
)
def test_every_picture_of_predictions_is_saved_whole(tmp_path, picture, case):
    check_saved(draw(picture, case), tmp_path)


# As one of the others, with less to draw.
SIMPLER = ("history of one epoch", "class correlation of three", "wiring")


@pytest.mark.parametrize(
    "picture",
    [pytest.param(picture, marks=pytest.mark.slow) if picture in SIMPLER else picture for picture in OTHER_PICTURES],
)
def test_every_other_picture_is_saved_whole(tmp_path, picture):
    check_saved(OTHER_PICTURES[picture](), tmp_path)


def check_saved(figure, tmp_path):
    """A PNG of the right size with something on it, of which nothing is cut off at the edge."""
    path = tmp_path / "pictures" / "picture.png"
    plots.save_figure(figure, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        pixels = np.asarray(image.convert("L"))
        np.testing.assert_allclose(image.size, figure.get_size_inches() * 150, atol=1)
    assert path.stat().st_size > 8_000
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge == 255).all(), "something reaches the edge of the picture"


def test_a_picture_that_fails_to_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "history.png"
    plots.save_figure(plots.plot_history(make_history(), None), path)
    before = path.read_bytes()
    broken = plots.plot_history(make_history(), 2)
    broken.axes[0].set_title(r"$\no_such_command$")
    with pytest.raises(ValueError, match="no_such_command"):
        plots.save_figure(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_does_not_end_in_png_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.png"):
        plots.save_figure(plots.plot_history(make_history(), None), tmp_path / "history.pdf")


def test_plots_import_quickly_and_change_no_global_state():
    program = (
        "import sys; from keras_lnn import plots\n"
        "heavy = {'matplotlib', 'sklearn', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "import matplotlib\n"
        # Asking for the backend would itself import pyplot.
        "settings = lambda: {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != 'backend'}\n"
        "before = settings()\n"
        "plots.plot_confusion([0, 1], [.1, .9], 'binary', ['no', 'yes']).savefig(sys.stdout.buffer)\n"
        "assert settings() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
