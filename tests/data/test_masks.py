"""Loading images with masks: the meaning of pixels, patients and their splits, and what is refused."""

import errno
import io

import numpy as np
import pytest
from mask_samples import COLOURS, by_name, draw, load, write_manifest, write_pairs
from PIL import Image
from table_samples import write_table

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.config import TrainConfig
from keras_lnn.data import load_data
from keras_lnn.data.decode import decoded_cache
from keras_lnn.data.decode.mask_pixels import read_mask
from keras_lnn.data.options import OwnImages, Rendering
from keras_lnn.data.sources import mask_classes
from keras_lnn.data.sources.loading import check_data
from keras_lnn.errors import InputError
from keras_lnn.training.loop import train


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "set"


def assert_drawn(data):
    """Images and masks are those that were drawn, each mask with its image."""
    check_data(data)
    found = by_name(data)
    for number, (image, mask, _) in found.items():
        expected_image, expected_mask = draw(number)
        assert np.array_equal(image[..., 0], expected_image)
        assert np.array_equal(mask, expected_mask)
    return found


@pytest.mark.parametrize("kind", ["index", "colour", "palette"])
def test_masks_of_the_same_names(root, kind):
    data = load(write_pairs(root, kind=kind))
    assert (data.task, data.image_shape) == ("segmentation", (12, 10, 1))
    assert len(assert_drawn(data)) == 30
    names = ("#00c800", "#ff0000") if kind == "colour" else ("class 1", "class 2")
    assert data.class_names == ("background", *names)
    assert data.colours == (("#000000", *names) if kind == "colour" else None)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 21, "val": 3, "test": 6}
    assert all(set(np.unique(split.labels)) == {0, 1, 2} for split in data.splits.values())
    assert data.splits["val"].groups is None
    (warning,) = data.check.warnings
    assert "it is not known which images show the same patient" in warning
    assert warning.endswith("Name the patients in a column of manifest.csv")
    assert data.check.counts["test"]["background"] == 6


def test_indices_colours_and_one_file_per_class_agree(tmp_path):
    found = []
    for kind, table in (("index", "mask"), ("colour", "mask"), ("palette", "mask"), ("index", "columns")):
        root = write_pairs(tmp_path / f"{kind}-{table}", kind=kind)
        write_manifest(root, kind=table)
        if table == "mask":
            cells = [("none", "#000000"), ("liver", "0 200 0"), ("tumour", "red")]
            cells = [(name, k) for k, (name, _) in enumerate(cells)] if kind == "index" else cells
            write_table(root / "classes.csv", ("name", "index" if kind == "index" else "colour"), cells)
        data = load(root)
        assert data.class_names[1:] == ("liver", "tumour")
        assert_drawn(data)
        assert (data.colours is not None) == (kind in ("colour", "palette"))
        found.append({name: (split.names, split.groups, split.labels.tobytes()) for name, split in data.splits.items()})
    assert found[0] == found[1] == found[2] == found[3]


def test_rows_of_the_table_are_the_order_of_colours(root):
    write_pairs(root, kind="colour")
    rows = [("black", "#000"), ("tumour", "255,0,0"), ("liver", "rgb(0,200,0)")]
    write_table(root / "classes.csv", ("Class", "Color"), rows)
    data = load(root)
    assert data.class_names == ("black", "tumour", "liver")
    assert data.colours == ("#000000", "#ff0000", "#00c800")
    for number, (_, mask, _) in by_name(data).items():
        assert np.array_equal(mask, np.array([0, 2, 1])[draw(number)[1]])


@pytest.mark.parametrize("values", [(0, 128, 255), (0, 1000, 40000)])
def test_grey_values_become_classes_in_ascending_order(root, values):
    write_pairs(root)
    for number in range(30):
        mask = np.array(values, np.uint16 if max(values) > 255 else np.uint8)[draw(number)[1]]
        Image.fromarray(mask).save(root / "masks" / f"{number:02}.png")
    data = load(root)
    assert data.class_names == ("background", "class 1", "class 2")
    assert_drawn(data)
    write_table(root / "classes.csv", ("name", "value"), list(zip(("none", "liver", "tumour"), values, strict=True)))
    assert load(root).class_names == ("none", "liver", "tumour")
    assert_drawn(load(root))


