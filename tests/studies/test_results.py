"""Tables of a study from its runs, without training any."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from keras_lnn.studies.declaration import Study, lay_out
from keras_lnn.studies.results import results_table, summarise, summary_table
from keras_lnn.studies.tables import FORMATS, Content, print_summary

STUDY = Study(
    title="Some & others",
    data=["tiny-stripes"],
    seeds=3,
    networks={"dnn": {}, "wide_one": {"model": "dnn"}},
    published={"tiny-stripes": {"dnn": {"auc": 0.75, "accuracy": 0.2}}},
    parameters={"dnn": 100},
)


@pytest.fixture
def results(tmp_path):
    runs = lay_out(STUDY, tmp_path)
    for index, run in enumerate(runs[:-1]):
        run.folder.mkdir(parents=True)
        (run.folder / "config.yaml").write_text(run.config.to_yaml())
        (run.folder / "history.csv").write_text("epoch,seconds\n1,9.0\n2,1.0\n3,1.5\n")
        estimate = {"value": 0.7 + 0.01 * index, "low": 0.6, "high": 0.9}
        metrics = dict.fromkeys(("auc", "accuracy"), estimate)
        content = {"test": metrics, "val": metrics, "parameters": 100, "epochs": 3, "best_epoch": 2, "seconds": 12.0}
        content["warnings"] = ["it has collapsed to one class"] if index == 0 else []
        (run.folder / "metrics.json").write_text(json.dumps(content))
    return results_table(runs, {runs[-1].folder: "RuntimeError: built to fail"})


def test_the_results_have_one_row_per_run(results):
    assert list(results["status"]) == ["done"] * 5 + ["failed"]
    assert list(results["failure"].fillna("")) == [""] * 5 + ["RuntimeError: built to fail"]
    assert list(results["seed"]) == [0, 0, 1, 1, 2, 2]
    assert results["seconds_an_epoch"].iloc[0] == 1.5
    assert results["auc_low"].iloc[0] == 0.6
    assert list(results["collapsed"].iloc[:5]) == [True, False, False, False, False]


def test_the_summary_has_one_row_per_network(results):
    summary = summary_table(results, STUDY).set_index("network")
    values = [0.7, 0.72, 0.74]
    row = summary.loc["dnn"]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert row["auc_mean"] == pytest.approx(0.72)
    assert row["auc_sd"] == pytest.approx(0.02)
    assert (row["auc_low"], row["auc_high"]) == (pytest.approx(low), pytest.approx(high))
    assert (row["runs"], row["parameters"], row["published_parameters"], row["collapsed"]) == (3, 100, 100, 1)
    assert row["auc_published_fits"] is True
    assert row["accuracy_published_fits"] is False
    assert summary.loc["wide_one", "runs"] == 2
    assert summary.loc["wide_one", "auc_published"] is None or math.isnan(summary.loc["wide_one", "auc_published"])


def test_a_published_run_fits_where_nineteen_of_twenty_runs_lie():
    generator = np.random.default_rng(0)
    runs = generator.normal(0.8, 0.02, (4000, 6))
    fits = [summarise(values[:5], values[5])["published_fits"] for values in runs]
    assert 0.94 < np.mean(fits) < 0.96
    means = [summarise(values[:5]) for values in runs]
    assert 0.94 < np.mean([found["low"] <= 0.8 <= found["high"] for found in means]) < 0.96


def test_one_run_has_no_spread():
    found = summarise([0.8], 0.7)
    assert found["mean"] == 0.8
    assert math.isnan(found["sd"])
    assert found["published_fits"] is None
    assert math.isnan(summarise([math.nan])["mean"])


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_every_format_has_every_number(results, suffix):
    text = FORMATS[suffix](Content(STUDY.title, summary_table(results, STUDY)))
    assert "collapsed to one class: dnn (1 of 3)." in text
    for shown in ("0.720 (0.020)", "0.750 yes", "0.200 no", "1.50", "100"):
        assert shown in text
    escaped = {"tex": "wide\\_one"}.get(suffix, "wide_one")
    assert escaped in text
    if suffix == "md":
        lines = [line for line in text.split("\n") if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines) == 4
    if suffix == "tex":
        assert text.count("\\begin{table}") == text.count("\\end{table}") == 1
        assert "%" not in text.replace("\\%", "").replace("% needs", "")


def test_names_with_markup_stay_text(results):
    summary = summary_table(results, STUDY).replace("wide_one", "{\\input{x}} ~^ <script>|\n# a")
    tex, markdown = (FORMATS[suffix](Content("a < b", summary)) for suffix in ("tex", "md"))
    name = "\\{\\textbackslash{}input\\{x\\}\\} \\textasciitilde{}\\textasciicircum{} <script>| \\# a"
    assert name in tex
    assert "{\\input{x}} ~^ &lt;script&gt;\\| # a |" in markdown
    assert "\n# a" not in markdown
    assert "<script>" not in markdown


@pytest.mark.parametrize("width", [200, 100, 80])
def test_no_number_is_cut_off_on_a_narrow_terminal(results, width):
    content = Content(STUDY.title, summary_table(results, STUDY))
    text = io.StringIO()
    print_summary(Console(width=width, file=text, highlight=False), content)
    reported = text.getvalue()
    assert "…" not in reported
    for row in content.tables["tiny-stripes"]:
        for cell in row:
            assert all(word in reported for word in cell.split())
    assert reported.count("tiny-stripes") == (1 if width == 200 else 2)


def test_the_summary_without_completed_runs_is_empty(tmp_path):
    assert summary_table(results_table(lay_out(STUDY, tmp_path), {}), STUDY).empty
    assert isinstance(results_table(lay_out(STUDY, tmp_path), {}), pd.DataFrame)


def test_published_figures_of_other_images_are_shown_without_a_verdict(results):
    figures = {"elsewhere": {"dnn": {"accuracy": 0.2}}}
    study = Study(**STUDY.model_dump() | {"published": figures, "published_note": "Of other patients."})
    summary = summary_table(results, study)
    assert summary["accuracy_published"].iloc[0] == 0.2
    assert summary["accuracy_published_fits"].isna().all()
    text = FORMATS["txt"](Content(study.title, summary, elsewhere=True, published_note=study.published_note))
    assert "The published figures were measured on other images. Of other patients." in text
    assert "0.200 no" not in text


def test_a_shortened_epoch_counts_by_its_share(results, tmp_path):
    run = lay_out(STUDY, tmp_path)[0]
    metrics = json.loads((run.folder / "metrics.json").read_text())
    (run.folder / "metrics.json").write_text(json.dumps(metrics | {"epochs_trained": 2.5}))
    for fractions, seconds in (((1.0, 1.0, 0.5), "7.00"), ((0.5,), "-")):
        rows = "".join(f"{epoch},{13 - 4 * epoch},{share}\n" for epoch, share in enumerate(fractions, start=1))
        (run.folder / "history.csv").write_text("epoch,seconds,fraction\n" + rows)
        summary = summary_table(results_table([run], {}), STUDY)
        assert summary["epochs"].iloc[0] == 2.5
        cells = Content(STUDY.title, summary).tables["tiny-stripes"][0]
        assert cells[-2:] == ["2.5", seconds]


def test_the_interval_of_a_mean_stays_between_0_and_1():
    found = summarise([0.99, 0.6, 0.95])
    assert found["high"] == 1.0
    assert found["low"] == pytest.approx(found["mean"] - stats.t.ppf(0.975, 2) * found["sd"] / np.sqrt(3))
