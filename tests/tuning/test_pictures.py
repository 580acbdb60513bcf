"""The pictures of a search, from tables as ``trials.csv`` has them."""

import numpy as np
import pandas as pd
import pytest

from keras_lnn.models.ranges import Choice, Range
from keras_lnn.plots import save_figure
from tuning import pictures
from tuning.space import Space

SPACE = Space("net", {"rate": Range(1e-4, 1e-1, log=True), "kind": Choice(("a", "b", "c")), "size": Range(1, 9)})
NAMES = list(SPACE.ranges)


def make_table(count=24, failed=3, seed=0):
    """The kind decides, the size matters a little, the rate not at all."""
    generator = np.random.default_rng(seed)
    kind = generator.choice(["a", "b", "c"], count)
    size = generator.integers(1, 10, count)
    value = pd.Series(kind).map({"a": 0.5, "b": 0.9, "c": 0.7}).to_numpy() + 0.005 * size
    status = np.array(["completed"] * count, object)
    status[:failed] = "failed"
    return pd.DataFrame(
        {
            "trial": [f"{k:02}" for k in range(count)],
            "status": status,
            "val_auc": np.where(status == "failed", np.nan, value),
            "process_seconds": generator.uniform(5, 9, count),
            "rate": 10 ** generator.uniform(-4, -1, count),
            "kind": kind,
            "size": size,
        }
    )


def with_rounds(table):
    table = table.assign(bracket=pd.array([1, 0] * (len(table) // 2), "Int64"), round=0, goes_on_from=None)
    table.loc[4, ["round", "goes_on_from"]] = [1, "06"]
    return table


def histories_of(table):
    found = {}
    for row, name in enumerate(table["trial"]):
        epochs = np.arange(1, 1 + (3 if row == 4 else 1 + row % 2))
        found[name] = pd.DataFrame({"epoch": epochs, "val_auc": 0.5 + 0.1 * epochs})
    return found


def draw_all(table, direction="max"):
    return {
        "progress": pictures.plot_progress(table, "val_auc", direction),
        "parallel": pictures.plot_parallel(table, NAMES, "val_auc", direction, SPACE),
        "importance": pictures.plot_importance(table, NAMES, "val_auc"),
        "curves": pictures.plot_learning_curves(histories_of(table), table, "val_auc", direction),
    }


@pytest.mark.parametrize(
    ("count", "direction"),
    [
        *((1, "min"), ("rounds", "max")),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((1, "max"), (2, "max"), (2, "min"), (24, "max"), (24, "min"), ("rounds", "min"))
        ),
    ],
)
def test_every_picture_is_saved_without_clipped_text(tmp_path, count, direction):
    table = with_rounds(make_table(24)) if count == "rounds" else make_table(count, failed=0)
    for name, figure in draw_all(table, direction).items():
        if figure is not None:
            save_figure(figure, tmp_path / f"{name}.png")
            assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_the_best_value_rises_and_running_trials_are_not_failures():
    table = make_table(10, failed=2)
    table.loc[9, ["status", "val_auc"]] = ["running", np.nan]
    figure = pictures.plot_progress(table, "val_auc", "max")
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    best = lines["best so far"].get_ydata()
    assert np.array_equal(best, np.fmax.accumulate(table["val_auc"].to_numpy()[:9]), equal_nan=True)
    assert list(lines["failed"].get_xdata()) == [1, 2]
    assert "9 trials, 7 of them successful" in figure.get_suptitle()


def test_the_decisive_hyperparameter_is_the_most_important():
    means, spreads, share = pictures.measure_importance(make_table(60, failed=0), NAMES, "val_auc")
    assert NAMES[int(means.argmax())] == "kind"
    assert means[1] > 5 * max(means[0], means[2])
    assert share > 0.5
    assert (spreads >= 0).all()


def test_no_importance_is_drawn_without_enough_trials():
    assert pictures.plot_importance(make_table(9, failed=2), NAMES, "val_auc") is None
    assert pictures.plot_importance(make_table(12, failed=0).assign(val_auc=0.5), NAMES, "val_auc") is None
    assert pictures.plot_importance(make_table(8, failed=0), NAMES, "val_auc") is not None


def test_unreliable_importance_is_marked():
    table = make_table(30, failed=0)
    table["val_auc"] = np.random.default_rng(3).random(30)
    noise = pictures.plot_importance(table, NAMES, "val_auc")
    assert "the bars are unreliable" in noise.axes[0].get_title(loc="left")


def test_the_best_line_is_drawn_over_the_others():
    table = make_table(12, failed=0)
    figure = pictures.plot_parallel(table, NAMES, "val_auc", "max", SPACE)
    best = max(figure.axes[0].get_lines(), key=lambda line: line.get_linewidth())
    assert best.get_ydata()[-1] == 1.0
    assert pictures.plot_parallel(table, [], "val_auc", "max", SPACE) is None
    assert pictures.plot_parallel(table.iloc[:1], NAMES, "val_auc", "max", SPACE) is None


def test_a_continued_trial_is_drawn_from_its_starting_epoch():
    table = with_rounds(make_table(12, failed=0))
    figure = pictures.plot_learning_curves(histories_of(table), table, "val_auc", "max")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["bracket 1", "bracket 0"]
    longest = max((line for axes in figure.axes for line in axes.get_lines()), key=lambda line: line.get_xdata()[-1])
    assert list(longest.get_xdata()) == [1, 2, 3]
    assert pictures.plot_learning_curves({}, table, "val_auc", "max") is None


def test_pruned_trials_are_marked_and_are_no_best_ones():
    table = make_table()
    table.loc[5:9, ["status", "val_auc"]] = ["pruned", np.nan]
    progress = pictures.plot_progress(table, "val_auc", "max")
    curves = pictures.plot_learning_curves(histories_of(table), table, "val_auc", "max")
    left = progress.axes[0]
    marked = {line.get_label(): len(line.get_xdata()) for line in left.lines}
    assert (marked["failed"], marked["pruned"]) == (3, 5)
    assert "16 of them successful" in progress.texts[0].get_text()
    dotted = [line for line in curves.axes[0].lines if line.get_linestyle() == ":"]
    assert len(dotted) == 5
    assert max(line.get_linewidth() for line in dotted) == 1.0