def test_grey_masks_in_three_channels_and_an_empty_grey_one_among_colours(root, tmp_path):
    write_pairs(root)
    for number in range(0, 30, 2):
        Image.fromarray(draw(number)[1]).convert("RGB").save(root / "masks" / f"{number:02}.png")
    assert_drawn(load(root))
    coloured = write_pairs(tmp_path / "coloured", kind="colour")
    Image.fromarray(np.zeros((12, 10), np.uint8)).save(coloured / "masks" / "05.png")
    palette = Image.fromarray(draw(6)[1])
    palette.putpalette(COLOURS.ravel().tolist())
    palette.save(coloured / "masks" / "06.png")
    data = load(coloured)
    assert data.class_names == ("background", "#00c800", "#ff0000")
    assert_drawn(data)


def test_an_unused_class_keeps_its_index(root):
    write_pairs(root)
    for number in range(30):
        Image.fromarray(np.array([0, 1, 3], np.uint8)[draw(number)[1]]).save(root / "masks" / f"{number:02}.png")
    data = load(root)
    assert data.class_names == ("background", "class 1", "class 2", "class 3")
    assert any("no image of train has class 2" in warning for warning in data.check.warnings)


def test_each_sample_has_a_patient_and_no_patient_is_in_two_splits(root):
    write_pairs(root)
    write_manifest(root, patients=10)
    for seed in range(5):
        data = load(root, seed=seed)
        patients = [set(split.groups) for split in data.splits.values()]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 10
        assert all(patients)
        assert not data.check.warnings
        for number, (_, _, group) in assert_drawn(data).items():
            assert group == f"P{number % 10}"
    assert load(root, seed=0).splits["test"].names == load(root, seed=0).splits["test"].names
    assert len({tuple(load(root, seed=seed).splits["test"].names) for seed in range(5)}) > 1


def test_own_splits_that_mix_patients_are_kept_and_reported(root):
    write_pairs(root)
    write_manifest(root, splits=lambda number: ("train", "val", "test")[number % 10 % 3])
    assert not load(root).check.warnings
    write_manifest(root, splits=lambda number: "test" if number in (4, 14, 7) else ("train", "val")[number % 10 == 3])
    data = load(root)
    (warning,) = [line for line in data.check.warnings if "patient" in line]
    assert warning.startswith("2 patients are in two splits, so the results are too good: P4 (test and train), P7")
    assert {name.partition(".")[0] for name in data.splits["test"].names} == {"04", "14", "07"}


def test_a_split_that_is_missing_is_made_by_patient(root):
    write_pairs(root)
    write_manifest(root, splits=lambda number: "test" if number % 10 < 2 else "train")
    data = load(root)
    assert set(data.splits["test"].groups) == {"P0", "P1"}
    assert not set(data.splits["train"].groups) & set(data.splits["val"].groups)


def test_masks_missing_from_a_manifest_are_found_by_name(root):
    write_pairs(root)
    rows = [(f"images/{number:02}.png", f"P{number % 10}", number) for number in range(30)]
    write_table(root / "manifest.csv", ("image", "patient", "age"), rows)
    data = load(root)
    assert sum(map(len, data.splits.values())) == 30
    assert any(note == "columns ignored: age" for note in data.check.notes)
    for split in data.splits.values():
        for name, mask in zip(split.names, split.labels, strict=True):
            assert np.array_equal(mask, draw(int(name[7:9]))[1])


def test_columns_are_found_by_options_too(root):
    write_pairs(root)
    write_manifest(root, kind="columns")
    table = (root / "manifest.csv").read_text().replace("image,patient,", "slice,case,")
    (root / "manifest.csv").write_text(table)
    data = load(root, file_column="slice", group_column="case", label_columns=("tumour", "liver"))
    assert data.class_names == ("background", "tumour", "liver")
    for number, (_, mask, group) in by_name(data).items():
        assert np.array_equal(mask, np.array([0, 2, 2])[draw(number)[1]])  # the liver lies over the tumour
        assert group == f"P{number % 10}"


