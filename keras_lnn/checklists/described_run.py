"""A complete run with what its files say of it, read once for all items of a checklist."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from keras_lnn.config import TrainConfig
from keras_lnn.data.catalog import get_entry, is_own
from keras_lnn.errors import InputError
from keras_lnn.pages.run_page import list_facts
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.results import measured_split, name_samples
from keras_lnn.saved.signature import Signature, read_signature, short_data_name
from keras_lnn.tasks.kinds import find_kind_of
from keras_lnn.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class DescribedRun:
    """A complete run.

    Args:
        folder: Its folder.
        config: Its configuration.
        metrics: Content of its metrics.json.
        environment: Content of its environment.json.
        signature: Signature of its best model; None if that is missing.
        named: Facts about the model and its training by their names, as on the page of the run.
    """

    folder: RunFolder
    config: TrainConfig
    metrics: dict[str, Any]
    environment: dict[str, Any]
    signature: Signature | None
    named: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> DescribedRun:
        """Reads a run.

        Args:
            path: Its folder.

        Raises:
            InputError: If it is no complete run.
        """
        folder = RunFolder.open(path)
        metrics = folder.read_metrics()
        if metrics is None:
            raise InputError(
                f"A checklist is filled in from a complete run. Received: {path}, which has no metrics.json."
                f" Complete it with train --resume {path}."
            )
        config, environment = TrainConfig.from_yaml(folder.config), folder.read_environment()
        signature = None
        with contextlib.suppress(InputError):  # what only the model knows is then not recorded
            signature = read_signature(folder.best_model)
        named = list_facts(config, metrics, signature)
        if signature is None:
            named |= _name_without_model(config, metrics, environment)
        return cls(folder, config, metrics, environment, signature, named)

    @property
    def split(self) -> str:
        """Returns the split that its results are of."""
        return measured_split(self.metrics)

    @property
    def samples(self) -> str:
        """Returns what its samples are, in the plural."""
        return name_samples(self.metrics)

    @property
    def has_own_data(self) -> bool:
        """Returns whether it learned from the user's own images."""
        return is_own(self.config.data)

    @property
    def task(self) -> Task:
        """Returns what the model predicts."""
        return find_kind_of(self.metrics)(self.metrics.get("task") or "multi-class", tuple(self.metrics["classes"]))

    @property
    def data_title(self) -> str:
        """Returns a line on the data set; empty if the catalog does not know it."""
        if not self.has_own_data:
            with contextlib.suppress(InputError):
                return get_entry(self.config.data).title
        return ""

    def name(self, *names: str) -> list[str]:
        """Returns the named facts that are known, each as ``name: value``."""
        return [f"{name}: {self.named[name]}" for name in names if name in self.named]


def _name_without_model(config: TrainConfig, metrics: dict[str, Any], environment: dict[str, Any]) -> dict[str, str]:
    """Returns what is known of the model if its file is missing, under the names that it has otherwise."""
    arguments = ", ".join(f"{name}={value}" for name, value in config.model_args.items())
    data = short_data_name(config.data)
    checksum = environment.get("data_checksum")
    return {
        "Model": f"{config.model}, {metrics['parameters']:,} trainable parameters",
        "Arguments": arguments or "defaults",
        "Task": f"{metrics.get('task') or 'classification'}; {', '.join(metrics['classes'])}",
        "Trained on": f"{data} ({checksum})" if checksum else data,
        "Seed": str(config.seed),
        "Epoch chosen on validation": str(metrics["best_epoch"]),
    }
