"""Finding the patient of each image: from DICOM files or columns, with a warning where it is unknown."""

import stat

import numpy as np
import pytest
from dicom_samples import write_dicom
from table_samples import load, write_images, write_table

from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SampleRecord
from keras_lnn.data.sources.folders import load_folder
from keras_lnn.data.sources.patients import find_patients
from keras_lnn.errors import InputError

PATIENTS = [f"SECRET-{k:03}" for k in range(12)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def write_scans(root, number_of=lambda k: PATIENTS[k // 5], folder_of=lambda k: "ab"[k % 2], count=60):
    """Five images of each of twelve patients."""
    for k in range(count):
        folder = root / folder_of(k)
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(k).integers(0, 200, (8, 8)).astype(np.int16)
        write_dicom(folder / f"{k:03}.dcm", values, PatientID=number_of(k))
    return root


def patient_of(name):
    return int(name[-7:-4]) // 5


def test_dicom_files_of_one_patient_stay_together_under_a_pseudonym(tmp_path):
    root = write_scans(tmp_path / "set")
    data = load_folder(root, Reading(size=8))
    for split in data.splits.values():
        assert len(set(zip(split.groups, map(patient_of, split.names), strict=True))) == len(set(split.groups))
    patients = [set(map(patient_of, split.names)) for split in data.splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 12
    assert data.check.patients == {name: len(set(split.groups)) for name, split in data.splits.items()}
    assert not any("same patient" in warning for warning in data.check.warnings)
    assert "patients are those of the PatientID in 60 of 60 files, 12 in all" in data.check.notes
    reported = repr((data.check, [split.groups for split in data.splits.values()])) + SampleRecord.of(data).to_csv()
    assert "SECRET" not in reported
    key = tmp_path / "cache" / "patients.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert load_folder(root, Reading(size=8)).splits["test"].groups == data.splits["test"].groups
    # Another user has another key: neither names nor the checksum identify the patient.
    key.unlink()
    other = load_folder(root, Reading(size=8))
    assert other.checksum == data.checksum
    assert not set(other.splits["test"].groups) & set(data.splits["test"].groups)
    assert [other.splits[name].names for name in other.splits] == [data.splits[name].names for name in data.splits]


@pytest.mark.parametrize("number", ["", "ANONYMOUS", "0000", "one for all"])
def test_meaningless_patient_numbers_are_not_used(tmp_path, number):
    data = load_folder(write_scans(tmp_path / "set", lambda k: number, count=20), Reading(size=8))
    assert data.splits["train"].groups is None
    reason = "of 1 patient only" if number == "one for all" else "missing"
    assert f"the PatientID of the DICOM files is {reason}, so it is not used" in data.check.notes
    assert any("it is not known which images show the same patient" in warning for warning in data.check.warnings)


def test_a_file_without_a_patient_number_is_its_own_patient(tmp_path):
    data = load_folder(write_scans(tmp_path / "set", lambda k: PATIENTS[k // 5] if k < 50 else ""), Reading(size=8))
    assert sum(data.check.patients.values()) == 20
    assert any("each of the 10 other files counts as a separate patient" in note for note in data.check.notes)


def test_own_splits_that_divide_the_patients_of_dicom_files_stay_and_are_reported(tmp_path):
    root = write_scans(tmp_path / "set", folder_of=lambda k: f"{('train', 'val', 'test')[k // 2 % 3]}/{'ab'[k % 2]}")
    data = load_folder(root, Reading(size=8))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 20, "val": 20, "test": 20}
    (warning,) = data.check.warnings
    assert warning.startswith("12 patients are in two splits, so the results are too good. Correct the splits")


def test_damaged_dicom_files_are_patients_of_their_own(tmp_path):
    root = write_scans(tmp_path / "set", count=20)
    (root / "a" / "000.dcm").write_bytes(b"no DICOM file")
    found = find_patients(sorted(root.rglob("*.dcm")))
    assert len(set(found.names)) == 5


def write_patients(root, header, cell_of, **columns):
    write_images(root / "images", 30)
    rows = [(f"{k:03}.png", "ab"[k // 2 % 2], *cell_of(k)) for k in range(30)]
    return write_table(root / "t.csv", ("file", "label", *header), rows)


@pytest.mark.parametrize("column", ["Patient No", "patient_number", "MRN", "subject_no", "case id", "Participant-ID"])
def test_columns_that_look_like_patients_are_used(tmp_path, column):
    table = write_patients(tmp_path, (column,), lambda k: (f"n{k // 2}",))
    data = load(table)
    groups = [set(split.groups) for split in data.splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 15
    assert f"group: {column}" in data.check.notes[0]
    assert not any("same patient" in warning for warning in data.check.warnings)
    # A run of a version that did not know the column goes on with the same data.
    plain = load(write_table(tmp_path / "plain.csv", ("file", "label"), [row[:2] for row in read(table)]))
    assert plain.checksum == data.checksum


def read(table):
    return [line.split(",") for line in table.read_text().splitlines()[1:]]


@pytest.mark.parametrize(
    ("header", "cell_of", "note"),
    [
        (("case",), lambda k: (("control", "case", "other")[k % 3],), "columns ignored: case"),
        (("patient_no",), lambda k: (f"n{k}" if k else "",), "columns ignored: patient_no"),
        (("patient age",), lambda k: (f"{30 + k}",), "columns ignored: patient age"),
        (
            ("mrn", "case_no"),
            lambda k: (f"n{k // 2}", f"c{k // 3}"),
            "may name patients: mrn, case_no; choose one with",
        ),
    ],
)
def test_columns_that_cannot_be_patients_are_ignored_and_reported(tmp_path, header, cell_of, note):
    data = load(write_patients(tmp_path, header, cell_of))
    assert data.splits["train"].groups is None
    assert any(note in text for text in data.check.notes)
    (warning,) = [text for text in data.check.warnings if "same patient" in text]
    assert warning.endswith("Add a column patient, or name yours with --group-column")


def test_a_named_patient_column_must_not_divide_patients(tmp_path):
    splits = ("train", "val", "test")
    table = write_patients(tmp_path, ("mrn", "split"), lambda k: (f"n{k // 3}", splits[k // 2 % 3]))
    (warning,) = [text for text in load(table).check.warnings if "patients" in text]
    assert warning.startswith("10 patients are in two splits, so the results are too good. Correct")
    with pytest.raises(InputError, match="All images of a group must be in one split"):
        load(table, group_column="mrn")


def test_patients_are_not_mentioned_where_the_user_made_all_splits(tmp_path):
    table = write_patients(tmp_path, ("split",), lambda k: (("train", "val", "test")[k // 2 % 3],))
    assert load(table).check.warnings == ()


def test_a_truncated_key_is_replaced_and_an_unsaved_one_is_used_once(tmp_path, monkeypatch):
    files = sorted(write_scans(tmp_path / "set", count=20).rglob("*.dcm"))
    first = find_patients(files).names
    assert find_patients(files).names == first
    key = tmp_path / "cache" / "patients.key"
    key.write_bytes(b"cut off")
    second = find_patients(files).names
    assert second == find_patients(files).names != first
    assert [path.name for path in key.parent.iterdir()] == [key.name]
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "file"))
    assert len(set(find_patients(files).names)) == 4
