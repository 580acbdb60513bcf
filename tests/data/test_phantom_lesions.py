"""Masks of the lesions of embedded synthetic images, drawn from the same random numbers."""

import numpy as np
import pytest

from keras_lnn.data.phantoms import chest
from keras_lnn.data.phantoms.breast_and_vessel import phantom_breast
from keras_lnn.data.phantoms.chest import FINDINGS
from keras_lnn.data.phantoms.lesions import LESIONS, draw_lesions
from keras_lnn.errors import InputError


def test_breast_lesions_are_dark_and_missing_only_in_normal_tissue():
    data = phantom_breast()
    assert data.checksum == "sha256:a827c36bae9367656a95ed5e0fd7d156f84c5cf10a29bc48827dde7827c724dd"
    split, masks = data.splits["test"], draw_lesions("phantom-breast", "test")
    images = split.images[..., 0].astype(float)
    assert masks.shape == images.shape
    has = masks.any(axis=(1, 2))
    assert has[split.labels == 0].all()
    assert 0.7 < has[split.labels == 1].mean() < 0.95
    around = np.stack([image[row].mean() for image, row in zip(images, ~masks, strict=True)])[has]
    inside = np.stack([image[row].mean() for image, row in zip(images[has], masks[has], strict=True)])
    assert (inside < around).mean() > 0.95


def test_findings_of_the_chest_are_where_their_labels_are():
    masks = draw_lesions("phantom-chest", "val")
    findings, _, _ = chest._draw_split("val")
    assert masks.shape == (len(findings), 28, 28, len(FINDINGS))
    np.testing.assert_array_equal(masks.any(axis=(1, 2)), findings)
    # A nodule is a small spot that is brighter than its neighbours.
    nodule = FINDINGS.index("nodule")
    sizes = masks[..., nodule].sum(axis=(1, 2))
    assert 3 < sizes[sizes > 0].mean() < 30


def test_unknown_lesions_are_one_line():
    with pytest.raises(InputError, match=r"The lesions of 'phantom-breasts' are not known. Did you mean"):
        draw_lesions("phantom-breasts", "test")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["phantom-vessel", "phantom-liver-classes"])
def test_lesions_are_there_where_the_label_says_so(name):
    from keras_lnn.data import load_data

    split, masks = load_data(name).splits["val"], LESIONS[name]("val")
    assert masks.shape == split.images.shape[:-1]
    has = masks.reshape(len(masks), -1).any(axis=1)
    np.testing.assert_array_equal(has, split.labels == split.labels.max())
