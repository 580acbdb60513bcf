"""Compares the tuners of a search by replaying them on trainings that were run once.

python benchmarks/tuners.py --seeds 20 --bayesian-seeds 4 --csv docs/results/tables/tuners.csv
python benchmarks/tuners.py --compare pruning --seeds 20 --csv docs/results/tables/pruning.csv

The trainings of ``benchmarks/tuner_trainings.csv`` are real ones, of every point of three small spaces; the searches
are replayed: each tuner chooses points through the very oracle of a search, and receives the value that the training
of the point gave. So a search takes seconds, and many seeds of each tuner give an interval. The rules of pruning are
compared in the same way: a trial receives its values epoch by epoch, until the very code of a search prunes it.
"""

import dataclasses
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.files.atomic import write_text
from keras_lnn.terminal import make_console, print_rows

if TYPE_CHECKING:
    from keras_tuner.engine.trial import Trial

    from tuning.pruning import Prune
    from tuning.settings import Tuner

TRAININGS = Path(__file__).with_suffix("").parent / "tuner_trainings.csv"
_TUNERS = ("random", "bayesian", "tpe", "hyperband")
_ARGUMENTS = ("units", "optimizer", "learning_rate", "batch_size")
_OBJECTIVE = "val_auc"
_RULES = ("none", "median", "halving")
# A search that prunes has more trials in as many epochs, but not this many times more.
_MOST_TIMES = 9


class TunersCommand(pydantic.BaseModel):
    """Compare tuners on searches that are replayed."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    compare: Literal["tuners", "pruning"] = pydantic.Field(
        "tuners", description="what is compared: tuners, or the rules by which tpe ends trials early"
    )
    trainings: Path = pydantic.Field(TRAININGS, description="file with a training of each point")
    seeds: int = pydantic.Field(20, ge=2, description="searches of each tuner, each with another seed")
    bayesian_seeds: int = pydantic.Field(10, ge=2, description="seeds of bayesian, whose choices take the longest")
    trials: str = pydantic.Field("10,20,30", description="numbers of whole trainings after which searches are compared")
    tuners: str = pydantic.Field(",".join(_TUNERS), description="tuners, random among them, as a,b")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")


@dataclasses.dataclass(frozen=True)
class Replay:
    """One replayed search.

    Args:
        epochs: Number of epochs that were trained until the end of each trial.
        best: Best value so far at the end of each trial.
        milliseconds: Median time of one choice.
    """

    epochs: tuple[int, ...]
    best: tuple[float, ...]
    milliseconds: float

    def best_after(self, epochs: int) -> float:
        """Returns the best value of the trials that ended within a number of epochs."""
        return max((value for value, spent in zip(self.best, self.epochs, strict=True) if spent <= epochs), default=0.5)


class Trainings:
    """The trainings of every point of a space.

    Args:
        rows: One row per point, with the columns of its values and of its validation AUC after each epoch.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self.columns = [name for name in rows if name.startswith("epoch_")]
        self.choices = {name: tuple(dict.fromkeys(rows[name].tolist())) for name in _ARGUMENTS}
        values = np.maximum.accumulate(rows[self.columns].to_numpy(float), axis=1)
        self._values = dict(zip(rows[list(_ARGUMENTS)].itertuples(index=False, name=None), values, strict=True))

    @property
    def best(self) -> float:
        """Returns the best value of all points."""
        return max(float(values[-1]) for values in self._values.values())

    @property
    def epochs(self) -> int:
        """Returns the number of epochs of a whole training."""
        return len(self.columns)

    def look_up(self, point: Mapping[str, Any], epochs: int) -> float:
        """Returns the best value of a point's first epochs, which is what a trial reports."""
        return float(self._values[tuple(point[name] for name in _ARGUMENTS)][epochs - 1])


