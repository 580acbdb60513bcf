"""The configuration: validated once, the same through YAML, unknown keys refused."""

from pathlib import Path

import pydantic
import pytest
import yaml

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.roles import Role, Trait, fields_with
from keras_lnn.fields.values import parse_duration
from keras_lnn.files.yaml_files import read_yaml
from tuning.settings import SearchSettings

OFF_DEFAULT = {
    "model": "dnn",
    "model_args": {"units": 12},
    "data": "breastmnist",
    "size": 64,
    "data_dir": "somewhere",
    "accept_checksum": True,
    "image_dir": "images",
    "file_column": "scan",
    "label_columns": ("mass", "edema"),
    "split_column": "part",
    "group_column": "patient",
    "series_column": "examination",
    "time_column": "taken",
    "time_unit": "minutes",
    "steps_along": "position",
    "position_column": "height",
    "max_steps": 12,
    "label_of": "image",
    "fit": "pad",
    "window": "40,400",
    "frame": "middle",
    "skip_bad": True,
    "mask_threshold": 127.0,
    "imports": ("my_models", "my_data"),
    "epochs": 3,
    "batch_size": 7,
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "weight_decay": 0.25,
    "schedule": "cosine",
    "restart_epochs": 4,
    "loss": "focal",
    "class_weight": "balanced",
    "augmentation": "auto",
    "monitor": "val_loss",
    "early_stopping": 4,
    "early_stopping_margin": 0.001,
    "keep": "last",
    "weight_average": 0.99,
    "calibration": "vector",
    "threshold": "sensitivity=.9",
    "coverage": 0.8,
    "coverage_by_class": True,
    "referral_risk": 0.1,
    "positive_class": "malignant",
    "split_seed": 4,
    "fold": "2/5",
    "seed": 9,
    "deterministic": False,
    "precision": "mixed_float16",
    "xla": True,
    "start_from": "before",
    "devices": 2,
    "stop_after": 2,
    "test": False,
    "run_dir": "there",
    "time_budget": "10m",
    "explanations": False,
    "tensorboard": False,
    "export": "none",
    "export_dir": "out",
}


def test_yaml_round_trips_every_field(tmp_path):
    config = TrainConfig.create(OFF_DEFAULT)
    default = TrainConfig().model_dump()
    assert set(OFF_DEFAULT) == set(TrainConfig.model_fields)
    assert all(value != default[name] for name, value in config.model_dump().items())
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert TrainConfig.from_yaml(path) == config
    assert list(yaml.safe_load(config.to_yaml())) == list(TrainConfig.model_fields)


@pytest.mark.parametrize("model_class", [TrainConfig, SearchSettings])
def test_each_field_has_exactly_one_role(model_class):
    roles = {
        name: [mark for mark in field.metadata if isinstance(mark, Role)]
        for name, field in model_class.model_fields.items()
    }
    wrong = [name for name, found in roles.items() if len(found) != 1]
    assert not wrong, f"give {', '.join(wrong)} one Role in its annotation"


def test_roles_and_traits_find_fields_in_the_order_of_declaration():
    assert all(fields_with(TrainConfig, mark) for mark in (*Role, *Trait))
    assert fields_with(TrainConfig, Trait.COLUMN, Role.MODEL) == (
        *("model", "model_args"),
        *("file_column", "label_columns", "split_column", "group_column"),
        *("series_column", "time_column", "position_column"),
    )


def test_fields_with_a_path_may_differ_between_machines():
    paths = [name for name, field in TrainConfig.model_fields.items() if "Path" in str(field.annotation)]
    assert set(paths) <= set(fields_with(TrainConfig, Trait.PLACE))


def test_a_configuration_is_frozen():
    config = TrainConfig()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.epochs = 3  # ty: ignore[invalid-assignment] read-only, as is tested


def test_defaults_fill_only_what_was_left_out():
    filled = TrainConfig(epochs=3).with_defaults({"epochs": 50, "batch_size": 16, "optimizer": "sgd"})
    assert (filled.epochs, filled.batch_size, filled.optimizer) == (3, 16, "sgd")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epocs": 3}, "There is no field 'epocs'. Did you mean epochs?"),
        ({"epochs": 0}, "epochs must be greater than or equal to 1. Received: 0."),
        ({"learning_rate": "fast"}, "learning_rate must be a valid number"),
        ({"optimizer": "adamm"}, "optimizer must be 'adam', 'adamw'"),
        ({"time_budget": "soon"}, "time_budget must be a number of seconds, or a number followed by s, m or h"),
        ({"seed": -1}, "seed must be greater than or equal to 0"),
        ({"size": 3}, "size must be greater than or equal to 8"),
    ],
)
def test_a_bad_value_is_one_line(values, message):
    with pytest.raises(InputError, match="^" + message.replace(".", r"\.").replace("?", r"\?")) as caught:
        TrainConfig.create(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2H", 7200.0), (None, None), (5, 5.0)]
)
def test_durations_are_parsed(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-3s", "0", "nan", "inf"])
def test_invalid_durations_are_refused(text):
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"- 1\n- 2", "lines 'field: value'"), (b"a: [", "line 1"), (b"\xff\xfe\x00", "not a text file")],
)
def test_invalid_configuration_files_are_refused(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_yaml(path)


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"nowhere\.yaml \(No such file"):
        read_yaml(Path("nowhere.yaml"))


@pytest.mark.parametrize("frame", ["first", "middle", "mean", "each", "7", 7, None])
def test_frame_choices_are_parsed(frame):
    assert TrainConfig.create({"frame": frame}).frame == (None if frame is None else str(frame))


@pytest.mark.parametrize("frame", ["last", "0", "-1", "1.5", "", "9" * 5000])
def test_invalid_frame_choices_are_refused(frame):
    with pytest.raises(
        InputError, match=r"frame must be first, middle, mean, each or a number of at least 1\. Received:"
    ):
        TrainConfig.create({"frame": frame})
