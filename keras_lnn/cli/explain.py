"""``keras-lnn explain``: where a model looks and what its neurons do, on a page with maps of single samples."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.text import Text

from keras_lnn.cli.own_series_options import OwnSeriesOptions, read_own_options
from keras_lnn.cli.starting import Command, start
from keras_lnn.errors import InputError
from keras_lnn.fields.options import OwnModules
from keras_lnn.fields.values import split_names
from keras_lnn.files.atomic import as_text, require_writable
from keras_lnn.terminal import loading, make_console, print_table, print_written

_EXAMPLES, _MEASURED = 6, 200


class ExplainCommand(OwnSeriesOptions, OwnModules, Command):
    """Draw where a model looks and what its liquid neurons do, for images of your own or examples of its test split."""

    model: CliPositionalArg[str] = pydantic.Field(description="run, .keras file or name of a model")
    images: CliPositionalArg[list[Path]] = pydantic.Field(
        [],
        description="image files and folders; .npy for volumes; tables, folders of series and .npz for series "
        "(default: examples of the data)",
    )
    method: Annotated[tuple[str, ...], pydantic.BeforeValidator(split_names)] = pydantic.Field(
        (), description="methods of the maps, as a,b (default: occlusion)"
    )
    target: str | None = pydantic.Field(
        None, description="class or label that the maps are about (default: what is predicted for each image)"
    )
    examples: int | None = pydantic.Field(
        None,
        ge=1,
        le=1000,
        description="without images of your own: number of test samples that are explained, from the worst to the "
        f"best prediction (default: {_EXAMPLES})",
    )
    data: str | None = pydantic.Field(
        None,
        description="data set of the examples, --check and --circuit (default: the one that the model was trained on)",
    )
    check: bool = pydantic.Field(False, description="also measure on test samples how true the maps are")
    circuit: bool = pydantic.Field(
        False,
        description="also measure what silencing each neuron and synapse changes, and find the smallest circuit that "
        "decides as the whole liquid layer does",
    )
    samples: int | None = pydantic.Field(
        None,
        ge=2,
        description=f"number of samples that --check and --circuit measure at most (default: {_MEASURED})",
    )
    output: Path | None = pydantic.Field(None, description="folder to write (default: explanations/MODEL)")
    skip_bad: bool = pydantic.Field(False, description="skip image files that are unreadable")


def run_explain(command: ExplainCommand) -> None:
    """Explains the images or examples and writes the page."""
    from keras_lnn.saved.image_files import check_headers, find_inputs
    from keras_lnn.saved.predictor import find_model, require_keras_file
    from keras_lnn.saved.signature import read_signature

    path = find_model(command.model)
    signature = read_signature(path)
    require_keras_file(path)
    own = read_own_options(command, command.model, signature, command.skip_bad)
    _require_used(command)
    if command.images:
        check_headers(find_inputs(command.images, signature, own), signature, command.skip_bad)
    output = command.output or Path("explanations") / _name_folder(command.model)
    require_writable(output.parent, "--output")
    console = make_console()
    start(command, console)
    from keras_lnn.explaining.explanations import explain_samples
    from keras_lnn.explaining.maps import DEFAULT_METHOD, find_target, require_methods
    from keras_lnn.pages.explanation_files import require_free_folder, write_explanations
    from keras_lnn.saved.predictor import load_predictor
    from keras_lnn.trained.evaluate import LastLoaded
    from keras_lnn.trained.explaining import read_examples, read_own
    from keras_lnn.trained.learned_features import compare_with_learned

    require_methods(command.method)
    find_target(signature.get_task(), command.target)
    require_free_folder(output)
    load = LastLoaded()
    with loading(console, "loading the model"):
        predictor: Any = load_predictor(command.model)
    with loading(console, "reading") as progress:
        if command.images:
            samples = read_own(predictor, command.images, own, command.skip_bad, progress)
        else:
            samples = read_examples(command.model, predictor, command.examples or _EXAMPLES, command.data, load)
    for warning in samples.warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    methods = command.method or (DEFAULT_METHOD,)
    with loading(console, "explaining") as progress:
        about: dict[str, Any] = {"truths": samples.truths, "why": samples.why, "progress": progress}
        explained = explain_samples(predictor, samples.images, samples.names, methods, command.target, **about)
    measured = _measure(command, predictor, methods, load, console)
    with loading(console, "comparing with what was learned") as progress:
        compared = compare_with_learned(command.model, predictor, samples.images, load, progress)
    with loading(console, "drawing") as progress:
        page = write_explanations(
            predictor,
            explained,
            output,
            images=samples.images,
            reference=samples.reference,
            reference_is=samples.reference_is,
            compared=compared,
            cautions=samples.warnings,
            **measured,
            progress=progress,
        )
    print_written(console, {"page": page, "maps": output / "maps.npz", "table": output / "explanation.csv"})


def _measure(
    command: ExplainCommand, predictor: Any, methods: Sequence[str], load: Any, console: Console
) -> dict[str, Any]:
    """Returns and prints what is measured of the whole model: its ``check`` and ``circuit``, where asked for."""
    from keras_lnn.pages.explanation_parts import check_table, circuit_table
    from keras_lnn.trained.explaining import check_maps, find_circuit

    measured: dict[str, Any] = {}
    where = {"most": command.samples or _MEASURED, "data": command.data, "load": load}
    if command.check:
        with loading(console, "checking the maps") as progress:
            measured["check"] = check_maps(command.model, predictor, methods, command.target, progress, **where)
        print_table(console, check_table(measured["check"]))
    if command.circuit:
        with loading(console, "looking for the smallest circuit") as progress:
            measured["circuit"] = find_circuit(command.model, predictor, progress, **where)
        print_table(console, circuit_table(measured["circuit"]))
    return measured


def _require_used(command: ExplainCommand) -> None:
    """Checks that no option is given that would do nothing."""
    measures = command.check or command.circuit
    unused = {
        "examples": ("for examples of the data", "it beside images", bool(command.images)),
        "data": ("for examples, --check and --circuit", "it beside images", bool(command.images) and not measures),
        "samples": ("for --check and --circuit", "it without them", not measures),
    }
    for option, (what_for, received, is_unused) in unused.items():
        if is_unused and getattr(command, option) is not None:
            raise InputError(f"--{option} is {what_for}. Received: {received}. Leave it out.")


def _name_folder(model: str) -> str:
    path = Path(model)
    name = path.resolve().name if path.is_dir() else path.stem
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", as_text(name)).strip("-.")[:100] or "model"
