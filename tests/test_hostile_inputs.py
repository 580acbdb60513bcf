"""Hundreds of inputs that nobody in their right mind gives: each ends in one line, at once, with nothing written."""

import json
import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_files import BAD_ARRAYS, BAD_IMAGES, DIGITS, npy, pack
from PIL import Image
from quick_predictors import make_signature

import train
from keras_lnn.__main__ import main as run_program
from keras_lnn.command_line import EvaluateCommand, ImportCommand
from keras_lnn.commands import parse_command, run_main
from keras_lnn.config import TrainConfig, read_yaml, validate
from keras_lnn.data.augment import list_operations
from keras_lnn.data.catalog import get_entry, require_data
from keras_lnn.data.folders import natural_order
from keras_lnn.data.loading import load_data
from keras_lnn.data.mask_classes import read_classes
from keras_lnn.data.mask_finding import find_masks
from keras_lnn.data.medmnist import load_medmnist
from keras_lnn.data.options import OwnImages
from keras_lnn.data.samples import SampleRecord
from keras_lnn.data.table_columns import read_columns
from keras_lnn.data.table_file import read_table
from keras_lnn.image_files import FileReader, check_headers, find_files
from keras_lnn.own_modules import import_modules
from keras_lnn.registry import require_model
from keras_lnn.signature import SAMPLES_FILE, SIGNATURE_FILE, read_samples, read_signature
from keras_lnn.studies.command import StudyCommand
from keras_lnn.studies.declaration import lay_out, load_study
from keras_lnn.studies.grid import parse_assignments
from tuning.settings import SearchSettings

# Not how fast something is: a hang would last for ever.
pytestmark = pytest.mark.timeout(300)
_ROOM = 6 * 2**30
CASES = {}


def add(family, name, call):
    """Notes an input: a function of a folder of its own."""
    name = f"{family}: {name if len(name) < 60 else name[:57] + '...'}"
    assert name not in CASES, name
    CASES[name] = call


def write(place, name, content):
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def make_pipe(place, name):
    os.mkfifo(place / name)
    return place / name


# --- options -------------------------------------------------------------------------------------------------------

WHOLE = ["1e30", "-1", "nan", "inf", DIGITS, str(10**19), "1.5", "[1]", "{}", "many" * 3000]
REAL = ["nan", "inf", "-1", "1e400", "[1]", "many" * 3000]
OPTIONS = dict.fromkeys(
    ["epochs", "batch-size", "size", "restart-epochs", "stop-after", "seed", "split-seed", "early-stopping"], WHOLE
)
OPTIONS |= dict.fromkeys(["learning-rate", "weight-decay", "early-stopping-margin", "weight-average"], REAL)
OPTIONS |= {
    "time-budget": ["-1s", "nan", "inf", "1e400h", "", DIGITS, "10 minutes"],
    "window": ["nan,1", "1", "1,0", "1e400,1", "1,2,3", "a,b", f"{DIGITS},1", "1,nan"],
    "optimizer": ["adamm", "os.system", "x" * 10**5],
    "export": ["pickle", "../x"],
    "model-args": ["units", "{" * 10**5, "[" * 10**5, '{"a":' * 10**4 + "1" + "}" * 10**4],
    "no-such-option": ["1"],
}
for _option, _values in OPTIONS.items():
    for _value in _values:
        add("option", f"--{_option}={_value}", lambda _, o=_option, v=_value: parse_train(f"--{o}={v}"))


def parse_train(*arguments):
    return parse_command(train.TrainCommand, arguments, "train.py")


def add_command(family, command, *arguments):
    add(family, " ".join(arguments), lambda _: parse_command(command, arguments, "program"))


for _arguments in (["--workers", "1000000000"], ["--seeds", "0"], ["--run-timeout", "nan"], ["--memory-limit", DIGITS]):
    add_command("study option", StudyCommand, "term-paper", *_arguments)
for _arguments in (["--split", "x"], ["--map-classes", "="], ["--map-classes", '"a'], ["--size", DIGITS]):
    add_command("evaluate option", EvaluateCommand, "lnn-breastmnist", *_arguments)
for _arguments in (["--size", "1000000000000"], ["--size", "0"]):
    add_command("import option", ImportCommand, "w.npz", "--model", "lnn", "--output", "o", *_arguments)