def test_the_class_of_an_image_is_the_highest_in_its_mask(root):
    write_pairs(root)
    write_manifest(root, kind="columns", patients=15)
    data = load(root, classes=True, side=4)
    check_data(data)
    assert (data.task, data.class_names) == ("multi-class", ("background", "liver", "tumour"))
    for number, (_, label, group) in by_name(data).items():
        assert label == draw(number)[1].max()
        assert group == f"P{number % 15}"
    assert load_data(f"mask-classes:{root}", size=8).name == f"mask-classes:{root}"


def test_a_lesion_too_small_for_the_size_still_counts_for_the_class(root):
    write_pairs(root)
    for number in range(1, 30, 2):
        mask = np.zeros((12, 10), np.uint8)
        mask[3, 3] = 1
        Image.fromarray(mask).save(root / "masks" / f"{number:02}.png")
    for number in range(0, 30, 2):
        Image.fromarray(np.zeros((12, 10), np.uint8)).save(root / "masks" / f"{number:02}.png")
    data = load(root, classes=True, side=2)
    assert data.task == "binary"
    assert all(label == number % 2 for number, (_, label, _) in by_name(data).items())
    assert all((split.labels == 0).all() for split in load(root, side=2).splits.values())


def test_a_class_that_is_never_the_highest_is_left_out(root):
    write_pairs(root, count=40)
    for number in range(40):
        Image.fromarray(np.full((12, 10), 1 + number % 2, np.uint8)).save(root / "masks" / f"{number:02}.png")
    data = load(root, classes=True)
    assert data.class_names == ("class 1", "class 2")
    assert any("left out: background" in note for note in data.check.notes)
    for number in range(40):
        mask = np.ones((12, 10), np.uint8)
        mask[0] = 0
        Image.fromarray(mask).save(root / "masks" / f"{number:02}.png")
    with pytest.raises(InputError, match=r"2 classes of images. Received: class 1 as the highest"):
        load(root, classes=True)


def test_masks_are_resized_to_nearest_pixels_with_padding():
    mask = np.zeros((8, 16), np.uint8)
    mask[:, 8:] = 1
    mask[:4, :8] = 2
    file = encode(mask)
    rendering = Rendering("stretch", None, (0, 1, 2))
    assert np.array_equal(read_mask(file, (8, 16, 1), rendering)[..., 0], mask)
    half = read_mask(file, (4, 8, 1), rendering)[..., 0]
    assert np.array_equal(half, mask[::2, ::2])
    assert np.array_equal(read_mask(file, (16, 32, 1), rendering)[..., 0], mask.repeat(2, 0).repeat(2, 1))
    padded = read_mask(file, (16, 16, 1), Rendering("pad", None, (2, 1, 0)))[..., 0]
    assert np.array_equal(padded[4:12], 2 - mask)
    assert not padded[:4].any()
    assert not padded[12:].any()


