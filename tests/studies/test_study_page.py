"""The page of a study: its tables, pictures and runs, with links that hold when the folder is moved."""

import re

import pandas as pd
import pytest

from keras_lnn.pages.rendering import relative_link
from keras_lnn.studies.declaration import Study
from keras_lnn.studies.page import study_page
from keras_lnn.studies.results import summary_table
from keras_lnn.studies.tables import Content

STUDY = Study(title="Some & others", data=["d"], networks={"one": {}, "other": {}})


@pytest.fixture
def page(tmp_path):
    rows = []
    for network in ("one", "other"):
        for seed in range(2):
            run = tmp_path / "d" / network / f"seed {seed}"
            run.mkdir(parents=True)
            (run / "report.html").write_text("page")
            row = {"data": "d", "network": network, "seed": seed, "status": "done", "auc": 0.7 + seed / 10}
            row |= {"parameters": 9, "seconds": 1.0, "epochs_trained": 3.0, "seconds_an_epoch": 0.5, "collapsed": False}
            rows.append(row | {"failure": None, "run": str(run)})
    rows[0]["collapsed"] = True
    rows.append({"data": "d", "network": "other", "seed": 2, "status": "failed", "failure": "it <fell>"})
    rows[-1]["run"] = str(tmp_path / "d" / "other" / "seed 2")
    results = pd.DataFrame(rows)
    content = Content(STUDY.title, summary_table(results, STUDY))
    comparisons = {"d": tmp_path / "comparison-d" / "comparison.html"}
    return study_page(content, results, tmp_path, comparisons)


def test_links_to_runs_and_comparisons_are_relative(page):
    links = re.findall(r'href="([^"#]+)"', page)
    runs = [f"d/{network}/seed%20{seed}/report.html" for network in ("one", "other") for seed in range(2)]
    assert [link for link in links if not link.startswith("data:")] == ["comparison-d/comparison.html", *runs]
    assert relative_link("/a/b/report.html", "/a/c") == "../b/report.html"


def test_the_page_holds_every_number_and_names_failures(page):
    assert "Some &amp; others" in page
    for shown in ("0.750 (0.071)", ".700", ".800", "failed: it &lt;fell&gt;", "done, collapsed"):
        assert shown in page
    assert "Runs that have collapsed to one class: one (1 of 2)." in page
