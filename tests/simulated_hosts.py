"""Simulates several hosts on one machine: each has its own network, processes, name and disk; one switch joins them.

A host is a set of Linux namespaces that its first process holds. It ends with its standard input, which is a pipe from
the program that has made it. The system then kills all processes of the host, and its network and disks vanish: nothing
is left over, however that program ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
_TOOLS = ("ip", "unshare", "nsenter", "mount")
_NAMESPACES = ("--net", "--mount", "--uts", "--pid")
_PORT = 6379
_DISK_MB, _STORE_BYTES = 400, 100 * 2**20
# The first process of a host ignores the ends of its children, so that the system removes them.
_BEGIN = "hostname {name} && ip link set lo up && {mounts} trap '' CHLD && echo ready && exec cat"


def why_impossible() -> str | None:
    """Returns why this machine cannot simulate hosts, as a sentence, or None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Simulated hosts need root on Linux."
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"Simulated hosts need the programs {', '.join(_TOOLS)}. Missing: {', '.join(missing)}."
    tried = subprocess.run(["unshare", *_NAMESPACES, "--fork", "--mount-proc", "true"], capture_output=True, text=True)
    return f"Simulated hosts need namespaces: {tried.stderr.strip()}." if tried.returncode else None


class Host:
    """A simulated host.

    Args:
        name: Its name.
        address: Its address in the network.
        folder: Where its own disk is, under the same path on each host; ``disk`` in it is the one that may fill up.
        hidden: Folders of this machine that the host does not see; it has empty ones of its own in their place.
        disk_mb: Size of the disk that may fill up.
        only_disk: Whether temporary files have no other place than that disk.
    """

    def __init__(
        self,
        name: str,
        address: str,
        folder: Path,
        *,
        hidden: Sequence[Path] = (),
        disk_mb: int = _DISK_MB,
        only_disk: bool = False,
    ) -> None:
        self.name, self.address = name, address
        self.disk = folder / "disk"
        disks = {folder: _DISK_MB, self.disk: disk_mb, Path("/dev/shm"): _DISK_MB, **dict.fromkeys(hidden, _DISK_MB)}
        mount = "mkdir -p '{}' && mount -t tmpfs -o size={}m tmpfs '{}' && "
        read_only = "mount --bind '{}' '{}' && mount -o remount,ro,bind '{}' && "
        mounts = "".join(read_only.format(*[one] * 3) for one in ("/tmp", "/var/tmp")) if only_disk else ""
        mounts += "".join(mount.format(one, size, one) for one, size in disks.items())
        begin = _BEGIN.format(name=name, mounts=mounts)
        arguments = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", "sh", "-c", begin]
        self.process = Popen(arguments, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True)
        assert self.process.stdout is not None  # it is a pipe
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"The host {name} could not start.")
        (first,) = psutil.Process(self.process.pid).children()
        self.pid = first.pid

    def start(self, arguments: Sequence[str], env: Mapping[str, str] | None = None, **options: Any) -> Popen[str]:
        """Starts a program on the host as :class:`subprocess.Popen` does; its temporary files are on its own disk."""
        own = {"TMPDIR": str(self.disk), "KERAS_LNN_CACHE": str(self.disk / "cache"), "RAY_worker_niceness": "0"}
        own |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "RAY_USAGE_STATS_ENABLED": "0"}
        begin = ["sh", "-c", 'cd "$0" && exec "$@"', str(options.pop("cwd", "/"))]  # the folder as the host sees it
        options = {"text": True, **options}
        return Popen([*self._enter(), *begin, *arguments], env={**(env or os.environ), **own}, **options)

    def run(self, *arguments: str) -> str:
        """Runs a program on the host and returns its output; one that fails is an error."""
        return subprocess.run([*self._enter(), *arguments], check=True, capture_output=True, text=True).stdout

    def find(self, words: str) -> list[psutil.Process]:
        """Returns the processes of the host whose command has these words."""
        try:
            own = os.readlink(f"/proc/{self.pid}/ns/pid")
        except OSError:
            return []
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):  # it may end meanwhile
                if os.readlink(f"/proc/{process.pid}/ns/pid") == own and words in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def count_bytes(self) -> tuple[int, int]:
        """Returns the bytes that the host has received and sent through the switch."""
        lines = Path(f"/proc/{self.pid}/net/dev").read_text(encoding="utf-8").splitlines()
        counts = next(line.split(":")[1].split() for line in lines if line.strip().startswith("eth0:"))
        return int(counts[0]), int(counts[8])

    def kill(self) -> None:
        """Ends all processes of the host at once, as if its power were cut."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait()

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", *_NAMESPACES]


class Network:
    """Hosts that a switch joins."""

    def __init__(self, folder: Path) -> None:
        self.hosts: list[Host] = []
        self.folder = folder
        self._switch = Host("switch", "", folder)
        self._switch.run("ip", "link", "add", "bridge", "up", "type", "bridge")

    def add(self, **options: Any) -> Host:
        """Returns a new host; the options are those of :class:`Host`."""
        number = len(self.hosts) + 1
        host = Host(f"host-{number}", f"10.0.0.{number}", self.folder, **options)
        self.hosts.append(host)
        ends = ("name", f"port-{number}", "netns", str(self._switch.pid)), ("name", "eth0", "netns", str(host.pid))
        subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]], check=True)
        self._switch.run("ip", "link", "set", f"port-{number}", "master", "bridge", "up")
        host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        host.run("ip", "route", "add", "default", "dev", "eth0")  # by which programs find their own address
        return host

    def connect(self, host: Host, connected: bool) -> None:
        """Puts the cable of a host into the switch, or pulls it out."""
        number = self.hosts.index(host) + 1
        self._switch.run("ip", "link", "set", f"port-{number}", "up" if connected else "down")

    def close(self) -> None:
        """Ends all hosts."""
        for host in (*self.hosts, self._switch):
            host.kill()


@contextlib.contextmanager
def simulated_network() -> Generator[Network]:
    """Yields a network without hosts, and ends all that are added to it."""
    # A short path, since that of a socket within must have fewer than 108 characters.
    folder = Path(tempfile.mkdtemp(prefix="hosts-", dir="/tmp"))
    try:
        network = Network(folder)
        try:
            yield network
        finally:
            network.close()
    finally:
        shutil.rmtree(folder)


class RayNetwork:
    """A Ray cluster on simulated hosts: a head that trains nothing, and nodes of one processor each.

    Args:
        network: The network to which the hosts are added.
        *nodes: For each node the options of :class:`Host`.
    """

    def __init__(self, network: Network, *nodes: Mapping[str, Any]) -> None:
        self.network = network
        self.head = network.add()
        self.address = f"{self.head.address}:{_PORT}"
        temporary = f"--temp-dir={network.folder / 'ray'}"
        self._start(self.head, "--head", f"--port={_PORT}", "--num-cpus=0", "--include-dashboard=false", temporary)
        self.nodes = [network.add(**options) for options in nodes]
        with ThreadPoolExecutor(max(1, len(nodes))) as pool:
            list(pool.map(self.join, self.nodes))

    def join(self, host: Host) -> None:
        """Lets a host join the cluster."""
        self._start(host, f"--address={self.address}", "--num-cpus=1")

    def _start(self, host: Host, *options: str) -> None:
        common = [f"--node-ip-address={host.address}", f"--object-store-memory={_STORE_BYTES}", "--disable-usage-stats"]
        arguments = [sys.executable, "-m", "ray.scripts.scripts", "start", *common, *options]
        process = host.start(arguments, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
        printed = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"Ray could not start on {host.name}: {printed}")
