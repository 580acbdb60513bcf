"""A run's folder: its files and their paths; every file is written atomically."""

import dataclasses
import datetime
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.config import TrainConfig
from keras_lnn.data.samples import SampleRecord, SplitPlan
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import (
    DAMAGED_FILE_ERRORS,
    remove_partial_files,
    require_no_pattern,
    write_json,
    write_text,
)
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.runs.checkpoints import GROUPS, Checkpoint, UnreadableNow, read_arrays, read_meta, write_arrays
from keras_lnn.runs.finding import FOLDS_FILE
from keras_lnn.runs.selection import LOST

# The newest checkpoint, and the previous one in case the newest is damaged.
_CHECKPOINTS_KEPT = 2


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of a run, which knows the paths of its files.

    Args:
        path: The folder.
    """

    path: Path

    @classmethod
    def create(
        cls, config: TrainConfig, environment: dict[str, Any], samples: SampleRecord | None = None
    ) -> "RunFolder":
        """Creates a new folder and writes the environment, the samples if they are known, and the configuration."""
        path = config.run_dir or _free_path(Path("runs"), config)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"The run's folder must be new. Received: {path}, which exists already. Continue it with --resume "
                f"{path}, or give another --run-dir."
            )
        # The folder's name becomes that of the export.
        require_no_pattern(path)
        folder = cls(path)
        try:
            if samples is not None:
                write_text(folder.samples, samples.to_csv())
                environment = environment | {"samples": samples.counts()}
            write_json(folder.environment, environment)
            # The configuration makes it the folder of a run, so it is written last.
            write_text(folder.config, config.to_yaml())
        except OSError as error:
            raise InputError(f"The run's folder must be writable. Received: {path} ({error.strerror}).") from None
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Returns the folder of an existing run."""
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise InputError(f"A run must be a folder. Received: {path}, which does not exist. Check the path.")
        if (folder.path / FOLDS_FILE).is_file():
            raise InputError(
                f"A run must be a single one. Received: {path}, a cross-validation. Name the run of a fold in it, or"
                f" continue all with train --config {folder.path / FOLDS_FILE}."
            )
        if not folder.config.is_file():
            raise InputError(f"A run's folder must contain a config.yaml. Received: {path}, which has none.")
        return folder

    @property
    def name(self) -> str:
        """Returns the folder's own name."""
        return self.path.resolve().name

    @property
    def config(self) -> Path:
        """Returns the path of the complete configuration."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Returns the path of the versions, device, seed and checksum of the data."""
        return self.path / "environment.json"

    @property
    def samples(self) -> Path:
        """Returns the path of the split, file, patient and digest of each sample, written for the user's own images."""
        return self.path / "samples.csv"

    @property
    def history(self) -> Path:
        """Returns the path of the history, one row per epoch."""
        return self.path / "history.csv"

    @property
    def confusion(self) -> Path:
        """Returns the path of the validation confusion matrices: one row per epoch and cell."""
        return self.path / "confusion.csv"

    @property
    def class_accuracy(self) -> Path:
        """Returns the path of the validation accuracy of each class or label: one row per epoch."""
        return self.path / "class_accuracy.csv"

    @property
    def class_correlation(self) -> Path:
        """Returns the path of the correlations of the classes' or labels' accuracies over the epochs."""
        return self.path / "class_correlation.csv"

    @property
    def metrics(self) -> Path:
        """Returns the path of the best model's metrics, written last, so that its presence marks a complete run."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """Returns the path of the page that describes the run."""
        return self.path / "report.html"

    @property
    def predictions(self) -> Path:
        """Returns the path of the truth and probabilities of every validation and test sample."""
        return self.path / "predictions.csv"

    @property
    def sampling(self) -> Path:
        """Returns the path of the predictions for the test series under other samplings, which a study may keep."""
        return self.path / "sampling.npz"

    @property
    def features(self) -> Path:
        """Returns the path of the features of the training images, which are kept once they were asked for."""
        return self.path / "features.npz"

    @property
    def labels(self) -> Path:
        """Returns the path of the metrics of each class or label, on the test split if tested, else on validation."""
        return self.path / "labels.csv"

    @property
    def best_model(self) -> Path:
        """Returns the path of the model of the epoch that was chosen on validation."""
        return self.path / "best.keras"

    @property
    def last_model(self) -> Path:
        """Returns the path of the model of the last epoch."""
        return self.path / "last.keras"

    @property
    def plots(self) -> Path:
        """Returns the folder of the figures."""
        return self.path / "plots"

    @property
    def tensorboard(self) -> Path:
        """Returns the folder of the logs for TensorBoard."""
        return self.path / "tensorboard"

    def read_metrics(self) -> dict[str, Any] | None:
        """Returns the metrics, or None as long as the run is not complete."""
        try:
            content = json.loads(self.metrics.read_text(encoding="utf-8"))
        except DAMAGED_FILE_ERRORS:
            return None
        return content if isinstance(content, dict) and "val" in content else None

    def read_environment(self) -> dict[str, Any]:
        """Returns versions, device, seed and checksum of the data; empty if they cannot be read."""
        try:
            content = json.loads(self.environment.read_text(encoding="utf-8"))
        except DAMAGED_FILE_ERRORS:
            return {}
        return content if isinstance(content, dict) else {}

    def read_samples(self) -> SampleRecord | None:
        """Returns the samples of the user's own images; None for other data, and for runs of older versions."""
        counts = self.read_environment().get("samples")
        if not self.samples.is_file():
            if counts is None:
                return None
            raise InputError(
                f"A run on own images must have its splits in {self.samples.name}. Received: {self.path}, where it is"
                f" missing. Restore it from a copy, or evaluate {self.best_model}, which knows its samples too."
            )
        found = SampleRecord.read_csv(self.samples)
        if counts not in (None, found.counts()):
            raise InputError(
                f"The samples of a run must be as it wrote them, {counts}. Received: {self.samples} with"
                f" {found.counts()}. Restore the file from a copy, or begin a new run."
            )
        return found

    def split_plan(self) -> SplitPlan:
        """Returns how the data of this run are assigned to the splits that the run began with."""
        return self.read_samples() or "as listed"

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Writes the history of all epochs so far."""
        import pandas as pd  # a quarter of a second, which commands that only list runs do not need

        write_text(self.history, to_csv(pd.DataFrame(rows)))

    def write_checkpoint(self, checkpoint: Checkpoint, best_epoch: int) -> None:
        """Writes a checkpoint, after its model as the best one if its epoch is the best so far."""
        if best_epoch == checkpoint.epoch:
            write_arrays(self._best(best_epoch), {"model": checkpoint.kept}, {})
        meta = {
            "epoch": checkpoint.epoch,
            "history": checkpoint.history,
            "seconds": checkpoint.seconds,
            "best": best_epoch,
        }
        arrays = {name: getattr(checkpoint, name) for name in GROUPS}
        write_arrays(self._checkpoint(checkpoint.epoch), arrays, meta)
        self._forget_old_checkpoints()

    def last_epoch(self) -> int:
        """Returns the number of the newest checkpoint's epoch, by its name alone; 0 if there is none."""
        return max((int(path.stem.removeprefix("epoch-")) for path in self._folder.glob("epoch-??????.npz")), default=0)

    def read_checkpoint(self) -> Checkpoint | None:
        """Returns the newest undamaged checkpoint, or None if there is none."""
        found = self._read_newest()
        return None if found is None else found[0]

    def _read_newest(self) -> tuple[Checkpoint, int] | None:
        """Returns the newest undamaged checkpoint and its best epoch."""
        for path in sorted(self._folder.glob("epoch-*.npz"), reverse=True):
            content = self._read_if_whole(path)
            if content is not None:
                arrays, meta = content
                checkpoint = Checkpoint(**{name: meta[name] for name in ("epoch", "history", "seconds")}, **arrays)
                return checkpoint, int(meta["best"])
        return None

    def _read_if_whole(self, path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]] | None:
        """Returns the content of a file of arrays; None if the file is damaged or missing."""
        try:
            return read_arrays(path)
        except UnreadableNow as error:
            raise InputError(
                f"A run's checkpoints must be readable. Received: {error}. Nothing was removed: continue the run once"
                " they can be read."
            ) from None
        except DAMAGED_FILE_ERRORS:
            return None

    def _read_kept(self, found: Checkpoint, best_epoch: int) -> tuple[Checkpoint, int, list[np.ndarray]]:
        """Returns a checkpoint with its best epoch and the model of that epoch.

        If the file of the best model is damaged, the model comes from the checkpoint of its epoch. If that is gone too,
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
        """Takes over the newest checkpoint of another run and its best model; the training time starts again at 0."""
        newest = before._read_newest()
        if newest is None:
            raise InputError(
                f"The run of --start-from must have a complete checkpoint. Received: {before.path}, which has none."
                " Name another --start-from."
            )
        found, best, model = before._read_kept(*newest)
        found = dataclasses.replace(found, seconds=0.0)
        write_arrays(self._best(best), {"model": model}, {})
        self.write_checkpoint(found, best)
        self.write_history(found.history)
        return found

    def read_best(self, epoch: int) -> list[np.ndarray]:
        """Returns the values of the model's variables at the best epoch."""
        return read_arrays(self._best(epoch))[0]["model"]

    def read_last(self) -> list[np.ndarray]:
        """Returns the values that serve as the model of the last epoch."""
        found = self.read_checkpoint()
        if found is None:
            raise InputError(
                f"A finished run must have a complete checkpoint. Received: {self.path}, where it is missing."
            )
        return found.kept

    def prepare_resume(self) -> Checkpoint | None:
        """Returns the checkpoint to resume from, with an intact best model, and removes damaged and partial files."""
        if self.best_model.is_file() and not self._folder.is_dir():
            raise InputError(f"Only a trained run can be resumed. Received: {self.path}, which was imported.")
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
        write_arrays(self._best(best), {"model": model}, {})
        # Saved at once, because the marks must survive if the run is killed again before its next epoch.
        self.write_checkpoint(found, best)
        return found

    def remove(self) -> None:
        """Removes a run, including one that was killed at its start; does nothing if there is none.

        Raises:
            InputError: If the folder holds anything but a run, or a damaged configuration, which may be of any run.
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
                    f" ({error}). Nothing was removed: restore the file, or remove the run's folder yourself."
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
            # A damaged checkpoint that is kept does not name its best model, so all best models stay until it is gone.
            try:
                needed.add(self._best(read_meta(path)["best"]).name)
            except (UnreadableNow, *DAMAGED_FILE_ERRORS):
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
