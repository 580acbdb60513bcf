"""Checks of what must stay the same until a search ends."""

import pytest
import yaml

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.roles import values_before, values_in_trials
from tuning.identity import require_same_description, write_description


def test_a_search_older_than_some_fields_goes_on(tmp_path):
    config = TrainConfig(model="dnn", data="phantom-breast").model_dump(mode="json")
    config |= values_in_trials(TrainConfig) | values_before(TrainConfig)
    description = {"config": config, "space": {"units": [1, 2]}, "search": {"max_trials": 3}}
    write_description(tmp_path, description)
    written = yaml.safe_load((tmp_path / "search.yaml").read_text())
    for name in ("explanations", "coverage_by_class", "fold", "calibration"):
        del written["config"][name]
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(written))
    require_same_description(tmp_path, description)
    changed = {**description, "config": config | {"coverage_by_class": True}}
    with pytest.raises(InputError, match="continue with the coverage_by_class that it began with, False"):
        require_same_description(tmp_path, changed)
