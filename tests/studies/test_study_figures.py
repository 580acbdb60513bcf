"""The pictures that a protocol asks for, from results that were made up."""

import numpy as np
import pandas as pd
import pytest

from keras_lnn.plots import save_figure
from keras_lnn.studies.declaration import Study
from keras_lnn.studies.figures import plot_along, plot_class_accuracy_by_network
from keras_lnn.studies.pictures import plot_size

FIELDS = ["learning_rate", "time_budget"]
STUDY = Study(
    title="A grid",
    data=["some"],
    networks={"alexnet": {}, "resnet18": {}},
    published={"elsewhere": {"alexnet 1e-3 30s": {"accuracy": 0.7}, "resnet18 1e-3 30s": {"auc": 0.9}}},
)


def grid_results(seeds=1):
    rows = []
    for seed in range(seeds):
        for base in ("alexnet", "resnet18"):
            for rate, word in ((1e-3, "1e-3"), (1e-4, "1e-4")):
                for place, budget in enumerate(("30s", "60s", "1.5m")):
                    row = {"network": f"{base} {word} {budget}", "base": base, "seed": seed}
                    row |= {"learning_rate": rate, "time_budget": budget}
                    rows.append(row | {"accuracy": 0.5 + 0.1 * place + 0.05 * seed + 0.02 * (base == "alexnet")})
    return pd.DataFrame(rows)


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_accuracy_is_drawn_over_budgets_with_one_panel_per_rate(tmp_path):
    figure = plot_along(grid_results(2), "time_budget", FIELDS, STUDY, "some")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["learning rate 1e-3", "learning rate 1e-4"]
    lines = lines_of(figure.axes[0])
    assert list(lines) == ["alexnet", "resnet18", "published"]
    np.testing.assert_array_equal(lines["alexnet"].get_xdata(), [30, 60, 90])
    np.testing.assert_allclose(lines["alexnet"].get_ydata(), [0.545, 0.645, 0.745])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["30s", "60s", "1.5m"]
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x" and len(line.get_xdata())]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [(30.0, 0.7)]
    assert list(lines_of(figure.axes[1])) == ["alexnet", "resnet18"]
    assert "mean of 2 seeds" in figure.get_suptitle()
    save_figure(figure, tmp_path / "budgets.png")


def test_markers_are_hollow_where_all_runs_have_collapsed():
    results = grid_results(2)
    fallen = (results["base"] == "alexnet") & (results["time_budget"] == "30s")
    results["collapsed"] = fallen | ((results["base"] == "resnet18") & (results["seed"] == 1))
    figure = plot_along(results, "time_budget", FIELDS, STUDY, "some")
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    shown = [list(map(float, line.get_xdata())) for line in hollow]
    assert shown == [[30.0], [], []]  # of alexnet, of resnet18, in the legend
    assert "collapsed to one class" in lines_of(figure.axes[0])
    assert "collapsed to one class" not in lines_of(
        plot_along(grid_results(), "time_budget", FIELDS, STUDY, "a").axes[0]
    )


def test_dice_is_drawn_for_segmentation_models(tmp_path):
    results = grid_results().rename(columns={"accuracy": "dice"}).assign(accuracy=np.nan)
    figure = plot_along(results, "time_budget", FIELDS, STUDY, "some")
    assert figure.axes[0].get_ylabel() == "test Dice"
    np.testing.assert_allclose(lines_of(figure.axes[0])["alexnet"].get_ydata(), [0.52, 0.62, 0.72])
    assert "published" not in lines_of(figure.axes[0])
    assert figure.get_suptitle().startswith("some: Dice by time budget")


def test_accuracy_is_drawn_over_rates_and_words(tmp_path):
    results = grid_results()
    figure = plot_along(results[results["time_budget"] == "30s"], "learning_rate", FIELDS, STUDY, "some")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1e-3", "1e-4"]
    words = results.assign(initialisation=np.where(results["learning_rate"] == 1e-3, "he-normal", "uniform"))
    figure = plot_along(words, "initialisation", ["initialisation", *FIELDS], STUDY, "some")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["he-normal", "uniform"]
    assert len(figure.axes) == 2
    assert "alexnet 60s" in lines_of(figure.axes[0])
    save_figure(figure, tmp_path / "words.png")


def test_classes_are_followed_and_correlated(tmp_path):
    curves = [[0.1, 0.9], [0.3, 0.5], [0.5, 0.6]], [[0.2, 0.8], [0.2, 0.8], [0.4, 0.4]]
    rows = []
    for seed, values in enumerate(curves):
        run = tmp_path / f"seed-{seed}"
        run.mkdir()
        table = pd.DataFrame(values, index=pd.Index([1, 2, 3], name="epoch"), columns=["liver", "lesion"])
        table.to_csv(run / "class_accuracy.csv")
        rows.append({"network": "alexnet", "seed": seed, "run": str(run)})
    figure = plot_class_accuracy_by_network(pd.DataFrame(rows), "some")
    left, right = figure.axes
    np.testing.assert_allclose(lines_of(left)["liver"].get_ydata(), [0.15, 0.25, 0.45])
    expected = np.mean([np.corrcoef(np.transpose(values))[0, 1] for values in curves])
    assert [text.get_text() for text in right.texts] == ["1.00", f"{expected:.2f}", f"{expected:.2f}", "1.00"]
    save_figure(figure, tmp_path / "classes.png")
    assert (
        plot_class_accuracy_by_network(pd.DataFrame([{"network": "a", "run": str(tmp_path / "none")}]), "some") is None
    )


@pytest.mark.parametrize("name", ["alexnet", "x" * 60])
def test_a_single_run_is_drawn(tmp_path, name):
    results = grid_results().iloc[:1].assign(base=name)
    figure = plot_along(results, "time_budget", FIELDS, STUDY, "some")
    assert "one seed" in figure.get_suptitle()
    save_figure(figure, tmp_path / "one.png")


def test_many_classes_have_rows_with_their_names(tmp_path):
    names = [f"finding {number}" for number in range(14)]
    rows = []
    for network in ("a", "b"):
        (tmp_path / network).mkdir()
        values = np.random.default_rng(0).random((12, 14))
        table = pd.DataFrame(values, index=pd.Index(range(1, 13), name="epoch"), columns=names)
        table.to_csv(tmp_path / network / "class_accuracy.csv")
        rows.append({"network": network, "seed": 0, "run": str(tmp_path / network)})
    figure = plot_class_accuracy_by_network(pd.DataFrame(rows), "some")
    save_figure(figure, tmp_path / "classes.png")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    assert figure.axes[0].get_title(loc="left") == "a"


@pytest.mark.parametrize(("count", "named"), [(3, True), (18, False)])
def test_the_picture_of_sizes_names_each_network(tmp_path, count, named):
    names = [f"network-{number}" for number in range(count)]
    summary = pd.DataFrame({"network": names, "parameters": 500_000 + 10 * np.arange(count)[::-1]})
    summary = summary.assign(auc_mean=0.98, auc_sd=0.05, auc_published=np.nan, data="some")
    figure = plot_size(summary, STUDY, "some")
    save_figure(figure, tmp_path / "size.png")
    axes = figure.axes[0]
    assert axes.get_ylim()[1] == 1.0  # a standard deviation reaches beyond
    reported = [text.get_text() for text in axes.texts]
    if named:
        assert sorted(reported) == names
        return
    assert sorted(reported, key=int) == [str(number) for number in range(1, count + 1)]
    key = [text.get_text() for text in figure.legends[-1].get_texts()]
    assert (key[0], key[-1]) == (f"1  network-{count - 1}", f"{count}  network-0")