SETTINGS = {
    "workers": [10**9, 0],
    "seeds_per_trial": [10**9],
    "trial_timeout": ["1e999"],
    "memory_limit": ["inf", DIGITS],
}
SETTINGS |= {
    "chief": ["host", "host:0", f"host:{DIGITS}", "host:²"],
    "worker_timeout": ["1s", "nan"],
    "tuner": ["guess"],
}
for _name, _values in SETTINGS.items():
    for _value in _values:
        add("search", f"{_name}={_value}", lambda _, n=_name, v=_value: validate(SearchSettings, {n: v}))
for _name in ("x" * 10**6, "..", "lnn\n", "é" * 1000):
    add("name", f"model {_name!r}", lambda _, name=_name: require_model(name))
    add("name", f"data {_name!r}", lambda _, name=_name: require_data(name))
    add("name", f"command {_name!r}", lambda _, name=_name: run_program([name]))
for _name in ("+".join(["flip"] * 2000), "+".join(["crnet"] * 20), "+" * 1000, "none+flip", "x" * 10**5, "flip+"):
    add("augmentation", f"{len(_name)} {_name}", lambda _, name=_name: list_operations(name))
for _text in ("a", "=1", "a=", "a=1 a=2", "a=1,,, =", "x" * 10**5):
    add("assignment", _text, lambda _, text=_text: parse_assignments(text, "--grid"))

# --- YAML ----------------------------------------------------------------------------------------------------------


def bomb(levels, width=9):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]" for k in range(1, levels)]
    return "\n".join(lines)


YAMLS = {
    "nine levels of aliases": bomb(9),
    "forty levels of aliases": bomb(40, 2),
    "an alias that holds itself": "a: &a [*a]",
    "a key that holds itself": "&a {a: *a}",
    "a hundred thousand brackets": "a: " + "[" * 10**5,
    "a hundred thousand braces": "{a: " * 10**5,
    "a long line": "a: " + "x" * 2**21,
    "many lines": "".join(f"k{k}: 1\n" for k in range(200_000)),
    "a number of 5,000 digits": f"epochs: {DIGITS}",
    "a Python object": "model: !!python/object/apply:os.abort []",
    "another tag": "model: !x y",
    "a list": "- 1\n- 2",
    "a word": "lnn",
    "not text": b"\xff\xfe\x00\x01",
    "a zero byte": b"model: a\0b",
    "a tab": "model:\n\t- a",
    "two documents": "a: 1\n---\nb: 2",
    "no end of a quote": 'model: "a',
    "an unknown alias": "model: *a",
    "a date that is none": "model: 2021-99-99",
    "base 64 that is none": "model: !!binary 'ä'",
}
for _name, _content in YAMLS.items():
    add("YAML", _name, lambda place, content=_content: read_yaml(write(place, "a.yaml", content)))
for _name in ("/dev/zero", "/dev/null/x", "/", "."):
    add("YAML", f"the file {_name}", lambda _, name=_name: read_yaml(name))
add("YAML", "a named pipe", lambda place: read_yaml(make_pipe(place, "a.yaml")))
FIELDS = {
    "model_args": [None, [], "units", 3, [1] * 10**5, {1: 2}],
    "model": [None, [], {}, 1, True],
    "data": [None, ["a"], {"a": {"a": {"a": {}}}}],
    "epochs": [1e30, 2**70, True and "yes", [3], int("0x" + "f" * 5000, 16), -(10**30)],
    "label_columns": [3, {"a": 1}, [None]],
    "run_dir": [3, [], "a\0b" * 0 or {}],
    "learning_rate": [float("nan"), float("inf"), int("0x" + "f" * 5000, 16)],
    "x" * 10**5: [1],
    "skip_bad": ["perhaps", None, 7],
}
for _name, _values in FIELDS.items():
    for _place, _value in enumerate(_values):
        add("field", f"{_name[:20]} {_place}", lambda _, n=_name, v=_value: TrainConfig.create({n: v}))

# --- files of arrays -----------------------------------------------------------------------------------------------

ENTRY = get_entry("breastmnist")


def load_arrays(place, images=None, labels=None, pack_as=None):
    members = {}
    for split in ("train", "val", "test"):
        members[f"{split}_images.npy"] = npy(np.zeros((4, 28, 28), np.uint8)) if images is None else images
        members[f"{split}_labels.npy"] = npy(np.arange(4, dtype=np.uint8)[:, None] % 2) if labels is None else labels
    path = pack(place / "breastmnist.npz", members)
    if pack_as is not None:
        path.write_bytes(pack_as(path.read_bytes()))
    load_medmnist(ENTRY, 28, place, accept_checksum=True)