def main(arguments: Sequence[str]) -> int:
    """Replays the searches and prints how good they were."""
    command = parse_command(TunersCommand, arguments, "benchmarks/tuners.py")
    # KerasTuner calls threading.currentThread; scikit-learn reports fits that end at a bound.
    warnings.simplefilter("ignore")
    trials = [int(number) for number in command.trials.split(",")]
    rows = []
    table = pd.read_csv(command.trainings, comment="#")
    seeds = {"bayesian": min(command.bayesian_seeds, command.seeds)}
    for search, points in table.groupby("search", sort=False):
        trainings = Trainings(points)
        if command.compare == "pruning":
            found = {
                rule: [replay("tpe", trainings, n, max(trials), rule) for n in range(command.seeds)] for rule in _RULES
            }
            rows += [{"search": search, **row} for row in tabulate_pruning(found, trainings, max(trials))]
            continue
        found = {
            tuner: [replay(tuner, trainings, seed, max(trials)) for seed in range(seeds.get(tuner, command.seeds))]
            for tuner in command.tuners.split(",")
        }
        rows += [{"search": search, **row} for row in tabulate(found, trainings, trials)]
    if command.csv is not None:
        write_table(rows, command, table, command.csv)
    shown = [{name: value for name, value in row.items() if not name.endswith((" low", " high"))} for row in rows]
    print_rows(shown, f"{command.compare} on replayed searches", digits=4)
    make_console().print(describe_findings(rows, command), soft_wrap=True, markup=False)
    return 0


def replay(tuner: str, trainings: Trainings, seed: int, trials: int, prune: str = "none") -> Replay:
    """Returns what one search finds.

    Args:
        tuner: Name of the tuner.
        trainings: The trainings whose values it has seen.
        seed: Seed of the search.
        trials: Number of whole trainings whose epochs it may spend.
        prune: Rule by which trials end early.
    """
    from keras_tuner.engine.trial import TrialStatus

    from keras_lnn.config import TrainConfig
    from keras_lnn.models.ranges import Choice
    from tuning.oracles import SafeHyperband, make_oracle
    from tuning.pruning import Pruner
    from tuning.safe_oracle import EPOCHS, SECONDS, WAS_PRUNED
    from tuning.space import Space

    space = Space("dnn", {name: Choice(values) for name, values in trainings.choices.items()})
    whole = trainings.epochs
    oracle = make_oracle(
        cast("Tuner", tuner),
        objective=_OBJECTIVE,
        hyperparameters=space.hyperparameters(TrainConfig(model="dnn")),
        seed=seed,
        max_trials=None if tuner == "hyperband" else trials,
        epochs=whole,
        factor=3,
    )
    if isinstance(oracle, SafeHyperband):
        oracle.hyperband_iterations = trials  # one iteration, of 75 epochs, would end before the other tuners do
    if prune != "none":
        oracle.pruner = Pruner(cast("Prune", prune), True, runs=1, epochs=whole)
        oracle.max_trials = _MOST_TIMES * trials
    spent, best, seconds = [0], [0.5], []
    oracle.save = lambda *_: None  # the same for all tuners, and most of the time of a replay
    while spent[-1] < trials * whole:
        begun = time.perf_counter()
        trial = oracle.create_trial("worker")
        seconds.append(time.perf_counter() - begun)
        if trial.status != TrialStatus.RUNNING:
            break
        values = trial.hyperparameters.values
        epochs = values.get(EPOCHS, whole) if prune == "none" else train_until_pruned(trial, trainings)
        value = trainings.look_up(values, epochs)
        spent.append(spent[-1] + epochs - values.get("tuner/initial_epoch", 0))
        best.append(best[-1] if values.get(WAS_PRUNED) else max(best[-1], value))
        oracle.update_trial(trial.trial_id, {_OBJECTIVE: value, "epochs": epochs}, step=epochs)
        values[SECONDS], trial.status = 0.0, TrialStatus.COMPLETED
        oracle.end_trial(trial)
    return Replay(tuple(spent), tuple(best), 1000 * float(np.median(seconds)))


