"""Names in tables never act as spreadsheet formulas, and are read back unchanged."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from run_samples import binary_probabilities, make_truth, write_run

from keras_lnn.comparing.runs import load_runs
from keras_lnn.data.samples import SampleRecord
from keras_lnn.files.csv_tables import plain_cell, safe_cell, to_csv

FORMULAS = ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-1"]
HARMLESS = ["a.png", "", "'a", "1-2", "a=b", "é+"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_in_csv_are_quoted_and_read_back(text):
    assert safe_cell(text) == f"'{text}"
    assert plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_is_unchanged(text):
    assert safe_cell(text) == plain_cell(text) == text


def test_every_text_of_a_table_is_safe_and_numbers_are_numbers():
    columns = {"=a": FORMULAS, "b": np.arange(8) - 4, "c": [-0.5, float("nan")] * 4, "d": [None, *FORMULAS[1:]]}
    rows = list(csv.reader(io.StringIO(to_csv(pd.DataFrame(columns), index=False), newline="")))
    assert rows[0] == ["'=a", "b", "c", "d"]
    assert [row[0] for row in rows[1:]] == [f"'{text}".replace("\r", "\\r") for text in FORMULAS]
    assert [row[1] for row in rows[1:4]] == ["-4", "-3", "-2"]
    assert rows[1][2:] == ["-0.5", ""]
    index = pd.DataFrame({"=a": [1.0]}, index=pd.Index(["=b"], name="class"))
    assert to_csv(index, index=True) == "class,'=a\n'=b,1.0\n"


def test_the_samples_of_a_run_are_read_back(tmp_path):
    digests = [f"{number:064x}" for number in range(3)]
    record = SampleRecord(["train", "val", "test"], digests, ["0"] * 3, ["=1.png", "'=1.png", "a"], ["-1", "-2", "'-1"])
    (tmp_path / "samples.csv").write_text(record.to_csv(), encoding="utf-8")
    assert SampleRecord.read_csv(tmp_path / "samples.csv") == record
    assert '"\'=1.png"' in record.to_csv()


def test_files_and_patients_of_a_run_are_read_back(tmp_path):
    truth = make_truth(20, 10)
    names, groups = [f"={row}.png" for row in range(20)], [f"-{row % 8}" for row in range(20)]
    path = write_run(tmp_path / "run", truth, binary_probabilities(truth, 2.0, 0), names=names, groups=groups)
    # As a version wrote it that did not know formulas.
    table = pd.read_csv(path / "predictions.csv", dtype=str, keep_default_na=False)
    (path / "predictions.csv").write_text(to_csv(table))
    (run,) = load_runs([path])
    assert (list(run.files), list(run.groups)) == (names, groups)
