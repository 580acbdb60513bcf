"""The embedded radiographs: the same bytes everywhere, findings that can be seen and that occur together."""

import numpy as np
import pytest

from keras_lnn.data import load_data
from keras_lnn.data.catalog import get_entry
from keras_lnn.data.phantoms.chest import FINDINGS, _draw_radiographs, phantom_chest
from keras_lnn.data.phantoms.shapes import make_generator


@pytest.fixture(scope="module")
def chest():
    return phantom_chest()


def test_the_bytes_are_reproducible(chest):
    assert chest.checksum == phantom_chest().checksum
    assert chest.checksum == "sha256:f0e671f5c7bb9969105b9de35734406563e9915ec6ad2ea016cd5c35b59dfe9e"


def test_the_phantom_matches_the_catalog(chest):
    entry = get_entry("phantom-chest")
    assert entry.class_names == FINDINGS == load_data("phantom-chest").class_names
    assert {name: len(split) for name, split in chest.splits.items()} == dict(entry.samples)
    assert chest.image_shape == (28, 28, 1)
    for split in chest.splits.values():
        assert set(np.unique(split.labels)) == {0, 1}
        assert split.images.std() > 30


def test_some_findings_are_rare_and_some_occur_together(chest):
    labels = chest.splits["train"].labels.astype(float)
    shares = dict(zip(FINDINGS, labels.mean(axis=0), strict=True))
    assert shares["hernia"] < 0.025 < 0.05 < shares["pneumothorax"]
    assert all(split.labels.any(axis=0).all() for split in chest.splits.values())
    correlation = np.corrcoef(labels.T)
    place = FINDINGS.index
    assert correlation[place("cardiomegaly"), place("effusion")] > 0.3
    assert correlation[place("pneumothorax"), place("support device")] > 0.25
    assert abs(correlation[place("nodule"), place("hernia")]) < 0.1
    assert 0.35 < (labels.sum(axis=1) == 0).mean() < 0.55
    assert labels.sum(axis=1).max() >= 4


@pytest.mark.parametrize("finding", FINDINGS)
def test_each_finding_alone_changes_the_image(finding):
    without = np.zeros((60, len(FINDINGS)), bool)
    with_it = without.copy()
    with_it[:, FINDINGS.index(finding)] = True
    before, after = (
        _draw_radiographs(make_generator(3, 0), findings)[0][..., 0].astype(int) for findings in (without, with_it)
    )
    changed = np.abs(after - before).max(axis=(1, 2))
    assert np.median(changed) > 20
    assert (np.abs(after - before) > 8).mean() < 0.25
    darker = finding in ("pneumothorax", "hernia")
    assert ((after - before).sum(axis=(1, 2)) < 0).mean() > 0.7 if darker else (after - before).mean() > 0
