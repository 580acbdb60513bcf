"""The work of a trial's process: training or resuming the run of each seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def run_trial(order: dict[str, Any]) -> dict[str, Any]:
    """Trains the run of each seed, or resumes it where it was interrupted.

    Args:
        order: ``config`` (fields of the configuration), ``seeds``, ``folders`` (one per seed) and ``starts`` (the runs
            to continue from, or None).

    Returns:
        ``runs``: for each run the objective, its epoch, the epochs and seconds of this trial, and the parameters.
    """
    from keras_lnn.config import TrainConfig
    from keras_lnn.training.loop import train_or_resume

    runs = []
    starts = order["starts"] or [None] * len(order["seeds"])
    for seed, folder, start in zip(order["seeds"], order["folders"], starts, strict=True):
        config = TrainConfig.create({**order["config"], "seed": seed, "run_dir": folder, "start_from": start})
        runs.append({"seed": seed, **_summarise(train_or_resume(config), start)})
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
