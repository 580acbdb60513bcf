"""Simulated hosts reach each other until their cable is pulled out, and end with the program that has made them."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from simulated_hosts import simulated_network, why_impossible

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from simulated_hosts import simulated_network
with simulated_network() as network:
    print(network.folder, *(network.add().pid for _ in range(2)), flush=True)
    sys.stdin.read()
"""
CONNECT = "import socket; socket.create_connection(('10.0.0.1', 7), timeout=1)"


@pytest.fixture(autouse=True)
def possible():
    if (reason := why_impossible()) is not None:
        pytest.skip(reason)


def connect_from(host):
    """Returns how the attempt to connect to the first host ends, at which nobody listens."""
    process = host.start([sys.executable, "-c", CONNECT], stderr=subprocess.PIPE)
    return process.communicate()[1].strip().splitlines()[-1].partition(":")[0]


def test_hosts_are_joined_by_their_cables():
    with simulated_network() as network:
        first, second = network.add(), network.add()
        assert (first.run("hostname"), second.run("hostname")) == ("host-1\n", "host-2\n")
        assert connect_from(second) == "ConnectionRefusedError"
        network.connect(second, False)
        assert connect_from(second) == "TimeoutError"
        assert second.count_bytes()[0] > 0
    assert first.find("cat") == []


def test_hosts_end_with_a_program_that_is_killed():
    program = PROGRAM.format(folder=str(Path(__file__).parent))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        folder, *pids = process.stdout.readline().split()
        first, second = [psutil.Process(int(pid)) for pid in pids]
        assert first.is_running()
        process.kill()
    gone, alive = psutil.wait_procs([first, second], timeout=60)
    assert len(gone) == 2
    assert alive == []
    Path(folder).rmdir()  # nothing was on the disk of this machine
