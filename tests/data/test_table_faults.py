"""Every damage to a table or its images is one sentence, through the real loader and through the command."""

import re
import sys

import pytest
from table_samples import load, write_classes, write_table

import train
from keras_lnn.cli.parsing import run_main
from keras_lnn.errors import InputError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def replace(old, new, count=1):
    def damage(root):
        table = root / "labels.csv"
        text = table.read_text()
        assert old in text
        table.write_text(text.replace(old, new, count))

    return damage


def write_bits(root, **cells):
    """Returns two binary columns, with some cells of row 3 replaced."""
    rows = [[f"{k:03}.png", str(k % 2), str(k // 2 % 2)] for k in range(20)]
    for column, cell in cells.items():
        rows[3][("file", "mass", "edema").index(column)] = cell
    write_table(root / "labels.csv", ("file", "mass", "edema"), rows)


def bits(**cells):
    return lambda root: write_bits(root, **cells)


def write_bytes(content):
    return lambda root: (root / "labels.csv").write_bytes(content)


def add_column(name, cell_of):
    def damage(root):
        lines = (root / "labels.csv").read_text().splitlines()
        rows = [f"{line},{cell_of(k)}" for k, line in enumerate(lines[1:])]
        (root / "labels.csv").write_text("\n".join([f"{lines[0]},{name}", *rows]))

    return damage


def both(*damages):
    return lambda root: [damage(root) for damage in damages]


def every_image(root, content=b"no image"):
    for file in (root / "images").iterdir():
        file.write_bytes(content)


def make_folder_of_table(root):
    (root / "labels.csv").unlink()
    (root / "labels.csv").mkdir()


def folder_as_image(root):
    (root / "images" / "d.png").mkdir()


def image_dir_gone(root):
    (root / "images").rename(root / "elsewhere")


def two_of_a_name(root):
    for folder in ("a", "b"):
        (root / "images" / folder).mkdir()
        (root / "images" / folder / "x.png").write_bytes((root / "images" / "000.png").read_bytes())
    replace("000.png", "x.png")(root)


FAULTS = {
    "no file column": (
        replace("file,", "thing,"),
        {},
        r"must have a file column.*columns thing, label in .*--file-column",
    ),
    "two file columns": (add_column("path", str), {}, r"one file column.*file, path.*--file-column"),
    "two class columns": (add_column("diagnosis", str), {}, r"one class column.*label, diagnosis.*--label-columns"),
    "two group columns": (
        both(add_column("group", str), add_column("patient", str)),
        {},
        r"one group column.*group, patient",
    ),
    "one class in two spellings": (
        replace("003.png,malignant", "003.png,Malignant"),
        {},
        r"have one spelling\. Received: Malignant and malignant in column label of .*labels\.csv\. Use one spelling",
    ),
    "numbers as a spreadsheet writes them": (
        lambda root: write_table(
            root / "labels.csv",
            ("file", "label"),
            [(f"{k:03}.png", ("0", "1", "0.0", "1.0")[k % 4]) for k in range(20)],
        ),
        {},
        r"have one spelling\. Received: 0 and 0\.0, 1 and 1\.0 in column label",
    ),
    "one of joined names in two spellings": (
        replace("003.png,malignant", "003.png,benign|benign  cyst|Benign cyst"),
        {},
        r"have one spelling\. Received: Benign cyst and benign  cyst in column label",
    ),
    "no labels": (replace("label", "age"), {}, r"must have a class column.*columns file, age"),
    "unknown file": (replace("003.png", "nowhere.png"), {}, r"1 of 20 that cannot be read.*nowhere\.png \(missing\)"),
    "all files missing": (every_image, {"image_dir": "empty"}, r"20 of 20.*--image-dir"),
    "truncated": (
        lambda root: (root / "images" / "003.png").write_bytes((root / "images" / "004.png").read_bytes()[:50]),
        {},
        r"003\.png \(truncated\)",
    ),
    "renamed text": (lambda root: (root / "images" / "003.png").write_text("a,b"), {}, r"003\.png \(not an image\)"),
    "no image readable": (every_image, {}, r"20 of 20 that cannot be read"),
    "no image readable though skipped": (every_image, {"skip_bad": True}, r"20 of 20 that cannot be read"),
    "text in a bit": (bits(mass="yes"), {}, r"0 and 1 only\. Received: yes \(line 5\) in column mass"),
    "two in a bit": (bits(mass="2"), {}, r"0 and 1 only\. Received: 2 \(line 5\)"),
    "negative bit": (bits(edema="-1"), {}, r"0 and 1 only\. Received: -1 \(line 5\) in column edema"),
    "empty bit": (bits(edema=""), {}, r"0 and 1 only\. Received: an empty cell \(line 5\)"),
    "NaN in a bit": (bits(edema="NaN"), {}, r"0 and 1 only\. Received: NaN \(line 5\)"),
    "bad bit in a named column": (bits(mass="x"), {"label_columns": ("mass", "edema")}, r"Received: x \(line 5\)"),
    "empty label": (replace("003.png,malignant", "003.png,"), {}, r"must name a label.*an empty cell \(line 5\)"),
    "NaN label": (replace("003.png,malignant", "003.png,nan"), {}, r"must name a label.*nan \(line 5\)"),
    "empty file cell": (replace("003.png", ""), {}, r"must name a file.*an empty cell \(line 5\)"),
    "empty joined name": (
        both(replace("000.png,benign", "000.png,benign|malignant"), replace("003.png,malignant", "003.png,nan|benign")),
        {},
        r"names joined by \|.*'nan\|benign' in column label, line 5",
    ),
    "no finding with a finding": (
        replace("003.png,malignant", "003.png,No Finding|malignant"),
        {},
        r"No Finding alone.*line 5",
    ),
    "conflicting rows": (
        replace("002.png,benign", "001.png,benign"),
        {},
        r"must agree.*001\.png with two labels",
    ),
    "conflicting splits of one file": (
        both(replace("002.png,benign", "000.png,benign"), add_column("split", lambda k: ("train", "val")[k // 2 % 2])),
        {},
        r"000\.png with two splits \(lines 2 and 4\)",
    ),
    "group in two splits": (
        both(
            add_column("split", lambda k: ("train", "val")[k // 2 % 2]),
            add_column("patient", lambda k: f"p{k // 2 // 3}"),
        ),
        {},
        r"All images of a group must be in one split.*patient p0 \(train and val\)",
    ),
    "empty group": (add_column("patient", lambda k: "" if k == 3 else k), {}, r"must name a group.*line 5"),
    "too few groups": (add_column("patient", lambda k: k // 10), {}, r"at least 3 groups.*Received: 2"),
    "class in too few groups": (
        add_column("patient", lambda k: "x" if k % 2 else k),
        {},
        r"Every class must have images in .*none of malignant",
    ),
    "unknown split": (
        add_column("split", lambda k: "holdout" if k == 3 else "train"),
        {},
        r"train, val or test.*holdout",
    ),
    "empty split": (add_column("split", lambda k: "" if k == 3 else "train"), {}, r"train, val or test.*an empty cell"),
    "no train": (add_column("split", lambda k: "test"), {}, r"split train.*only test"),
    "class not in a split": (
        add_column("split", lambda k: "val" if k in (0, 2, 4) else "train"),
        {},
        r"must have images in val.*none of malignant",
    ),
    "one class": (replace("malignant", "benign", -1), {}, r"at least 2 classes.*only benign"),
    "small class": (replace("003.png,malignant", "003.png,rare"), {}, r"too few of rare \(1\)"),
    "a class an image": (
        lambda root: write_table(root / "labels.csv", ("file", "label"), [(f"{k:03}.png", k / 7) for k in range(40)]),
        {},
        r"a few classes.*40 different cells in column label",
    ),
    "empty table": (write_bytes(b""), {}, r"which is empty"),
    "blank table": (write_bytes(b" \n,,\n"), {}, r"which is empty"),
    "only a header": (write_bytes(b"file,label\n"), {}, r"rows below its header"),
    "latin-1": (
        write_bytes("file,label\na.png,bösartig\n".encode("latin-1")),
        {},
        r"UTF-8.*another encoding in line 2",
    ),
    "UTF-16": (write_bytes("file,label\na.png,b\n".encode("utf-16")), {}, r"UTF-8.*UTF-16"),
    "spreadsheet": (write_bytes(b"PK\x03\x04rest"), {}, r"UTF-8.*spreadsheet"),
    "binary": (write_bytes(b"file,label\n\0\0"), {}, r"bytes that are no text"),
    "ragged row": (replace("003.png,malignant", "003.png,malignant,x"), {}, r"line 5 with 3\."),
    "short rows": (replace(",malignant", "", -1), {}, r"line 3 with 1 and 9 more rows"),
    "open quote": (replace("003.png", '"003.png'), {}, r"must be rows of cells"),
    "doubled column": (replace("file,label", "label,label"), {}, r"own name.*label more than once"),
    "no image folder": (image_dir_gone, {}, r"--image-dir must be the folder.*not there"),
    "image folder is a file": (lambda root: None, {"image_dir": "labels.csv"}, r"--image-dir.*which is a file"),
    "no table": (lambda root: (root / "labels.csv").unlink(), {}, r"The table must exist.*labels\.csv"),
    "table is a folder": (make_folder_of_table, {}, r"which is a folder.*folder:PATH"),
    "above the folder": (replace("003.png", "../../x.png"), {}, r"must lie in the folder.*\.\./\.\./x\.png \(line 5\)"),
    "a name that fits two": (
        two_of_a_name,
        {},
        r"must match one file.*x\.png \(line 2\), which matches a/x\.png, b/x\.png",
    ),
    "folder as an image": (both(folder_as_image, replace("003.png", "d.png")), {}, r"is a directory"),
    "unknown label column": (
        lambda root: None,
        {"label_columns": ("labl",)},
        r"--label-columns.*labl\. Did you mean label",
    ),
    "unknown file column": (lambda root: None, {"file_column": "x"}, r"--file-column must name a column.*Received: x"),
    "unknown split column": (lambda root: None, {"split_column": "x"}, r"--split-column must name a column"),
    "unknown group column": (lambda root: None, {"group_column": "x"}, r"--group-column must name a column"),
    "label column of another role": (
        lambda root: None,
        {"label_columns": ("file",)},
        r"no column that has another role.*file",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_reported_in_one_line(tmp_path, fault):
    write_classes(tmp_path)
    (tmp_path / "empty").mkdir()
    damage, options, message = FAULTS[fault]
    damage(tmp_path)
    if "image_dir" in options:
        options = options | {"image_dir": tmp_path / options["image_dir"]}
    with pytest.raises(InputError) as caught:
        load(tmp_path / "labels.csv", **options)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


@pytest.mark.parametrize("fault", ["no file column", "truncated", "group in two splits", "latin-1", "no table"])
def test_the_command_reports_a_fault_in_one_line(tmp_path, fault, monkeypatch, capfd):
    write_classes(tmp_path)
    FAULTS[fault][0](tmp_path)
    run_dir = tmp_path / "run"
    arguments = ["--data", f"table:{tmp_path / 'labels.csv'}", "--image-dir", str(tmp_path / "images"), "--size", "8"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, "--run-dir", str(run_dir)])
    with pytest.raises(SystemExit) as caught:
        run_main(train.main)
    errors = capfd.readouterr().err.splitlines()
    assert caught.value.code == 2
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert re.search(FAULTS[fault][2], errors[0])
    assert not run_dir.exists()
