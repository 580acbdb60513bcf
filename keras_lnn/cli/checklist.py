"""``keras-lnn checklist``: the reporting checklists of a run, with what it has recorded filled in."""

from pathlib import Path
from typing import Annotated

import pydantic
from pydantic_settings import CliPositionalArg

from keras_lnn.checklists.guidelines import list_guidelines
from keras_lnn.cli.starting import Command
from keras_lnn.fields.values import OneOf
from keras_lnn.files.atomic import require_writable
from keras_lnn.terminal import make_console, print_written


class ChecklistCommand(Command):
    """Fill in the reporting checklists CLAIM 2024 and TRIPOD+AI from a run, and mark what a person must write."""

    run: CliPositionalArg[Path] = pydantic.Field(description="folder of a complete run")
    guideline: Annotated[str | None, OneOf(list_guidelines)] = pydantic.Field(
        None, description="one guideline only (default: all of them in one file)"
    )
    output: Path | None = pydantic.Field(
        None, description="Markdown file to write (default: checklist.md in the run's folder)"
    )


def run_checklist(command: ChecklistCommand) -> None:
    """Writes the checklists and prints their path."""
    from keras_lnn.checklists.writing import write_checklist

    if command.output is not None:
        require_writable(command.output.parent, "The folder of --output")
    path = write_checklist(command.run, command.output, [command.guideline] if command.guideline else [])
    print_written(make_console(), {"checklist": path})
