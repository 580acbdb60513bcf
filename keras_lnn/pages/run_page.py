"""The page of a run: what was trained on what, how good it is, what to beware of and how to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, as_text, write_text
from keras_lnn.pages import run_tables
from keras_lnn.pages.rendering import Link, Picture, render
from keras_lnn.pages.run_commands import list_commands
from keras_lnn.plots.reading import Part, order_pictures
from keras_lnn.runs.contents import CONTENTS
from keras_lnn.runs.epoch_shares import describe_epochs, is_cut_short
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.card import describe_model, describe_use
from keras_lnn.saved.results import (
    describe_calibration,
    describe_promised,
    describe_result,
    measured_split,
    name_samples,
    split_in_words,
)
from keras_lnn.saved.signature import Signature, read_signature, short_data_name
from keras_lnn.tasks.kinds import find_kind_of

_COLLAPSED = "has collapsed"


def write_run_page(folder: RunFolder, metrics: dict[str, Any], signature: Signature | None = None) -> Path:
    """Writes the page of a complete run, and returns its path.

    Args:
        folder: The run.
        metrics: Content of its metrics.json, which need not be written yet.
        signature: That of its best model; read from there if not given.
    """
    if signature is None:
        with contextlib.suppress(InputError):  # a run without its model still has a page
            signature = read_signature(folder.best_model)
    write_text(folder.report, run_page(folder, metrics, signature))
    return folder.report


def describe_end(metrics: Mapping[str, Any], folder: RunFolder) -> str:
    """Returns a sentence on what a run has reached and where its page is."""
    result = describe_result(metrics)
    caution = " (but it has collapsed)" if any(_COLLAPSED in text for text in metrics["warnings"]) else ""
    return f"Reached {result}{caution}; its page is {as_text(folder.report)}"


def run_page(folder: RunFolder, metrics: dict[str, Any], signature: Signature | None) -> str:
    """Returns the page of a complete run; arguments as in :func:`write_run_page`."""
    config = TrainConfig.from_yaml(folder.config)
    split = measured_split(metrics)
    task = find_kind_of(metrics)(metrics.get("task") or "multi-class", tuple(metrics["classes"]))
    warnings = metrics["warnings"]
    data = short_data_name(config.data)
    return render(
        "run.html",
        title=f"{config.model} on {data}",
        about=describe_training(config, metrics, read_history(folder)),
        name=folder.name,
        begun=folder.read_environment().get("begun_at", ""),
        result=describe_result(metrics),
        split=split_in_words(split),
        collapsed=[text for text in warnings if _COLLAPSED in text],
        cautions=[text for text in warnings if _COLLAPSED not in text],
        metrics=run_tables.metrics_table(metrics, split),
        decisions=run_tables.describe_decisions_of(metrics, split),
        calibration=describe_calibration(metrics, split),
        promised=describe_promised(metrics, split),
        note=task.note_on_results,
        labels=run_tables.labels_table(metrics, split),
        data=data,
        samples=name_samples(metrics),
        splits=run_tables.splits_table(metrics),
        check=metrics.get("data_check", {"notes": [], "warnings": []}),
        pictures=_read_pictures(folder),
        hard=run_tables.hard_cases_table(folder.predictions, task, split, signature),
        facts=list_facts(config, metrics, signature),
        use=describe_use(task, name_samples(metrics)),
        commands=list_commands(folder, config, name_samples(metrics)),
        files=_list_files(folder),
    )


def describe_training(config: TrainConfig, metrics: Mapping[str, Any], history: list[dict[str, float]]) -> str:
    """Returns how long a model was trained and which epoch was kept, in sentences.

    Args:
        config: The configuration of the run.
        metrics: Content of its metrics.json.
        history: One row per epoch; empty if it cannot be read.
    """
    cut = history and is_cut_short(history[-1])
    epochs = describe_epochs(history) if cut else f"{metrics['epochs']} epoch{'' if metrics['epochs'] == 1 else 's'}"
    monitor = metrics.get("monitor")
    by = f", the best by {monitor} on validation" if monitor and metrics.get("keep", "best") == "best" else ""
    text = (
        f"{config.model} with {metrics['parameters']:,} parameters was trained for {epochs}, which took"
        f" {_describe_seconds(metrics['seconds'])}. Epoch {metrics['best_epoch']} was kept{by}."
    )
    stopped = metrics.get("stopped_because")
    return f"{text} Training stopped early: {stopped}." if stopped else text


def _describe_seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def read_history(folder: RunFolder) -> list[dict[str, float]]:
    """Returns the history of a run, one row per epoch; empty if it cannot be read."""
    try:
        return pd.read_csv(folder.history).to_dict("records")
    except (*DAMAGED_FILE_ERRORS, pd.errors.ParserError, pd.errors.EmptyDataError):
        return []


def _read_pictures(folder: RunFolder) -> dict[str, list[Picture]]:
    """Returns the pictures of each part of the page, in their order."""
    found: dict[str, list[Picture]] = {part.value: [] for part in Part}
    names = [path.stem for path in folder.plots.glob("*.png")]
    for name, reading in order_pictures(names).items():
        with contextlib.suppress(*DAMAGED_FILE_ERRORS):  # a picture that cannot be read is left out
            picture = Picture.of_file(folder.plots / f"{name}.png", reading.sentence, reading.title)
            found[reading.part.value].append(picture)
    return found


def list_facts(config: TrainConfig, metrics: Mapping[str, Any], signature: Signature | None) -> dict[str, str]:
    """Returns the facts about the model and its training by their names.

    Args:
        config: The configuration of the run.
        metrics: Content of its metrics.json.
        signature: That of its best model; None if it is missing.
    """
    facts = {} if signature is None else describe_model(signature, dict(metrics))
    facts.pop("Splits", None)  # the table of the data says it
    for name in ("batch_size", "optimizer", "learning_rate", "schedule", "loss", "augmentation", "class_weight"):
        value = getattr(config, name)
        if value is not None:
            facts[name.replace("_", " ").capitalize()] = str(value)
    return facts


def _list_files(folder: RunFolder) -> list[tuple[Link, str]]:
    """Returns the files and folders of the run that are there or will be, each with what it is."""
    written = {folder.report.name, folder.metrics.name}
    return [
        (Link(name, name), what) for name, what in CONTENTS.items() if name in written or (folder.path / name).exists()
    ]
