"""Command lines built from typed classes: every option has help and validation, every mistake becomes one line."""

import argparse
import difflib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args

import pydantic
import pydantic_settings

from keras_lnn.errors import InputError
from keras_lnn.fields.values import OneOf, validate

# A received value, such as a name, may have any length.
_LONGEST_MESSAGE = 2000

Command = TypeVar("Command", bound=pydantic.BaseModel)


def parse_options(command: type[Command], arguments: Sequence[str], program: str) -> dict[str, Any]:
    """Returns the options that were given on a command line, by field name, not yet validated.

    Args:
        command: The class whose fields are the options.
        arguments: The arguments after the program's name.
        program: Name of the program for the help text.

    Returns:
        Only the options that were given.
    """

    class Options(pydantic_settings.BaseSettings, command):  # ty: ignore[shadowed-type-variable, unsupported-base] made of any command
        model_config = pydantic_settings.SettingsConfigDict(protected_namespaces=(), extra="forbid", frozen=True)

    Options.__doc__ = command.__doc__
    literal: Any = Literal
    for field in Options.model_fields.values():
        # The help lists the names as it lists those of a Literal.
        names = next((tuple(mark.list_names()) for mark in field.metadata if isinstance(mark, OneOf)), None)
        if names is not None:
            field.annotation = literal[names] if field.annotation is str else literal[names] | None
    try:
        source = _LiteralPaths(
            Options,
            cli_prog_name=program,
            cli_parse_args=list(arguments),
            cli_exit_on_error=False,
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_hide_none_type=True,
            cli_avoid_json=True,
            formatter_class=_HelpFormatter,
        )
        given = source()
    except pydantic_settings.SettingsError as error:
        raise InputError(_explain(str(error), command, program)) from None
    return {name: value for name, value in given.items() if name in _option_fields(command)}


def parse_command(command: type[Command], arguments: Sequence[str], program: str) -> Command:
    """Returns a validated command from its command line."""
    return validate(command, parse_options(command, arguments, program))


# The packages of the extra `train` that are imported.
_OF_TRAINING = frozenset(
    [
        *("keras", "tensorflow", "ncps", "medmnist", "keras_tuner", "optuna", "grpc", "psutil"),
        *("tensorflow_datasets", "tensorboard", "scipy", "sklearn", "matplotlib", "jinja2"),
    ]
)


def run_main(main: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Runs a program; a user's mistake becomes one line on standard error and exit status 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # The encoding of a terminal may lack characters of a name.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main(sys.argv[1:])
    except InputError as error:
        _print_error(str(error))
        status = 2
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_TRAINING:
            raise
        _print_error(
            f"This command or option needs what the extra train brings. Received: an environment"
            f' without {error.name}. Install it: python -m pip install "keras-lnn[train]".'
        )
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _print_error(f"{where}{error.strerror or error}")
        status = 2
    sys.exit(status)


def _print_error(message: str) -> None:
    text = " ".join(message.split())
    print(f"error: {text[:_LONGEST_MESSAGE]}{'...' * (len(text) > _LONGEST_MESSAGE)}", file=sys.stderr)


def _option_fields(command: type[pydantic.BaseModel]) -> list[str]:
    return [field.alias or name for name, field in command.model_fields.items()]


class _LiteralPaths(pydantic_settings.CliSettingsSource):
    """Reads a command line in which each path of a list is one argument, whatever characters its name has.

    Otherwise commas, brackets, braces and quotes in file names would be parsed as the syntax of lists and objects.
    """

    def _merge_parsed_list(self, parsed_list: list[str], field_name: str) -> str:
        field = self.settings_cls.model_fields.get(field_name)
        if field is not None and Path in get_args(field.annotation):
            return json.dumps(parsed_list)
        return super()._merge_parsed_list(parsed_list, field_name)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        """Returns the help text without uninformative defaults: it already says what happens without the option."""
        return re.sub(r" ?\(default(: None| factory: [^)]*)\)$", "", action.help or "")


def _explain(message: str, command: type[pydantic.BaseModel], program: str) -> str:
    message = message.removeprefix("error parsing CLI: ").strip()
    options = [name.replace("_", "-") for name in _option_fields(command)]
    mapping = re.match(r"parsing error encountered for (\w+): ", message, re.IGNORECASE)
    if mapping:
        option = f"--{mapping.group(1).replace('_', '-')}"
        return f"{option} must be NAME=VALUE,NAME=VALUE, such as units=19,dropout=0.2. See {program} --help."
    unknown = re.match(r"unrecognized arguments: (\S+)", message)
    if unknown:
        received = unknown.group(1)
        near = difflib.get_close_matches(received.split("=")[0].lstrip("-"), options, n=1, cutoff=0.6)
        remedy = f"Did you mean --{near[0]}?" if near else f"See {program} --help."
        return f"There is no option {received}. {remedy}"
    return f"{message[:1].upper()}{message[1:]}. See {program} --help."
