"""The hosts of a run: how they begin together, decide alike and end together."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_lnn.errors import InputError
from keras_lnn.hosts.link import HostLink
from keras_lnn.hosts.place import Place
from keras_lnn.runs.checkpoints import Checkpoint
from keras_lnn.runs.folder import RunFolder

# An error of a computation across hosts is one of another host if that is found to be lost within this time.
_SECONDS_TO_FIND_A_LOSS = 5.0


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The hosts of a run, and the place of this one. Each method is called by all hosts in the same order.

    Args:
        count: Number of hosts.
        rank: Number of this host, from 0.
        link: Its connection to the others; None for one host.
    """

    count: int = 1
    rank: int = 0
    link: HostLink | None = None

    @property
    def is_first(self) -> bool:
        """Returns whether this is host 0, which validates, writes and reports for all."""
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """Returns on each host the value of host 0, which JSON can hold."""
        return value if self.link is None else self.link.share(value)

    def require_same(self, facts: dict[str, Any]) -> None:
        """Checks that all hosts state the same facts.

        Args:
            facts: What must be the same, by its name in messages, as JSON values.
        """
        if self.link is None:
            return
        found = self.link.gather(facts)
        reason = self.share(_find_difference(found) if self.is_first else "")
        if reason:
            self.link.close()
            raise InputError(reason)

    def read_start(self, folder: RunFolder, start: Checkpoint | None) -> Checkpoint | None:
        """Returns on each host the checkpoint that host 0 begins with.

        Args:
            folder: The run's folder, which all hosts see.
            start: The checkpoint on host 0, or None; without meaning on the others.
        """
        epoch = self.share(None if start is None else start.epoch)
        if self.is_first or epoch is None:
            return start if self.is_first else None
        found = folder.read_checkpoint()
        if found is None or found.epoch != epoch:
            raise InputError(
                f"All hosts must see the run's folder. Received: {folder.path}, where host {self.rank} finds no"
                f" checkpoint of epoch {epoch}. Put it on a disk that they share."
            )
        return found

    def share_folder(self, folder: RunFolder | None) -> RunFolder:
        """Returns on each host the folder that host 0 has made; the others pass None."""
        path = self.share(None if folder is None else str(folder.path))
        return RunFolder(Path(path)) if folder is None else folder

    def choose_console(self, console: Console) -> Console:
        """Returns the console of host 0, and a silent one on the others."""
        return console if self.is_first else Console(quiet=True)

    def part(self) -> None:
        """Ends what the hosts do together; afterwards each is on its own."""
        if self.link is None:
            return
        from keras_lnn.backend.devices import leave_hosts

        leave_hosts()
        self.link.close()


ONE_HOST = Hosts()


def _find_difference(found: list[dict[str, Any]]) -> str:
    """Returns a sentence about the first fact in which a host differs from host 0; empty if there is none."""
    for rank, facts in enumerate(found):
        for name in found[0] | facts:
            ours, theirs = found[0].get(name), facts.get(name)
            if ours != theirs:
                return (
                    f"All hosts must have the same {name}. Received: {ours} on host 0 and {theirs} on host {rank}."
                    " Start the same command on each, with the same code and data."
                )
    return ""


@contextlib.contextmanager
def open_hosts(place: Place, console: Console) -> Generator[Hosts]:
    """Yields the hosts of a run, connected; call it after Keras is imported and before anything is computed.

    If this host fails inside the context, the others end too.

    Args:
        place: The place of this host.
        console: Console that is printed to.
    """
    if place.count == 1:
        yield ONE_HOST
        return
    import keras

    from keras_lnn.backend.devices import join_hosts

    if keras.backend.backend() != "jax":
        raise InputError(
            f"--hosts needs JAX. Received: {place.count} on {keras.backend.backend()}, with which Keras 3 trains on one"
            " host. Set KERAS_BACKEND=jax."
        )
    console.print(f"host {place.rank} waits for all {place.count} hosts at {place.address}:{place.port}")
    link = HostLink(place)
    with _leaving_at_once(link):
        hosts = Hosts(place.count, place.rank, link)
        port = hosts.share(_find_free_port() if hosts.is_first else None)
        try:
            join_hosts(place.address, port, place.count, place.rank)
        except RuntimeError as error:
            raise InputError(
                f"Hosts must reach each other on all ports, and modules of --imports must not compute when they are"
                f" imported. Received: {str(error).partition(chr(10))[0]} Correct that."
            ) from None
        yield hosts
        hosts.part()


@contextlib.contextmanager
def _leaving_at_once(link: HostLink) -> Generator[None]:
    """Ends the others when this host fails; JAX would wait for them before it lets the process end."""
    status: list[int] = []

    def leave() -> None:
        if status:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status[0])

    try:
        yield
    except BaseException as error:
        is_known = isinstance(error, InputError | OSError | KeyboardInterrupt)
        if not is_known and link.is_open:
            # The thread that finds another host lost ends the process meanwhile, with a line that says so.
            time.sleep(_SECONDS_TO_FIND_A_LOSS)
        said = "was interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {error or type(error).__name__}"
        link.fail(f"The run needs all of its hosts. Received: host {link.place.rank} {said}")
        status.append(130 if isinstance(error, KeyboardInterrupt) else 2 if is_known else 1)
        atexit.register(leave)
        raise


def _find_free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]
