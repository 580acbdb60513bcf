"""The command as people type it: what it writes and prints, and one line for each mistake."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from run_samples import binary_probabilities, make_truth, write_breast_runs, write_run

import keras_lnn
from keras_lnn import __main__ as program
from keras_lnn.cli.main import COMMANDS
from keras_lnn.cli.parsing import run_main
from keras_lnn.comparing import pictures
from keras_lnn.files.written import LIST_FILE

ROOT = Path(keras_lnn.__file__).parents[1]


@pytest.fixture
def run_compare(monkeypatch, capfd):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["program", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run_main(program.main)
        return (caught.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def few_pictures(monkeypatch):
    """Draws no map of differences for each metric, where the pictures are not what is tested."""

    def draw_few(comparison):
        return {name: pictures._PICTURES[name](comparison) for name in comparison.example.pictures}

    monkeypatch.setattr(pictures, "draw_all", draw_few)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_breast_runs(tmp_path_factory.mktemp("runs"), {"lnn": 1.2, "dnn": 0.4, "cnn": 1.1}, 2)


def test_compare_writes_a_page_tables_and_pictures(run_compare, runs, tmp_path):
    status, out, _ = run_compare(runs, "--output", tmp_path / "new" / "comparison")
    assert status == 0
    folder = tmp_path / "new" / "comparison"
    names = {path.name for path in folder.iterdir()}
    assert names == {LIST_FILE, "comparison.html", "comparison.csv", "pairs.csv", "plots"}
    assert sorted(pd.read_csv(folder / "comparison.csv")["model"]) == ["cnn", "dnn", "lnn"]
    pairs = pd.read_csv(folder / "pairs.csv")
    assert len(pairs) == 3 * pairs["metric"].nunique() == 24
    for name in ("roc", "metrics", "differences_auc", "differences_accuracy"):
        with Image.open(folder / "plots" / f"{name}.png") as image:
            assert image.format == "PNG"
    assert "lnn has a higher AUC than dnn" in out
    assert str(folder / "comparison.html") in out
    status, _, _ = run_compare(runs / "lnn-0", "--output", folder)
    assert status == 0


@pytest.mark.usefixtures("few_pictures")
def test_compare_names_its_folder_and_prints_json(run_compare, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run_compare(runs / "lnn-0", runs / "dnn-0", "--json")
    assert status == 0
    content = json.loads(out)
    assert [model["model"] for model in content["models"]] == ["lnn", "dnn"]
    assert content["samples"] == 156
    assert (tmp_path / "comparisons" / "breastmnist-dnn-lnn" / "comparison.html").is_file()


@pytest.mark.usefixtures("few_pictures")
def test_compare_takes_a_split_and_a_reference_model(run_compare, runs, tmp_path):
    status, out, _ = run_compare(runs, "--split", "val", "--reference", "dnn", "--output", tmp_path / "out")
    assert status == 0
    assert "78 val samples" in out
    assert "Reference: dnn, as requested." in out


def test_a_single_model_is_reported_without_comparisons(run_compare, runs, tmp_path):
    status, out, _ = run_compare(runs / "lnn-0", "--output", tmp_path / "out")
    assert status == 0
    assert "There is only one model, so there is nothing to compare it with." in out
    assert (tmp_path / "out" / "pairs.csv").is_file()


def write_other_data(folder, **config):
    truth = make_truth(80, 50)
    return write_run(folder, truth, binary_probabilities(truth, 1.0, 0), checksum="sha256:b", **config)


@pytest.mark.slow
@pytest.mark.usefixtures("few_pictures")
def test_each_data_set_has_a_page_of_its_own(run_compare, runs, tmp_path):
    other = write_other_data(tmp_path / "other", model="mlp", data="folder:elsewhere/scans")
    moved = shutil.copytree(runs / "lnn-0", tmp_path / "moved" / "lnn-0")  # the same samples under another name
    text = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(text.replace("data: breastmnist", "data: folder:moved/breast"))
    status, out, _ = run_compare(runs, other, moved, "--reference", "dnn", "--output", tmp_path / "out")
    assert status == 0
    assert "The runs are on 2 data sets, which are compared separately." in out
    assert {path.name: len(pd.read_csv(path / "comparison.csv")) for path in (tmp_path / "out").iterdir()} == {
        "breastmnist-cnn-dnn-lnn": 3,
        "scans-mlp": 1,
    }
    assert (tmp_path / "out" / "scans-mlp" / "comparison.html").is_file()
    assert out.count("Reference: dnn, as requested.") == 1
    status, out, _ = run_compare(moved, other, "--output", tmp_path / "again", "--json")
    assert [content["data"] for content in json.loads(out)] == ["folder:moved/breast", "folder:elsewhere/scans"]


@pytest.mark.usefixtures("few_pictures")
def test_run_folders_of_equal_name_get_separate_pages(run_compare, tmp_path):
    first = write_other_data(tmp_path / "first", data="folder:a/scans")
    truth = make_truth(60, 40)
    second = write_run(tmp_path / "second", truth, binary_probabilities(truth, 1.0, 0), data="folder:b/scans")
    assert run_compare(first, second, "--output", tmp_path / "out")[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scans-lnn", "scans-lnn-2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "Runs must be given as folders"),
        (["runs", "--reference", "lmn"], "Received: lmn. Did you mean lnn"),
        (["runs", "--split", "train"], "split must be 'test' or 'val'. Received: 'train'"),
        (["runs", "--outptu", "x"], "There is no option --outptu. Did you mean --output?"),
        (["runs", "other"], "Runs to compare must have the same test samples"),
        (["runs", "--output", "file"], "must be a folder that can be written to"),
    ],
)
def test_user_errors_are_one_line(run_compare, runs, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(runs)
    (tmp_path / "file").write_text("", encoding="utf-8")
    write_other_data(tmp_path / "other")
    status, out, errors = run_compare(*arguments)
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "comparisons").exists()


def test_compare_does_not_import_keras(runs, tmp_path):
    two = [str(runs / name) for name in ("lnn-0", "dnn-0")]
    script = (
        "import sys\nfrom keras_lnn.__main__ import main\n"
        f"main(['compare', *{two}, '--output', {str(tmp_path / 'out')!r}])\n"
        "print('heavy:', [name for name in ('keras', 'tensorflow', 'jax', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.endswith("heavy: []\n")


def test_help_lists_the_compare_command(run_compare):
    status, out, _ = run_compare("--help")
    assert status == 0
    assert "--reference" in out
    assert "compare" in COMMANDS
