"""The engines of the pool: processes of this machine, the nodes of a Ray cluster, or the queue of Slurm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console

from keras_lnn.fields.options import ClusterOptions
from keras_lnn.processes.pool import Resource, local_resources
from keras_lnn.processes.runner import Limits, ProcessRunner
from keras_lnn.processes.sharing import share_processors


class Engine(Protocol):
    """Makes the resources of a pool; it is opened before slow imports, so that it prepares meanwhile."""

    @property
    def workers(self) -> int:
        """Returns the number of jobs at a time."""
        ...

    def begin(self, folder: Path, console: Console) -> None:
        """Checks that jobs can run, and write to an existing folder that holds those of all runs."""
        ...

    def resources(
        self, limits: Limits | None = None, name: str = "worker", jobs: int | None = None
    ) -> Sequence[Resource]:
        """Returns the resources for so many jobs at a time.

        Args:
            limits: Limits beyond which a process is killed.
            name: Name of the resource, followed by a number if there are several.
            jobs: Number of jobs if all are known, so that an engine with a queue of its own can queue all at once.
        """
        ...

    def close(self) -> None:
        """Ends all processes."""
        ...


class ThisMachine:
    """Processes of this machine, which share its processors and GPUs.

    Args:
        workers: Number of jobs at a time.
        environment: Environment variables of the processes in addition to those of this one; None removes a variable.
    """

    def __init__(self, workers: int = 1, environment: Mapping[str, str | None] | None = None) -> None:
        self.workers = workers
        self.runner = ProcessRunner({**share_processors(workers), **(environment or {})})

    def begin(self, folder: Path, console: Console) -> None:
        """Does nothing: processes of this machine can do what this one can."""

    def resources(self, limits: Limits | None = None, name: str = "worker", jobs: int | None = None) -> list[Resource]:
        """Returns one resource for each job at a time."""
        return [*local_resources(self.runner, self.workers, limits, name)]

    def close(self) -> None:
        """Ends all processes."""
        self.runner.close()


def open_engine(options: ClusterOptions, workers: int | None, limits: Limits | None = None) -> Engine:
    """Returns the engine that the options choose.

    Args:
        options: The options of the cluster, if there is one.
        workers: Number of jobs at a time; if not given, one on this machine, or as many as a cluster has room for.
        limits: Limits of each job; its memory is declared to a cluster.
    """
    if options.cluster is None:
        return ThisMachine(workers or 1)
    if options.uses_slurm:
        from keras_lnn.processes.slurm import SlurmCluster

        return SlurmCluster(options, workers, limits or Limits())
    from keras_lnn.processes.cluster import RayCluster

    return RayCluster(options, workers, limits or Limits())
