"""Volumes from DICOM slices: ordered by position, oriented as NIfTI volumes, and refused where invalid."""

import numpy as np
import pytest
from dicom_samples import write_dicom, write_enhanced
from table_samples import write_table

from keras_lnn.data.decode import medical_files
from keras_lnn.data.decode.dicom_volumes import digest_series
from keras_lnn.data.decode.images import decode_images, read_image
from keras_lnn.data.options import OwnImages, Rendering
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.folders import load_folder
from keras_lnn.data.sources.tables import load_table
from keras_lnn.errors import InputError

pytest.importorskip("pydicom")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
SPACING = (0.5, 0.8, 2.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def make_values(seed=0, shape=(5, 6, 7)):
    return np.random.default_rng(seed).integers(-500, 500, shape).astype(np.int16)


def places(orientation, count, distance=SPACING[2]):
    normal = np.cross(orientation[:3], orientation[3:])
    return [(normal * distance * k + (10.0, -20.0, 30.0)).tolist() for k in range(count)]


def write_series(folder, values, orientation=AXIAL, order=None, *, positions=None, number="1.2.3", **elements):
    """Writes one file per slice, with names in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    positions = positions or places(orientation, len(values))
    order = np.random.default_rng(1).permutation(len(values)) if order is None else order
    for name, place in enumerate(order):
        write_dicom(
            folder / f"{name:03}.dcm",
            values[place],
            ImagePositionPatient=positions[place],
            ImageOrientationPatient=list(orientation),
            PixelSpacing=list(SPACING[:2]),
            SeriesInstanceUID=number,
            **elements,
        )
    return folder


def write_same_nifti(path, values, orientation=AXIAL):
    """The scan as a NIfTI file: its axes are columns, rows and slices, its directions to the right and to the front."""
    nibabel = pytest.importorskip("nibabel")
    along_row, along_column = np.reshape(orientation, (2, 3))
    steps = [along_row * SPACING[1], along_column * SPACING[0], np.cross(along_row, along_column) * SPACING[2]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(steps).T * [[-1], [-1], [1]]
    affine[:3, 3] = (-10.0, 20.0, 30.0)
    nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), affine), path)
    return path


def read(path, shape=(6, 9, 8), fit="stretch", window=(0.0, 1000.0)):
    return medical_files.read_volume(path, (*shape, 1), Rendering(fit, window))[..., 0]


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL], ids=["axial", "sagittal"])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("kind", ["series", "enhanced"])
def test_dicom_slices_give_the_same_volume_as_nifti(tmp_path, orientation, fit, kind):
    values = make_values()
    if kind == "series":
        path = write_series(tmp_path / "scan", values, orientation)
    else:
        order = [3, 1, 0, 4, 2]
        positions = [places(orientation, 5)[k] for k in order]
        path = write_enhanced(tmp_path / "scan.dcm", values[order], positions, orientation, SPACING[:2])
    nifti = write_same_nifti(tmp_path / "scan.nii", values, orientation)
    assert medical_files.is_volume(path)
    assert np.abs(read(path, fit=fit).astype(int) - read(nifti, fit=fit)).max() <= 1
    grid, expected = medical_files.native_grid(path), medical_files.native_grid(nifti)
    assert grid.shape == expected.shape
    assert grid.spacing == pytest.approx(expected.spacing)


def test_slices_are_rescaled_windowed_and_inverted_as_their_files_say(tmp_path):
    values = make_values()
    plain = read(write_series(tmp_path / "plain", values))
    scaled = write_series(tmp_path / "scaled", values + 600, RescaleSlope=2, RescaleIntercept=-1200)
    assert np.array_equal(read(scaled, window=(0.0, 2000.0)), plain)
    own = write_series(tmp_path / "own", values, WindowCenter=0, WindowWidth=1000)
    assert np.array_equal(read(own, window=None), plain)
    inverted = write_series(tmp_path / "inverted", values, photometric="MONOCHROME1")
    assert np.abs(read(inverted).astype(int) - (255 - plain.astype(int))).max() <= 1
    positions = places(AXIAL, 5)
    reported = {"slope": 2, "intercept": -1200, "window": (0, 2000)}
    enhanced = write_enhanced(tmp_path / "e.dcm", values + 600, positions, AXIAL, SPACING[:2], **reported)
    assert np.array_equal(read(enhanced, window=None), plain)


@pytest.mark.parametrize(("frame", "place"), [("first", 0), ("middle", 2), ("5", 4)])
def test_one_slice_can_be_chosen_by_order_of_position(tmp_path, frame, place):
    values = make_values()
    folder = write_series(tmp_path / "scan", values)
    assert not medical_files.is_volume(folder, frame)
    rendering = Rendering(window=(0.0, 1000.0), frame=frame)
    one = read_image(write_dicom(tmp_path / "one.dcm", values[place]), side=(6, 7), channels=1, rendering=rendering)
    assert np.array_equal(read_image(folder, side=(6, 7), channels=1, rendering=rendering), one)


def test_the_mean_of_slices_can_be_read(tmp_path):
    values = make_values()
    rendering = Rendering(window=(0.0, 1000.0), frame="mean")
    image = read_image(write_series(tmp_path / "scan", values), side=(6, 7), channels=1, rendering=rendering)
    expected = (values.mean(axis=0) + 500) / 1000 * 255
    assert np.abs(image[..., 0] - expected).max() <= 1


def fault_of(path, frame=None):
    shape = (1, 4, 8, 8, 1) if frame is None else (1, 8, 8, 1)
    (fault,) = decode_images([path], np.zeros(shape, np.uint8), Rendering(frame=frame)).faults.values()
    return fault


def test_invalid_dicom_series_are_reported(tmp_path):
    values, positions = make_values(), places(AXIAL, 5)
    gap = [*positions[:3], *places(AXIAL, 9)[7:]]
    folder = write_series(tmp_path / "gap", values, positions=gap)
    assert fault_of(folder) == "slices from 2 to 10 mm apart, so that some are missing"
    folder = write_series(tmp_path / "times", values, positions=[*positions[:3], *positions[1:3]])
    assert fault_of(folder) == "several slices at one position, such as several time points"
    folder = write_series(tmp_path / "two", values)
    write_series(tmp_path / "other", values, number="9.9")
    (tmp_path / "other" / "001.dcm").rename(folder / "002b.dcm")
    assert fault_of(folder) == "slices of 2 series in one folder"
    folder = write_series(tmp_path / "sizes", values)
    write_series(tmp_path / "small", values[:, :4])
    (tmp_path / "small" / "001.dcm").rename(folder / "001.dcm")
    assert fault_of(folder) == "slices of different sizes or directions"
    (tmp_path / "empty").mkdir()
    assert fault_of(tmp_path / "empty", "first") == "a folder without DICOM files"
    assert fault_of(write_series(tmp_path / "good", values), "9") == "5 frames, so that there is no frame 9"
    assert fault_of(write_dicom(tmp_path / "one.dcm", values[0])) == "an image among volumes"
    enhanced = write_enhanced(tmp_path / "e.dcm", values, positions, AXIAL, SPACING[:2])
    with pytest.raises(InputError, match="a volume among images"):
        read_image(enhanced, side=8, channels=1)
    with pytest.raises(InputError, match="5 frames in one file, which cannot be read as separate images"):
        read_image(enhanced, side=8, channels=1, rendering=Rendering(frame="each"))


def test_a_table_may_name_folders_of_slices(tmp_path):
    names = [f"case{k:02}" for k in range(20)]
    for k, name in enumerate(names):
        write_series(tmp_path / "scans" / name, make_values(k), PatientID=f"p{k // 2}")
    write_series(tmp_path / "scans" / "more", make_values(99))
    table = write_table(
        tmp_path / "t.csv", ("file", "label"), [(name, "ab"[k // 2 % 2]) for k, name in enumerate(names)]
    )
    options = OwnImages(image_dir=tmp_path / "scans", window=(0.0, 1000.0))
    data = load_table(table, Reading(own=options, size=8))
    assert data.image_shape == (8, 8, 8, 1)
    for split in data.splits.values():
        for row, name in enumerate(split.names):
            assert np.array_equal(split.images[row][..., 0], read(tmp_path / "scans" / name, (8, 8, 8)))
    assert "5 image files in the folder are not in the table" in data.check.notes
    assert sum(data.check.patients.values()) == 10
    middle = load_table(table, Reading(own=OwnImages(image_dir=tmp_path / "scans", frame="middle"), size=8))
    assert middle.image_shape == (8, 8, 1)
    assert middle.check.notes[-1] == "20 of 20 files have several frames (5), of which the middle one is read"


def test_folders_of_slices_below_those_of_classes_are_volumes(tmp_path):
    for k in range(20):
        write_series(tmp_path / "set" / "ab"[k % 2] / f"case{k:02}", make_values(k))
    data = load_folder(tmp_path / "set", Reading(size=8))
    assert data.image_shape == (8, 8, 8, 1)
    assert sum(map(len, data.splits.values())) == 20
    assert (
        "20 folders hold one DICOM series each, read as volumes; --frame each reads the slices as separate images"
        in data.check.notes
    )
    assert load_folder(tmp_path / "set", Reading(size=8)).checksum == data.checksum
    each = load_folder(tmp_path / "set", Reading(own=OwnImages(frame="each"), size=8))
    assert (each.image_shape, sum(map(len, each.splits.values()))) == ((8, 8, 1), 100)


def test_a_dicom_series_is_recognised_by_content(tmp_path):
    folder = write_series(tmp_path / "a", make_values(), SOPInstanceUID="1.2.3.4")
    before = digest_series(folder)
    (folder / "000.dcm").rename(folder / "zzz.dcm")
    (folder / ".hidden.dcm").write_bytes(b"any")
    (folder / "notes.txt").write_text("any")
    assert digest_series(folder) == before
    (folder / "001.dcm").unlink()
    assert digest_series(folder) != before


def test_slices_are_found_for_prediction(tmp_path):
    from quick_predictors import BrightPixels, make_signature

    from keras_lnn.saved.image_files import FileReader, check_headers, find_files
    from keras_lnn.saved.mask_predictions import predict_masks

    values = make_values()
    series = write_series(tmp_path / "set" / "scan", values)
    write_enhanced(tmp_path / "set" / "e.dcm", values, places(AXIAL, 5), AXIAL, SPACING[:2])
    np.save(tmp_path / "set" / "z.npy", np.zeros((4, 4, 4), np.uint8))
    signature = make_signature(model="cnn3d", image_shape=(4, 4, 4, 1), size=4, own=OwnImages(window=(0.0, 1000.0)))
    files = find_files([tmp_path / "set"], volumes=True)
    assert [file.name for file in files] == ["e.dcm", "scan", "z.npy"]
    assert find_files([series], volumes=True) == [series]
    check_headers(files, signature, skip_bad=False)
    ((images, read_files),) = FileReader(files, signature, False, None).read()
    assert read_files == files
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(images[1][..., 0], read(series, (4, 4, 4)))
    predictor = BrightPixels()
    predictor.signature = signature
    with pytest.raises(InputError, match=r"Masks of volumes are written for NIfTI and \.npy files only"):
        predict_masks(predictor, [tmp_path / "set"], tmp_path / "out")
