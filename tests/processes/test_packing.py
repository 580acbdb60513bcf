"""Folders that are sent between machines: nothing is lost, and a hostile archive writes nothing."""

import io
import os
import zipfile

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keras_lnn.errors import InputError
from keras_lnn.processes.packing import (
    pack_folder,
    translate_paths,
    translate_recorded,
    translate_shown,
    unpack_folder,
)


def archive_of(entries):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for entry, text in entries:
            archive.writestr(entry, text)
    return content.getvalue()


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back_as_it_was_and_replaces_the_one_before(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "metrics.json").write_text("{}")
    (run / "checkpoints" / "epoch-000001.npz").write_bytes(os.urandom(5000))
    before = files_of(run)
    (run / ".metrics.json.x.keras-lnn.partial").mkdir()
    (run / ".metrics.json.x.keras-lnn.partial" / "metrics.json").write_text("{")
    (run / "link").symlink_to(tmp_path)
    content = pack_folder(run)
    target = tmp_path / "there" / "run"
    target.mkdir(parents=True)
    (target / "old").write_text("of a try before")
    unpack_folder(content, target)
    assert files_of(target) == before
    assert [path.name for path in target.parent.iterdir()] == ["run"]


def link_entry():
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize(
    "entry",
    ["../outside", "inner/../../outside", "/outside", "C:outside", "..\\outside", "inner/", ".", link_entry()],
    ids=lambda entry: entry if isinstance(entry, str) else "a link",
)
def test_a_hostile_name_writes_nothing(tmp_path, entry):
    target = tmp_path / "runs" / "run"
    target.mkdir(parents=True)
    (target / "kept").write_text("kept")
    with pytest.raises(InputError, match="must hold ordinary files only"):
        unpack_folder(archive_of([("good", "good"), (entry, str(tmp_path))]), target)
    assert files_of(tmp_path) == {"runs/run/kept": b"kept"}


@given(name=st.text(st.sampled_from("./\\a: é"), min_size=1, max_size=8))
def test_whatever_its_name_a_file_stays_within_the_folder(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("parent")
    try:
        unpack_folder(archive_of([(name, "content")]), folder / "run")
    except InputError:
        assert list(folder.iterdir()) == []
    else:
        assert set(files_of(folder).values()) == {b"content"}
        assert all(name.startswith("run/") for name in files_of(folder))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rubbish", "must arrive whole"),
        (archive_of([("metrics.json", "x" * 999)])[:-30], "must arrive whole"),
        (archive_of([("metrics.json", "x" * 999)]).replace(b"xxx", b"xyx", 1), "must arrive whole"),
    ],
)
def test_a_damaged_archive_writes_nothing(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        unpack_folder(content, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_comes_twice_writes_nothing(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = archive_of([("a", "first"), ("a", "second")])
    with pytest.raises(InputError, match="must name each file once"):
        unpack_folder(content, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_only_folders_and_paths_within_them_are_translated():
    order = {"run_dir": "runs/a", "folders": ["runs/a/seed-1", "runs/ab", None], "deep": {"epochs": 3, "x": "runs"}}
    assert translate_paths(order, {"runs/a": "/tmp/1/a"}) == {
        "run_dir": "/tmp/1/a",
        "folders": ["/tmp/1/a/seed-1", "runs/ab", None],
        "deep": {"epochs": 3, "x": "runs"},
    }


def test_what_a_run_has_written_names_its_folder_where_it_is_in_the_end(tmp_path):
    place = tmp_path / "keras-lnn-1" / "seed-0"
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(yaml.safe_dump({"model": "dnn", "run_dir": str(place), "start_from": None}))
    (place / "report.html").write_text(f"--resume {place}")
    (place / "log.txt").write_text(f"1 epoch -> {place}")
    places = {str(place): "studies/a & b/seed-0"}
    translate_recorded(place, places)
    translate_shown(place, places)
    known = yaml.safe_load((place / "config.yaml").read_text())
    assert known == {"model": "dnn", "run_dir": "studies/a & b/seed-0", "start_from": None}
    assert (place / "report.html").read_text() == "--resume studies/a &amp; b/seed-0"
    assert (place / "log.txt").read_text() == "1 epoch -> studies/a & b/seed-0"