def encode(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("side", [8, 24])
def test_masks_lie_on_their_images_at_any_size(root, fit, side):
    write_pairs(root, shape=(48, 30))
    for number, (image, mask, _) in by_name(load(root, side=side, fit=fit)).items():
        bright = image[..., 0].astype(int) - number % 20
        whole = np.stack([np.roll(mask, (a, b), (0, 1)) for a in (-1, 0, 1) for b in (-1, 0, 1)])
        inner = (whole == mask).all(axis=0)
        inner[[0, -1]] = inner[:, [0, -1]] = False
        tissue = inner & (mask > 0)
        assert (np.abs(bright[tissue] - np.array([20, 120, 220])[mask[tissue]]) <= 2).all()
        assert (bright[inner & (mask == 0)] <= 22).all()


def test_the_window_of_16_bit_images(root):
    write_pairs(root)
    for number in range(30):
        image = draw(number)[0].astype(np.uint16) * 10 + 1000
        Image.fromarray(image).save(root / "images" / f"{number:02}.png")
    data = load(root, window=(1000 + 1275, 2550))
    assert_drawn(data)
    assert not any("16-bit" in warning for warning in data.check.warnings)
    assert any("16-bit" in warning for warning in load(root).check.warnings)


def test_the_cache_is_reused_until_files_change(root, monkeypatch):
    write_pairs(root)
    first = load(root)

    def refuse(*_, **__):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patched:
        patched.setattr(decoded_cache, "decode_to_file", refuse)
        patched.setattr(mask_classes, "find_values", refuse)
        second = load(root, seed=1)
        assert_drawn(second)
    assert second.checksum == first.checksum
    Image.fromarray(draw(1)[1]).save(root / "masks" / "03.png")
    changed = load(root)
    assert changed.checksum != first.checksum
    assert np.array_equal(by_name(changed)[3][1], draw(1)[1])


def test_progress_increases_to_the_end(root):
    write_pairs(root)
    reported = []
    load_data(f"masks:{root}", size=12, progress=reported.append)
    assert reported == sorted(reported)
    assert reported[0] < 0.15
    assert reported[-1] == 1.0


def test_many_masks_are_decoded_by_processes(root):
    write_pairs(root, count=700, names="{:03}")
    for number, (_, mask, _) in by_name(load(root)).items():
        assert np.array_equal(mask, draw(number)[1])


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_nifti_volumes_with_masks_are_read(root, fit):
    nibabel = pytest.importorskip("nibabel")
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    generator = np.random.default_rng(0)
    drawn = {}
    for number in range(12):
        mask = np.zeros((10, 10, 10), np.uint8)  # z, y, x
        corner = generator.integers(1, 4, 3)
        mask[tuple(slice(start, start + 6) for start in corner)] = 1
        mask[tuple(slice(start + 1, start + 4) for start in corner)] = 2 if number % 3 else 1
        drawn[f"{number:02}"] = mask
        # Stored from the feet up and from the right; and the mask of every other one the other way round.
        stored = mask[:, ::-1].T
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        nibabel.save(
            nibabel.Nifti1Image(stored.astype(np.int16) * 100 - 50, affine), root / f"images/{number:02}.nii.gz"
        )
        if number % 2:
            stored, affine = stored[::-1], np.diag([-1.0, 1.0, 1.0, 1.0])
            affine[0, 3] = 9.0
        nibabel.save(nibabel.Nifti1Image(stored, affine), root / f"masks/{number:02}.nii.gz")
    data = load(root, side=10, fit=fit, window=(50.0, 200.0))
    check_data(data)
    assert data.image_shape == (10, 10, 10, 1)
    for split in data.splits.values():
        assert split.labels.shape == (len(split), 10, 10, 10)
        for name, image, mask in zip(split.names, split.images[np.arange(len(split))], split.labels, strict=True):
            assert np.array_equal(mask, drawn[name[:2]])
            assert np.array_equal(image[..., 0], np.array([0, 128, 255], np.uint8)[mask])
    half = load(root, side=5, fit=fit)
    for name, mask in zip(half.splits["train"].names, half.splits["train"].labels, strict=True):
        assert np.array_equal(mask, drawn[name[:2]][1::2, 1::2, 1::2])
    assert load(root, classes=True, side=5).class_names == ("class 1", "class 2")
    # Bare arrays say nothing of millimetres.
    assert data.splits["train"].spacing is None


def test_a_volume_whose_mask_lies_elsewhere_is_named(root):
    nibabel = pytest.importorskip("nibabel")
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    affine = np.diag([-0.7, -0.7, 5.0, 1.0])
    for number in range(20):
        mask = np.zeros((6, 6, 4), np.uint8)
        mask[:2, :3, 1:] = 1
        # Less than half a voxel is how programs round.
        other = np.eye(4) if number == 3 else affine.copy()
        other[0, 3] += 1.0 if number == 5 else 0.3
        nibabel.save(nibabel.Nifti1Image(mask.astype(np.int16), affine), root / f"images/{number:02}.nii")
        nibabel.save(nibabel.Nifti1Image(mask, other), root / f"masks/{number:02}.nii")
    reported = (
        r"must have a mask with its affine. Received: 2 of 20 .*03\.nii \(another affine\), 05\.nii .* with --skip-bad"
    )
    with pytest.raises(InputError, match=reported):
        load(root, side=8)
    data = load(root, side=8, skip_bad=True)
    assert sum(map(len, data.splits.values())) == 18
    assert any(
        "left out 2 of 20 images that do not have a mask with its affine" in line for line in data.check.warnings
    )


def test_masks_of_the_background_are_ignored(root):
    write_pairs(root)
    write_manifest(root, kind="columns")
    table = (root / "manifest.csv").read_text().splitlines()
    rows = [f"{row},{name}" for row, name in zip(table, ["Background", *["liver/01.png"] * 30], strict=True)]
    (root / "manifest.csv").write_text("\n".join(rows))
    data = load(root)
    assert data.class_names == ("background", "liver", "tumour")
    assert_drawn(data)
    for columns in (["liver", "liver"], ["Background", "liver"]):
        with pytest.raises(
            InputError, match=rf"each class once, without the background.* Received: {','.join(columns)}"
        ):
            load(root, label_columns=columns)


def test_the_first_class_of_a_table_is_the_background(root):
    write_pairs(root)
    for number in range(30):
        Image.fromarray((255 - draw(number)[1]).astype(np.uint8)).save(root / "masks" / f"{number:02}.png")
    (root / "classes.csv").write_text("name,index\nbackground,255\ntumour,253\nliver,254\n")
    data = load(root)
    assert data.class_names == ("background", "tumour", "liver")
    for number, (_, mask, _) in by_name(data).items():
        assert np.array_equal(mask, np.array([0, 2, 1])[draw(number)[1]])
    for rows in ("liver,254\nbackground,255\ntumour,253", "liver,1\nair,0"):
        (root / "classes.csv").write_text(f"name,index\n{rows}\n")
        with pytest.raises(
            InputError, match=r"first row of a table of classes must be the background. Received: liver"
        ):
            load(root)


@pytest.mark.parametrize(("fit", "expected"), [("stretch", (4.0, 2.0, 2.0)), ("pad", (4.0, 4.0, 4.0))])
def test_millimetres_follow_the_size(root, fit, expected):
    nibabel = pytest.importorskip("nibabel")
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(20):
        mask = np.zeros((8, 8, 8), np.uint8)  # x, y, z
        mask[2:6, 2:6, 2:6] = 1 + number % 2
        # 16 mm to the sides and to the front, 32 mm to the head; the last ones are twice as large.
        affine = np.diag([2.0, 2.0, 4.0, 1.0]) * (1.0 if number < 10 else 2.0)
        affine[3, 3] = 1.0
        for folder in ("images", "masks"):
            nibabel.save(nibabel.Nifti1Image(mask, affine), root / folder / f"{number:02}.nii")
    (root / "images" / "20.nii").write_bytes(b"no volume")
    nibabel.save(nibabel.Nifti1Image(mask, affine), root / "masks" / "20.nii")
    data = load(root, side=8, fit=fit, skip_bad=True)
    check_data(data)
    for split in data.splits.values():
        assert split.spacing.shape == (len(split), 3)
        for name, spacing in zip(split.names, split.spacing, strict=True):
            assert tuple(spacing) == tuple(size * (1 if int(name[:2]) < 10 else 2) for size in expected)
    (root / "images" / "20.nii").unlink()
    for folder in ("images", "masks"):
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), root / folder / "20.nii")
    assert load(root, side=8, fit=fit).splits["test"].spacing is None


