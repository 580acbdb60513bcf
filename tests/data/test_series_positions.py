"""Slices of volumes as series whose positions take the place of times: DICOM series, NIfTI files and tables."""

import json

import numpy as np
import pytest
from dicom_samples import write_dicom, write_enhanced
from series_samples import load, times_of, write_series
from table_samples import warnings_of, write_table

from keras_lnn.data import load_data
from keras_lnn.data.decode import medical_files
from keras_lnn.data.options import OwnImages, Rendering
from keras_lnn.data.sources.series_files import read_file_times
from keras_lnn.data.sources.series_positions import guess_unit, read_positions
from keras_lnn.data.sources.series_sorting import sort_series
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.plots.series import describe_strips
from keras_lnn.saved.signature import Signature
from keras_lnn.trained.samples import LearnedData

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (1.0, 0.0, 0.0, 0.0, 0.8, 0.6)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
UNEVEN = (0.0, 1.0, 3.5, 7.0)
HEADER = ("series", "file", "z_mm", "label", "patient")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def write_slices(folder, positions, orientation=AXIAL, *, change=None, number="1.2.3"):
    """Writes a DICOM series of one grey value per slice, 10 times its place, with names from last to first."""
    pytest.importorskip("pydicom")
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    for place, position in enumerate(positions):
        elements = {
            "ImagePositionPatient": (normal * position + (5.0, -7.0, 30.0)).tolist(),
            "ImageOrientationPatient": list(orientation),
            "SeriesInstanceUID": number,
        }
        if change is not None:
            change(place, elements)
        values = np.full((6, 6), 10 * place, np.int16)
        values[0, 0] = 100 + len(positions)
        write_dicom(folder / f"{99 - place}.dcm", values, WindowCenter=128, WindowWidth=255, **elements)
    return folder


def write_study(root, count=6):
    for name in "ab":
        for number in range(count):
            write_slices(
                root / name / f"s{number}", np.multiply(UNEVEN, 1 + number % 3), number=f"1.{ord(name)}.{number}"
            )
    return root


def test_slices_of_dicom_series_at_uneven_distances_are_read_by_their_positions(tmp_path):
    data = load(write_study(tmp_path / "scans"), steps_along="position")
    assert (data.series.unit, data.image_shape) == ("mm", (4, 8, 8, 1))
    found = times_of(data)
    np.testing.assert_allclose([found["a/s0"], found["b/s1"]], [UNEVEN, np.multiply(UNEVEN, 2)])
    assert "positions are in mm" in data.check.notes
    assert not [warning for warning in warnings_of(data) if "position" in warning]
    first = data.splits["test"].images[0]
    assert first[:, 4, 4, 0].tolist() == [0, 10, 20, 30]
    thinned = times_of(load(tmp_path / "scans", steps_along="position", max_steps=3))
    np.testing.assert_allclose(thinned["a/s0"], [0, 3.5, 7])


def test_positions_are_measured_at_right_angles_to_oblique_slices(tmp_path):
    folder = write_slices(tmp_path / "s", UNEVEN, OBLIQUE)
    frames, positions = read_file_times([folder], None, "position")
    order = np.argsort(positions)
    np.testing.assert_allclose(np.diff(positions[order]), np.diff(UNEVEN))
    assert [frames[place].path.name for place in order] == ["99.dcm", "98.dcm", "97.dcm", "96.dcm"]


def forget(place, elements):
    if place == 2:
        del elements["ImagePositionPatient"]


def turn(place, elements):
    if place == 2:
        elements["ImageOrientationPatient"] = list(CORONAL)


def join(place, elements):
    if place == 2:
        elements["SeriesInstanceUID"] = "9.9"


def test_dicom_series_whose_slices_do_not_say_where_they_lie_are_named_at_once(tmp_path):
    root = write_study(tmp_path / "scans")
    write_slices(root / "a" / "s0", UNEVEN, change=forget)
    write_slices(root / "b" / "s1", UNEVEN, change=turn)
    write_slices(root / "b" / "s2", UNEVEN, change=join)
    message = (
        r"must say where each image lies\. Received: slices without a position in the patient: a/s0; slices of"
        r" different sizes or directions: b/s1; slices of 2 series in one folder: b/s2\. Write a table with columns"
        r" series, file, position and label"
    )
    with pytest.raises(InputError, match=message):
        load(root, steps_along="position")


