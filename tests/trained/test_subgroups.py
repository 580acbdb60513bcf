"""Subgroups: groups from tables, metrics with intervals in each, tests of their differences, and what is written."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from quick_predictors import make_signature
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from keras_lnn.cli import main as program
from keras_lnn.cli.parsing import run_main
from keras_lnn.data.arrays import Split
from keras_lnn.data.sources.subgroups import (
    SubgroupColumn,
    Subgroups,
    open_subgroup_table,
    parse_subgroups,
    read_subgroups,
)
from keras_lnn.errors import InputError
from keras_lnn.plots import plot_subgroups
from keras_lnn.statistics.paired_tests import holm
from keras_lnn.trained.measured_words import describe_subgroups
from keras_lnn.trained.subgroups import measure_subgroups, write_subgroups

SIGNATURE = make_signature(model="cnn", task="binary", class_names=("no", "yes"), thresholds=(0.6, 0.4))
PREVIOUS = Path(__file__).parents[1] / "previous"


def draw(samples, seed=0, patients=None, noise=1.0):
    """Two classes with scores that are as noisy as is said of each sample."""
    generator = np.random.default_rng(seed)
    patient = np.arange(samples) if patients is None else np.arange(samples) % patients
    labels = (generator.random(samples) < 0.5)[patient].astype(np.int64)
    scores = expit(2 * labels - 1 + 1.3 * noise * generator.standard_normal(samples))
    groups = None if patients is None else tuple(f"P{row}" for row in patient)
    return Split(np.zeros((samples, 1, 1, 1), np.uint8), labels, groups=groups), np.stack([1 - scores, scores], axis=1)


def write_table(path, text):
    path.write_text(text)
    return open_subgroup_table("phantom-breast", path, parse_subgroups("sex,age:40:60"))


def rows_of(rows, **wanted):
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def test_columns_and_edges_are_parsed():
    assert parse_subgroups('sex, age:40:60.5,"a,b"') == (
        SubgroupColumn("sex"),
        SubgroupColumn("age", (40.0, 60.5)),
        SubgroupColumn("a,b"),
    )
    assert parse_subgroups("scanner:new") == (SubgroupColumn("scanner:new"),)
    for text, rule in (
        ("age:60:40", "must have rising edges, such as age:40:60, not age:60:40"),
        ("age:40:40", "rising edges"),
        ("age:nan", "rising edges"),
        ("sex,sex", "must name different columns"),
        ("sex,", "must name different columns"),
        ("", "must name different columns"),
    ):
        with pytest.raises(ValueError, match=rule):
            parse_subgroups(text)


def test_groups_are_read_by_the_names_of_samples(tmp_path):
    table = write_table(tmp_path / "groups.csv", "image;sex;age\nb.png;w;40\nother.png;m;1\na.png;m;39.9\nc.png;;60\n")
    sex, age = read_subgroups(table, parse_subgroups("sex,age:40:60"), ["a.png", "b.png", "c.png"], 3)
    assert (sex.names, sex.places.tolist()) == (("m", "w"), [0, 1, -1])
    assert age.names == ("below 40", "40 to below 60", "60 or more")
    assert age.places.tolist() == [0, 1, 2]


def test_images_of_series_and_samples_without_files_are_found(tmp_path):
    table = write_table(tmp_path / "groups.csv", "series,index,sex,age\nS1,1,w,40\nS1,1,w,40\nS2,0,m,70\n")
    (sex,) = read_subgroups(table, parse_subgroups("sex"), ["S1#1", "S1#2", "S2#1"], 3)
    assert sex.places.tolist() == [1, 1, 0]
    (sex,) = read_subgroups(table, parse_subgroups("sex"), None, 2)
    assert sex.places.tolist() == [0, 1]


def test_wrong_tables_are_refused_in_one_line(tmp_path):
    columns, names = parse_subgroups("sex,age:40:60"), ["a", "b"]
    text = "file,sex,age\na,m,old\nb,w,50\n"
    table = write_table(tmp_path / "groups.csv", text)
    path = tmp_path / "groups.csv"
    with pytest.raises(InputError, match=r"must hold numbers\. Received: old in age of .*groups\.csv \(line 2\)"):
        read_subgroups(table, columns, names, 2)
    with pytest.raises(InputError, match=r"whose column file lacks 1 of 3: c\."):
        read_subgroups(table, columns, [*names, "c"], 3)
    with pytest.raises(InputError, match="without a column index"):
        read_subgroups(table, columns, None, 2)
    with pytest.raises(InputError, match=r"must name columns of .*\. Received: sexe\. Did you mean"):
        open_subgroup_table("phantom-breast", path, parse_subgroups("sexe"))
    with pytest.raises(InputError, match=r"Received: phantom-breast, which is not read from one\. Name a CSV file"):
        open_subgroup_table("phantom-breast", None, columns)
    assert open_subgroup_table(f"table:{path}", None, columns).columns == ("file", "sex", "age")
    doubled = write_table(path, "file,sex,age\na,m,50\na,w,50\nb,w,50\n")
    with pytest.raises(InputError, match=r"All rows of a sample must have the same sex\. Received: m and w for a"):
        read_subgroups(doubled, columns, names, 2)
    many = write_table(path, "file,sex,age\n" + "".join(f"a{row},w,{row}\n" for row in range(30)))
    with pytest.raises(InputError, match=r"1 to 20 different values\. Received: age .* with 30\. Give edges"):
        read_subgroups(many, parse_subgroups("age"), [f"a{row}" for row in range(30)], 30)


def test_metrics_of_groups_are_those_of_their_samples_alone():
    split, predicted = draw(300)
    places = np.arange(300) % 3 - (np.arange(300) < 6) * 5
    places[places < -1] = -1
    found = Subgroups("site", ("A", "B", "C"), places)
    rows = measure_subgroups(split, predicted, SIGNATURE, [found])
    (whole,) = rows_of(rows, column="", metric="auc")
    assert whole["value"] == pytest.approx(roc_auc_score(split.labels, predicted[:, 1]))
    for place, name in enumerate(found.names):
        chosen = places == place
        (row,) = rows_of(rows, group=name, metric="auc")
        others = (places >= 0) & ~chosen
        aucs = [roc_auc_score(split.labels[part], predicted[part, 1]) for part in (chosen, others)]
        assert row["value"] == pytest.approx(aucs[0])
        assert row["difference"] == pytest.approx(aucs[0] - aucs[1])
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        (decided,) = rows_of(rows, group=name, metric="sensitivity_tuned")
        assert decided["value"] == pytest.approx((predicted[chosen & (split.labels == 1), 1] > 0.4).mean())
    p_values = [row["p"] for row in rows_of(rows, column="site", metric="auc")]
    np.testing.assert_allclose(
        [row["corrected_p"] for row in rows_of(rows, column="site", metric="auc")], holm(p_values)
    )
    (missing,) = rows_of(rows, column="site", group="")
    assert (missing["samples"], missing["note"]) == (int((places < 0).sum()), "without a value, in no group")


def test_groups_too_small_are_named_and_not_measured():
    split, predicted = draw(60)
    small = Subgroups("size", ("few", "many"), (np.arange(60) >= 9).astype(int))
    one_class = Subgroups("finding", ("none", "some"), split.labels)
    rows = measure_subgroups(split, predicted, SIGNATURE, [small, one_class])
    (few,) = rows_of(rows, group="few")
    assert (few["samples"], few["metric"], few["note"]) == (9, "", "not measured: fewer than 10 samples")
    assert rows_of(rows, group="none")[0]["note"] == "not measured: only the class no"
    assert all(row["p"] is None for row in rows)
    sentences = describe_subgroups(rows)
    assert sentences[0] == "No difference between groups could be tested."
    assert sentences[1] == "size few (9 samples): not measured: fewer than 10 samples."


def test_a_difference_of_two_groups_is_one_test_and_named():
    split, predicted = draw(600, noise=np.where(np.arange(600) < 300, 0.4, 4.0))
    site = Subgroups("site", ("old", "new"), (np.arange(600) >= 300).astype(int))
    same = Subgroups("hand", ("left", "right"), np.arange(600) % 2)
    rows = measure_subgroups(split, predicted, SIGNATURE, [site, same])
    old, new = rows_of(rows, column="site", metric="auc")
    assert (old["difference"], old["p"]) == (pytest.approx(-new["difference"]), pytest.approx(new["p"]))
    assert old["corrected_p"] == new["corrected_p"] == pytest.approx(2 * old["p"])
    assert any(
        sentence.startswith("site old differs from the others, with p after Holm's correction: AUC +")
        for sentence in describe_subgroups(rows)
    )
    assert not any(sentence.startswith("hand") for sentence in describe_subgroups(rows))


def count_false_alarms(experiments, samples, patients, metrics):
    """The share of tests that find a difference where groups are drawn at random."""
    found = {metric: [] for metric in metrics}
    for seed in range(experiments):
        split, predicted = draw(samples, seed, patients)
        generator = np.random.default_rng(seed + 10**6)
        places = generator.integers(0, 2, samples if patients is None else patients)
        places = places if patients is None else places[np.arange(samples) % patients]
        rows = measure_subgroups(split, predicted, SIGNATURE, [Subgroups("x", ("a", "b"), places)])
        for metric in metrics:
            found[metric] += [
                row["p"] < 0.05 for row in rows_of(rows, column="x", group="a", metric=metric) if row["p"]
            ]
    return {metric: np.mean(values) for metric, values in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("patients", [None, 40])
def test_random_groups_seldom_differ(patients):
    shares = count_false_alarms(1000, 160, patients, ("auc", "accuracy", "sensitivity", "brier"))
    print(shares)
    assert all(0.02 < share < 0.08 for share in shares.values())


def test_the_table_and_the_picture_are_written(tmp_path):
    split, predicted = draw(80)
    hand = Subgroups("hand", ("left", "right"), np.arange(80) % 2)
    rows = measure_subgroups(split, predicted, SIGNATURE, [hand])
    written = write_subgroups(rows, "auc", "cnn on mine", tmp_path / "out")
    table = pd.read_csv(written["subgroups"], keep_default_na=False)
    assert list(table)[:6] == ["column", "group", "samples", "patients", "metric", "value"]
    assert len(table) == len(rows)
    assert written["picture"].stat().st_size > 1000
    figure = plot_subgroups(rows, {"auc": "AUC", "sensitivity_tuned": "sensitivity"}, "cnn")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        *("all samples (80)", "hand left (40)", "hand right (40)"),
    ]
    with pytest.raises(InputError, match="Received: none"):
        plot_subgroups(rows, {"dice": "Dice"}, "cnn")


@pytest.mark.slow
def test_the_command_measures_groups_and_corruptions(tmp_path, monkeypatch, capfd):
    shutil.copytree(PREVIOUS / "own-images", tmp_path / "own-images")
    shutil.copytree(PREVIOUS / "table", tmp_path / "table")
    monkeypatch.chdir(tmp_path)
    samples = pd.read_csv("own-images/samples.csv", dtype=str)
    train = samples[samples["split"] == "train"].reset_index(drop=True)
    groups = train[["file"]].assign(side=np.where(train.index < 12, "left", "right"))
    groups.to_csv("groups.csv", index=False)
    command = ["evaluate", "own-images", "--split", "train", "--subgroups", "side", "--subgroup-table", "groups.csv"]
    command += ["--corruptions"]
    monkeypatch.setattr(sys, "argv", ["program", *command])
    with pytest.raises(SystemExit) as caught:
        run_main(program.main)
    output = capfd.readouterr().out
    assert caught.value.code in (0, None)
    assert "AUC by subgroup" in output
    assert f"side right ({len(train) - 12} samples): not measured: fewer than 10 samples." in output
    assert "AUC by strength of corruption" in output
    folder = tmp_path / "evaluations" / "labels-own-images"
    assert len(pd.read_csv(folder / "corruptions.csv")) == 12 * 6
    assert {path.name for path in folder.glob("s*")} == {"subgroups.csv", "subgroups.png"}
    page = (folder / "evaluation.html").read_text()
    assert all(f'<section id="{name}">' in page for name in ("metrics", "subgroups", "corruptions", "cases"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--subgroups", "age:60:40"], "rising edges"),
        (["--subgroup-table", "x.csv"], "--subgroup-table is for --subgroups"),
        (["--subgroups", "sex"], "Received: sex."),
    ],
)
def test_wrong_options_end_in_one_line(options, message, tmp_path, monkeypatch, capfd):
    shutil.copytree(PREVIOUS / "own-images", tmp_path / "own-images")
    shutil.copytree(PREVIOUS / "table", tmp_path / "table")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", "evaluate", "own-images", *options])
    with pytest.raises(SystemExit) as caught:
        run_main(program.main)
    error = capfd.readouterr().err
    assert caught.value.code == 2
    assert message in " ".join(error.split())
    assert "Traceback" not in error
