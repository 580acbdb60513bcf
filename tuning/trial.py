"""The work of a trial's process: training or resuming the run of each seed and fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuning.pruning import TrialPruning


def run_trial(order: dict[str, Any]) -> dict[str, Any]:
    """Trains each run of a trial, or resumes it where it was interrupted; finished runs are only read.

    Args:
        order: ``config`` (fields of the configuration); ``seeds``, ``folds`` and ``folders``, one per run, a fold being
            None without folds; ``starts`` (the runs to continue from, or None); ``cutoffs`` (those of a search
            that prunes, or None).

    Returns:
        ``runs``: for each run its seed and fold, the objective, its epoch, the epochs and seconds of this trial, and
        the parameters. Of a search that prunes also ``curve``, the trial's curve, and ``pruned``, whether its last run
        ended early because the trial was worse than others.
    """
    import pandas as pd

    from keras_lnn.config import TrainConfig
    from keras_lnn.runs.selection import Selection
    from keras_lnn.training.loop import train_or_resume

    runs: list[dict[str, Any]] = []
    pruning = None if order["cutoffs"] is None else TrialPruning(order["cutoffs"], len(order["seeds"]))
    starts = order["starts"] or [None] * len(order["seeds"])
    for seed, fold, folder, start in zip(order["seeds"], order["folds"], order["folders"], starts, strict=True):
        own = {"seed": seed, "run_dir": folder, "start_from": start} | ({} if fold is None else {"fold": fold})
        config = TrainConfig.create({**order["config"], **own})
        result = train_or_resume(config, stop_rule=None if pruning is None else pruning.make_rule(config))
        selection = Selection(result.metrics["monitor"], result.metrics["keep"])
        history = pd.read_csv(result.folder.history).to_dict("records")
        runs.append({"seed": seed, "fold": fold, **_summarise(result, selection, history, start)})
        if pruning is not None and pruning.end_run(selection, history, result.metrics["stopped_because"]):
            break
    return {"runs": runs} | ({} if pruning is None else {"curve": pruning.curve, "pruned": pruning.pruned})


def _summarise(result: Any, selection: Any, history: list[dict[str, Any]], start: str | None) -> dict[str, Any]:
    from keras_lnn.errors import InputError
    from keras_lnn.runs.folder import RunFolder

    before = None if start is None else RunFolder(Path(start)).read_checkpoint()
    metrics = result.metrics
    best_epoch, best = selection.choose(history)
    if best != best:
        raise InputError(f"The objective must be a number. Received: {best} as {metrics['monitor']} of each epoch.")
    return {
        "objective": best,
        "best_epoch": best_epoch,
        "epochs": len(history) - (before.epoch if before else 0),
        "seconds": metrics["seconds"] - (before.seconds if before else 0.0),
        "parameters": metrics["parameters"],
    }