def test_faults_of_the_mask_folder_are_reported(root, tmp_path):
    with pytest.raises(InputError, match=r"masks:DIR must name a folder. Received: .*set, which is not there"):
        load(root)
    root.mkdir()
    with pytest.raises(InputError, match=r"folders images and masks, or a manifest.csv. Received: .* without images"):
        load(root)
    (root / "images").mkdir()
    (root / "masks").mkdir()
    with pytest.raises(InputError, match=r"There must be images with masks. Received: none in .*images\."):
        load(root)
    write_pairs(root, count=3)
    Image.fromarray(draw(0)[0]).save(root / "images" / "00.tif")
    with pytest.raises(InputError, match=r"must differ. Received: images/00.png and images/00.tif"):
        load(root)


def test_missing_masks_are_named_and_counted(root):
    write_pairs(root)
    for number in (3, 8):
        (root / "masks" / f"{number:02}.png").unlink()
    (root / "masks" / "extra.png").write_bytes((root / "masks" / "00.png").read_bytes())
    expected = r"must have a mask. Received: 2 of 30 .*: 03.png \(no masks/03\.\*\), 08.png .*Add the masks.*--skip-bad"
    with pytest.raises(InputError, match=expected):
        load(root)
    data = load(root, skip_bad=True)
    assert sorted(assert_drawn(data)) == [number for number in range(30) if number not in (3, 8)]
    assert any("left out 2 of 30 images that do not have a mask" in line for line in data.check.warnings)
    assert "1 masks have no image" in data.check.notes


