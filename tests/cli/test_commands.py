"""Parsing of command lines."""

from pathlib import Path

import pytest

from keras_lnn.cli.compare import CompareCommand
from keras_lnn.cli.parsing import parse_command
from keras_lnn.cli.predict import PredictCommand
from keras_lnn.errors import InputError

NAMES = ["Smith, John.png", "[1].png", "{a}.png", '"q".png', "it's.png", "a\\b.png", " x .png", "\udcff.png", "12"]


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_not_expanded_as_patterns(name):
    command = parse_command(PredictCommand, ["my,model", name, "b.png", "--output", "[o],1.csv"], "predict")
    assert command.images == [Path(name), Path("b.png")]
    assert (command.model, command.output) == ("my,model", Path("[o],1.csv"))
    assert parse_command(CompareCommand, [name], "compare").runs == [Path(name)]


def test_an_empty_list_of_paths_is_rejected_in_one_line():
    with pytest.raises(InputError, match="The following arguments are required: IMAGES"):
        parse_command(PredictCommand, ["model"], "predict")
