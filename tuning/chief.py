"""The address at which a chief serves trials to workers on other machines, and how KerasTuner learns of it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator

from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_address
from tuning.settings import SearchSettings


def require_free(address: str) -> None:
    """Checks that nothing listens at an address: the service itself would share the port with another chief."""
    try:
        with socket.create_server(parse_address(address)):
            return
    except OSError as error:
        raise InputError(
            f"--serve must be a free address of this machine. Received: {address} ({error.strerror})."
            " Choose another port."
        ) from None


@contextlib.contextmanager
def distributed(settings: SearchSettings) -> Generator[None]:
    """Sets the three environment variables by which KerasTuner identifies a chief and its workers."""
    address = settings.serve or settings.chief
    if address is None:
        yield
        return
    host, port = parse_address(address)
    name = "chief" if settings.serve else os.environ.get("KERASTUNER_TUNER_ID", f"worker-{os.getpid()}")
    variables = {
        "KERASTUNER_ORACLE_IP": host,
        "KERASTUNER_ORACLE_PORT": str(port),
        "KERASTUNER_TUNER_ID": name,
    }
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