def test_masks_of_another_size_are_refused(root):
    write_pairs(root)
    Image.fromarray(draw(4)[1][:6, :5]).save(root / "masks" / "04.png")
    with pytest.raises(InputError, match=r"of its size. Received: 1 of 30 .*: 04.png \(10x12, its mask 5x6\)"):
        load(root)
    assert len(assert_drawn(load(root, skip_bad=True))) == 29


def test_an_image_that_lies_on_its_side_has_the_size_that_is_seen(root):
    write_pairs(root)
    image = Image.fromarray(draw(4)[0])
    exif = image.getexif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(root / "images" / "04.png", exif=exif)
    assert_drawn(load(root))


def smooth(root, kind, number, mask):
    """Writes a mask of two classes as programs do that smooth or compress it."""
    painted = Image.fromarray(mask * np.uint8(255)).resize((40, 48)).resize((10, 12), Image.Resampling.BICUBIC)
    path = root / "masks" / f"{number:02}.png"
    if kind == "jpeg":
        painted.convert("RGB").save(path.with_suffix(".jpg"), quality=70)
    elif kind == "palette":
        painted.convert("RGB").quantize(200).save(path)
    elif kind == "16 bits":
        values = np.asarray(painted).astype(np.uint16) * 250
        Image.fromarray(values + np.arange(120, dtype=np.uint16).reshape(12, 10)).save(path)
    elif kind == "1 bit":
        painted.convert("1", dither=Image.Dither.NONE).save(path)
    else:
        painted.save(path)


@pytest.mark.parametrize(
    ("kind", "threshold"), [("grey", 127), ("jpeg", 127), ("palette", 127), ("16 bits", 31800), ("1 bit", 127)]
)
def test_smoothed_and_lossy_masks_by_a_threshold(root, tmp_path, kind, threshold):
    write_pairs(root)
    crisp = write_pairs(tmp_path / "crisp")
    for number in range(30):
        mask = (draw(number)[1] > 0).astype(np.uint8)
        Image.fromarray(mask).save(crisp / "masks" / f"{number:02}.png")
        (root / "masks" / f"{number:02}.png").unlink()
        smooth(root, kind, number, mask)
    if kind in ("grey", "jpeg"):
        with pytest.raises(InputError, match=r"as smoothed or lossy files have. Give --mask-threshold 12[5-9] where"):
            load(root)
    data, expected = load(root, mask_threshold=threshold), load(crisp)
    found, known = by_name(data), by_name(expected)
    wrong = np.mean([(found[number][1] != known[number][1]).mean() for number in range(30)])
    assert wrong < 0.03
    assert data.class_names == ("background", "foreground")
    assert (data.mask_values, expected.mask_values) == ((0, 255), None)
    assert f"brighter than {threshold} belong to foreground" in data.check.notes[-1]


