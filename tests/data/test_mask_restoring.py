"""Masks restored to the size of their images, compared with reading masks; NIfTI in the file's orientation."""

import numpy as np
import pytest
from PIL import Image

from keras_lnn.data.decode import medical_files
from keras_lnn.data.decode.mask_pixels import read_mask
from keras_lnn.data.decode.mask_restoring import restore_mask, write_mask_nifti, write_mask_png
from keras_lnn.data.options import Rendering
from keras_lnn.saved.mask_predictions import predict_masks
from keras_lnn.saved.predictor import KerasPredictor
from keras_lnn.saved.signature import Signature

COLOURS = ("#000000", "#ff0000", "#00ff10")


def blocks(shape, factor):
    """A mask of large pixels, of which each is as good as its neighbours."""
    coarse = np.random.default_rng(0).integers(0, 3, [length // factor for length in shape]).astype(np.uint8)
    return np.kron(coarse, np.ones([factor] * len(shape), np.uint8))


def certain(mask, classes=3):
    """Returns one-hot probabilities."""
    return np.eye(classes)[mask]


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("native", [(48, 24), (24, 48), (32, 32), (96, 64)])
def test_a_mask_is_restored_to_its_original_grid(tmp_path, native, fit):
    mask = blocks(native, 8)
    write_mask_png(mask, tmp_path / "mask.png")
    # Four times the size keeps each pixel, in whichever part of it the image lies.
    read = read_mask(tmp_path / "mask.png", (192, 192, 1), Rendering(fit, None, (0, 1, 2)))
    assert np.array_equal(restore_mask(certain(read[..., 0]), medical_files.Grid(native), fit), mask)


def test_padding_is_cropped_and_a_smaller_prediction_is_enlarged():
    answer = np.zeros((16, 16), np.uint8)
    answer[4:12] = 1  # a wide image of 40 by 80 lies in these rows
    answer[6, 0] = 2
    restored = restore_mask(certain(answer), medical_files.Grid((40, 80)), "pad")
    assert restored.shape == (40, 80)
    assert (restored > 0).all()  # nothing of the padding comes in at the edges
    # The pixel has the rows from 10 to 14 and the columns up to 4; where less than half of it is left, it loses.
    inside = restored[10:15, :5]
    assert (restored == 2).sum() == (inside == 2).sum() > 12
    assert (inside[2] == 2).all()
    stretched = restore_mask(certain(answer), medical_files.Grid((40, 80)), "stretch")
    assert (stretched == 0).sum() == 40 * 80 // 2


@pytest.mark.parametrize("shape", [(32, 32), (16, 16, 16)])
def test_a_border_is_as_smooth_as_the_probabilities(shape):
    def ball(sides, width):
        axes = np.meshgrid(*((np.arange(side) + 0.5) / side - 0.47 for side in sides), indexing="ij")
        distance = 0.3 - np.sqrt(sum(axis**2 for axis in axes))
        return 0.5 + 0.5 * np.tanh(distance / width)

    large = tuple(5 * side for side in shape)
    truth = ball(large, 1e-9) > 0.5
    inside = ball(shape, 0.05)
    restored = restore_mask(np.stack([1 - inside, inside], axis=-1), medical_files.Grid(large), "stretch")
    nearest = np.kron(inside > 0.5, np.ones([5] * len(shape), bool))
    assert (restored != truth).mean() < 0.3 * (nearest != truth).mean()


def test_ties_between_classes_go_to_the_first():
    even = np.full((4, 4, 3), 1 / 3)
    assert not restore_mask(even, medical_files.Grid((9, 7)), "stretch").any()


def test_png_files_hold_indices_or_colours(tmp_path):
    mask = blocks((16, 24), 8)
    write_mask_png(mask, tmp_path / "index.png")
    write_mask_png(mask, tmp_path / "colour.png", COLOURS)
    with Image.open(tmp_path / "index.png") as written:
        assert np.array_equal(np.asarray(written), mask)
    with Image.open(tmp_path / "colour.png") as image:
        assert image.mode == "RGB"
    back = read_mask(tmp_path / "colour.png", (16, 24, 1), Rendering("stretch", None, COLOURS))
    assert np.array_equal(back[..., 0], mask)


@pytest.mark.parametrize("values", [(0, 255, 128), (0, 1000, 40000)])
def test_png_files_hold_the_grey_values_that_were_learned(tmp_path, values):
    mask = blocks((16, 24), 8)
    write_mask_png(mask, tmp_path / "mask.png", values)
    with Image.open(tmp_path / "mask.png") as written:
        assert np.array_equal(np.asarray(written), np.array(values)[mask])
    back = read_mask(tmp_path / "mask.png", (16, 24, 1), Rendering("stretch", None, values))
    assert np.array_equal(back[..., 0], mask)


def test_predicted_masks_have_the_values_of_those_that_were_learned(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    model.set_weights([np.array([[[[0.0, 0.1]]]]), np.array([0.0, -10.0])])  # class 1 above a brightness of 100
    names = ("background", "foreground")
    fields = ("unet", {}, "segmentation", names, (8, 8, 1), "masks:x", 8, "none", "", 4, 0, 1, "a test")
    predictor = KerasPredictor(model, Signature(*fields, mask_values=(0, 255)))
    image = np.repeat(np.array([60, 140], np.uint8), 8)[:, None].repeat(16, axis=1)
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "a.png")
    table = predict_masks(predictor, [tmp_path / "in"], tmp_path / "out", overlay=True)
    with Image.open(tmp_path / "out" / "a.png") as written:
        assert np.array_equal(np.asarray(written), np.where(image > 100, 255, 0))
    assert table["pixels foreground"][0] == 128


nibabel = pytest.importorskip("nibabel")
# Voxels of different size, turned: the first axis runs from head to foot, the second from right to left.
TURNED = np.array([[0, -1.5, 0, 40], [0, 0, 2.0, -10], [-3.0, 0, 0, 5], [0, 0, 0, 1]])
PLAIN = np.diag([1.0, 1.0, 2.0, 1.0])


@pytest.mark.parametrize("affine", [PLAIN, TURNED], ids=["plain", "turned"])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_a_nifti_mask_lies_on_its_image(tmp_path, affine, fit):
    mask = blocks((12, 16, 20), 4)
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.int16), affine), tmp_path / "image.nii.gz")
    read = read_mask(tmp_path / "image.nii.gz", (160, 160, 160, 1), Rendering(fit, None, (0, 1, 2)))
    restored = write_mask_nifti(certain(read[..., 0]), tmp_path / "image.nii.gz", fit, tmp_path / "mask.nii.gz")
    written = nibabel.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), mask)
    assert np.array_equal(written.affine, affine)
    assert written.get_data_dtype() == np.uint8
    assert restored.shape == medical_files.native_grid(tmp_path / "image.nii.gz").shape


