"""A run's folder: what is in it and where; everything is written whole or not at all."""

import contextlib
import dataclasses
import datetime
import errno
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.config import TrainConfig
from keras_lnn.data.disk import read_npz_headers
from keras_lnn.data.samples import SampleRecord, SplitPlan
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import (
    DAMAGED_FILE_ERRORS,
    atomic_path,
    remove_partial_files,
    require_no_pattern,
    write_json,
    write_text,
)
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.runs.selection import LOST

# The newest checkpoint, and the one before in case the newest is damaged.
_CHECKPOINTS_KEPT = 2
# The lists of arrays in a checkpoint.
_GROUPS = ("model", "optimizer", "average", "confusion")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on behind a whole epoch.

    Args:
        epoch: Whole epochs behind it.
        model: Values of the model's variables, in order, those of the random generators too.
        optimizer: Values of the optimizer's variables, in order.
        history: One row an epoch.
        seconds: Spent in training so far.
        average: Averages of the model's variables, where the run keeps them.
        confusion: Of each epoch how often each class was taken for which on validation; of the last ones, where a run
            was begun before it was counted.
    """

    epoch: int
    model: list[np.ndarray]
    optimizer: list[np.ndarray]
    history: list[dict[str, float]]
    seconds: float
    average: list[np.ndarray] = dataclasses.field(default_factory=list)
    confusion: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def kept(self) -> list[np.ndarray]:
        """The values that serve as the model of this epoch."""
        return self.average or self.model


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its things.

    Args:
        path: The folder.
    """

    path: Path

    @classmethod
    def create(
        cls, config: TrainConfig, environment: dict[str, Any], samples: SampleRecord | None = None
    ) -> "RunFolder":
        """Makes a new folder and writes the environment, the samples where they are known, and the configuration."""
        path = config.run_dir or _free_path(Path("runs"), config)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"The run's folder must be new. Received: {path}, which is there already. Go on with it by --resume "
                f"{path}, or give another --run-dir."
            )
        # Its name becomes that of the export.
        require_no_pattern(path)
        folder = cls(path)
        try:
            if samples is not None:
                write_text(folder.samples, samples.to_csv())
                environment = environment | {"samples": samples.counts()}
            write_json(folder.environment, environment)
            # It makes the folder that of a run, so it comes last.
            write_text(folder.config, config.to_yaml())
        except OSError as error:
            raise InputError(f"The run's folder must be writable. Received: {path} ({error.strerror}).") from None
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """A folder that a run has made before."""
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise InputError(f"A run must be a folder. Received: {path}, which is not there.")
        if not folder.config.is_file():
            raise InputError(f"A run's folder holds a config.yaml. Received: {path}, which does not.")
        return folder

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.resolve().name

    @property
    def config(self) -> Path:
        """The complete configuration."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, device, seed and checksum of the data."""
        return self.path / "environment.json"

    @property
    def samples(self) -> Path:
        """Split, file, patient and digest of each sample of own images; none for other data."""
        return self.path / "samples.csv"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.path / "history.csv"

    @property
    def confusion(self) -> Path:
        """Which class was taken for which on validation: one row an epoch and cell."""
        return self.path / "confusion.csv"

    @property
    def class_accuracy(self) -> Path:
        """Validation accuracy of each class or label: one row an epoch."""
        return self.path / "class_accuracy.csv"

    @property
    def class_correlation(self) -> Path:
        """How the accuracies of two classes or labels go together over the epochs."""
        return self.path / "class_correlation.csv"

    @property
    def metrics(self) -> Path:
        """What the best model reaches, with intervals; written last, so its presence says that the run is complete."""
        return self.path / "metrics.json"

    @property
    def predictions(self) -> Path:
        """Truth and probabilities of every validation and test sample."""
        return self.path / "predictions.csv"

    @property
    def labels(self) -> Path:
        """Metrics of each class or label, of the test split where it was tested, else of validation."""
        return self.path / "labels.csv"

    @property
    def best_model(self) -> Path:
        """The model of the epoch that validation chose."""
        return self.path / "best.keras"

    @property
    def last_model(self) -> Path:
        """The model of the last epoch."""
        return self.path / "last.keras"

    @property
    def plots(self) -> Path:
        """The pictures."""
        return self.path / "plots"

    @property
    def tensorboard(self) -> Path:
        """Logs for TensorBoard."""
        return self.path / "tensorboard"

    def read_metrics(self) -> dict[str, Any] | None:
        """The metrics, or None as long as the run is not complete."""
        try:
            content = json.loads(self.metrics.read_text(encoding="utf-8"))
        except DAMAGED_FILE_ERRORS:
            return None
        return content if isinstance(content, dict) and "val" in content else None

    def read_environment(self) -> dict[str, Any]:
        """Versions, device, seed and checksum of the data; empty where they cannot be read."""
        try:
            content = json.loads(self.environment.read_text(encoding="utf-8"))
        except DAMAGED_FILE_ERRORS:
            return {}
        return content if isinstance(content, dict) else {}

    def read_samples(self) -> SampleRecord | None:
        """Returns the samples of own images; None for other data, and for runs of a version that kept none."""
        counts = self.read_environment().get("samples")
        if not self.samples.is_file():
            if counts is None:
                return None
            raise InputError(
                f"A run on own images keeps its splits in {self.samples.name}. Received: {self.path}, which has lost"
                f" it. Bring it back from a copy, or evaluate {self.best_model}, which knows its samples too."
            )
        found = SampleRecord.read_csv(self.samples)
        if counts not in (None, found.counts()):
            raise InputError(
                f"The samples of a run must be as it has written them, {counts}. Received: {self.samples} with"
                f" {found.counts()}. Bring the file back from a copy, or begin a new run."
            )
        return found

    def split_plan(self) -> SplitPlan:
        """Returns how the data of this run get the splits that it began with."""
        return self.read_samples() or "as listed"

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Writes all epochs so far."""
        write_text(self.history, to_csv(pd.DataFrame(rows)))

    def write_checkpoint(self, checkpoint: Checkpoint, best_epoch: int) -> None:
        """Keeps a checkpoint; where its epoch is the best so far, its model is kept as such before."""
        if best_epoch == checkpoint.epoch:
            _write_arrays(self._best(best_epoch), {"model": checkpoint.kept}, {})
        meta = {
            "epoch": checkpoint.epoch,
            "history": checkpoint.history,
            "seconds": checkpoint.seconds,
            "best": best_epoch,
        }
        arrays = {name: getattr(checkpoint, name) for name in _GROUPS}
        _write_arrays(self._checkpoint(checkpoint.epoch), arrays, meta)
        self._forget_old_checkpoints()

    def read_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None where there is none."""
        found = self._read_newest()
        return None if found is None else found[0]

    def _read_newest(self) -> tuple[Checkpoint, int] | None:
        """Returns the newest checkpoint that is whole, and its best epoch."""
        for path in sorted(self._folder.glob("epoch-*.npz"), reverse=True):
            content = self._read_if_whole(path)
            if content is not None:
                arrays, meta = content
                checkpoint = Checkpoint(**{name: meta[name] for name in ("epoch", "history", "seconds")}, **arrays)
                return checkpoint, int(meta["best"])
        return None

    def _read_if_whole(self, path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]] | None:
        """Returns what is in a file of arrays; None where the file is damaged or gone."""
        try:
            return _read_arrays(path)
        except _UnreadableNow as error:
            raise InputError(
                f"A run's checkpoints must be readable. Received: {error}. Nothing was removed: go on with the run once"
                " they can be read."
            ) from None
        except DAMAGED_FILE_ERRORS:
            return None

    def _read_kept(self, found: Checkpoint, best_epoch: int) -> tuple[Checkpoint, int, list[np.ndarray]]:
        """Returns a checkpoint with its best epoch and the model of that epoch.

        Where the file of the best model is damaged, the checkpoint of its epoch has the model too. Where that is gone,
        all epochs before the checkpoint are marked as lost, and the best one is the checkpoint's own.
        """
        stored = self._read_if_whole(self._best(best_epoch))
        if stored is not None:
            return found, best_epoch, stored[0]["model"]
        stored = self._read_if_whole(self._checkpoint(best_epoch))
        if stored is not None:
            return found, best_epoch, stored[0]["average"] or stored[0]["model"]
        history = [row if row["epoch"] == found.epoch else row | {LOST: 1.0} for row in found.history]
        return dataclasses.replace(found, history=history), found.epoch, found.kept

    def take_over(self, before: "RunFolder") -> Checkpoint:
        """Takes the newest checkpoint of another run, and the best model of its epochs; time begins anew."""
        found, best, model = before._read_kept(*before._read_newest())
        found = dataclasses.replace(found, seconds=0.0)
        _write_arrays(self._best(best), {"model": model}, {})
        self.write_checkpoint(found, best)
        self.write_history(found.history)
        return found

    def read_best(self, epoch: int) -> list[np.ndarray]:
        """Values of the model's variables at the best epoch."""
        return _read_arrays(self._best(epoch))[0]["model"]

    def read_last(self) -> list[np.ndarray]:
        """Values that serve as the model of the last epoch."""
        found = self.read_checkpoint()
        if found is None:
            raise InputError(f"A run ends with a whole checkpoint. Received: {self.path}, which has lost its own.")
        return found.kept

    def prepare_resume(self) -> Checkpoint | None:
        """The checkpoint to go on from, with a best model that is whole; removes damaged and half-written files."""
        if self.best_model.is_file() and not self._folder.is_dir():
            raise InputError(f"Only a run that was trained here can be resumed. Received: {self.path}, an import.")
        remove_partial_files(self.path)
        remove_partial_files(self._folder)
        newest = self._read_newest()
        found = None if newest is None else newest[0]
        for path in self._folder.glob("epoch-*.npz"):
            if found is None or path.name > self._checkpoint(found.epoch).name:
                path.unlink()
        if newest is None or self._read_if_whole(self._best(newest[1])) is not None:
            return found
        found, best, model = self._read_kept(*newest)
        _write_arrays(self._best(best), {"model": model}, {})
        # The marks must last when the run is killed again before its next epoch.
        self.write_checkpoint(found, best)
        return found

    def remove(self) -> None:
        """Removes a run, also one that was killed as it began; nothing where there is none.

        Raises:
            InputError: If anything but a run is there, or if its configuration is damaged, so that it could be any run.
        """
        if not os.path.lexists(self.path):
            return
        begun = {self.environment.name, self.samples.name}
        if not self.config.is_file() and not (
            self.path.is_dir() and all(file.name in begun or file.name.startswith(".") for file in self.path.iterdir())
        ):
            raise InputError(
                f"The run's folder must be new or hold a run. Received: {self.path} with other files. Choose another."
            )
        if self.config.is_file():
            try:
                TrainConfig.from_yaml(self.config)
            except InputError as error:
                raise InputError(
                    f"A run that is to be replaced must have a configuration that can be read. Received: {self.config}"
                    f" ({error}). Nothing was removed: bring the file back, or remove the run's folder yourself."
                ) from None
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return self.path / "checkpoints"

    def _checkpoint(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:06d}.npz"

    def _best(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch:06d}.npz"

    def _forget_old_checkpoints(self) -> None:
        kept = sorted(self._folder.glob("epoch-*.npz"))[-_CHECKPOINTS_KEPT:]
        needed = {path.name for path in kept}
        for path in kept:
            # A damaged one that is kept names nothing: then every best model stays until it is gone.
            try:
                needed.add(self._best(_read_meta(path)["best"]).name)
            except (_UnreadableNow, *DAMAGED_FILE_ERRORS):
                return
        for path in self._folder.glob("*.npz"):
            if path.name not in needed:
                path.unlink()


