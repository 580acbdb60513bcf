"""Ray clusters that tests start on this machine."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys

import pytest

WAIT_SECONDS = 1500  # only against waiting for ever

# A cluster whose head runs no tasks, with two nodes of one processor each, until its input ends.
CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster
store = {"object_store_memory": 100 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
nodes = [cluster.add_node(num_cpus=1, **store) for _ in range(2)]
pids = [node.all_processes["raylet"][0].process.pid for node in nodes]
print(json.dumps({"address": cluster.address, "raylets": pids}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@contextlib.contextmanager
def running_cluster():
    """Yields the address of a cluster and the process ids of its nodes."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray: pip install keras-lnn[cluster]")
    # Ray would give its workers the lowest priority.
    variables = {**os.environ, "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    arguments = {"env": variables, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CLUSTER], stderr=subprocess.DEVNULL, **arguments) as process:
        yield next(json.loads(line) for line in process.stdout if line.startswith("{"))
        process.stdin.close()
        process.wait(WAIT_SECONDS)
