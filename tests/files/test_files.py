"""Files are complete or absent."""

import os
import subprocess
import sys

import pytest

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import (
    as_text,
    atomic_path,
    file_digest,
    hold_folder,
    remove_partial_files,
    without_nan,
    write_json,
)


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with pytest.raises(RuntimeError, match="halfway"):
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("halfway")
    assert list(target.parent.iterdir()) == []
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["file.txt"]


def test_an_old_file_stays_when_the_new_one_fails(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(OSError, match="full"), atomic_path(target) as temporary:
        temporary.write_text("ne")
        raise OSError("disk full")
    assert target.read_text() == "old"


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "folder"
    for names in ({"a", "b"}, {"c"}):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            for name in names:
                (temporary / name).write_text(name)
        assert {path.name for path in target.iterdir()} == names
    assert os.listdir(tmp_path) == ["folder"]


def test_a_file_never_takes_the_place_of_a_folder(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years")
    with pytest.raises(IsADirectoryError), atomic_path(tmp_path / "precious") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years"
    assert os.listdir(tmp_path) == ["precious"]


def test_json_has_null_for_what_is_not_a_number(tmp_path):
    write_json(tmp_path / "a.json", {"a": [float("nan"), 1.5, (float("inf"),)]})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": [\n    null,\n    1.5,\n    [\n      null\n    ]\n  ]\n}\n'
    assert without_nan(float("-inf")) is None


def test_the_digest_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert file_digest(path, "md5") == "900150983cd24fb0d6963f7d28e17f72"


def test_a_folder_is_locked_by_one_process_until_it_ends(tmp_path):
    folder = tmp_path / "study"
    with hold_folder(folder, "A study", "Wait."):
        with pytest.raises(InputError, match=r"A study must run once at a time\. Received: .*study, .* Wait\."):
            with hold_folder(folder, "A study", "Wait."):
                pass
    with pytest.raises(RuntimeError), hold_folder(folder, "A study", "Wait."):
        raise RuntimeError
    with hold_folder(folder, "A study", "Wait."):
        pass


def test_partial_files_of_killed_processes_are_removed_and_others_kept(tmp_path):
    script = "import os, sys\nfrom keras_lnn.files.atomic import atomic_path\n"
    script += "with atomic_path(sys.argv[1]) as path:\n    path.write_text('half')\n    os._exit(9)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "export")], check=False)
    (left,) = tmp_path.iterdir()
    assert [path.name for path in left.iterdir()] == ["export"]
    (tmp_path / ".of another.partial").mkdir()
    with atomic_path(tmp_path / "new") as temporary:
        temporary.write_text("whole")
        remove_partial_files(tmp_path)
        assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"new", ".of another.partial"}


def test_printed_file_names_show_every_byte():
    assert as_text(os.fsdecode(b"caf\xe9 \xc3\xa9")) == "caf\\udce9 é"