def _free_path(parent: Path, config: TrainConfig) -> Path:
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    data = re.sub(r"[^A-Za-z0-9._-]+", "-", config.data).strip("-")
    name = f"{stamp}-{config.model}-{data}"
    path, count = parent / name, 1
    while path.exists():
        count += 1
        path = parent / f"{name}-{count}"
    return path


def _write_arrays(path: Path, groups: dict[str, list[np.ndarray]], meta: dict[str, Any]) -> None:
    arrays = {f"{group}/{index:05d}": value for group, values in groups.items() for index, value in enumerate(values)}
    with atomic_path(path) as temporary:
        np.savez(temporary, meta=np.array(json.dumps(meta)), **arrays)


class _UnreadableNow(Exception):
    """A file could not be read for a reason that lies outside it, so that nothing is known of its content."""


@contextlib.contextmanager
def _open_arrays(path: Path) -> Iterator[Any]:
    """Opens a file of arrays; what keeps it from being read for a moment is no damage."""
    try:
        with open(path, "rb") as stream, zipfile.ZipFile(stream) as archive:
            read_npz_headers(archive)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                yield stored
    except OSError as error:
        if error.errno in (None, errno.ENOENT, errno.EINVAL):
            raise
        raise _UnreadableNow(f"{path} ({error.strerror})") from error


def _read_meta(path: Path) -> dict[str, Any]:
    with _open_arrays(path) as stored:
        return json.loads(str(stored["meta"]))


def _read_arrays(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]]:
    groups: dict[str, list[np.ndarray]] = {name: [] for name in _GROUPS}
    with _open_arrays(path) as stored:
        meta = json.loads(str(stored["meta"]))
        for key in sorted(stored.files):
            if key != "meta":
                groups[key.split("/")[0]].append(stored[key])
    return groups, meta
