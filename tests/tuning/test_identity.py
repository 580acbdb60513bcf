"""Checks of what must stay the same until a search ends."""

import pytest
import yaml

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.roles import values_before, values_in_trials
from keras_lnn.models.ranges import Choice
from tuning.identity import describe_search, digest_search, require_same_description, write_description
from tuning.searching import default_folder, search
from tuning.settings import SearchSettings, lasting
from tuning.space import Space


def test_a_search_older_than_some_fields_goes_on(tmp_path):
    config = TrainConfig(model="dnn", data="phantom-breast").model_dump(mode="json")
    config |= values_in_trials(TrainConfig) | values_before(TrainConfig)
    description = {"config": config, "space": {"units": [1, 2]}, "search": lasting(SearchSettings())}
    write_description(tmp_path, description)
    written = yaml.safe_load((tmp_path / "search.yaml").read_text())
    for name in ("explanations", "coverage_by_class", "fold", "calibration"):
        del written["config"][name]
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(written))
    require_same_description(tmp_path, description)
    changed = {**description, "config": config | {"coverage_by_class": True}}
    with pytest.raises(InputError, match="continue with the coverage_by_class that it began with, False"):
        require_same_description(tmp_path, changed)


def test_a_search_keeps_its_folds_and_one_older_than_folds_goes_on(tmp_path):
    config, space = TrainConfig(model="dnn", data="phantom-breast"), Space("dnn", {"units": Choice((4, 8))})
    plain, folded = (describe_search(config, space, SearchSettings(folds=folds)) for folds in (None, 3))
    assert digest_search(plain) != digest_search(folded)
    write_description(tmp_path, plain)
    written = yaml.safe_load((tmp_path / "search.yaml").read_text())
    del written["search"]["folds"]
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(written))
    require_same_description(tmp_path, plain)
    with pytest.raises(InputError, match=r"continue with the folds that it began with, None\. Received: 3"):
        require_same_description(tmp_path, folded)
    folders = [default_folder(config, SearchSettings(folds=folds)).name for folds in (None, 3)]
    assert folders == ["dnn-phantom-breast-tpe", "dnn-phantom-breast-tpe-3-folds"]


def test_a_search_keeps_its_pruning_and_one_older_than_pruning_goes_on(tmp_path):
    config, space = TrainConfig(model="dnn", data="phantom-breast"), Space("dnn", {"units": Choice((4, 8))})
    plain, pruned = (describe_search(config, space, SearchSettings(prune=rule)) for rule in ("none", "median"))
    write_description(tmp_path, plain)
    written = yaml.safe_load((tmp_path / "search.yaml").read_text())
    del written["search"]["prune"]
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(written))
    require_same_description(tmp_path, plain)
    with pytest.raises(InputError, match=r"continue with the prune that it began with, none\. Received: median"):
        require_same_description(tmp_path, pruned)
    assert default_folder(config, SearchSettings(prune="median")).name == "dnn-phantom-breast-tpe-median"


def test_a_search_is_of_all_folds_or_of_one():
    with pytest.raises(InputError, match=r"Received: --folds 3 and --fold 1/3\. Leave one out"):
        search(TrainConfig(model="dnn", fold="1/3"), folds=3)
    with pytest.raises(InputError, match="folds must be greater than or equal to 3"):
        search(TrainConfig(model="dnn"), folds=2)
