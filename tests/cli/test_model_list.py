"""The list of models: known without building them, and never that of other sources."""

import json

import pytest

from keras_lnn import registry
from keras_lnn.cli import model_list


@pytest.fixture(autouse=True)
def models_of_the_package(monkeypatch):
    """Removes the networks that other tests register."""
    ours = {entry.name: entry for entry in registry.list_models() if entry.builder.__module__.startswith("keras_lnn.")}
    monkeypatch.setattr(registry, "_MODELS", ours)


def test_outdated_rows_are_rebuilt_and_cached(monkeypatch):
    monkeypatch.setattr(model_list, "_digest", lambda: "of other sources")
    rows, unknown = model_list.find_rows()
    assert rows == []
    assert set(unknown) == set(registry.model_names())
    (row,) = model_list.make_rows(["lnn"])
    assert (row["name"], row["parameters"]) == ("lnn", 263_048)
    model_list.make_rows(["cnn"])
    rows, unknown = model_list.find_rows()
    assert {row["name"] for row in rows} == {"lnn", "cnn"}
    assert len(unknown) == len(registry.model_names()) - 2


def test_the_shipped_list_names_only_registered_models():
    content = json.loads(model_list._SHIPPED.read_text())
    entries = {entry.name: entry for entry in registry.list_models()}
    for row in content["models"]:
        assert row["parameters"] > 0
        assert row["family"] == entries[row["name"]].family


@pytest.mark.slow
def test_the_shipped_list_matches_the_source_code():
    remedy = "networks or layers have changed: python -m keras_lnn.cli.model_list"
    content = json.loads(model_list._SHIPPED.read_text())
    assert content["digest"] == model_list._digest(), remedy
    assert content["models"] == model_list._build(registry.list_models()), remedy
