"""Reading options: every option of every command that reads data reaches the loader of their source."""

import dataclasses
from pathlib import Path

import pytest
from test_config import OFF_DEFAULT

from keras_lnn.cli.main import main
from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import OWN_SOURCES, OwnSource
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.fields.roles import Trait, fields_with

RUN = Path(__file__).parents[1] / "previous" / "finished"
received = []


def load_nothing(path, reading):
    """A loader that keeps how it was asked to read, and ends the command."""
    received.append(reading)
    raise InputError("nothing is loaded")


def field_of(reading, name):
    return getattr(reading if hasattr(reading, name) else reading.own, name)


def spell(name, value):
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return [option]
    return [option, ",".join(value) if isinstance(value, tuple) else str(value)]


@pytest.mark.parametrize("command", [["train", "--model", "dnn"], ["evaluate", str(RUN)]], ids=lambda found: found[0])
def test_every_option_of_the_data_reaches_the_loader(command, monkeypatch, tmp_path):
    # Series have every option that images have, and more.
    monkeypatch.setitem(OWN_SOURCES, "series:", OwnSource("DIR", "nothing", f"{__name__}:load_nothing"))
    values = {name: OFF_DEFAULT[name] for name in DataOptions.model_fields}
    values |= dict.fromkeys(fields_with(DataOptions, Trait.PLACE), tmp_path)
    options = [word for name, value in values.items() for word in spell(name, value)]
    received.clear()
    with pytest.raises(InputError, match="nothing is loaded"):
        main([*command, "--data", f"series:{tmp_path}", *options])
    (reading,) = received
    for name, value in (values | {"window": (40.0, 400.0)}).items():
        assert field_of(Reading(), name) != value
        assert field_of(reading, name) == value


def test_a_configuration_and_a_reading_have_the_same_fields():
    nested = {field.name for owner in (Reading, OwnImages) for field in dataclasses.fields(owner)}
    assert set(DataOptions.model_fields) <= nested
    alone = nested - set(DataOptions.model_fields)
    assert alone == {"own", "channels", "fold", "model_unit", "seed", "plan", "progress"}
    assert Reading().with_options(TrainConfig()) == Reading().with_options(DataOptions()) == Reading()


def test_options_that_are_not_given_keep_earlier_values():
    known = Reading(size=32, seed=4, own=OwnImages(fit="pad", skip_bad=True, window=(1.0, 2.0)))
    options = DataOptions(window="3,4", skip_bad=False, size=None)
    own = OwnImages(fit="pad", skip_bad=False, window=(3.0, 4.0))
    assert known.with_options(options) == dataclasses.replace(known, size=None, own=own)


def test_partial_progress_is_scaled_to_the_whole():
    fractions = []
    part = Reading(progress=fractions.append).part(0.5, 1.0)
    part.part(0.0, 0.5).progress(1.0)
    part.progress(1.0)
    assert fractions == [0.75, 1.0]
    assert Reading().part(0.0, 0.5).progress is None
