"""README and the pages: existing commands, valid links, and numbers that equal those of the tables."""

import ast
import contextlib
import io
import re

import pytest
from doc_blocks import CHEAP, DOCS, PAGES, ROOT, parse, read_blocks, read_commands
from extensions.tables import find_value, read_table, table_names

from keras_lnn.cli.main import main
from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import require_data
from keras_lnn.errors import InputError
from keras_lnn.registry import require_model
from keras_lnn.studies.declaration import built_in_studies, load_study

_MOST_README_LINES = 150
_WORDS_SAID_TWICE = 12
_BY_NAME = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]


def check_names(parsed):
    """Checks that the models, data sets and networks that a command names exist."""
    imports = getattr(parsed, "imports", ())
    if isinstance(parsed, TrainConfig) and not imports:
        require_model(parsed.model)
        require_data(parsed.data)
    if getattr(parsed, "study", None) in built_in_studies() and parsed.models:
        networks = load_study(parsed.study).networks
        assert {name.strip() for name in parsed.models.split(",")} <= set(networks)


@pytest.mark.parametrize("page", _BY_NAME)
def test_commands_exist_with_their_options(page):
    for block in read_blocks(page):
        if block.language == "bash":
            for words in read_commands(block.replaced):
                check_names(parse(words))
        elif block.language == "python":
            ast.parse(block.replaced)


@pytest.mark.parametrize("line", ["keras-lnn train --epoch 3", "python benchmarks/seeds.py --sedes 3", "keras-lnn fly"])
def test_a_command_that_does_not_exist_is_found(line):
    (words,) = read_commands(line)
    with pytest.raises((InputError, KeyError)):
        parse(words)


def test_every_language_of_a_block_is_known():
    languages = {block.language for page in PAGES for block in read_blocks(page)}
    assert languages <= {"bash", "python", "yaml", "text", "sh"}


def test_blocks_that_are_only_parsed_give_a_reason():
    for page in PAGES:
        for block in read_blocks(page):
            assert block.is_run or len(block.test.split()) > 3, (page, block.text)


def test_cheap_commands_run():
    cheap = [block for page in PAGES for block in read_blocks(page) if block.test == CHEAP]
    assert cheap
    for block in cheap:
        for words in read_commands(block.text):
            assert words[0] == "keras-lnn"
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                assert main(words[1:]) == 0
            assert printed.getvalue()


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= _MOST_README_LINES


def test_readme_gives_the_numbers_of_the_tables():
    found = read_table("breastmnist-seeds")
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in lines if "`, " in line[:12]]
    assert len(rows) >= 3
    for name, *values in rows:
        expected = [find_value(f"breastmnist-seeds | {name} | {column}") for column in ("AUC", "accuracy")]
        assert values == expected
    assert len(found.rows) >= len(rows)


def list_anchors(text):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_links_of_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    for link in links:
        path, _, anchor = link.partition("#")
        if not link.startswith("http"):
            assert (ROOT / path).is_file(), link
            assert not anchor or anchor in list_anchors((ROOT / path).read_text(encoding="utf-8")), link


@pytest.mark.parametrize(
    "link",
    [
        "guides/own-images.md#dicom-files",
        "reference/metrics.md#what-the-intervals-mean",
        "guides/liquid-layers.md#load-a-model-made-with-ncps",
        "reference/run-folder.md",
    ],
)
def test_the_index_links_to_common_questions(link):
    assert f"]({link})" in (DOCS / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", table_names())
def test_each_table_is_shown_and_made_by_a_command_that_exists(name):
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sum(f"<!-- generated: results {name} -->" in page for page in pages) == 1
    for words in read_commands(read_table(name).facts["command"]):
        check_names(parse(words))


def list_sentences(text):
    text = re.sub(r"^```.*?^```$|^\|.*$|^#.*$|^<!--.*$", "\n\n", text, flags=re.MULTILINE | re.DOTALL)
    plain = re.sub(r"\]\([^)]*\)", "]", text)
    found = re.split(r"(?<=[.:;])\s|\n\n|\n- ", plain)
    return {" ".join(re.findall(r"\w+", sentence)).lower() for sentence in found}


def test_readme_and_the_pages_do_not_repeat_each_other():
    readme = list_sentences((ROOT / "README.md").read_text(encoding="utf-8"))
    for page in PAGES[1:]:
        twice = readme & list_sentences(page.read_text(encoding="utf-8"))
        assert {sentence for sentence in twice if len(sentence.split()) >= _WORDS_SAID_TWICE} == set(), page