for _name, _content in BAD_ARRAYS.items():
    add("MedMNIST images", _name, lambda place, content=_content: load_arrays(place, images=content))
    add("MedMNIST labels", _name, lambda place, content=_content: load_arrays(place, labels=content))
for _name, _change in {
    "nothing": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "text": lambda content: b"no archive",
    "a flipped byte": lambda content: content[:200] + bytes([content[200] ^ 255]) + content[201:],
}.items():
    add("MedMNIST file", _name, lambda place, change=_change: load_arrays(place, pack_as=change))

# --- signatures ----------------------------------------------------------------------------------------------------


def read_changed(place, **changes):
    content = make_signature(task="multi-label", class_names=("a", "b")).to_json() | changes
    write(place, SIGNATURE_FILE, json.dumps(content))
    return read_signature(place)


SIGNATURES = {
    "image_shape": [[10**11, 1, 1], [[8, 8, 1]], None, "8x8", [8, 8], [8] * 5, [0, 8, 1], [-8, 8, 1], [8.0, 8, 1]],
    "class_names": [["a"] * 2, [], "ab", None, [1, 2], {"a": 1}, [["a"], ["b"]], [str(k) for k in range(10**5)]],
    "thresholds": ["0.5,0.5", ["0.5", "0.5"], [2, 2], [float("nan")] * 2, [0.5], {}, [None, None], [10**400, 0]],
    "task": ["x", None, 3, ["binary"], {}, "binary\n"],
    "window": ["40,400", [1], [1, 0], ["a", "b"], [float("inf"), 1], [0, 10**400]],
    "fit": ["x", None, ["stretch"]],
    "colours": [["red", "blue"], "#000000", ["#000000"], [1, 2], {}],
    "size": ["8", 1e30, -1, 10**30, [8]],
    "model_args": [None, [], "a", 3],
    "parameters": ["many", None, 1.5],
    "skip_bad": ["no", 1, None],
    "data": [None, 3, []],
    "label_columns": ["a", [1], {}],
    "format": [2, None, "1"],
    "made_by": ["somebody", None],
}
for _name, _values in SIGNATURES.items():
    for _place, _value in enumerate(_values):
        add("signature", f"{_name} {_place}", lambda place, n=_name, v=_value: read_changed(place, **{n: v}))
for _name, _content in {
    "a list": "[]",
    "a word": '"x"',
    "nothing": "",
    "nested": "[" * 10**5,
    "not text": b"\xff\xff",
    "a number of 5,000 digits": f'{{"format": {DIGITS}}}',
    "no fields": '{"made_by": "keras-lnn", "format": 1}',
}.items():
    add("signature", _name, lambda place, c=_content: read_signature(write(place, SIGNATURE_FILE, c).parent))
    if _name != "no fields":
        add("model file", _name, lambda place, c=_content: read_signature(write(place, "best.keras", c)))
        add("samples of a model", _name, lambda place, c=_content: read_samples(write(place, SAMPLES_FILE, c).parent))
add("model file", "a named pipe", lambda place: read_signature(make_pipe(place, "best.keras")))
add("model file", "a device", lambda _: read_signature(Path("/dev/zero")))

# --- tables --------------------------------------------------------------------------------------------------------


def read_cells(place, content):
    return read_columns(read_table(write(place, "a.csv", content)), OwnImages())


TABLES = {
    "a hundred thousand columns": ",".join(f"c{k}" for k in range(10**5)) + "\n" + ",".join("1" * 10**5),
    "a hundred thousand equal columns": ",".join(["c"] * 9_000) + "\n" + ",".join("1" * 9_000),
    "nothing": "",
    "commas": ",,,\n,,,",
    "a header alone": "file,label",
    "rows of other lengths": "file,label\na.png\nb.png,1,2",
    "no end of a quote": 'file,label\n"a.png,1',
    "a cell of a megabyte": "file,label\n" + "x" * 2**20 + ",1",
    "zero bytes": b"file,label\n\0,1",
    "not UTF-8": b"file,label\n\xe9,1",
    "UTF-16": "file,label\na,1".encode("utf-16"),
    "a spreadsheet": b"PK\x03\x04" + bytes(100),
    "no file column": "a,label\n1,2",
    "two file columns": "file,image,label\n1,2,3",
    "empty cells": "file,label\n,a\n,b",
    "one class": "file,label\na,x\nb,x",
    "as many classes as rows": "file,label\n" + "\n".join(f"{k},{DIGITS}{k}" for k in range(30)),
    "another split": "file,label,split\na,0,train\nb,1,holdout",
    "joined names with a gap": "file,label\na,x|nan\nb,y|z",
    "nearly bits": "file,x,y\na,0,1\nb,1,0\nc,0,2\nd,1,1",
}
for _name, _content in TABLES.items():
    add("table", _name, lambda place, content=_content: read_cells(place, content))
