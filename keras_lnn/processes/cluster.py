"""The nodes of a Ray cluster as resources of the pool: each job is a Ray task that starts a process on its node.

Ray chooses the node by what a run is declared to need, and reports nodes that are lost. All else is as on one machine:
the pool hands out jobs, and the process of a job is started, limited and watched by a
:class:`~keras_lnn.processes.runner.ProcessRunner`, on the node (see :mod:`keras_lnn.processes.node_work`).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_lnn.errors import InputError
from keras_lnn.fields.options import ClusterOptions
from keras_lnn.fields.values import MOST_WORKERS, parse_address
from keras_lnn.files.sources import describe_code
from keras_lnn.processes.helper import describe_failure
from keras_lnn.processes.needs import Needs
from keras_lnn.processes.node_work import (
    NodeTask,
    choose_environment,
    describe_node,
    find_variables,
    work_as_task,
)
from keras_lnn.processes.packing import pack_folder, unpack_folder
from keras_lnn.processes.pool import Job, RunningJob
from keras_lnn.processes.runner import DISK_FULL, Limits, Outcome
from keras_lnn.runs.folder import RunFolder

# Number of times that a job begins again or goes on after its node was lost or its worker was killed.
MOST_RETRIES = 3
_NODE_LABEL = "ray.io/node-id"
_LOOK_EVERY_SECONDS = 0.3
_CANCEL_SECONDS = 10.0
_LOST_SECONDS = 3.0
_CONNECT_SECONDS = 10.0
_CHECK_SECONDS = 600.0


def import_ray() -> Any:
    """Returns Ray, which sends nothing to its makers and prints nothing; an error names the extra if it is missing."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # else Ray warns that this will be the default
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "."  # its lines about lost nodes; the outcomes of the runs name them
    try:
        import ray
    except ImportError:
        raise InputError("--cluster needs Ray. Received: no package ray. Run: pip install keras-lnn[cluster]") from None
    return ray