def test_a_nifti_mask_holds_the_values_that_were_learned(tmp_path):
    mask = blocks((12, 16, 20), 4)
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.int16), TURNED), tmp_path / "image.nii.gz")
    read = read_mask(tmp_path / "image.nii.gz", (160, 160, 160, 1), Rendering("stretch", None, (0, 1, 2)))
    values = (0, 255, 1000)
    write_mask_nifti(certain(read[..., 0]), tmp_path / "image.nii.gz", "stretch", tmp_path / "mask.nii.gz", values)
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "mask.nii.gz").dataobj), np.array(values)[mask])


@pytest.mark.parametrize("shape", [(8, 12), (8, 12, 1), (8, 1, 12)])
def test_a_two_dimensional_nifti_file_gets_a_two_dimensional_mask(tmp_path, shape):
    mask = blocks((8, 12), 4)
    nibabel.save(nibabel.Nifti1Image(mask.reshape(shape).astype(np.float32), PLAIN), tmp_path / "image.nii")
    read = read_mask(tmp_path / "image.nii", (48, 48, 1), Rendering("stretch", None, (0, 1, 2)))
    write_mask_nifti(certain(read[..., 0]), tmp_path / "image.nii", "stretch", tmp_path / "mask.nii")
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "mask.nii").dataobj), mask.reshape(shape))


def test_the_mask_of_a_time_series_covers_one_time_point(tmp_path):
    times = np.stack([blocks((8, 12, 4), 4), np.zeros((8, 12, 4), np.uint8)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(times, TURNED), tmp_path / "image.nii")
    read = read_mask(tmp_path / "image.nii", (48, 48, 48, 1), Rendering("stretch", None, (0, 1, 2)))
    write_mask_nifti(certain(read[..., 0]), tmp_path / "image.nii", "stretch", tmp_path / "mask.nii")
    written = nibabel.load(tmp_path / "mask.nii")
    assert np.array_equal(np.asarray(written.dataobj), times[..., 0])
    assert np.array_equal(written.affine, TURNED)
