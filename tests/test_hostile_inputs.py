"""Hundreds of invalid inputs: each ends in one line, at once, without writing files."""

import resource
import sys
from pathlib import Path

import hostile_options  # noqa: F401, notes its inputs
import numpy as np
import pytest
from hostile_data import find_with_masks, read_cells, read_changed
from hostile_files import BAD_ARRAYS, CASES, DIGITS, npy, write

from keras_lnn.cli.parsing import run_main
from keras_lnn.data.augment.operations import list_operations
from keras_lnn.data.sources.folders import natural_order
from keras_lnn.data.sources.loading import load_data
from keras_lnn.files.atomic import cache_folder
from keras_lnn.files.yaml_files import read_yaml

# Not how fast something is: a hang would last for ever.
pytestmark = pytest.mark.timeout(300)
_ROOM = 6 * 2**30


@pytest.fixture
def little_room():
    """Limits the growth of this process to some gibibytes, most of them reserved for threads."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ROOM if pages else soft, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def files_of(*folders):
    return {path for folder in folders for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("case", CASES)
def test_each_hostile_input_ends_in_one_line(case, tmp_path, monkeypatch, capsys, little_room):
    before = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    given, here = tmp_path / "given", tmp_path / "here"
    given.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)

    def call(_):
        CASES[case](given)
        before.append("it was taken")

    with pytest.raises(SystemExit) as ended:
        run_main(call)
    out, err = capsys.readouterr()
    assert before == []
    assert (ended.value.code, out) == (2, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert len(err) < 2100
    # Nothing but the input itself, and no half of anything.
    assert files_of(here) == set()
    assert not [path for path in files_of(tmp_path) if path.suffix == ".partial" or ".partial/" in str(path)]


RUBBISH = {
    "nothing": b"",
    "no text": b"\xff" * 99,
    "an object": b"{}",
    "a list": b"[]",
    "null": b"null",
    "nested": b"[" * 10**5,
    "a number of 5,000 digits": DIGITS.encode(),
    "facts of another kind": b'{"faults": 3, "values": 3, "shapes": null, "stamp": {"images.npy": 3}, "brightest": 0}',
    "facts of other files": b'{"faults": {"x": 1}, "values": [["x"]], "shapes": [[1]], "stamp": {}, "brightest": 1}',
    "an array of petabytes": BAD_ARRAYS["petabytes"],
    "another array": npy(np.zeros((2, 3), np.float64)),
    "Python objects": BAD_ARRAYS["Python objects"],
}


@pytest.mark.parametrize("content", RUBBISH)
def test_a_corrupt_cache_is_rebuilt(content, tmp_path, little_room):
    first = find_with_masks(tmp_path)
    cached = [path for path in cache_folder().rglob("*") if path.is_file()]
    assert len(cached) >= 4
    for path in cached:
        path.write_bytes(RUBBISH[content])
        again = load_data(f"masks:{tmp_path}", size=8)
        assert again.checksum == first.checksum
        for name, split in first.splits.items():
            assert np.array_equal(again.splits[name].images[:], split.images[:])
            assert np.array_equal(again.splits[name].labels, split.labels)


def test_there_are_at_least_two_hundred_cases():
    assert len(CASES) >= 200


def test_unusual_but_valid_inputs_are_accepted(tmp_path):
    assert sorted([f"a{DIGITS}", "a10", "a9", "a010"], key=natural_order) == ["a9", "a10", "a010", f"a{DIGITS}"]
    rows = "\n".join(f"{k}.png,{DIGITS}{k % 2}" for k in range(4))
    assert read_cells(tmp_path, f"file,label\n{rows}").class_names == (f"{DIGITS}0", f"{DIGITS}1")
    wide = ",".join(["file", "label", *(f"c{k}" for k in range(5000))]) + "\n"
    row = ",0" * 5000
    assert len(read_cells(tmp_path, f"{wide}a,x{row}\nb,y{row}").names) == 2
    assert read_yaml(write(tmp_path, "a.yaml", "x: &a [1, 2]\ny: *a\nz: {<<: {b: 1}, c: 2}")) == {
        "x": [1, 2],
        "y": [1, 2],
        "z": {"b": 1, "c": 2},
    }
    assert read_yaml(write(tmp_path, "a.yaml", "")) == {}
    assert read_changed(tmp_path, thresholds=[0.5, 1], window=[40, 400]).own.window == (40, 400)
    assert len(list_operations("+".join(["flip"] * 32))) == 32