def test_slices_in_any_order_or_at_one_position_are_reported():
    def describe(*positions):
        found = sort_series(["s"], [list(range(len(positions)))], [np.array(positions)], "mm", 32)
        return list(found.samples[0].frames), found.warnings

    assert describe(0.0, 2.0, 1.0) == ([0, 2, 1], ["1 series is not listed in the order of position, and is sorted: s"])
    assert describe(2.0, 1.0, 0.0) == ([2, 1, 0], [])  # from the head to the feet
    assert describe(0.0, 1.0, 1.0)[1] == ["1 series has several images at one position: s"]
    assert describe(0.0, np.nan, 1.0)[1] == ["1 series has images without a position, which are left out: s"]


def test_an_enhanced_file_is_a_series_of_its_slices(tmp_path):
    pytest.importorskip("pydicom")
    values = np.stack([np.full((6, 6), value, np.int16) for value in (0, 50, 100)])
    path = tmp_path / "scan.dcm"
    write_enhanced(path, values, [(0, 0, z) for z in (4.0, 0.0, 1.0)], AXIAL, (1, 1), slope=2, intercept=-10)
    frames, positions = read_file_times([path], None, "position")
    assert positions.tolist() == [4, 0, 1]
    assert str(frames[1]).endswith("scan.dcm slice 2")
    # The values are in the units of the file, from -10 to 190.
    assert medical_files.read_range(path, [1, 2], are_slices=True) == (90, 190)
    shown = medical_files.read_slice(path, (90, 200), frames[1].choose(Rendering()).frame)
    assert shown.min() == shown.max() == 128


