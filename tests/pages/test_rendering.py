"""Rendering of texts, tables and links: markup in names is escaped."""

import os
import tomllib
from pathlib import Path

import jinja2
import pytest
from PIL import Image

from keras_lnn.pages import rendering
from keras_lnn.pages.rendering import Link, Picture, Table, relative_link, render

HOSTILE = "<script>alert('x')</script>\"&"


def show(part, macro):
    source = f'{{% from "parts.html" import {macro} %}}{{{{ {macro}(part) }}}}'
    return rendering._environment().from_string(source).render(part=part)


def test_cells_links_and_captions_are_escaped():
    table = Table(HOSTILE, [HOSTILE], [[HOSTILE, f"1\n{HOSTILE}", Link(HOSTILE, "a")]], folded=HOSTILE)
    shown = show(table, "show_table")
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 7
    assert "<td>1<small>&lt;script&gt;" in shown
    assert "p&nbsp;=&nbsp;.01 &lt;b&gt;" in show(["p = .01 <b>"], "show_list")


def test_a_name_that_a_template_does_not_know_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="about"):
        render("comparison.html", title="x")


def test_links_are_relative_and_never_scripts(tmp_path):
    assert relative_link(tmp_path / "runs" / "a b" / "report.html", tmp_path / "out") == "../runs/a%20b/report.html"
    assert relative_link(tmp_path / "javascript:alert(1)", tmp_path) == "javascript%3Aalert%281%29"
    assert relative_link(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"), tmp_path) == "%FF"


def test_names_that_are_not_valid_text_are_shown_with_their_bytes_escaped():
    assert r"\udcff" in show(Table("x", ["y"], [["\udcff"]]), "show_table")


def test_a_wheel_holds_every_template():
    root = Path(rendering.__file__).parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["keras_lnn"]
    held = {path for pattern in patterns for path in (root / "keras_lnn").glob(pattern)}
    assert set((root / "keras_lnn" / "pages" / "templates").iterdir()) <= held


def test_a_picture_has_the_width_of_its_figure(tmp_path):
    Image.new("RGB", (300, 150)).save(tmp_path / "a.png", dpi=(150, 150))
    picture = Picture.of_file(tmp_path / "a.png", "what it shows")
    assert picture.width == 192
    assert picture.source.startswith("data:image/png;base64,")
