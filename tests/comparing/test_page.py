"""The page: complete in itself, readable by a browser without a network, with everything that was found."""

import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from browser import assert_sound, open_page, start_browser
from rich.console import Console
from run_samples import write_breast_runs, write_label_runs

from keras_lnn.comparing import compare, load_runs
from keras_lnn.comparing.page import comparison_page
from keras_lnn.comparing.pictures import draw_all
from keras_lnn.comparing.words import describe_all, describe_cautions, describe_labels
from keras_lnn.comparing.writing import write_comparison

STRENGTHS = {"lnn": 1.2, "a <b> & c": 0.4, "cnn": 1.1}


class Reader(HTMLParser):
    """Gathers the tags with their attributes, and the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self.open = [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return compare(load_runs([write_breast_runs(tmp_path_factory.mktemp("page"), STRENGTHS, 2)]))


@pytest.fixture(scope="module")
def page(comparison):
    return comparison_page(comparison, draw_all(comparison))


@pytest.fixture(scope="module")
def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def plain(text):
    return re.sub(r"\s+", " ", text.replace("\xa0", " "))


def test_the_page_holds_every_reported_sentence(comparison, read):
    text = plain(read.text)
    reported = [sentence for sentences in describe_all(comparison).values() for sentence in sentences]
    for sentence in [*reported, *describe_cautions(comparison), *STRENGTHS]:
        assert sentence in text


def test_the_page_loads_no_external_resource(page, read):
    places = [
        attributes[name] for _, attributes in read.tags for name in ("src", "href", "srcset") if name in attributes
    ]
    assert places
    assert all(place.startswith("data:") for place in places)
    assert "url(" not in page
    assert "@import" not in page
    assert re.search(r"https?:", page) is None


def test_tables_and_pictures_are_accessible_to_screen_readers(read):
    headings = [attributes for tag, attributes in read.tags if tag == "th"]
    assert headings
    assert {attributes.get("scope") for attributes in headings} == {"col", "row"}
    pictures = [attributes for tag, attributes in read.tags if tag == "img"]
    assert len(pictures) == 4
    assert all(len(attributes["alt"]) > 20 for attributes in pictures)
    tags = [tag for tag, _ in read.tags]
    assert tags.count("caption") == tags.count("table") == 5
    assert dict(read.tags)["html"] == {"lang": "en"}


def test_the_table_has_one_row_per_model(comparison, read, page):
    for model in comparison.models:
        row = re.search(rf'<th scope="row">{re.escape(html.escape(model.name))}</th>.*?</tr>', page)[0]
        estimate = model.metrics["auc"]
        numbers = [f"{value:.3f}".removeprefix("0") for value in (estimate.value, estimate.low, estimate.high)]
        assert f"{numbers[0]}<small>{numbers[1]} to {numbers[2]}</small>" in row


def test_tables_and_pictures_fit_narrow_screens(read):
    columns = []
    for tag, attributes in read.tags:
        if tag == "caption":
            columns.append(0)
        if tag == "th" and attributes["scope"] == "col":
            columns[-1] += 1
    assert max(columns[:2]) == 8
    first = next(attributes for tag, attributes in read.tags if tag == "img")
    assert int(re.search(r"min-width: (\d+)px", first["style"])[1]) <= 366 < int(first["width"])


def test_links_to_run_pages_are_relative(tmp_path):
    runs = write_breast_runs(tmp_path / "runs", {"lnn": 1.0, "cnn": 0.5})
    (runs / "lnn-0" / "report.html").write_text("page")
    comparison = compare(load_runs([runs]))
    page = comparison_page(comparison, draw_all(comparison), tmp_path / "out")
    assert re.findall(r'<a href="([^"]+)">', page) == ["../runs/lnn-0/report.html"]


def test_one_model_has_no_differences(tmp_path):
    comparison = compare(load_runs([write_breast_runs(tmp_path, {"lnn": 1.0})]))
    page = comparison_page(comparison, draw_all(comparison))
    assert "nothing to compare it with" in page
    assert "<h2>Differences</h2>" not in page


def test_labels_are_reported_one_by_one(tmp_path):
    comparison = compare(load_runs([write_label_runs(tmp_path / "runs")]))
    written = write_comparison(comparison, tmp_path / "out", Console(quiet=True))
    assert len(pd.read_csv(written["labels"])) == len(comparison.label_pairs) == 24
    pictures = {path.stem for path in written["pictures"].iterdir()}
    assert pictures == {"roc", "metrics", "differences_auc", "differences_f1_tuned"}
    read = Reader()
    read.feed(written["page"].read_text(encoding="utf-8"))
    for sentence in describe_labels(comparison):
        assert sentence in plain(read.text)
    assert "Accuracy of each row" not in read.text
    assert "Each pair label by label, p corrected within each metric for all labels" in read.text


@pytest.fixture(scope="module")
def browser():
    with start_browser() as found:
        yield found


@pytest.fixture(scope="module")
def saved(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "comparison.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_browser_shows_the_page_within_the_window_without_errors(browser, saved):
    assert_sound(browser, saved)


def test_a_browser_shows_every_sentence_and_sorts_by_each_column(comparison, browser, saved):
    with open_page(browser, saved) as opened:
        shown = plain(opened.page.inner_text("body"))
        for sentence in describe_all(comparison)["auc"]:
            assert sentence in shown
        columns = opened.page.locator("thead th")
        assert opened.page.locator("thead th button").count() == columns.count() > 20
        table = opened.page.locator("table").first
        names = [model.name for model in comparison.models]
        rows = table.locator("tbody th")
        assert rows.all_inner_texts() == names
        heading = table.get_by_role("button", name="model")
        heading.click()
        assert rows.all_inner_texts() == sorted(names)
        heading.click()
        assert rows.all_inner_texts() == sorted(names, reverse=True)
        assert opened.complaints == []
