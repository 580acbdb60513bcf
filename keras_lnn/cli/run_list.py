"""The rows of the list of runs, read from their small files alone."""

from __future__ import annotations

import dataclasses
import datetime
import re
from pathlib import Path
from typing import Any

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, as_text
from keras_lnn.runs.finding import find_run_folders
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.results import main_result
from keras_lnn.saved.signature import short_data_name

DEFAULT_FOLDER = Path("runs")


@dataclasses.dataclass(frozen=True)
class RunRow:
    """One run of the list.

    Args:
        name: Its folder, below the one that is listed.
        data: The data set; empty if the configuration cannot be read.
        model: The network, likewise.
        begun: When it began.
        state: How far it is, or what is wrong with it.
        result: Its main metric with the interval; empty until it is finished.
        page: The path of its page; None if there is none.
    """

    name: str
    data: str
    model: str
    begun: str
    state: str
    result: str
    page: Path | None

    def to_json(self) -> dict[str, Any]:
        """Returns the row as JSON content."""
        return dataclasses.asdict(self) | {"page": None if self.page is None else as_text(self.page)}


def find_runs(path: Path) -> list[RunRow]:
    """Returns one row per run at or below a folder, those that began first at the top."""
    if not path.is_dir():
        raise InputError(
            f"Runs are listed of a folder. Received: {as_text(path)}, which is no folder. Name another one."
        )
    rows = [_read_row(folder, path, "config.yaml" in files) for folder, files in find_run_folders(path)]
    return sorted(rows, key=lambda row: (row.begun, row.name))


def _read_row(place: Path, path: Path, has_config: bool) -> RunRow:
    folder = RunFolder(place)
    name = place.name if place == path else str(place.relative_to(path))
    page = folder.report if folder.report.is_file() else None
    row = RunRow(printable(name), "", "", _begun(folder), "damaged: config.yaml is missing", "", page)
    if not has_config:
        return row
    try:
        config = TrainConfig.from_yaml(folder.config)
    except DAMAGED_FILE_ERRORS:
        return dataclasses.replace(row, state="damaged: config.yaml cannot be read")
    row = dataclasses.replace(row, data=printable(short_data_name(config.data)), model=printable(config.model))
    metrics = folder.read_metrics()
    if metrics is None:
        return dataclasses.replace(row, state=_describe_unfinished(folder, config))
    try:
        return dataclasses.replace(row, state=_describe_finished(metrics, config), result=main_result(metrics))
    except (*DAMAGED_FILE_ERRORS, StopIteration):
        return dataclasses.replace(row, state="damaged: metrics.json is not that of a run")


def _describe_finished(metrics: dict[str, Any], config: TrainConfig) -> str:
    epochs = int(metrics["epochs"])
    if str(metrics.get("stopped_because", "")).startswith("pruned"):
        return f"pruned after epoch {epochs} of {config.epochs}"
    early = config.epochs is not None and epochs < config.epochs
    return f"finished after epoch {epochs} of {config.epochs}" if early else "finished"


def _describe_unfinished(folder: RunFolder, config: TrainConfig) -> str:
    if folder.metrics.exists():
        return "damaged: metrics.json cannot be read"
    if "weights_checksum" in folder.read_environment():
        return "imported weights"
    epochs = folder.last_epoch()
    total = f" of {config.epochs}" if config.epochs is not None else ""
    # Nothing on the disk says whether a process is still at it.
    return f"stopped at epoch {epochs}{total}, or running" if epochs else "stopped before epoch 1, or running"


def _begun(folder: RunFolder) -> str:
    """Returns when a run began; of an older version the time at which its first file was written."""
    begun = folder.read_environment().get("begun_at")
    if isinstance(begun, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", begun):
        return begun
    times = [path.stat().st_mtime for path in (folder.config, folder.environment, folder.path) if path.exists()]
    return datetime.datetime.fromtimestamp(min(times)).isoformat(" ", "minutes")


def printable(text: str) -> str:
    """Returns text without characters that a terminal would obey."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in as_text(text))