add("table", "a named pipe", lambda place: read_table(make_pipe(place, "a.csv")))
add("table", "a device", lambda _: read_table(Path("/dev/zero")))
for _cell in ("../../etc/passwd", "a/../../b.png", "/dev/zero", "pipe.png", "x" * 5000, "..\\..\\a.png"):

    def _load_named(place, cell=_cell):
        make_pipe(place, "pipe.png")
        write(place, "a.csv", f"file,label\n{cell},a\n{cell}2,b\n{cell}3,a\n{cell}4,b")
        return load_data(f"table:{place / 'a.csv'}")

    add("file of a table", _cell, _load_named)
CLASSES = {
    "an index of 5,000 digits": f"name,index\nbackground,0\nliver,{DIGITS}",
    "an index below zero": "name,index\nbackground,0\nliver,-1",
    "an index that is another digit": "name,index\nbackground,0\nliver,²",
    "colours of 5,000 digits": f"name,colour\nbackground,0 0 0\nliver,{DIGITS} {DIGITS} {DIGITS}",
    "a colour that is none": "name,colour\nbackground,black\nliver,rgb(",
    "a colour beyond 255": "name,colour\nbackground,black\nliver,0 0 256",
    "the same twice": "name,index\nbackground,0\nbackground,1",
    "one class": "name,index\nbackground,0",
    "no background": "name,index\nliver,1\ntumour,0",
    "no colours": "name,other\na,b",
    "thousands": "name,index\n" + "\n".join(f"c{k},{k}" for k in range(3000)),
}
for _name, _content in CLASSES.items():
    add("classes", _name, lambda place, content=_content: read_classes(write(place, "classes.csv", content)))

# --- images and masks ----------------------------------------------------------------------------------------------

IMAGE, VOLUME = make_signature(), make_signature(image_shape=(4, 28, 28, 1))


def read_file(path, signature):
    """As predict does: the headers first."""
    files = find_files([path], volumes=len(signature.image_shape) == 4)
    check_headers(files, signature, skip_bad=False)
    list(FileReader(files, signature, False, None).read())


for _name, _content in BAD_IMAGES.items():
    add("image", _name, lambda place, n=_name, c=_content: read_file(write(place, n, c), IMAGE))
    if _name.endswith((".nii", ".gz")):
        add("volume", _name, lambda place, n=_name, c=_content: read_file(write(place, n, c), VOLUME))
for _name, _content in BAD_ARRAYS.items():
    if _name != "one value more":  # what stands behind an array harms nobody
        add("volume", _name, lambda place, c=_content: read_file(write(place, "a.npy", c), VOLUME))
for _name in ("pipe.png", "pipe.dcm", "pipe.nii", "1.2.840"):
    add("image", f"a named pipe {_name}", lambda place, n=_name: read_file(make_pipe(place, n), IMAGE))
    add("image", f"a folder with {_name}", lambda place, n=_name: read_file(make_pipe(place, n).parent, IMAGE))
for _name in ("/dev/zero", "/dev/stdin", "/no/where.png"):
    add("image", _name, lambda _, n=_name: read_file(Path(n), IMAGE))


