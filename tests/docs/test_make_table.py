"""Checks of the script that turns a study's folder into tables of results."""

import importlib.util
from pathlib import Path

import pandas as pd

SCRIPT = Path(__file__).parents[2] / "docs" / "make_table.py"
spec = importlib.util.spec_from_file_location("make_table", SCRIPT)
make_table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_table)


def test_results_stand_beside_their_differences_from_the_reference():
    measured = {"auc_mean": 0.9, "auc_sd": 0.01, "auc_low": 0.88, "auc_high": 0.92, "accuracy_mean": 0.8}
    measured |= {"accuracy_sd": float("nan"), "accuracy_low": float("nan"), "accuracy_high": float("nan")}
    summary = pd.DataFrame([{"network": name, "parameters": 10, "runs": 3, **measured} for name in ("cfc", "lstm")])
    differences = pd.DataFrame(
        [{"network": "lstm", "reference": "cfc", "metric": "auc", "difference": 0.01234, "low": -0.02, "high": 0.03}]
    )
    table = make_table.tabulate_results(summary, differences).set_index("network")
    assert table.loc["lstm", "AUC less cfc"] == "+0.012"
    assert table.loc["lstm", "AUC less cfc low"] == "-0.020"
    assert table.loc["cfc", "AUC less cfc"] == ""
    assert table.loc["cfc", "AUC"] == "0.900"
    assert table.loc["lstm", "accuracy SD"] == ""
    assert table.loc["lstm", "accuracy less cfc"] == ""


def test_samplings_show_the_reference_itself_and_others_by_their_difference():
    sampled = [
        {"model": name, "sampling": "evenly", "amount": 0.5, "auc": 0.9, "auc_low": 0.8, "auc_high": 0.95}
        for name in ("lstm", "cfc")
    ]
    other = {"model": "lstm", "sampling": "evenly", "amount": 0.5, "reference": "cfc", "difference": -0.1}
    table = make_table.tabulate_samplings(pd.DataFrame(sampled), pd.DataFrame([{**other, "low": -0.2, "high": 0.0}]))
    assert table["network"].tolist() == ["lstm", "cfc (AUC)"]
    assert table["half of the frames"].tolist() == ["-0.100", "0.900"]


def test_findings_that_a_person_wrote_are_kept(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("# title: old\n# findings: All are alike.\nnetwork\ncfc\n", encoding="utf-8")
    make_table.write(pd.DataFrame({"network": ["lstm"]}), file, {"title": "new", "collapsed": ""})
    assert file.read_text(encoding="utf-8") == "# title: new\n# findings: All are alike.\nnetwork\nlstm\n"
