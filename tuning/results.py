"""The results of a search: a table of its trials, the best configuration, and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from keras_tuner.engine.trial import Trial
from rich.console import Console

from keras_lnn.config import TrainConfig
from keras_lnn.fields.roles import Role, fields_with, values_in_trials
from keras_lnn.files.atomic import atomic_path, write_text
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.terminal import loading
from tuning.safe_oracle import BRACKET, FOLD_SCORE, PARENT, PRUNED_STATUS, ROUND, SafeOracle
from tuning.space import Space

if TYPE_CHECKING:
    from tuning.tuner import ProcessTuner

_FACTS = ("spread", "best_epoch", "epochs", "seconds", "parameters")
_OWN_COLUMNS = {BRACKET: "bracket", ROUND: "round", PARENT: "goes_on_from"}
# Of a pruned trial: the epoch of its last run after which it ended, and its value there, which is no objective.
_PRUNED_COLUMNS = ("pruned_epoch", "pruned_value")
# Fields by which a search controls its trials, which do not belong to the configuration of the best trial.
_OF_A_SEARCH = {*fields_with(TrainConfig, Role.SEED, Role.PART), *values_in_trials(TrainConfig)}


def trials_table(oracle: SafeOracle, space: Space) -> pd.DataFrame:
    """Returns one row per trial, in the order in which they began."""
    objective = oracle.objective.name
    facts = [*_FACTS, *_list_folds(oracle)]
    rows = []
    for name in list(oracle.start_order):
        trial = oracle.trials[name]
        row: dict[str, Any] = {"trial": name, "status": trial.status.lower(), objective: trial.score}
        for fact in facts:
            row[fact] = trial.metrics.get_last_value(fact) if trial.metrics.exists(fact) else None
        row["process_seconds"] = oracle.seconds.get(name)
        row |= {hyperparameter: trial.hyperparameters.values.get(hyperparameter) for hyperparameter in space.ranges}
        row |= {
            column: trial.hyperparameters.values[key]
            for key, column in _OWN_COLUMNS.items()
            if key in trial.hyperparameters.values
        }
        if trial.status == PRUNED_STATUS:
            last = oracle.curves[name][-1]
            row |= dict(zip(_PRUNED_COLUMNS, (len(last), last[-1]), strict=True))
        rows.append(row | {"failure": trial.message})
    table = pd.DataFrame(rows, columns=_columns(rows, objective, facts, space))
    whole = ["best_epoch", "epochs", "parameters", "bracket", "round", "pruned_epoch"]
    kinds = {column: "Int64" for column in whole if column in table and (table[column].dropna() % 1 == 0).all()}
    return table.astype(kinds)


def best_trial(oracle: SafeOracle) -> Trial | None:
    """Returns the completed trial with the best objective, the earliest of equals."""
    whole = [oracle.trials[name] for name in list(oracle.start_order)]
    whole = [trial for trial in whole if trial.score is not None and math.isfinite(trial.score)]
    sign = -1.0 if oracle.objective.direction == "max" else 1.0
    return min(whole, key=lambda trial: sign * (trial.score or 0.0)) if whole else None


def best_config(oracle: SafeOracle, config: TrainConfig, space: Space) -> TrainConfig | None:
    """Returns the configuration with which ``train.py`` trains the best trial for all epochs."""
    trial = best_trial(oracle)
    if trial is None:
        return None
    chosen = space.apply(config, trial.hyperparameters.values).model_dump()
    return TrainConfig.create({name: value for name, value in chosen.items() if name not in _OF_A_SEARCH})


def write_results(folder: Path, oracle: SafeOracle, config: TrainConfig, space: Space) -> None:
    """Writes ``trials.csv`` and ``best.yaml``, each atomically."""
    write_text(folder / "trials.csv", to_csv(trials_table(oracle, space)))
    best = best_config(oracle, config, space)
    if best is not None:
        write_text(folder / "best.yaml", best.to_yaml())


def write_pictures(folder: Path, oracle: SafeOracle, tuner: ProcessTuner, space: Space, console: Console) -> None:
    """Draws the figures of a search, or nothing if no trial succeeded."""
    table = trials_table(oracle, space)
    if best_trial(oracle) is None:
        return
    from keras_lnn.plots import save_figure
    from tuning import pictures

    objective = oracle.objective
    names = [name for name in space.ranges if table[name].nunique() > 1]
    with loading(console, "drawing"):
        figures = {
            "progress": pictures.plot_progress(table, objective.name, objective.direction),
            "parallel": pictures.plot_parallel(table, names, objective.name, objective.direction, space),
            "importance": pictures.plot_importance(table, names, objective.name),
            "learning_curves": pictures.plot_learning_curves(
                read_histories(tuner, table), table, objective.name, objective.direction
            ),
        }
        with atomic_path(folder / "plots") as temporary:
            temporary.mkdir()
            for name, figure in figures.items():
                if figure is not None:
                    save_figure(figure, temporary / f"{name}.png")


def read_histories(tuner: ProcessTuner, table: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """Returns the history of each trial's first run, for the trials whose runs are on this machine."""
    found = {}
    for name in table["trial"]:
        file = tuner.run_folders(name)[0] / "history.csv"
        if file.is_file():
            found[name] = pd.read_csv(file)
    return found


def _list_folds(oracle: SafeOracle) -> list[str]:
    """Returns the names of the scores of the folds, in the order of the folds; none in a search without folds."""
    known = {name for trial in list(oracle.trials.values()) for name in trial.metrics.metrics}
    return sorted((name for name in known if name.startswith(FOLD_SCORE)), key=lambda name: (len(name), name))


def _columns(rows: list[dict[str, Any]], objective: str, facts: list[str], space: Space) -> list[str]:
    own = [column for column in (*_PRUNED_COLUMNS, *_OWN_COLUMNS.values()) if any(column in row for row in rows)]
    return ["trial", "status", objective, *facts, "process_seconds", *space.ranges, *own, "failure"]
