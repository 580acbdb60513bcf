"""``keras-lnn list``: lists the available models, data sets or runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
from pydantic_settings import CliPositionalArg
from rich.table import Table
from rich.text import Text

from keras_lnn.cli.starting import Command, start
from keras_lnn.errors import InputError
from keras_lnn.fields.options import OwnModules
from keras_lnn.terminal import loading, make_console, start_keras

if TYPE_CHECKING:
    from rich.console import Console


class ListCommand(OwnModules, Command):
    """List the models, the data sets, or the runs in a folder with their results."""

    what: CliPositionalArg[Literal["models", "data", "runs"]] = pydantic.Field(
        description="list the models, the data sets, or the runs"
    )
    folder: CliPositionalArg[Path | None] = pydantic.Field(
        None, description="of runs: the folder that holds them, at any depth (default: runs)"
    )
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON list")
    data_dir: Path | None = pydantic.Field(None, description="folder of the data files")


def run_list(command: ListCommand) -> None:
    """Prints the list as a table or as JSON."""
    quiet = make_console(stderr=True)
    if command.imports:
        start(command, quiet)
    if command.what == "runs":
        _list_runs(command.folder, command.json_output)
        return
    if command.folder is not None:
        raise InputError(
            f"Only runs are listed of a folder. Received: {command.folder} for {command.what}. Leave it out."
        )
    rows = _model_rows(quiet) if command.what == "models" else _data_rows(command.data_dir)
    if command.json_output:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table()
    for name in rows[0]:
        table.add_column(name, no_wrap=name in ("name", "here"))
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console = make_console()
    console.print(table)
    if command.what == "data":
        from keras_lnn.data.catalog import OTHER_SOURCES

        width = max(map(len, OTHER_SOURCES))
        for name, what in OTHER_SOURCES.items():
            console.print(f"{name.ljust(width)}  {what}")


def _list_runs(folder: Path | None, json_output: bool) -> None:
    from keras_lnn.cli.run_list import DEFAULT_FOLDER, find_runs, printable

    path = folder or DEFAULT_FOLDER
    rows = find_runs(path)
    if json_output:
        print(json.dumps([row.to_json() for row in rows], indent=2, ensure_ascii=False))
        return
    console = make_console()
    if not rows:
        console.print(f"{printable(str(path))} holds no run; keras-lnn train makes one")
        return
    table = Table()
    for name in ("run", "data", "model", "begun", "state", "result"):
        table.add_column(name, overflow="fold")
    for row in rows:
        link = "" if row.page is None else f"link {row.page.absolute().as_uri()}"
        cells = (row.data, row.model, row.begun, row.state, row.result)
        table.add_row(Text(row.name, style=link), *map(Text, cells))
    console.print(table)
    if console.is_terminal and any(row.page is not None for row in rows):
        console.print("The name of a run leads to its page, report.html, in terminals that follow links.")


def _model_rows(console: "Console") -> list[dict[str, Any]]:
    from keras_lnn.cli.model_list import find_rows, make_rows

    rows, unknown = find_rows()
    if unknown:
        start_keras(console)
        with loading(console, f"counting the parameters of {len(unknown)} models"):
            rows += make_rows(unknown)
    return sorted(rows, key=lambda row: row["name"])


def _data_rows(data_dir: Path | None) -> list[dict[str, Any]]:
    from keras_lnn.data.catalog import catalog
    from keras_lnn.data.sources.medmnist import medmnist_file

    return [
        {
            "name": entry.name,
            "task": entry.task,
            "labels": list(entry.class_names),
            "dimensions": entry.dimensions,
            "channels": entry.channels,
            "sizes": list(entry.sizes),
            "samples": dict(entry.samples),
            "licence": entry.licence,
            "here": not entry.sources or any(medmnist_file(entry, size, data_dir).is_file() for size in entry.sizes),
        }
        for entry in catalog().values()
    ]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " / ".join(f"{number:,}" for number in value.values())
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= 4 else f"{len(value)}: {value[0]}, ..."
    return f"{value:,}" if isinstance(value, int) else str(value)
