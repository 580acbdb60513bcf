"""``keras-lnn serve``: a local web page to try a model, and the same predictions for programs."""

import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pydantic
from pydantic_settings import CliPositionalArg
from rich.text import Text

from keras_lnn.cli.starting import Command, start
from keras_lnn.fields.options import OwnModules
from keras_lnn.fields.values import split_names
from keras_lnn.serving.limits import MEBIBYTE, Limits
from keras_lnn.terminal import loading, make_console

if TYPE_CHECKING:
    from rich.console import Console

_DEFAULT = Limits()
_TERMINATED = 143


class ServeCommand(OwnModules, Command):
    """Serve a model on this machine: a page to drop images on, and the same predictions for programs."""

    model: CliPositionalArg[str] = pydantic.Field(description="run, .keras file, exported folder or name of a model")
    host: str = pydantic.Field(
        "127.0.0.1", description="address to listen at (default: 127.0.0.1, which only this machine reaches)"
    )
    port: int = pydantic.Field(8000, ge=0, le=65535, description="port to listen at; 0 for any (default: 8000)")
    allow_host: Annotated[tuple[str, ...], pydantic.BeforeValidator(split_names)] = pydantic.Field(
        (), description="further names by which browsers may call the server, as a,b"
    )
    max_upload_mb: float = pydantic.Field(
        _DEFAULT.upload_bytes / MEBIBYTE,
        gt=0,
        le=4096,
        description=f"most megabytes of all files of a request (default: {_DEFAULT.upload_bytes // MEBIBYTE})",
    )
    max_pixels: int = pydantic.Field(
        _DEFAULT.pixels,
        ge=1,
        le=2**32,
        description="most pixels or voxels that all files of a request hold once they are decompressed (default: "
        f"{_DEFAULT.pixels})",
    )
    max_files: int = pydantic.Field(
        _DEFAULT.files, ge=1, le=100_000, description=f"most files of a request (default: {_DEFAULT.files})"
    )
    timeout: float = pydantic.Field(
        _DEFAULT.timeout_seconds,
        gt=0,
        le=86400,
        description=f"most seconds from a request to its answer (default: {_DEFAULT.timeout_seconds:g})",
    )
    parallel: int = pydantic.Field(
        _DEFAULT.parallel,
        ge=1,
        le=256,
        description=f"requests that are worked on at a time; eight times as many wait (default: {_DEFAULT.parallel})",
    )
    check_likeness: bool = pydantic.Field(
        False, description="for a run: compare each image with the training images, and warn of unlike ones"
    )


def run_serve(command: ServeCommand) -> None:
    """Serves the model until it is interrupted."""
    from keras_lnn.saved.formats import find_format
    from keras_lnn.saved.predictor import find_model, load_predictor
    from keras_lnn.saved.signature import read_signature
    from keras_lnn.serving.server import name_address, open_socket, require_extra, serve

    require_extra()
    path = find_model(command.model)
    read_signature(path)
    opened = open_socket(command.host, command.port)
    console = make_console()
    if find_format(path).runtime is None or command.check_likeness:
        start(command, console)
    from keras_lnn.files.atomic import as_text
    from keras_lnn.serving.readers import Readers
    from keras_lnn.serving.service import Comparison, Service

    limits = Limits(
        upload_bytes=int(command.max_upload_mb * MEBIBYTE),
        pixels=command.max_pixels,
        files=command.max_files,
        timeout_seconds=command.timeout,
        parallel=command.parallel,
    )
    readers = Readers(limits)
    with loading(console, "loading the model"):
        predictor = load_predictor(command.model)
    comparison = None
    if command.check_likeness:
        from keras_lnn.trained.learned_features import learn_to_compare

        with loading(console, "reading the training images") as progress:
            comparison = Comparison(*learn_to_compare(command.model, predictor, progress))
    service = Service(predictor, as_text(Path(command.model).resolve().name), limits, readers, comparison)
    with loading(console, "compiling the model"):
        service.model.warm_up()
        readers.wait()
    _warn_of_reach(command.host, opened, console)
    # Its end, too, must remove the files of requests.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    console.print(f"serving {as_text(command.model)} at {name_address(opened)} (Ctrl-C ends it)")
    try:
        serve(service, opened, (command.host, *command.allow_host))
    finally:
        readers.stop()


def _warn_of_reach(host: str, opened: socket.socket, console: "Console") -> None:
    from keras_lnn.serving.origins import is_loopback

    if not is_loopback(opened.getsockname()[0]):
        console.print(
            Text.assemble(
                ("warning: ", "bold yellow"),
                f"{host} can be reached from other machines, which may send images here unencrypted and without a"
                " password; put a proxy with both in front of it, or leave --host out",
            )
        )