def test_a_lossy_file_is_refused_even_with_few_values(root):
    write_pairs(root)
    (root / "masks" / "01.png").unlink()
    Image.fromarray(np.full((12, 10), 3, np.uint8)).save(root / "masks" / "01.jpg")
    with pytest.raises(InputError, match=r"Received: 4 values, as smoothed or lossy files have"):
        load(root)


def test_a_mask_threshold_must_divide_pixels_and_names_its_classes(root):
    write_pairs(root)
    with pytest.raises(
        InputError, match=r"brighter than --mask-threshold. Received: 127, above which there is no pixel in"
    ):
        load(root, mask_threshold=127)
    write_table(root / "classes.csv", ("name", "index"), [("none", 0), ("liver", 1)])
    assert load(root, mask_threshold=0).class_names == ("none", "liver")
    write_table(root / "classes.csv", ("name", "index"), [("none", 0), ("liver", 1), ("tumour", 2)])
    with pytest.raises(InputError, match=r"makes two classes. Received: .* with 3"):
        load(root, mask_threshold=0)


def test_a_mask_threshold_applies_to_one_file_per_class(root):
    write_pairs(root)
    write_manifest(root, kind="columns")
    expected = by_name(load(root))
    for file in (*root.glob("liver/*.png"), *root.glob("tumour/*.png")):
        mask = np.asarray(Image.open(file))
        Image.fromarray(np.where(mask > 0, 200, np.arange(120).reshape(12, 10)).astype(np.uint8)).save(file)
    found = by_name(load(root, mask_threshold=150))
    assert all(np.array_equal(found[number][1], expected[number][1]) for number in range(30))


def test_grey_masks_record_their_values(root):
    write_pairs(root)
    assert load(root).mask_values is None
    for number in range(30):
        mask = (draw(number)[1] > 0).astype(np.uint8)
        Image.fromarray(mask * np.uint8(255)).save(root / "masks" / f"{number:02}.png")
    assert load(root).mask_values == (0, 255)


def test_unknown_colours_and_indices_are_refused(root, tmp_path):
    write_pairs(root)
    write_table(root / "classes.csv", ("name", "index"), [("none", 0), ("liver", 1)])
    expected = r"only the classes in classes.csv. Received: 8 of 30 .*: 03.png \(index 2\).*Add the missing classes"
    with pytest.raises(InputError, match=expected):
        load(root)
    assert len(by_name(load(root, skip_bad=True))) == 22
    write_table(root / "classes.csv", ("name", "colour"), [("none", "black"), ("liver", "white")])
    with pytest.raises(InputError, match=r"24 of 30 .* 01.png \(colour #010101\)"):
        load(root)
    coloured = write_pairs(tmp_path / "coloured", kind="colour")
    write_table(coloured / "classes.csv", ("name", "index"), [("none", 0), ("liver", 1)])
    with pytest.raises(
        InputError, match=r"a readable mask. .* 01.png \(in colour, though the classes are given as values\)"
    ):
        load(coloured)