@pytest.fixture
def volumes(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for name in "ab":
        for k in range(6):
            (tmp_path / "volumes" / name).mkdir(parents=True, exist_ok=True)
            values = (10 * np.arange(5) + k).astype(np.int16) * np.ones((6, 7, 1), np.int16)
            values[:, -1] = 255
            # The file lists its slices from the head to the feet, and its rows from the front.
            image = nibabel.Nifti1Image(values[:, :, ::-1], np.diag([1.0, 1.0, -2.5, 1.0]))
            image.header.set_xyzt_units("mm")
            nibabel.save(image, tmp_path / "volumes" / name / f"{k}.nii.gz")
    return tmp_path / "volumes"


def test_a_nifti_file_of_three_dimensions_is_a_series_of_its_slices(volumes):
    data = load(volumes, steps_along="position", window=(127.5, 255.0))
    assert (data.series.unit, data.image_shape) == ("mm", (5, 8, 8, 1))
    assert times_of(data)["a/3.nii.gz"] == [0, 2.5, 5, 7.5, 10]
    split = next(part for part in data.splits.values() if "a/3.nii.gz" in part.names)
    series = split.images[split.names.index("a/3.nii.gz")]
    assert series[:, 6, 4, 0].tolist() == [3, 13, 23, 33, 43]
    # The rows of images begin at the front, as those of volumes.
    assert (series[:, 0, 4, 0] == 255).all()
    volume = medical_files.read_volume(volumes / "a" / "3.nii.gz", (5, 7, 6, 1), Rendering(window=(127.5, 255.0)))
    np.testing.assert_array_equal(volume[:, 5, 4, 0], series[:, 6, 4, 0])
    with pytest.raises(InputError, match=r"in the folder of its series.*read the slices of volumes with --steps-along"):
        load(volumes)


def test_files_in_time_have_no_positions(tmp_path):
    pytest.importorskip("pydicom")
    path = write_dicom(tmp_path / "a.dcm", np.zeros((3, 4, 4), np.int16), FrameTime="40")
    assert read_file_times([path], None, "position") == "frames in time, which have no positions"


def test_a_nifti_file_that_does_not_state_its_distances_is_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii")
    assert (
        read_file_times([tmp_path / "a.nii"], None, "position") == "slices at a distance that the file does not state"
    )


def test_a_column_of_positions_takes_the_place_of_times(tmp_path):
    table = write_series(tmp_path, header=HEADER)
    data = load(table, steps_along="position")
    assert (data.series.unit, times_of(data)["s1"]) == ("mm", [0, 1.5, 3, 4.5])
    assert times_of(load(table, steps_along="position", position_column="Z_MM")) == times_of(data)
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    centimetres = write_table(tmp_path / "cm.csv", (*HEADER[:2], "Slice position (cm)", *HEADER[3:]), rows)
    data = load(centimetres, steps_along="position")
    assert times_of(data)["s1"] == [0, 15, 30, 45]
    assert "positions are in mm, converted from cm" in data.check.notes


def test_a_table_can_name_the_folders_of_dicom_series(tmp_path):
    root = write_study(tmp_path / "scans")
    rows = [(f"{name}/s{k}", name, f"{name}{k}") for name in "ab" for k in range(6)]
    data = load(write_table(root / "scans.csv", ("file", "label", "patient"), rows), steps_along="position")
    np.testing.assert_allclose(times_of(data)["a/s0"], UNEVEN)


@pytest.mark.parametrize(
    ("column", "unit"), [("z", "mm"), ("position", "mm"), ("zcm", "cm"), ("SliceLocation_cm", "cm"), ("z [cm]", "cm")]
)
def test_the_unit_in_the_name_of_a_column_of_positions(column, unit):
    assert guess_unit(column) == unit


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["", "nan"], "A column of positions must hold some. Received: z_mm"),
        (["1", "inf"], r"A position must be finite\. Received: inf \(line 1\)"),
        (
            ["1", "top", "2024-05-17"],
            r"Every position must be a number\. Received: top \(line 1\), 2024-05-17 \(line 2\)",
        ),
    ],
)
def test_bad_positions_are_one_line(cells, message):
    with pytest.raises(InputError, match=message):
        read_positions(cells, [f"line {row}" for row in range(len(cells))], "z_mm")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps_along": "position", "time_unit": "minutes"}, "Received: times in minutes with --steps-along position"),
        (
            {"steps_along": "position", "time_column": "z_mm"},
            "Received: --time-column z_mm with --steps-along position",
        ),
        ({"position_column": "z_mm"}, r"z_mm with --steps-along time\. Leave one of them out, or add --steps-along"),
        ({"time_unit": "mm"}, "Received: times in mm with --steps-along time"),
        ({"steps_along": "position", "series_column": "file"}, "must have several images"),
        ({}, "must have a column of times"),
    ],
)
def test_options_of_times_and_positions_are_not_mixed(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        load(write_series(tmp_path, header=HEADER), **options)


def test_a_model_of_positions_reads_other_series_by_their_positions(tmp_path):
    signature = Signature(
        **{"model": "lnn-series", "model_args": {}, "task": "binary", "class_names": ("a", "b"), "size": 8},
        **{"image_shape": (4, 8, 8, 1), "data": "series:own", "checksum": "", "licence": "", "parameters": 1},
        **{"seed": 0, "best_epoch": 1, "trained_by": "test", "time_unit": "mm", "median_interval": 2.5},
        own=OwnImages(steps_along="position"),
    )
    saved = Signature.from_json(json.loads(json.dumps(signature.to_json())))
    assert saved == signature
    name = f"series:{write_series(tmp_path, header=HEADER)}"
    data = load_data(name, LearnedData(saved, None, None).reading(name, DataOptions()), plan="whole")
    assert (data.series.unit, times_of(data)["s0"]) == ("mm", [0, 1.5, 3])
    assert describe_strips(data.series) == ", a row of frames with positions in mm"
    content = signature.to_json() | {"steps_along": "slices"}
    with pytest.raises(ValueError, match="steps_along must be one of time, position"):
        Signature.from_json(content)


def test_pictures_without_positions_need_a_column(tmp_path):
    table = write_series(tmp_path)
    with pytest.raises(InputError, match="must have a column of positions, named such as position, slice_position or"):
        load(table, steps_along="position")
