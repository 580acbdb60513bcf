"""The packages openvino and nncf without their telemetry, which reports each use to their maker's server."""

import sys
from typing import Any


def import_openvino() -> Any:
    """Returns the package that writes and runs OpenVINO models."""
    _hide_telemetry("openvino")
    import openvino

    return openvino


def import_nncf() -> Any:
    """Returns the package that quantises OpenVINO models."""
    _hide_telemetry("openvino")
    _hide_telemetry("nncf")
    import nncf

    return nncf


def _hide_telemetry(package: str) -> None:
    """Makes importing the telemetry fail, in whose place a package then has a stub of its own."""
    if package not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # ty: ignore[invalid-assignment]
