"""The list of runs: finished, stopped, damaged and hostile ones, each one line."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from run_samples import write_breast_runs

from keras_lnn.cli import list as listing
from keras_lnn.cli.main import main
from keras_lnn.cli.run_list import find_runs

PREVIOUS = Path(__file__).parents[1] / "previous"


@pytest.fixture
def printed(monkeypatch):
    """Returns a function that lists runs on a console and returns what is printed."""

    def call(folder, terminal=False):
        console = Console(width=200, force_terminal=terminal, markup=False, highlight=False)
        monkeypatch.setattr(listing, "make_console", lambda stderr=False: console)
        with console.capture() as captured:
            assert main(["list", "runs", str(folder)]) == 0
        return captured.get()

    return call


def test_runs_of_the_previous_version_are_listed():
    rows = {row.name: row for row in find_runs(PREVIOUS)}
    assert rows["stopped"].state == "stopped at epoch 1 of 3, or running"
    assert rows["stopped"].result == ""
    for name in ("finished", "own-images", "study/phantom-breast/dnn/seed-0"):
        value = json.loads((PREVIOUS / name / "metrics.json").read_text())["test"]["auc"]["value"]
        assert rows[name].state.startswith("finished")
        assert rows[name].result.startswith(f"AUC {f'{value:.3f}'.removeprefix('0')}")
    assert rows["masks"].result.startswith("Dice ")
    assert (rows["finished"].data, rows["finished"].model) == ("phantom-breast", "dnn")


def test_each_broken_run_folder_is_listed_in_one_line(tmp_path, printed):
    write_breast_runs(tmp_path, {"lnn": 1.0})
    for name, file, content in (
        ("no-config", "config.yaml", None),
        ("torn-config", "config.yaml", "model: ["),
        ("torn-metrics", "metrics.json", '{"val":'),
        ("other-metrics", "metrics.json", '{"val": {}, "epochs": 3}'),
        ("wrong-metrics", "metrics.json", '{"val": 3, "epochs": "x"}'),
        ("unknown-task", "metrics.json", '{"val": {}, "epochs": 3, "task": "guess"}'),
    ):
        shutil.copytree(tmp_path / "lnn-0", tmp_path / name)
        (tmp_path / name / file).unlink()
        if content is not None:
            (tmp_path / name / file).write_text(content)
    (tmp_path / "torn-environment").mkdir()
    (tmp_path / "torn-environment" / "environment.json").write_bytes(b"\xff")
    states = {row.name: row.state for row in find_runs(tmp_path)}
    assert states.pop("lnn-0") == "finished"
    assert len(states) == 7
    assert all(state.startswith("damaged: ") for state in states.values())
    lines = printed(tmp_path).splitlines()
    assert all(sum(name in line for line in lines) == 1 for name in states)


def test_a_run_name_links_to_its_report_without_terminal_codes(tmp_path, printed):
    name = "a \x1b]0;gone\x07 b\u202e[bold]#%"
    folder = write_breast_runs(tmp_path, {"lnn": 1.0}) / "lnn-0"
    folder = folder.rename(tmp_path / name)
    (folder / "report.html").write_text("page")
    shown = printed(tmp_path, terminal=True)
    assert f";{(folder / 'report.html').as_uri()}\x1b\\" in shown
    assert "\\x1b]0;gone\\x07 b\\x202e[bold]#%" in shown
    assert "\x07" not in shown
    assert "\x1b]8;" not in printed(tmp_path)


def test_a_single_run_is_listed_with_its_start_time(tmp_path):
    folder = write_breast_runs(tmp_path, {"lnn": 1.0}) / "lnn-0"
    (folder / "environment.json").write_text('{"begun_at": "2026-11-26 10:00"}')
    (row,) = find_runs(folder)
    assert (row.name, row.begun, row.page) == ("lnn-0", "2026-11-26 10:00", None)
    assert row.to_json()["page"] is None


def test_a_folder_without_runs_and_one_that_is_missing(tmp_path, printed, monkeypatch):
    assert "holds no run" in printed(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="Received: runs, which is no folder"):
        main(["list", "runs"])
    with pytest.raises(ValueError, match="Only runs are listed of a folder"):
        main(["list", "models", "runs"])
