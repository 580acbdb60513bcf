"""Invalid files of arrays, signatures, tables, images, masks and manifests."""

import json
from pathlib import Path

import numpy as np
from hostile_files import BAD_ARRAYS, BAD_IMAGES, DIGITS, add, make_pipe, npy, pack, write
from PIL import Image
from quick_predictors import make_signature

from keras_lnn.data.catalog import get_entry
from keras_lnn.data.options import OwnImages
from keras_lnn.data.sources.loading import load_data
from keras_lnn.data.sources.mask_classes import read_classes
from keras_lnn.data.sources.mask_finding import find_masks
from keras_lnn.data.sources.medmnist import load_medmnist
from keras_lnn.data.sources.table_columns import read_columns
from keras_lnn.data.sources.table_file import read_table
from keras_lnn.saved.image_files import FileReader, check_headers, find_files
from keras_lnn.saved.signature import SAMPLES_FILE, SIGNATURE_FILE, read_samples, read_signature

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
    "positive_class": ["a", "c", ["a"], 1],
    "threshold_rule": [3, [], "x", "sensitivity=9", {}],
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

IMAGE, VOLUME = make_signature(), make_signature(image_shape=(4, 28, 28, 1))


def read_file(path, signature):
    """Reads as predict does: the headers first."""
    files = find_files([path], volumes=len(signature.image_shape) == 4)
    check_headers(files, signature, skip_bad=False)
    list(FileReader(files, signature, False, None).read())


for _name, _content in BAD_IMAGES.items():
    add("image", _name, lambda place, n=_name, c=_content: read_file(write(place, n, c), IMAGE))
    if _name.endswith((".nii", ".gz")):
        add("volume", _name, lambda place, n=_name, c=_content: read_file(write(place, n, c), VOLUME))
for _name, _content in BAD_ARRAYS.items():
    if _name != "one value more":  # bytes after an array do no harm
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