def test_files_that_are_not_masks_are_refused(root):
    write_pairs(root)
    noise = np.random.default_rng(0).integers(0, 255, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "masks" / "01.png")
    with pytest.raises(
        InputError, match=r"at most 64 classes. Received: 1\d\d values, as smoothed or lossy files have"
    ):
        load(root)
    (root / "masks" / "01.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a readable mask. Received: 1 of 30 .*: 01.png \(not an image\)"):
        load(root)
    assert len(assert_drawn(load(root, skip_bad=True))) == 29
    for number in range(30):
        Image.fromarray(np.zeros((12, 10), np.uint8)).save(root / "masks" / f"{number:02}.png")
    with pytest.raises(InputError, match=r"at least 2 .* Received: only one value"):
        load(root)


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        (
            ("name", "size"),
            [("a", 0), ("b", 1)],
            r"columns name and colour, or name and index. Received: columns name, ",
        ),
        (("colour", "index"), [("#000", 0), ("#fff", 1)], r"columns name and colour"),
        (("name", "index"), [("a", 0), ("b", 0)], r"2 to 256 classes, .* Received: 0 more than once"),
        (("name", "index"), [("a", 0), ("a", 1)], r"Received: a more than once"),
        (("name", "index"), [("a", 0)], r"Received: 1 of them"),
        (("name", "index"), [("a", 0), ("b", "x")], r"An index must be .* Received: x \(line 3 of"),
        (("name", "colour"), [("a", "#000"), ("b", "blurple")], r"A colour must be .* Received: blurple \(line 3 of"),
        (("name", "colour"), [("a", "#000"), ("b", "0 0 256")], r"Received: 0 0 256 \(line 3"),
    ],
)
def test_faults_of_the_class_table_are_reported(root, header, rows, expected):
    write_pairs(root, count=3)
    write_table(root / "classes.csv", header, rows)
    with pytest.raises(InputError, match=expected):
        load(root)


def test_faults_of_a_manifest_are_reported(root):
    write_pairs(root)

    def refused(header, rows, expected, **options):
        write_table(root / "manifest.csv", header, rows)
        with pytest.raises(InputError, match=expected):
            load(root, **options)

    refused(("scanner", "mask"), [("a", "b")], r"must have a file column, named such as file, .*columns scanner, mask")
    refused(("image", "mask"), [("00.png", "00.png")] * 2, r"name each image once. Received: 00.png \(line 3\) again")
    refused(("image", "mask"), [("00.png", "")], r"Every row must name a mask. Received: an empty cell \(line 2\)")
    refused(("image", "mask", "seg"), [("00.png", "a", "b")], r"must be one mask column. Received: mask, seg")
    outside = r"in the folder of images or be named by its whole path\. Received: "
    refused(("image", "mask"), [("../../etc", "00.png")], outside + r"\.\./\.\./etc \(line 2\)")
    refused(("image", "mask"), [("00.png", "x/../../a.png")], outside + r"x/\.\./\.\./a\.png \(line 2\)")
    refused(("image", "mask"), [("00.png", "no.png")], r"1 of 1 .*: 00.png \(no no.png\)")
    refused(
        ("image", "mask"), [("00.png", "00.png")], r"must name a column .*Received: tumor", label_columns=("tumor",)
    )
    (root / "masks").rename(root / "elsewhere")
    refused(("image", "age"), [("00.png", 3)], r"column mask, or one column per class .* Received: columns image, age")
    rows = [(f"{number:02}.png", "elsewhere/06.png") for number in (0, 3, 6, 77)]
    refused(("image", "mask"), rows, r"77.png \(missing\)")


def test_user_errors_on_the_command_line_are_one_line(root, capfd, monkeypatch):
    write_pairs(root)
    (root / "masks" / "03.png").unlink()
    arguments = ["--model", "cnn", "--data", f"masks:{root}", "--run-dir", str(root / "run")]
    monkeypatch.setattr("sys.argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_main(lambda given: train(parse_command(TrainConfig, given, "train.py")))
    assert stopped.value.code == 2
    error = capfd.readouterr().err
    assert error.startswith("error: Every image must have a mask.")
    assert error.count("\n") == 1
    assert not (root / "run").exists()


def test_the_loader_recognises_mask_data_names(root):
    write_pairs(root)
    data = load_data(f"masks:{root}", size=16, own=OwnImages(fit="pad"))
    assert data.name == f"masks:{root}"
    assert data.image_shape == (16, 16, 1)


def test_masks_that_could_not_be_read_for_a_moment_are_read_again(root, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    write_pairs(root)
    with monkeypatch.context() as short:
        short.setattr(mask_classes, "find_values", refuse)
        with pytest.raises(InputError, match=r"too many open files.* damaged themselves"):
            load(root, skip_bad=True)
    assert_drawn(load(root, skip_bad=True))