def train_until_pruned(trial: "Trial", trainings: Trainings) -> int:
    """Gives a trial its values epoch by epoch, until it is pruned, and returns the number of epochs."""
    from keras_lnn.config import TrainConfig
    from keras_lnn.runs.selection import Selection
    from tuning.pruning import TrialPruning
    from tuning.safe_oracle import CURVE, CUTOFFS, WAS_PRUNED

    values = trial.hyperparameters.values
    pruning = TrialPruning(json.loads(values[CUTOFFS]), runs=1)
    rule = pruning.make_rule(TrainConfig(monitor=_OBJECTIVE, keep="best", epochs=trainings.epochs))
    history: list[dict[str, float]] = []
    reason = ""
    while len(history) < trainings.epochs and not reason:
        epoch = len(history) + 1
        history.append({"epoch": epoch, _OBJECTIVE: trainings.look_up(values, epoch)})
        reason = rule(history)
    pruning.end_run(Selection(_OBJECTIVE), history, reason)
    values |= {CURVE: json.dumps(pruning.curve), WAS_PRUNED: pruning.pruned}
    return len(history)


def tabulate_pruning(
    found: Mapping[str, Sequence[Replay]], trainings: Trainings, trials: int
) -> list[dict[str, float | str]]:
    """Returns one row per rule of pruning: what it saves in as many trials, and what it gains in as many epochs.

    Args:
        found: The replays of each rule, in the order of the seeds; those without pruning under ``none``.
        trainings: The trainings whose values they have seen.
        trials: Number of trials, and of whole trainings whose epochs are spent.
    """
    rows, epochs = [], trials * trainings.epochs
    whole = best_values(found["none"], epochs)
    for rule, replays in found.items():
        # The first entry of a replay is that before its first trial.
        places = [min(trials, len(one.best) - 1) for one in replays]
        shares = np.array([one.epochs[place] for one, place in zip(replays, places, strict=True)]) / epochs
        values = np.array([one.best[place] for one, place in zip(replays, places, strict=True)])
        within = [sum(spent <= epochs for spent in one.epochs) - 1 for one in replays]
        same = best_values(replays, epochs)
        nothing = np.nan if rule == "none" else 0.0
        rows.append(
            {
                "pruning": rule,
                f"epochs of {trials} trials": float(shares.mean()),
                **mean_with_interval(f"best of {trials} trials", values),
                **mean_with_interval(f"gain in {trials} trials", values - whole + nothing),
                f"trials in {epochs} epochs": float(np.mean(within)),
                **mean_with_interval(f"best in {epochs} epochs", same),
                **mean_with_interval(f"gain in {epochs} epochs", same - whole + nothing),
            }
        )
    return rows


def tabulate(
    found: Mapping[str, Sequence[Replay]], trainings: Trainings, trials: Sequence[int]
) -> list[dict[str, float | str]]:
    """Returns one row per tuner: its best value after each number of whole trainings, and beside random search.

    Args:
        found: The replays of each tuner, in the order of the seeds.
        trainings: The trainings whose values they have seen.
        trials: Numbers of whole trainings.
    """
    rows = []
    for tuner, replays in found.items():
        row: dict[str, float | str] = {"tuner": tuner}
        for number in trials:
            row |= mean_with_interval(f"after {number}", best_values(replays, number * trainings.epochs))
        last = trials[-1]
        pairs = [best_values(found[name], last * trainings.epochs) for name in (tuner, "random")]
        gains = pairs[0] - pairs[1][: len(pairs[0])]
        row |= mean_with_interval(f"gain over random after {last}", gains if tuner != "random" else gains * np.nan)
        row["best found"] = float(np.mean(best_values(replays, last * trainings.epochs) >= trainings.best))
        rows.append(row | {"ms per choice": float(np.median([one.milliseconds for one in replays]))})
    return rows


def best_values(replays: Sequence[Replay], epochs: int) -> np.ndarray:
    """Returns the best value of each replay after a number of epochs."""
    return np.array([one.best_after(epochs) for one in replays])


def mean_with_interval(name: str, values: np.ndarray) -> dict[str, float]:
    """Returns the mean over the seeds and the ends of its interval of 95%."""
    from keras_lnn.statistics.intervals import quantile

    mean = float(values.mean())
    reach = quantile(0.95, len(values) - 1) * float(values.std(ddof=1)) / len(values) ** 0.5
    return {name: mean, f"{name} low": mean - reach, f"{name} high": mean + reach}


