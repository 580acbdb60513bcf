"""Robustness of a study's networks to sampling: measured once for each finished run, and compared for each data set."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from keras_lnn.comparing.comparison import Comparison
from keras_lnn.comparing.runs import read_any_run
from keras_lnn.comparing.sampling import with_sampling
from keras_lnn.data.thinning import samplings_of
from keras_lnn.processes.display import JobDisplay
from keras_lnn.processes.engines import Engine
from keras_lnn.processes.pool import Job, NoJob, Pool, Resource
from keras_lnn.processes.runner import Limits, Outcome
from keras_lnn.runs.sampled_predictions import has_sampled, keep_sampled, read_sampled
from keras_lnn.studies.declaration import StudyRun, path_name

# Folder, beside those of the runs of a network, for the log of the process that measures them.
_LOG_FOLDER = "sampling-process"


def measure_runs(order: dict[str, Any]) -> dict[str, Any]:
    """Predicts the test series of some runs under each sampling; this is the work of a process."""
    from keras_lnn.trained.evaluate import LastLoaded, predict_run_samplings

    load = LastLoaded()
    for run in map(Path, order["runs"]):
        keep_sampled(run, predict_run_samplings(run, "test", read_any_run(run).truth, load))
    return {"runs": len(order["runs"])}


def measure_left(runs: Sequence[StudyRun], engine: Engine, console: Console, *, limits: Limits) -> dict[str, str]:
    """Measures the finished runs that were not measured under other samplings before, one process per network.

    Args:
        runs: The finished runs.
        engine: Where the processes run.
        console: Console on which progress is shown.
        limits: Limits beyond which a process is killed.

    Returns:
        The reason of each failure, by the name of the network and the data.
    """
    by_network: dict[tuple[str, str], list[StudyRun]] = {}
    for run in runs:
        if not has_sampled(run.folder, samplings_of(str(run.config.data))):
            by_network.setdefault((run.network, str(run.config.data)), []).append(run)
    if not by_network:
        return {}
    with JobDisplay(console, "networks under other samplings") as display:
        supply = _Networks([_make_job(*key, left) for key, left in by_network.items()], display)
        pool = Pool(engine.resources(limits, jobs=len(by_network)), supply)

        def look() -> bool:
            display.show(pool.running(), supply.ended, len(by_network), "")
            return True

        pool.run(look)
    return supply.failures


def _make_job(network: str, data: str, runs: Sequence[StudyRun]) -> Job:
    count = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    return Job(
        name=f"{network} on {data} under other samplings, {count}",
        work=f"{__name__}:measure_runs",
        order={"runs": [str(run.folder) for run in runs]},
        folder=runs[0].folder.parent / _LOG_FOLDER,
        writes=tuple(run.folder for run in runs),
    )


class _Networks:
    """Supplies one job per network and data set, and notes how they end."""

    def __init__(self, jobs: Sequence[Job], display: JobDisplay) -> None:
        self.failures: dict[str, str] = {}
        self.ended = 0
        self._display = display
        self._lock = threading.Lock()
        self._waiting: Iterator[Job] = iter(jobs)

    def take(self, resource: Resource) -> Job | NoJob:
        with self._lock:
            return next(self._waiting, NoJob.LEFT)

    def finish(self, resource: Resource, job: Job, outcome: Outcome) -> None:
        if outcome.interrupted:
            return
        with self._lock:
            self.ended += 1
            if outcome.failure is not None:
                self.failures[job.name] = outcome.failure
            self._display.report(job.name, f": {outcome.seconds:.0f} s", outcome.failure)


@dataclasses.dataclass(frozen=True)
class SampledNetworks:
    """The networks of a study under other samplings, on one data set or several.

    Args:
        table: The rows of sampling.csv.
        differences: The rows of sampling_differences.csv.
        left_out: Sentences about data sets that have no such rows.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    left_out: tuple[str, ...] = ()

    @property
    def data(self) -> list[str]:
        """Returns the names of the data sets that have rows."""
        return list(dict.fromkeys(self.table["data"])) if len(self.table) else []

    @property
    def metric(self) -> str:
        """Returns the name of the metric in the table."""
        columns = list(self.table.columns)
        return next(name for name in columns if f"{name}_low" in columns)

    @classmethod
    def join(cls, parts: Sequence[SampledNetworks]) -> SampledNetworks:
        """Returns several data sets as one."""
        left_out = tuple(sentence for part in parts for sentence in part.left_out)
        tables = [[table for part in parts if not (table := getattr(part, name)).empty] for name in _TABLES]
        return cls(*(pd.concat(one, ignore_index=True) if one else pd.DataFrame() for one in tables), left_out)


_TABLES = ("table", "differences")
# The columns of a comparison's tables that hold names of models.
_NAMES = ("model", "reference")


def compare_sampled(
    comparison: Comparison | None, data: str, networks: Sequence[str]
) -> tuple[Comparison | None, SampledNetworks]:
    """Compares networks under other samplings, by what their runs' folders keep.

    Args:
        comparison: Their comparison on one data set; None where their test samples differ.
        data: Name of the data set.
        networks: Names of the networks.

    Returns:
        The comparison with its samplings where they could be compared, and the rows of the study's tables.
    """
    if comparison is None:
        return None, _leave_out(f"{data}: other samplings are compared only where all runs have the same test samples.")
    predicted = {}
    for run in (run for model in comparison.models for run in model.runs):
        found = read_sampled(run.path, samplings_of(data))
        if found is None:
            return comparison, _leave_out(f"{data}: not all runs could be measured under other samplings.")
        predicted[run.path] = found
    comparison = with_sampling(comparison, predicted)
    names = {path_name(name): name for name in networks}
    tables = (_of_study(table, data, names) for table in (comparison.sampling, comparison.sampling_differences))
    table, differences = tables
    return comparison, SampledNetworks(table, differences)


def _of_study(table: pd.DataFrame | None, data: str, names: Mapping[str, str]) -> pd.DataFrame:
    """Returns a table of a comparison with the name of the data and the study's names of its networks."""
    if table is None or table.empty:
        return pd.DataFrame()
    renamed = {name: table[name].map(lambda known: names.get(known, known)) for name in _NAMES if name in table}
    table = table.assign(**renamed)
    table.insert(0, "data", data)
    return table


def _leave_out(sentence: str) -> SampledNetworks:
    return SampledNetworks(pd.DataFrame(), pd.DataFrame(), (sentence,))
