"""The place of this host among those of a run: from options, or from what started the processes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from keras_lnn.errors import InputError
from keras_lnn.fields.options import HostOptions
from keras_lnn.fields.values import parse_address

# Variables of the number of processes and of the number of this one, by what sets them.
_LAUNCHERS = {
    "Slurm": ("SLURM_NTASKS", "SLURM_PROCID"),
    "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
}
_KUBERNETES_RANK = "JOB_COMPLETION_INDEX"
_ADDRESS = "JAX_COORDINATOR_ADDRESS"
_SLURM_NODES, _SLURM_JOB = "SLURM_STEP_NODELIST", "SLURM_JOB_ID"
# Jobs of one node get different ports, from a range that systems keep for short connections.
_FIRST_PORT, _PORTS = 61440, 4096


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of this host among those of a run.

    Args:
        count: Number of hosts.
        rank: Number of this host, from 0.
        address: Address of host 0.
        port: A port that is free there.
    """

    count: int = 1
    rank: int = 0
    address: str = ""
    port: int = 0


def find_place(options: HostOptions, environment: Mapping[str, str]) -> Place:
    """Returns the place of this host.

    Args:
        options: The options of the command; what they leave out is found in the environment.
        environment: Environment variables.
    """
    if options.hosts is None:
        given = [name for name in ("host_rank", "coordinator") if getattr(options, name) is not None]
        if given:
            raise InputError(
                f"--{given[0].replace('_', '-')} is for a run on several hosts. Received: no --hosts. Give their"
                " number."
            )
        return Place()
    launcher = next(
        (name for name, variables in _LAUNCHERS.items() if all(known in environment for known in variables)), None
    )
    started, rank = (int(environment[name]) for name in _LAUNCHERS[launcher]) if launcher else (None, None)
    if options.hosts != "auto" and options.host_rank is not None:
        started = None  # the processes were started by hand, perhaps from within a job
    if options.hosts == "auto" and started is None:
        raise InputError(
            "--hosts auto is for processes that Slurm (srun) or Open MPI (mpirun) starts. Received: neither of them."
            " Give --hosts with their number, --host-rank and --coordinator."
        )
    count = started if options.hosts == "auto" else int(options.hosts)
    if count is None or (started is not None and count not in (1, started)):
        raise InputError(
            f"--hosts must be the number of processes that {launcher} started, one on each host, {started}. Received:"
            f" {count}. Give --hosts auto."
        )
    if count == 1:
        return Place()
    return _complete(options, count, rank, environment)


def _complete(options: HostOptions, count: int, rank: int | None, environment: Mapping[str, str]) -> Place:
    """Returns the place of this host of several, after checking that everything is known."""
    if rank is None and _KUBERNETES_RANK in environment:
        rank = int(environment[_KUBERNETES_RANK])
    rank = rank if options.host_rank is None else options.host_rank
    if rank is None:
        raise InputError(
            "--hosts needs the number of this host. Received: none. Give --host-rank, from 0 for the first."
        )
    if rank >= count:
        raise InputError(
            f"--host-rank must be below the number of hosts, {count}. Received: {rank}. Ranks count from 0; correct it,"
            " or --hosts."
        )
    address = options.coordinator or environment.get(_ADDRESS) or _address_in_slurm(environment)
    if address is None:
        raise InputError(
            "--hosts needs the address of host 0. Received: none. Give --coordinator ADDRESS:PORT, the same on each"
            " host."
        )
    try:
        name, port = parse_address(address)
    except ValueError as error:
        raise InputError(f"${_ADDRESS} {error}. Received: {address}. Correct it, or give --coordinator.") from None
    return Place(count, rank, name.strip("[]"), port)


def _address_in_slurm(environment: Mapping[str, str]) -> str | None:
    """Returns the first node of a Slurm job, such as ``node007`` of ``node[007,012-015],other``, with a port."""
    if _SLURM_NODES not in environment or _SLURM_JOB not in environment:
        return None
    first = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\])?([^\[,]*)", environment[_SLURM_NODES])
    if first is None:
        return None
    return f"{''.join(part or '' for part in first.groups())}:{_FIRST_PORT + int(environment[_SLURM_JOB]) % _PORTS}"