def find_with_masks(place, manifest=None, mask=None, pipe=None):
    for folder in ("images", "masks"):
        for number in range(4):
            pixels = np.full((8, 8), number % 2, np.uint8)
            pixels[0, 0] = 1 - number % 2
            (place / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(place / folder / f"{number}.png")
    if manifest is not None:
        write(place, "manifest.csv", manifest)
    if mask is not None:
        write(place, "masks/1.png", mask)
    if pipe is not None:
        (place / pipe).unlink()
        make_pipe(place, pipe)
    return load_data(f"masks:{place}", size=8) if mask is None else find_masks(place, OwnImages())


for _name, _content in BAD_IMAGES.items():
    if _name.endswith(".png"):
        add("mask", _name, lambda place, c=_content: find_with_masks(place, mask=c))
for _pipe in ("images/2.png", "masks/2.png"):
    add("mask", f"a named pipe {_pipe}", lambda place, p=_pipe: find_with_masks(place, pipe=p))
for _cells in (
    "../../a.png,0.png",
    "0.png,../../../etc/passwd",
    "0.png,/dev/zero",
    "/dev/zero,0.png",
    "0.png,",
    "..,..",
):
    add("manifest", _cells, lambda place, c=_cells: find_with_masks(place, manifest=f"image,mask\n{c}\n"))
add("manifest", "an image twice", lambda place: find_with_masks(place, manifest="image,mask\n0.png,0.png\n0.png,1.png"))

# --- studies and samples -------------------------------------------------------------------------------------------

STUDIES = {
    "model_args null": "networks: {dnn: {model_args: null}}",
    "model_args a list": "networks: {dnn: {model_args: [units, 3]}}",
    "model_args of a protocol": "networks: {dnn: {}}\nprotocols: {p: {model_args: 3}}",
    "a thousand million seeds": "networks: {dnn: {}}\nseeds: 1000000000",
    "seeds beyond 64 bits": "networks: {dnn: {}}\nseeds: 1" + "0" * 100,
    "an exploding grid": "networks: {dnn: {}}\nprotocols: {p: {grid: {"
    + ", ".join(f"model_args.a{k}: [1, 2, 3, 4, 5, 6, 7, 8, 9]" for k in range(12))
    + "}}}",
    "a network that is a folder": "networks: {..: {model: dnn}}",
    "a network without a name": "networks: {'': {model: dnn}}",
    "networks null": "networks: null",
    "a network null": "networks: {dnn: null}",
    "no networks": "networks: {}",
    "networks a list": "networks: [dnn]",
    "an unknown field": "networks: {dnn: {epoch: 3}}",
    "a seed of its own": "networks: {dnn: {seed: 3}}",
    "a grid null": "networks: {dnn: {}}\nprotocols: {p: {grid: null}}",
    "a grid of nothing": "networks: {dnn: {}}\nprotocols: {p: {grid: {epochs: []}}}",
    "a grid of a word": "networks: {dnn: {}}\nprotocols: {p: {grid: {epochs: many}}}",
    "another reference": "networks: {dnn: {}}\nreference: cnn",
    "data a word": "networks: {dnn: {}}\ndata: null",
    "published a word": "networks: {dnn: {}}\npublished: yes please",
}
for _name, _content in STUDIES.items():

    def _lay_out(place, content=_content):
        return lay_out(load_study(str(write(place, "s.yaml", f"title: t\ndata: [phantom-breast]\n{content}"))), place)

    add("study", _name, _lay_out)
MODULES = {
    "a name that is none": ("..x", ""),
    "an empty name": ("", ""),
    "a module that is not there": ("not_there_at_all", ""),
    "no Python": ("broken_a", "def ("),
    "a fault of its own": ("broken_b", "1 / 0"),
    "an end": ("broken_c", "raise SystemExit(0)"),
    "zero bytes": ("broken_d", "\0"),
    "an import of what is not there": ("broken_e", "import not_there_at_all"),
}
for _name, (_module, _content) in MODULES.items():

    def _import_own(place, module=_module, content=_content):
        os.chdir(write(place, f"{module}.py", content).parent if content else place)
        import_modules([module])

    add("module", _name, _import_own)
HEAD = '"split","index","file","patient","digest","label_digest"\n'
SAMPLES = {
    "nothing": "",
    "a header alone": HEAD,
    "another split": HEAD + '"x",0,"a","","0123456789abcdef","0"\n',
    "an index of 5,000 digits": HEAD + f'"test",{DIGITS},"a","","0123456789abcdef","0"\n',
    "an index that is none": HEAD + '"test","x","a","","0123456789abcdef","0"\n',
    "a digest cut off": HEAD + '"test",0,"a","","0123","0"\n',
    "half a row": HEAD + '"test",0',
    "no end of a quote": HEAD + '"test',
    "not text": b"\xff\xfe\xfd",
}
for _name, _content in SAMPLES.items():
    add("samples", _name, lambda place, content=_content: SampleRecord.read_csv(write(place, "samples.csv", content)))


@pytest.fixture
def little_room():
    """Lets this process grow by some gibibytes only, most of which are the room of threads."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ROOM if pages else soft, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def files_of(*folders):
    return {path for folder in folders for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("case", CASES)
def test_each_ends_in_one_line(case, tmp_path, monkeypatch, capsys, little_room):
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


def test_there_are_hundreds():
    assert len(CASES) >= 200


def test_what_looks_odd_but_is_right_is_taken(tmp_path):
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
    assert read_changed(tmp_path, thresholds=[0.5, 1], window=[40, 400]).window == (40, 400)
    assert len(list_operations("+".join(["flip"] * 32))) == 32
