"""DICOM and NIfTI files as own images: windows, rescaling, inverted greys, frames, volumes, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_samples import write_dicom
from PIL import Image
from table_samples import warnings_of

from keras_lnn.data.decode import medical_files
from keras_lnn.data.decode.image_finding import find_images
from keras_lnn.data.decode.images import decode_images, guess_channels, read_image
from keras_lnn.data.options import OwnImages, Rendering
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.tables import load_table
from keras_lnn.errors import InputError

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

VALUES = np.arange(48, dtype=np.int16).reshape(6, 8) * 40 - 900


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def expected(values, center, width):
    return np.rint(np.clip((values.astype(float) - (center - width / 2)) / width, 0, 1) * 255).astype(np.uint8)


def read(path, window=None, channels=1):
    size = VALUES.shape
    return read_image(path, side=size, channels=channels, rendering=Rendering(window=window))


def test_the_intensity_window_is_the_option_the_files_or_the_full_range(tmp_path):
    bare = write_dicom(tmp_path / "bare.dcm", VALUES)
    assert np.array_equal(read(bare)[..., 0], expected(VALUES, 40.0, 1880))
    own = write_dicom(tmp_path / "own.dcm", VALUES, WindowCenter=[40, 300], WindowWidth=[400, 1500])
    assert np.array_equal(read(own)[..., 0], expected(VALUES, 40, 400))
    assert np.array_equal(read(own, (-600.0, 1500.0))[..., 0], expected(VALUES, -600, 1500))
    for broken in (0, -5):
        path = write_dicom(tmp_path / "broken.dcm", VALUES, WindowCenter=40, WindowWidth=broken)
        assert np.array_equal(read(path), read(bare))


def test_rescaling_comes_before_the_window(tmp_path):
    stored = (VALUES + 1024).astype(np.uint16)
    path = write_dicom(tmp_path / "ct.dcm", stored, RescaleSlope=2, RescaleIntercept=-2048)
    assert np.array_equal(read(path, (0.0, 1000.0))[..., 0], expected(VALUES * 2.0, 0, 1000))


def test_monochrome1_is_inverted(tmp_path):
    path = write_dicom(tmp_path / "xray.dcm", VALUES, photometric="MONOCHROME1")
    plain = write_dicom(tmp_path / "plain.dcm", VALUES)
    assert np.array_equal(read(path), 255 - read(plain))


FRAMES = np.stack([VALUES, VALUES[::-1], VALUES * 0, VALUES + 3])


@pytest.mark.parametrize(
    ("frame", "values"),
    [
        (None, FRAMES[0]),
        ("first", FRAMES[0]),
        ("middle", FRAMES[1]),
        ("3", FRAMES[2]),
        ("4", FRAMES[3]),
        ("mean", np.rint(FRAMES.mean(axis=0)).astype(np.int16)),
    ],
)
@pytest.mark.parametrize("kind", ["DICOM", "NIfTI", "TIFF"])
def test_one_of_several_frames_is_chosen(tmp_path, frame, values, kind):
    if kind == "DICOM":
        path = write_dicom(tmp_path / "cine.dcm", FRAMES)
    elif kind == "NIfTI":
        times = FRAMES.transpose(2, 1, 0)[:, ::-1, None]  # (x, y, z, time) with y to the front
        path = write_nifti(tmp_path / "times.nii", times, spacing=(1, 1, 1))
    else:
        pages = [Image.fromarray((page + 1000).astype(np.uint16)) for page in FRAMES]
        path = tmp_path / "pages.tif"
        pages[0].save(path, save_all=True, append_images=pages[1:])
    center = 1000.0 if kind == "TIFF" else 0.0
    image = np.zeros((1, 6, 8, 1), np.uint8)
    found = decode_images([path], image, Rendering(window=(center, 2000.0), frame=frame))
    assert (found.faults, found.frames) == ({}, {0: 4})
    assert np.abs(image[0, ..., 0] - expected(values, 0, 2000).astype(int)).max() <= 1


def test_a_missing_frame_is_a_fault_and_single_frames_need_no_choice(tmp_path):
    many, single = write_dicom(tmp_path / "a.dcm", FRAMES), write_dicom(tmp_path / "b.dcm", VALUES)
    found = decode_images([many, single], np.zeros((2, 8, 8, 1), np.uint8), Rendering(frame="5"))
    assert found.faults == {0: "4 frames, so that there is no frame 5"}


def test_pages_of_different_sizes_cannot_be_averaged(tmp_path):
    pages = [Image.fromarray(np.zeros((side, side), np.uint8)) for side in (8, 4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="pages of different sizes, which cannot be averaged"):
        read_image(tmp_path / "a.tif", side=8, channels=1, rendering=Rendering(frame="mean"))


def test_times_of_a_volume_are_chosen_too(tmp_path):
    times = np.stack([box(), box() * 0, box() // 2], axis=-1)
    nibabel.save(nibabel.Nifti1Image(times, np.eye(4)), tmp_path / "a.nii")
    brightest = {}
    for frame in (None, "middle", "3", "mean"):
        rendering = Rendering(window=(500.0, 1000.0), frame=frame)
        brightest[frame] = int(medical_files.read_volume(tmp_path / "a.nii", (8, 8, 8, 1), rendering).max())
    assert brightest == {None: 255, "middle": 0, "3": 128, "mean": 128}


def test_the_report_names_the_frame_that_is_read(tmp_path):
    for k in range(20):
        write_dicom(tmp_path / f"{k:03}.dcm", FRAMES[: 2 + k % 3] if k < 6 else VALUES + k)
    table = write_table(tmp_path, [f"{k:03}.dcm" for k in range(20)])
    for _ in range(2):  # decoded, and from the cache
        notes = load_table(table, Reading(size=8)).check.notes
        # Some of the six have equal content, and all count.
        assert notes[-1] == (
            "6 of 20 files have several frames (2 to 4), of which the first one is read; choose with --frame first,"
            f" middle, mean or a number; --data series:{table} reads all frames of a file as a series in time"
        )
    assert (
        load_table(table, Reading(own=OwnImages(frame="2"), size=8))
        .check.notes[-1]
        .endswith(f"of which number 2 is read; --data series:{table} reads all frames of a file as a series in time")
    )


def test_colour_and_grey_files_are_read(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    colour = write_dicom(tmp_path / "colour.dcm", colours)
    grey = write_dicom(tmp_path / "grey.dcm", VALUES)
    assert np.array_equal(read(colour, channels=3), colours)
    assert guess_channels([grey]) == 1
    assert guess_channels([grey, colour]) == 3
    assert np.array_equal(read(grey, channels=3)[..., 2], read(grey)[..., 0])


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.113619.2", "scan.DCM"])
def test_files_without_a_suffix_are_reported_by_their_content(tmp_path, name):
    path = write_dicom(tmp_path / name, VALUES)
    assert np.array_equal(read(path)[..., 0], expected(VALUES, 40.0, 1880))
    assert np.array_equal(read(path.read_bytes()), read(path))


def test_damaged_dicom_files_are_named(tmp_path):
    whole = write_dicom(tmp_path / "whole.dcm", VALUES).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-20])
    (tmp_path / "text.dcm").write_text("no DICOM")
    report = pydicom.dcmread(tmp_path / "whole.dcm")
    del report.PixelData
    report.save_as(tmp_path / "report.dcm")
    for name, reason in {
        "cut": "damaged",
        "text": "not a DICOM file",
        "report": "a DICOM file without an image",
    }.items():
        with pytest.raises(InputError, match=rf"{name}\.dcm \({reason}\)"):
            read(tmp_path / f"{name}.dcm")


@pytest.mark.parametrize(("package", "name"), [("pydicom", "a.dcm"), ("nibabel", "a.nii.gz")])
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, package, name):
    (tmp_path / name).write_bytes(b"any")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs {package}: pip install keras-lnn\["):
        read(tmp_path / name)


def write_nifti(path, values, spacing=(1, 1, 1)):
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*spacing, 1])), path)
    return path


def box():
    """(x, y, z): bright to the left, in front, at the head."""
    values = np.zeros((8, 8, 8), np.int16)
    values[:4, 4:, 4:] = 1000
    return values


def test_a_volume_is_resampled_to_the_axes_of_images(tmp_path):
    volume = medical_files.read_volume(write_nifti(tmp_path / "a.nii.gz", box()), (8, 8, 8, 1), Rendering())
    assert volume.dtype == np.uint8
    bright = np.zeros((8, 8, 8, 1), np.uint8)
    bright[4:, :4, :4] = 255  # depth to the head, rows from the front, columns from the left
    assert np.array_equal(volume, bright)
    small = medical_files.read_volume(tmp_path / "a.nii.gz", (4, 4, 4, 1), Rendering())
    assert abs(float(small.mean()) - 255 / 8) < 4
    assert small[3, 0, 0, 0] > 200 > 50 > small[0, 3, 3, 0]


def test_the_patients_orientation_decides_not_the_order_in_the_file(tmp_path):
    turned = nibabel.Nifti1Image(box()[::-1].copy(), np.diag([-1, 1, 1, 1]))
    nibabel.save(turned, tmp_path / "turned.nii")
    straight = write_nifti(tmp_path / "straight.nii", box())
    read_turned, read_straight = (
        medical_files.read_volume(path, (8, 8, 8, 1), Rendering()) for path in (tmp_path / "turned.nii", straight)
    )
    assert np.array_equal(read_turned, read_straight)


def test_pad_keeps_the_proportions_in_millimetres(tmp_path):
    path = write_nifti(tmp_path / "flat.nii", np.full((8, 8, 4), 7, np.int16), spacing=(1, 1, 1))
    rendering = Rendering("pad", (3.5, 7.0))
    volume = medical_files.read_volume(path, (8, 8, 8, 1), rendering)
    assert (volume[2:6] == 255).all()
    assert not volume[:2].any()
    assert not volume[6:].any()
    thick = write_nifti(tmp_path / "thick.nii", np.full((8, 8, 4), 7, np.int16), spacing=(1, 1, 2))
    assert (medical_files.read_volume(thick, (8, 8, 8, 1), rendering) == 255).all()


def test_a_two_dimensional_nifti_file_is_an_image(tmp_path):
    values = VALUES.T[:, ::-1].copy()  # (x, y) with y to the front
    for name, content in {"two.nii": values, "three.nii": values[..., None]}.items():
        path = write_nifti(tmp_path / name, content)
        assert not medical_files.is_volume(path)
        assert np.array_equal(read(path, (0.0, 2000.0))[..., 0], expected(VALUES, 0, 2000))


@pytest.mark.parametrize(
    ("unit", "zooms", "expected"),
    [
        ("mm", (0.5, 2.0, 4.0), (4.0, 2.0, 0.5)),
        ("unknown", (0.5, 2.0, 4.0), (4.0, 2.0, 0.5)),
        ("meter", (0.5, 2.0, 4.0), (4000.0, 2000.0, 500.0)),
        ("micron", (500.0, 500.0, 500.0), (0.5, 0.5, 0.5)),
        ("mm", (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        ("unknown", (1.0, 1.0, 1.0), None),
    ],
)
def test_the_grid_of_a_volume_is_upright_and_in_millimetres(tmp_path, unit, zooms, expected):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.diag([*zooms, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    assert medical_files.native_grid(tmp_path / "a.nii") == medical_files.Grid((5, 4, 3), expected)
    # Lying on its side: the first axis of the file runs to the head.
    turned = np.zeros((4, 4))
    turned[2, 0], turned[0, 1], turned[1, 2], turned[3, 3] = *zooms, 1.0
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), turned)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "b.nii")
    order = None if expected is None else (expected[2], expected[0], expected[1])
    grid = medical_files.native_grid(tmp_path / "b.nii")
    assert grid == medical_files.Grid((3, 5, 4), order)
    values, spacing = medical_files.read_nifti_values(tmp_path / "b.nii")
    assert values.shape == grid.shape
    assert unit not in ("mm", "unknown") or grid.spacing in (spacing, None)


def test_the_grid_of_a_two_dimensional_file(tmp_path):
    path = write_nifti(tmp_path / "a.nii", np.zeros((6, 1, 5), np.int16), spacing=(2, 1, 3))
    assert medical_files.native_grid(path) == medical_files.Grid((5, 6), (3.0, 2.0))
    path = write_dicom(tmp_path / "a.dcm", VALUES, PixelSpacing=[0.5, 0.25])
    assert medical_files.native_grid(path) == medical_files.Grid(VALUES.shape, (0.5, 0.25))
    assert medical_files.native_grid(write_dicom(tmp_path / "b.dcm", VALUES)).spacing is None
    # What is damaged says nothing, and the image is read all the same.
    path = write_dicom(tmp_path / "c.dcm", VALUES, PixelSpacing=[0.5])
    assert medical_files.native_grid(path) == medical_files.Grid(VALUES.shape)
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    image.header["xyzt_units"] = 7
    nibabel.save(image, tmp_path / "c.nii")
    assert medical_files.native_grid(tmp_path / "c.nii") == medical_files.Grid((5, 4, 3))


def write_table(root, names):
    rows = [f"{name},{'ab'[k % 2]}" for k, name in enumerate(names)]
    (root / "t.csv").write_text("\n".join(["file,label", *rows]))
    return root / "t.csv"


def test_tables_of_dicom_files_and_of_volumes(tmp_path):
    for k in range(20):
        write_dicom(tmp_path / f"{k:03}.dcm", np.full((6, 8), k, np.int16))
        write_nifti(tmp_path / f"{k:03}.nii.gz", np.full((6, 5, 4), k, np.int16))
    options = OwnImages(window=(10.0, 20.0))
    for suffix, shape in (("dcm", (8, 8, 1)), ("nii.gz", (8, 8, 8, 1))):
        data = load_table(write_table(tmp_path, [f"{k:03}.{suffix}" for k in range(20)]), Reading(own=options, size=8))
        assert data.image_shape == shape
        for split in data.splits.values():
            for row, name in enumerate(split.names):
                assert (split.images[row] == round(int(name[:3]) / 20 * 255)).all()
    assert len(find_images(tmp_path)) == 40
    assert "20 image files in the folder are not in the table" in data.check.notes


def test_images_among_volumes_are_named(tmp_path):
    for k in range(19):
        write_nifti(tmp_path / f"{k:03}.nii", box())
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "x.png")
    table = write_table(tmp_path, [*(f"{k:03}.nii" for k in range(19)), "x.png"])
    # The order of the hashes decides which kind counts as the odd one.
    with pytest.raises(InputError, match=r"(x\.png \(an image|\.nii \(a volume) among"):
        load_table(table, Reading(size=4))


@pytest.mark.parametrize("package", ["pydicom", "nibabel"])
def test_files_are_read_again_after_a_package_is_installed(tmp_path, monkeypatch, package):
    for k in range(20):
        values = np.full((6, 8), k, np.int16)
        if package == "pydicom":
            write_dicom(tmp_path / f"{k:03}.dcm", values)
        else:
            write_nifti(tmp_path / f"{k:03}.nii", values)
    suffix = "dcm" if package == "pydicom" else "nii"
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "bad.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    table = write_table(tmp_path, [*(f"{k:03}.{suffix}" for k in range(20)), "bad.png"])
    with monkeypatch.context() as without:
        without.setitem(sys.modules, package, None)
        for skip_bad in (False, True):
            with pytest.raises(InputError, match=rf"20 of 21 .*needs {package}.* damaged themselves"):
                load_table(table, Reading(own=OwnImages(skip_bad=skip_bad), size=8))
    data = load_table(table, Reading(own=OwnImages(skip_bad=True, window=(10.0, 20.0)), size=8))
    assert sum(map(len, data.splits.values())) == 20
    assert data.splits["train"].images[0].max() == round(int(data.splits["train"].names[0][:3]) / 20 * 255)


def bundled(name):
    """A file that comes with pydicom."""
    return Path(pydicom.__file__).parent / "data" / "test_files" / name


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm"])
def test_a_missing_decoder_is_named_and_can_be_installed_later(monkeypatch, name):
    from pydicom.pixels import get_decoder

    decoder = get_decoder(pydicom.dcmread(bundled(name), stop_before_pixels=True).file_meta.TransferSyntaxUID)
    with monkeypatch.context() as without:
        for plugin in set(decoder._available) - {"pillow"}:
            without.delitem(decoder._available, plugin)
        without.setitem(decoder._unavailable, "pylibjpeg", ("pylibjpeg>=2.0", "pylibjpeg-libjpeg>=2.1"))
        found = decode_images([bundled(name)], np.zeros((1, 8, 8, 1), np.uint8), Rendering())
    assert "needs a decoder: pip install keras-lnn[dicom]" in found.faults[0]
    assert found.obstacles == [0]


def test_optional_decoders_read_further_compressions():
    pytest.importorskip("libjpeg")
    pytest.importorskip("openjpeg")
    pytest.importorskip("rle")
    plain, *compressed = (
        read_image(bundled(f"MR_small{kind}.dcm"), side=64, channels=1)
        for kind in ("", "_jpeg_ls_lossless", "_jp2klossless", "_RLE")
    )
    assert all(np.array_equal(plain, image) for image in compressed)
    assert read_image(bundled("JPGExtended.dcm"), side=64, channels=1).max() > 0


def test_a_damaged_file_of_a_kind_that_can_be_decoded_needs_no_other_decoder(tmp_path):
    broken = pydicom.dcmread(bundled("JPEG2000.dcm"))
    broken.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(1000)])
    broken.save_as(tmp_path / "broken.dcm")
    found = decode_images([tmp_path / "broken.dcm"], np.zeros((1, 8, 8, 1), np.uint8), Rendering())
    assert (found.faults, found.obstacles) == ({0: "damaged"}, [])


def test_a_video_in_a_dicom_file_is_reported(tmp_path):
    film = pydicom.dcmread(bundled("JPEG2000.dcm"))
    film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    film.save_as(tmp_path / "film.dcm")
    with pytest.raises(InputError, match=r"compressed as MPEG2 Main Profile / Main Level, which no package here"):
        read(tmp_path / "film.dcm")


def test_equal_pixels_with_other_headers_are_copies(tmp_path):
    for k in range(20):
        values = np.random.default_rng(k % 19).integers(-900, 900, (20, 20)).astype(np.int16)
        write_dicom(tmp_path / f"{k:03}.dcm", values, PatientName=f"name {k}", StudyDate=f"202001{k + 1:02}")
    rows = [f"{k:03}.dcm,{'ab'[k % 2]},{'train' if k < 15 else 'test'}" for k in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(["file,label,split", *rows]))
    warnings = warnings_of(load_table(tmp_path / "t.csv", Reading(own=OwnImages(window=(0.0, 1800.0)), size=20)))
    assert warnings[0].startswith("1 pair of identical images is in two splits")
    assert {"000.dcm", "019.dcm"} == {part[:7] for part in warnings[0].partition("good: ")[2].split(" = ")}
