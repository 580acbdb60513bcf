"""The page of a run: what it says of each kind of task, of collapsed models and of runs of the version before."""

import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from page_samples import (
    HOSTILE,
    LONG,
    SCRIPT,
    with_details,
    write_hostile_label_run,
    write_hostile_run,
    write_mask_page_run,
)
from run_samples import make_truth, write_run

from keras_lnn.cli.parsing import parse_command, parse_options
from keras_lnn.config import TrainConfig
from keras_lnn.pages.run_page import describe_end, run_page, write_run_page
from keras_lnn.runs.contents import CONTENTS
from keras_lnn.runs.folder import RunFolder

PREVIOUS = Path(__file__).parents[1] / "previous"


class Reader(HTMLParser):
    """Gathers the tags, the text and the commands."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.commands = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.commands += [""] if tag == "pre" else []

    def handle_data(self, data):
        last = self.tags[-1][0] if self.tags else ""
        if last == "code" and data.strip():
            self.commands[-1] += data
        if last != "style":
            self.text += data


def read_page(folder):
    folder = RunFolder(folder)
    read = Reader(write_run_page(folder, folder.read_metrics()).read_text(encoding="utf-8"))
    read.text = re.sub(r"\s+", " ", read.text)
    return read


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return write_hostile_run(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def read(hostile):
    return read_page(hostile)


def test_the_page_states_the_result_over_patients(hostile, read):
    metrics = RunFolder(hostile).read_metrics()
    value, low, high = (f"{metrics['test']['auc'][key]:.3f}"[1:] for key in ("value", "low", "high"))
    assert f"AUC {value}; 95% interval {low} to {high}, over the test split" in read.text
    basis = {"test": {"unit": "patients", "count": 30, "images": 60}}
    page = run_page(RunFolder(hostile), metrics | {"intervals_over": basis}, None)
    assert f"AUC {value}; 95% interval {low} to {high}, over 30 test patients (60 images)" in page


def test_segmentation_pages_state_intervals_over_patients(tmp_path):
    read = read_page(write_mask_page_run(tmp_path))
    assert re.search(r"Dice \.\d+; 95% interval \.\d+ to \.\d+, resampled over 8 test patients", read.text)
    assert "Dice of tumour" in read.text  # of the hardest images


def test_names_are_escaped_in_the_page(hostile, read):
    tags = [tag for tag, _ in read.tags]
    assert "script" not in tags
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert {"b", "i"} & set(tags) == set()
    for name in (SCRIPT, LONG, hostile.name):
        assert re.sub(r"\s+", " ", name) in read.text


def test_each_label_and_its_surest_errors_are_shown(tmp_path):
    read = read_page(write_hostile_label_run(tmp_path))
    assert "Each label is predicted above its own threshold" in read.text
    assert all(re.sub(r"\s+", " ", name) in read.text for name in HOSTILE)
    assert "The 10 cases that the model is most wrong about" in read.text


def test_known_pictures_are_embedded_with_a_sentence(read):
    pictures = [attributes for tag, attributes in read.tags if tag == "img"]
    assert len(pictures) == 5
    assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in pictures)
    assert all(len(attributes["alt"]) > 40 and attributes["alt"] in read.text for attributes in pictures)
    assert "Wiring of layer cfc" in read.text


def test_the_page_shows_the_data_and_their_warnings(read):
    assert f"{SCRIPT} is in two splits" in read.text
    assert "patients999" in read.text.replace(" ", "")
    assert "35.0%" in read.text


def test_the_worst_errors_match_the_table_of_predictions(tmp_path):
    truth = make_truth(40, 20)
    probabilities = np.full((40, 2), 0.5)
    probabilities[:, 1] = 0.1 + 0.8 * truth
    wrong = int(truth.argmax())
    probabilities[wrong, 1] = 0.02
    probabilities[:, 0] = 1 - probabilities[:, 1]
    names = [f"scan-{row}.png" for row in range(40)]
    read = read_page(write_run(tmp_path / "run", truth, probabilities, names=names))
    assert "The 1 case that the model is most wrong about" in read.text
    assert f"scan-{wrong}.png" in read.text
    assert "0.980" in read.text


def test_a_collapsed_model_is_named_at_the_top(tmp_path):
    truth = make_truth(40, 30)
    probabilities = np.tile([0.3, 0.7], (40, 1))
    folder = RunFolder(write_run(tmp_path / "run", truth, probabilities))
    read = read_page(folder.path)
    assert read.text.index("This model has collapsed.") < read.text.index("AUC .500")
    assert "(but it has collapsed)" in describe_end(folder.read_metrics(), folder)


def test_the_commands_are_valid_and_name_this_run(hostile, read, monkeypatch):
    from keras_lnn.cli import checklist, compare, evaluate, explain, export, predict, train

    monkeypatch.chdir(hostile.parent)
    page = run_page(RunFolder(Path(hostile.name)), RunFolder(hostile).read_metrics(), None)
    commands = [shlex.split(command) for command in Reader(page).commands]
    names = ("predict", "evaluate", "explain", "checklist", "export", "compare", "train", "train")
    assert [command[:2] for command in commands] == [["keras-lnn", name] for name in names]
    options = [command[2:] for command in commands]
    assert parse_command(predict.PredictCommand, options[0], "predict").model == f"./{hostile.name}"
    assert parse_command(evaluate.EvaluateCommand, options[1], "evaluate").model == f"./{hostile.name}"
    assert parse_command(explain.ExplainCommand, options[2], "explain").model == f"./{hostile.name}"
    assert parse_command(checklist.ChecklistCommand, options[3], "checklist").run == Path(hostile.name)
    assert parse_command(export.ExportCommand, options[4], "export").run == f"./{hostile.name}"
    assert parse_command(compare.CompareCommand, options[5], "compare").runs[0] == Path(hostile.name)
    further = parse_options(train.TrainCommand, options[6], "train")
    assert TrainConfig.from_yaml(further["config"]).model == "lnn"
    assert (Path(further["start_from"]), int(further["epochs"])) == (Path(hostile.name), 6)
    assert Path(parse_options(train.TrainCommand, options[7], "train")["resume"]) == Path(hostile.name)


def test_a_run_that_was_stopped_early_is_not_stopped_again(tmp_path):
    truth = make_truth(40, 20)
    probabilities = np.tile([0.4, 0.6], (40, 1))
    folder = write_run(tmp_path / "run", truth, probabilities, early_stopping=5, stop_after=2)
    assert "--epochs 6 --stop-after 6 --early-stopping 0" in " ".join(read_page(folder).commands)


def test_every_file_is_explained_and_linked(hostile, read):
    links = [attributes["href"] for tag, attributes in read.tags if tag == "a"]
    links = [link for link in links if not link.startswith("#")]
    assert set(links) == {path.name for path in hostile.iterdir()} - {".keras-lnn-written"}
    assert set(links) <= set(CONTENTS)


@pytest.mark.parametrize("name", ["finished", "own-images", "masks"])
def test_runs_of_the_previous_version_have_a_page(name, tmp_path):
    folder = RunFolder(PREVIOUS / name)
    page = run_page(folder, folder.read_metrics(), None)
    assert "95% interval" in page
    assert "trained for" in page


def test_a_page_needs_neither_pictures_nor_a_model_nor_predictions(tmp_path):
    truth = make_truth(40, 20)
    probabilities = np.tile([0.4, 0.6], (40, 1))
    folder = write_run(tmp_path / "run", truth, probabilities)
    with_details(folder, pictures=())
    (folder / "predictions.csv").write_text("torn")
    (folder / "plots" / "roc.png").write_bytes(b"torn")
    read = read_page(folder)
    assert "There is no wrong prediction to show." in read.text
    assert json.loads((folder / "metrics.json").read_text())["data_check"]["warnings"][0] in read.text
