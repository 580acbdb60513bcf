"""Search spaces."""

import pytest
import trial_models
from pydantic import TypeAdapter

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.models import series
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import list_models
from keras_lnn.training.protocol import complete_config
from tuning.space import TRAINING_RANGES, builder_ranges, make_space


def config_for(model="quick-net", **fields):
    return complete_config(TrainConfig.create({"model": model, "data": "phantom-breast"} | fields))


def write(tmp_path, text):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("model", [entry.name for entry in list_models() if entry.family != "test"])
def test_every_model_has_ranges_and_its_published_values_are_the_defaults(model):
    config = config_for(model)
    space = make_space(config)
    assert builder_ranges(model)
    assert set(space.ranges) == {*builder_ranges(model), *TRAINING_RANGES}
    found = space.hyperparameters(config)
    assert [hyperparameter.name for hyperparameter in found.space] == list(space.ranges)
    assert found.get("batch_size") == config.batch_size
    assert found.get("learning_rate") == config.learning_rate
    assert space.apply(config, found.values).batch_size == config.batch_size


@pytest.mark.parametrize(
    "given",
    [
        {},
        *({"times": times} for times in ("elapsed", "feature", "both", "none")),
        *({"head": head} for head in ("lstm", "gru-d", "mean")),
        {"wired": True},
        {"mixed_memory": True},
    ],
)
def test_a_search_of_series_proposes_only_heads_that_are_possible(given):
    space = make_space(config_for("lnn-series", data="phantom-perfusion", model_args=given))
    assert {"features", "units", "dropout"} < set(space.ranges)
    assert ("head" in space.ranges) == ("head" not in given)
    for head in space.ranges["head"].values if "head" in space.ranges else [given["head"]]:
        times = given.get("times") or series._DEFAULT_TIMES.get(head, "feature")
        series._require_possible(head, times, given.get("wired", False), given.get("mixed_memory", False))


def test_values_reach_only_the_builder_and_the_fields():
    config = config_for(model_args={"activation": "tanh"})
    space = make_space(config)
    assert "activation" not in space.ranges
    values = {"units": 7, "learning_rate": 0.5, "tuner/epochs": 3}
    changed = space.apply(config, values)
    assert changed.model_args == {"activation": "tanh", "units": 7}
    assert changed.learning_rate == 0.5
    assert changed == config.model_copy(update={"model_args": changed.model_args, "learning_rate": 0.5})


def test_a_file_narrows_widens_fixes_and_adds(tmp_path):
    text = "units: {low: 4, high: 12, step: 4}\noptimizer: [sgd]\nearly_stopping: 3\nweight_decay: [0, 0.5]\n"
    space = make_space(config_for(), write(tmp_path, text))
    assert space.ranges["units"] == Range(4, 12, 4)
    assert space.ranges["optimizer"] == Choice(("sgd",))
    assert space.ranges["early_stopping"] == Choice((3,))
    assert space.ranges["weight_decay"] == Choice((0.0, 0.5))
    found = space.hyperparameters(config_for())
    assert {found.space[0].random_sample(seed) for seed in range(40)} == {4, 8, 12}
    assert found.get("units") == 4
    rows = {row["name"]: row for row in space.rows()}
    assert rows["units"] == {"name": "units", "of": "quick-net", "choices": "4 to 12, step 4"}
    assert rows["learning_rate"] == {"name": "learning_rate", "of": "training", "choices": "0.0001 to 0.01, log"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit: 3", r"no hyperparameter 'unit'.*Did you mean units"),
        ("seed: [1, 2]", r"seed must not be searched"),
        ("units: {low: 4}", r"A range must have numbers low, high.*units: \{'low': 4\}"),
        ("units: {low: 9, high: 4}", "a low below its high"),
        ("units: {low: 1, high: 4, steps: 2}", "A range must have numbers"),
        ("learning_rate: {low: 0, high: 1, log: true}", "a low above 0 if it is log"),
        ("learning_rate: {low: 0.1, high: 1, log: true, step: 0.1}", "not have both step and log"),
        ("learning_rate: {low: .nan, high: 1}", "a low below its high"),
        ("units: []", "must be plain values"),
        ("units: [3, [4]]", "must be plain values"),
        ("units: ~", "must have a value"),
        ("units: [3, x]", "must have one type"),
        ("activation: [relu, gelu]", r"activation of model quick-net must be 'relu' or 'tanh'. Received: 'gelu'"),
        ("optimizer: [adam, best]", r"optimizer.*'best'"),
        ("learning_rate: [-1.0]", r"learning_rate must be greater than 0"),
        ("batch_size: {low: 0, high: 8}", r"batch_size must be greater than or equal to 1"),
        ("- a", "lines 'field: value'"),
    ],
)
def test_a_user_error_is_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        make_space(config_for(), write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "Received" in str(caught.value) or "no hyperparameter" in str(caught.value)


def test_ranges_do_not_change_the_types_of_arguments():
    import typing

    types = typing.get_type_hints(trial_models.quick_net, include_extras=True)
    assert TypeAdapter(types["units"]).validate_python(100) == 100
