"""``keras-lnn benchmark``: measures a model in each format and precision: speed, memory, size and quality."""

from __future__ import annotations

from pathlib import Path

import pydantic
from pydantic_settings import CliPositionalArg
from rich.text import Text

from keras_lnn.cli.starting import Command, start
from keras_lnn.errors import InputError, suggest
from keras_lnn.fields.options import OwnModules
from keras_lnn.fields.values import Count
from keras_lnn.files.atomic import require_writable
from keras_lnn.saved.formats import FORMATS, PRECISIONS
from keras_lnn.terminal import loading, make_console, print_table, print_written

_FLOAT32 = "float32"


class BenchmarkCommand(OwnModules, Command):
    """Measure a model in each export format and precision: speed, memory, size, and what it keeps of its quality."""

    model: CliPositionalArg[str] = pydantic.Field(description="folder of a run, or .keras file")
    formats: str | None = pydantic.Field(None, description="formats, as onnx,litert (default: all that are installed)")
    quantize: str | None = pydantic.Field(
        None, description="precisions, as float32,int8 (default: float32, float16 and int8)"
    )
    samples: Count | None = pydantic.Field(
        None, description="measure on so many samples of the validation split (default: all)"
    )
    output: Path | None = pydantic.Field(
        None, description="folder for the tables, the page and the picture (default: benchmark/RUN)"
    )


def run_benchmark(command: BenchmarkCommand) -> None:
    """Measures the model and prints the table."""
    console = make_console()
    formats = _parse_names(command.formats, "--formats", list(FORMATS))
    precisions = _parse_names(command.quantize, "--quantize", [_FLOAT32, *PRECISIONS])
    from keras_lnn.saved.predictor import find_model, require_keras_file
    from keras_lnn.saved.signature import read_signature

    model = find_model(command.model)
    read_signature(model)
    require_keras_file(model)
    for name in formats if command.formats is not None else ():
        FORMATS[name].require_installed(writing=True)
    output = command.output or Path("benchmark", Path(command.model).resolve().stem)
    require_writable(output, "--output")
    start(command, console)
    from keras_lnn.benchmarking import running
    from keras_lnn.benchmarking.writing import benchmark_table, write_benchmark

    installed = running.list_installed()
    jobs = running.list_jobs([name for name in formats if name in installed], precisions)
    if not jobs:
        raise InputError(
            f"--formats and --quantize must leave something to measure. Received: {', '.join(formats)} in"
            f" {', '.join(precisions)}. See docs/guides/exporting.md for the precisions of each format."
        )
    with loading(console, "measuring") as progress:
        found = running.run_benchmark(command.model, jobs, command.samples, lambda fraction, what: progress(fraction))
    for note in found.notes:
        console.print(Text.assemble(("note: ", "bold"), note), soft_wrap=True)
    if not found.rows:
        raise InputError(f"No export of {command.model} could be measured: {found.notes[0]}")
    written = write_benchmark(found, output)
    print_table(console, benchmark_table(found))
    print_written(console, written)


def _parse_names(text: str | None, option: str, known: list[str]) -> list[str]:
    """Returns the names in a list such as ``onnx,litert``; all that are known for None."""
    if text is None:
        return known
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None or not names:
        raise InputError(f"{option} takes {', '.join(known)}. Received: {text}. {suggest(unknown or '', known)}")
    return list(dict.fromkeys(names))