class RayCluster:
    """The connection to a Ray cluster, from one of its nodes.

    Args:
        options: The address of the cluster and what a run needs.
        workers: Number of jobs at a time; as many as there is room for if not given.
        limits: Limits beyond which a run is killed.
    """

    def __init__(self, options: ClusterOptions, workers: int | None, limits: Limits) -> None:
        # The variables are those of the command, before this process chooses a small backend for itself.
        passed = find_variables()
        self.ray = import_ray()
        self.sends = options.cluster_folders == "sent"
        try:
            if options.cluster not in (None, "auto"):  # Ray itself would try for minutes
                socket.create_connection(parse_address(options.cluster), timeout=_CONNECT_SECONDS).close()
            self.ray.init(options.cluster, log_to_driver=False, logging_level=logging.CRITICAL)
        except (ConnectionError, RuntimeError, ValueError, OSError, AssertionError) as error:
            raise InputError(
                f"--cluster must be auto or the address of a Ray cluster of which this machine is a node. Received:"
                f" {options.cluster} ({_first_line(error)}). Start one with: ray start --head"
            ) from None
        try:
            nodes = [node for node in self.ray.nodes() if node["Alive"]]
            self.needs = Needs.choose(options, [node["Resources"] for node in nodes], limits)
            places = {node["NodeID"]: self.needs.count_places(node["Resources"]) for node in nodes}
            self.nodes = {node: count for node, count in places.items() if count > 0}
            if not self.nodes:
                raise InputError(
                    f"The cluster must have room for a run, which needs {self.needs.describe()}. Received: {len(nodes)}"
                    " nodes, none with as much. Give another --cpus-per-run, --gpus-per-run or memory limit."
                )
        except BaseException:
            self.close()
            raise
        self._asked_workers = workers
        self.environment = choose_environment(passed, self.needs.processors)
        self._work = self.ray.remote(max_calls=1, max_retries=0, num_returns="streaming")(work_as_task)
        self._full: set[str] = set()
        self._lost: set[str] = set()
        self._asked_lost = time.monotonic()
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """Returns the number of jobs at a time: as asked for, or as many as there is room for."""
        return self._asked_workers or min(MOST_WORKERS, sum(self.nodes.values()))

    def begin(self, folder: Path, console: Console) -> None:
        """Checks that all nodes have the same code and see the folder of the runs if it is shared, in one line.

        Args:
            folder: Folder that holds those of all runs; it must exist.
            console: Console on which the line is printed.
        """
        token = folder.absolute() / f".seen-by-nodes-{uuid.uuid4().hex}"
        token.touch()
        try:
            found = self._ask_nodes(os.getcwd(), str(token))
        finally:
            token.unlink(missing_ok=True)
        code = describe_code()
        for node in found:
            if node["code"] != code:
                raise InputError(
                    f"All nodes must have the same code as this machine, {code}. Received: {node['node']} with"
                    f" {node['code']}. Install the same versions there."
                )
            if not self.sends and not node["sees"]:
                raise InputError(
                    f"All nodes must see the folder of the runs and the current one. Received: {folder}, which"
                    f" {node['node']} does not see. Share it among the nodes, or give --cluster-folders sent."
                )
        count = f"{len(found)} node{'s' if len(found) > 1 else ''}"
        console.print(f"cluster of {count}, {self.workers} runs at a time, each with {self.needs.describe()}; {code}")

    def _ask_nodes(self, working_folder: str, token: str) -> list[dict[str, Any]]:
        """Returns what each node with room for runs says about itself; forgets nodes that turn out to be lost."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = self.ray.remote(num_cpus=0, max_retries=MOST_RETRIES)(describe_node)
        strategies = {node: NodeAffinitySchedulingStrategy(node, soft=False) for node in self.nodes}
        asked = {
            node: ask.options(scheduling_strategy=strategy).remote(working_folder, token)
            for node, strategy in strategies.items()
        }
        found = []
        for node, reply in asked.items():
            try:
                found.append(self.ray.get(reply, timeout=_CHECK_SECONDS))
            except (self.ray.exceptions.NodeDiedError, self.ray.exceptions.TaskUnschedulableError):
                del self.nodes[node]  # Ray takes up to half a minute to notice
            except Exception as error:
                raise InputError(
                    f"All nodes must be able to import keras_lnn. Received: {_first_line(error)}. Install"
                    " keras-lnn[train,cluster] on each node, in the same version."
                ) from None
        if not found:
            raise InputError("The cluster must have a node that is alive. Received: none. Start one with: ray start")
        return found

    def resources(
        self, limits: Limits | None = None, name: str = "worker", jobs: int | None = None
    ) -> list[RayResource]:
        """Returns a resource for each job that may run at a time, wherever the cluster has room for it."""
        names = [name] if self.workers == 1 else [f"{name}-{number}" for number in range(self.workers)]
        return [RayResource(one, self, limits or Limits()) for one in names]

    def submit(self, job: Job, limits: Limits) -> Any:
        """Starts the task of a job and returns the stream of its messages."""
        inputs = {}
        if self.sends:
            existing = [folder for folder in (*job.own_folders, *job.reads) if folder.is_dir()]
            inputs = {str(folder): pack_folder(folder) for folder in existing}
        task = NodeTask.for_job(job, limits, self.environment)
        task = dataclasses.replace(task, attempt=uuid.uuid4().hex, sends=self.sends, inputs=inputs)
        return self._work.options(**self.needs.as_ray_options(), **self._choose_nodes()).remote(task)

    def is_lost(self, node: str) -> bool:
        """Returns whether Ray's head no longer reaches a node.

        Args:
            node: Ray's id of the node.
        """
        with self._lock:  # all jobs in progress ask
            if time.monotonic() - self._asked_lost > _LOST_SECONDS:
                self._lost = {one["NodeID"] for one in self.ray.nodes() if not one["Alive"]}
                self._asked_lost = time.monotonic()
            return node in self._lost

    def avoid(self, node: str) -> bool:
        """Gives no more jobs to a node whose disk is full, as long as there are others; returns whether there are.

        It would otherwise get one job after the other, since each fails so quickly that the node is soon free again.

        Args:
            node: Ray's id of the node.
        """
        self._full.add(node)
        return self._has_others()

    def _has_others(self) -> bool:
        """Returns whether there is a node with room for runs whose disk has not been found full."""
        alive = (node for node in self.ray.nodes() if node["Alive"] and node["NodeID"] not in self._full)
        return any(self.needs.count_places(node["Resources"]) for node in alive)

    def _choose_nodes(self) -> dict[str, Any]:
        """Returns the option of Ray for the nodes of a task, if there are any that it must avoid."""
        if not self._full or not self._has_others():
            return {}
        return {"label_selector": {_NODE_LABEL: f"!in({','.join(sorted(self._full))})"}}

    def close(self) -> None:
        """Leaves the cluster, which ends all tasks."""
        self.ray.shutdown()


class RayResource:
    """One job at a time on any node of a cluster.

    Args:
        name: Its name.
        cluster: The cluster.
        limits: Limits beyond which a process is killed.
    """

    def __init__(self, name: str, cluster: RayCluster, limits: Limits) -> None:
        self.name = name
        self.cluster = cluster
        self.limits = limits
        self._place = ""
        self._histories: tuple[Path, ...] = ()

    def shown(self, running: RunningJob) -> RunningJob:
        """Returns the job with its node in its name, and with copies of histories that are on the node."""
        job = running.job
        named = dataclasses.replace(job, name=f"{job.name}, {self._place}", runs=self._histories or job.runs)
        return dataclasses.replace(running, job=named)

    def run(self, job: Job, stop: threading.Event) -> Outcome:
        """Runs a job as a task of the cluster, again if its node is lost."""
        with tempfile.TemporaryDirectory(prefix="keras-lnn-") as temporary:
            copies = tuple(Path(temporary, str(number)) for number, _ in enumerate(job.runs))
            self._histories = copies if self.cluster.sends else ()
            try:
                return self._run(job, stop)
            finally:
                self._histories = ()

    def _run(self, job: Job, stop: threading.Event) -> Outcome:
        for tried in range(1 + MOST_RETRIES):
            self._place = "again, waits for room" if tried else "waits for room"
            try:
                return self._try(job, stop)
            except _LostError as error:
                lost = error
        return Outcome(failure=f"was lost {1 + MOST_RETRIES} times, at last {lost}")

    def _try(self, job: Job, stop: threading.Event) -> Outcome:
        """Runs a job once; one that is lost with its node, or to a full disk while others have room, is an error."""
        node = {"node": "an unknown node", "id": ""}
        messages = self.cluster.submit(job, self.limits)
        try:
            while (message := self._receive(messages, node["id"], stop)) is not None:
                if "outcome" in message:
                    outcome = Outcome(**message["outcome"])
                    if DISK_FULL in (outcome.failure or "") and self.cluster.avoid(node["id"]):
                        raise _LostError(outcome.failure)
                    for folder, content in message["folders"].items():
                        unpack_folder(content, Path(folder))
                    return outcome
                if "node" in message:
                    self._place = f"on {message['node']}"
                self._keep_histories(message.get("histories", {}))
                node |= {name: message[name] for name in node if name in message}
            return Outcome(interrupted=True)
        except _LostError as lost:
            raise _LostError(f"on {node['node']}: {lost}") from None

    def _receive(self, messages: Any, node: str, stop: threading.Event) -> dict[str, Any] | None:
        """Returns the next message of a task; None after it has been cancelled because everything stops.

        Args:
            messages: The stream of its messages.
            node: Ray's id of its node, empty as long as it waits for one.
            stop: Set once everything stops.
        """
        ray = self.cluster.ray
        lost = ray.exceptions
        try:
            while not stop.is_set():
                ready, _ = ray.wait([messages], timeout=_LOOK_EVERY_SECONDS)
                if ready:
                    return ray.get(next(messages))
                if node and self.cluster.is_lost(node):
                    raise _LostError("it does not answer")  # Ray itself reports that minutes later
            self._cancel(messages)
            return None
        except (
            lost.WorkerCrashedError,
            lost.NodeDiedError,
            lost.OutOfMemoryError,
            lost.ObjectLostError,
            StopIteration,
        ) as error:
            if stop.is_set():
                return None
            raise _LostError(_first_line(error)) from None
        except lost.RayTaskError as error:
            failure = f"could not run on its node: {describe_failure(error.cause or error)}"
            return {"outcome": {"failure": failure}, "folders": {}}
        except lost.RayError as error:
            raise InputError(
                f"The cluster must stay reachable. Received: {_first_line(error)}. Then the same command goes on."
            ) from None

    def _cancel(self, messages: Any) -> None:
        """Cancels a task, by force if it does not end by itself."""
        ray = self.cluster.ray
        deadline = time.monotonic() + _CANCEL_SECONDS
        ray.cancel(messages)
        while time.monotonic() < deadline:
            ready, _ = ray.wait([messages], timeout=_LOOK_EVERY_SECONDS)
            try:
                if ready:
                    ray.get(next(messages))
            except (ray.exceptions.RayError, StopIteration):
                return
        ray.cancel(messages, force=True)

    def _keep_histories(self, histories: Mapping[int, bytes]) -> None:
        for number, content in histories.items():
            file = RunFolder(self._histories[number]).history
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)


class _LostError(Exception):
    """The node of a task was lost, or its worker was killed."""


def _first_line(error: BaseException | None) -> str:
    """Returns the first line of an error's message, cut if it is long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else type(error).__name__
