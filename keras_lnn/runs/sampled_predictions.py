"""The file in a run's folder that keeps what its model predicts for the test series under other samplings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_lnn.data.thinning import Sampling
from keras_lnn.evaluation.sampling import SampledPredictions
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, file_digest
from keras_lnn.runs.checkpoints import UnreadableNow, read_arrays, read_meta, write_arrays
from keras_lnn.runs.folder import RunFolder


def keep_sampled(run: Path, samplings: Sequence[SampledPredictions]) -> None:
    """Writes what the kept model of a run predicts for its test series under each sampling to the run's folder."""
    folder = RunFolder(run)
    known = [[one.kind, one.amount, one.frames] for one in samplings]
    meta = {"model": file_digest(folder.best_model), "samplings": known}
    write_arrays(folder.sampling, {"predicted": [one.predicted for one in samplings]}, meta)


def has_sampled(run: Path, samplings: Sequence[Sampling]) -> bool:
    """Returns whether a run's folder keeps the predictions of its model under these samplings."""
    try:
        return _fits(RunFolder(run), read_meta(RunFolder(run).sampling), samplings)
    except (UnreadableNow, *DAMAGED_FILE_ERRORS):
        return False


def read_sampled(run: Path, samplings: Sequence[Sampling]) -> list[SampledPredictions] | None:
    """Returns the kept predictions of a run under these samplings; None if there are none of its model."""
    folder = RunFolder(run)
    try:
        groups, meta = read_arrays(folder.sampling)
        if not _fits(folder, meta, samplings):
            return None
        pairs = zip(meta["samplings"], groups["predicted"], strict=True)
        return [SampledPredictions(kind, amount, frames, predicted) for (kind, amount, frames), predicted in pairs]
    except (UnreadableNow, *DAMAGED_FILE_ERRORS):
        return None


def _fits(folder: RunFolder, meta: dict[str, Any], samplings: Sequence[Sampling]) -> bool:
    """Returns whether the kept predictions are those of the run's present model, under these samplings."""
    kept = [Sampling(kind, amount) for kind, amount, _ in meta["samplings"]]
    return kept == list(samplings) and meta["model"] == file_digest(folder.best_model)
