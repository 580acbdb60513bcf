"""The catalog: complete, metadata only."""

import dataclasses
import os

import pytest

from keras_lnn.data.catalog import DataEntry, _medmnist_entries, catalog, get_entry, register_data, require_data
from keras_lnn.data.sources.loading import load_data
from keras_lnn.errors import InputError


def test_every_medmnist_set_is_listed_at_every_size():
    entries = catalog()
    medmnist = {name for name, entry in entries.items() if entry.loader.startswith("keras_lnn.data.sources.medmnist:")}
    assert len(medmnist) == 18
    for name in medmnist:
        entry = entries[name]
        assert entry.sizes == ((28, 64) if entry.dimensions == 3 else (28, 64, 128, 224))
        assert set(entry.sources) == set(entry.sizes)
        assert all(url.startswith("https://") and len(md5) == 32 for url, md5 in entry.sources.values())
    assert entries["breastmnist"].class_names == ("malignant", "normal, benign")
    positive = {
        name: entry.positive_class or entry.class_names[1] for name, entry in entries.items() if entry.task == "binary"
    }
    assert positive["breastmnist"] == "malignant"
    assert (positive["pneumoniamnist"], positive["nodulemnist3d"]) == ("pneumonia", "malignant")
    assert all(positive[name] in entries[name].class_names for name in positive)
    assert entries["retinamnist"].task == "ordinal"
    assert entries["chestmnist"].task == "multi-label"
    assert len(entries["chestmnist"].class_names) == 14
    assert entries["organmnist3d"].augmentation == "shift-rotate"


def test_reading_the_catalog_touches_no_file(capfd):
    _medmnist_entries.cache_clear()
    catalog()
    assert capfd.readouterr().out == ""
    assert os.listdir(os.environ["HOME"]) == []


@pytest.mark.parametrize("name", ["phantom-breast", pytest.param("phantom-vessel", marks=pytest.mark.slow)])
def test_the_phantoms_match_the_catalog(name):
    entry, data = get_entry(name), load_data(name)
    assert {split: len(part) for split, part in data.splits.items()} == dict(entry.samples)
    assert (data.task, data.class_names) == (entry.task, entry.class_names)
    assert data.image_shape == (*(entry.sizes[0],) * entry.dimensions, entry.channels)
    assert (data.augmentation, data.licence) == (entry.augmentation, entry.licence)
    assert data.positive_class == entry.positive_class


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(InputError, match=r"'brestmnist'. Did you mean breastmnist"):
        require_data("brestmnist")
    require_data("folder:anything")
    require_data("tfds:anything")


def test_a_size_must_exist():
    with pytest.raises(InputError, match=r"these sizes: 28\. Received: 64"):
        load_data("phantom-breast", size=64)


def test_a_new_data_set_names_one_of_two_classes_as_positive():
    entry = dataclasses.replace(get_entry("phantom-breast"), name="phantom-lung", positive_class="ill")
    with pytest.raises(
        ValueError, match=r"one of two classes\. Received: ill for the binary classes malignant, normal"
    ):
        register_data(entry)


def test_a_new_data_set_names_an_augmentation_that_exists():
    entry = dataclasses.replace(get_entry("phantom-breast"), name="phantom-lung", augmentation="flip+nose")
    with pytest.raises(InputError, match="no augmentation 'nose'"):
        register_data(entry)
    assert "phantom-lung" not in catalog()


def test_duplicate_data_set_names_are_refused(tiny_data):
    with pytest.raises(ValueError, match="must be new"):
        register_data(catalog()[tiny_data])
    assert isinstance(get_entry(tiny_data), DataEntry)
    assert load_data(tiny_data).augmentation == "mirror"