def describe_winners(rows: Sequence[Mapping[str, Any]], trials: int) -> str:
    """Returns a sentence per tuner about where it is better or worse than random search."""
    column, sentences = f"gain over random after {trials}", []
    for tuner in dict.fromkeys(row["tuner"] for row in rows if row["tuner"] != "random"):
        own = [row for row in rows if row["tuner"] == tuner]
        better = [row["search"] for row in own if row[f"{column} low"] > 0]
        worse = [row["search"] for row in own if row[f"{column} high"] < 0]
        parts = [
            f"{word} than random in {', '.join(names)}"
            for word, names in (("better", better), ("worse", worse))
            if names
        ]
        sentences.append(f"`{tuner}` is {' and '.join(parts) if parts else 'level with random everywhere'}")
    return f"By intervals of the paired difference after {trials} trainings: {'; '.join(sentences)}."


def describe_pruning(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a sentence per rule of pruning: the epochs that it saves, and where it is better or worse than none."""
    share = next(column for column in rows[0] if column.startswith("epochs of"))
    sentences = []
    for rule in dict.fromkeys(row["pruning"] for row in rows if row["pruning"] != "none"):
        own = [row for row in rows if row["pruning"] == rule]
        shares = [row[share] for row in own]
        parts = [f"`{rule}` trains {min(shares):.0%} to {max(shares):.0%} of the epochs"]
        for column in (name for name in rows[0] if name.startswith("gain") and not name.endswith((" low", " high"))):
            better = [row["search"] for row in own if row[f"{column} low"] > 0]
            worse = [row["search"] for row in own if row[f"{column} high"] < 0]
            verdicts = [
                f"{word} in {', '.join(names)}" for word, names in (("better", better), ("worse", worse)) if names
            ]
            parts.append(
                f"{column.removeprefix('gain ')} it is {' and '.join(verdicts) or 'level with none everywhere'}"
            )
        sentences.append(", ".join(parts))
    return f"By intervals of the paired difference: {'; '.join(sentences)}."


def describe_findings(rows: Sequence[Mapping[str, Any]], command: TunersCommand) -> str:
    """Returns the findings of what was compared."""
    if command.compare == "pruning":
        return describe_pruning(rows)
    return describe_winners(rows, int(command.trials.split(",")[-1]))


def write_table(rows: Sequence[Mapping[str, Any]], command: TunersCommand, trainings: pd.DataFrame, path: Path) -> None:
    """Writes the table as a CSV file that says in its first lines how it was made."""
    best = trainings.groupby("search", sort=False)[[name for name in trainings if name.startswith("epoch_")]].max()
    sizes = trainings.groupby("search", sort=False).size()
    spaces = ", ".join(f"{name} {sizes[name]} points, the best {best.loc[name].max():.4f}" for name in sizes.index)
    about = {
        "title": "Best validation AUC that each tuner has found, and the time of one choice",
        "command": f"python benchmarks/tuners.py --seeds {command.seeds} --bayesian-seeds {command.bayesian_seeds}"
        " --csv docs/results/tables/tuners.csv",
        "protocol": "searches replayed on one training of each point of the space, of 9 epochs;"
        f" hyperband spends the same epochs on more trials; {spaces}",
        "seeds": f"0 to {command.seeds - 1}, of bayesian 0 to {command.bayesian_seeds - 1}",
        "intervals": "95% over the seeds of the search, gains over random paired by seed",
        "hardware": command.hardware,
        "findings": describe_findings(rows, command),
    }
    if command.compare == "pruning":
        about |= {
            "title": "Epochs that pruning saves, and best validation AUC that `tpe` has found",
            "command": f"python benchmarks/tuners.py --compare pruning --seeds {command.seeds}"
            " --csv docs/results/tables/pruning.csv",
            "protocol": f"searches by `tpe` replayed on one training of each point, of 9 epochs; {spaces}",
            "seeds": f"0 to {command.seeds - 1}",
            "intervals": "95% over the seeds of the search, gains over searches without pruning paired by seed",
        }
    head = "".join(f"# {name}: {text}\n" for name, text in about.items())
    content = pd.DataFrame(rows)
    for column in content:
        if column.startswith(("ms per", "trials in")):
            content[column] = content[column].map("{:.1f}".format)
        elif column.startswith(("best found", "epochs of")):
            content[column] = content[column].map("{:.2f}".format)
    write_text(path, head + content.to_csv(index=False, float_format="%.4f"))


if __name__ == "__main__":
    run_main(main)
