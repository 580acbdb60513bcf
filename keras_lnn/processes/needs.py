"""What a run on a cluster is declared to need, and for how many runs a node has room."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from keras_lnn.fields.options import ClusterOptions
from keras_lnn.processes.runner import Limits


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a run is declared to need; a node gets as many runs as it has room for.

    Args:
        processors: Number of processors.
        gpus: Share of a GPU, or a number of GPUs.
        memory_bytes: Memory, or None if it is not declared.
    """

    processors: int = 1
    gpus: float = 0.0
    memory_bytes: float | None = None

    @classmethod
    def choose(cls, options: ClusterOptions, nodes: Sequence[Mapping[str, float]], limits: Limits) -> Needs:
        """Returns what the options say; what they leave out depends on the nodes.

        If any node has a GPU, a run gets a whole one and its share of the processors, otherwise one processor.

        Args:
            options: The options of the cluster.
            nodes: The resources of each node, by Ray's names.
            limits: The memory of a run is that above which it is killed.
        """
        gpus = options.gpus_per_run
        if gpus is None:
            gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
        processors = options.cpus_per_run
        if processors is None:
            shares = [gpus * node.get("CPU", 0) / node["GPU"] for node in nodes if gpus and node.get("GPU", 0) >= gpus]
            processors = max(1, int(min(shares, default=1)))
        return cls(processors, gpus, limits.memory_bytes)

    def count_places(self, node: Mapping[str, float]) -> int:
        """Returns the number of runs for which a node has room at a time."""
        rooms = [node.get("CPU", 0) // self.processors]
        if self.gpus >= 1:
            rooms.append(node.get("GPU", 0) // self.gpus)
        elif self.gpus:  # a run's share is always of a single GPU
            rooms.append(node.get("GPU", 0) * (1 // self.gpus))
        if self.memory_bytes is not None:
            rooms.append(node.get("memory", 0) // self.memory_bytes)
        return int(min(rooms))

    def as_ray_options(self) -> dict[str, Any]:
        """Returns the declaration as options of a Ray task."""
        memory = {} if self.memory_bytes is None else {"memory": self.memory_bytes}
        return {"num_cpus": self.processors, "num_gpus": self.gpus, **memory}

    def describe(self) -> str:
        """Returns the declaration in words."""
        parts = [f"{self.processors} processor{'s' if self.processors > 1 else ''}"]
        parts += [f"{self.gpus:g} GPU{'s' if self.gpus > 1 else ''}"] if self.gpus else []
        parts += [] if self.memory_bytes is None else [f"{self.memory_bytes / 2**20:,.0f} MiB of memory"]
        return ", ".join(parts)
