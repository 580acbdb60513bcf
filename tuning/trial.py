"""The work of a trial's process: training or resuming the run of each seed and fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def run_trial(order: dict[str, Any]) -> dict[str, Any]:
    """Trains each run of a trial, or resumes it where it was interrupted; finished runs are only read.

    Args:
        order: ``config`` (fields of the configuration); ``seeds``, ``folds`` and ``folders``, one per run, a fold being
            None without folds; ``starts`` (the runs to continue from, or None).

    Returns:
        ``runs``: for each run its seed and fold, the objective, its epoch, the epochs and seconds of this trial, and
        the parameters.
    """
    from keras_lnn.config import TrainConfig
    from keras_lnn.training.loop import train_or_resume

    runs = []
    starts = order["starts"] or [None] * len(order["seeds"])
    for seed, fold, folder, start in zip(order["seeds"], order["folds"], order["folders"], starts, strict=True):
        own = {"seed": seed, "run_dir": folder, "start_from": start} | ({} if fold is None else {"fold": fold})
        config = TrainConfig.create({**order["config"], **own})
        runs.append({"seed": seed, "fold": fold, **_summarise(train_or_resume(config), start)})
    return {"runs": runs}


def _summarise(result: Any, start: str | None) -> dict[str, Any]:
    import pandas as pd

    from keras_lnn.errors import InputError
    from keras_lnn.runs.folder import RunFolder
    from keras_lnn.runs.selection import Selection

    before = None if start is None else RunFolder(Path(start)).read_checkpoint()
    metrics = result.metrics
    history = pd.read_csv(result.folder.history).to_dict("records")
    best_epoch, best = Selection(metrics["monitor"], metrics["keep"]).choose(history)
    if best != best:
        raise InputError(f"The objective must be a number. Received: {best} as {metrics['monitor']} of each epoch.")
    return {
        "objective": best,
        "best_epoch": best_epoch,
        "epochs": len(history) - (before.epoch if before else 0),
        "seconds": metrics["seconds"] - (before.seconds if before else 0.0),
        "parameters": metrics["parameters"],
    }
