"""The benchmark on a GPU: what it plans, what it says, and the kernel of an LTC, on a machine without a GPU."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import ORDER, GpuCommand, describe, find_paying, list_notes, main, plan_parts, tabulate
from benchmarks.liquid_layers import CASES
from benchmarks.measuring import write_table
from keras_lnn.errors import InputError

ROOT = Path(__file__).parents[2]
has_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
# In a process with JAX: the kernel, interpreted, must agree with the loop in values and gradients, and become a program
# of Triton for a GPU.
KERNEL = """
import jax, numpy as np
from jax import numpy as jnp
from ncps.wirings import AutoNCP
from benchmarks.fused_ltc import use_fused_solver
from keras_lnn.layers import ltc_solver
from keras_lnn.layers.synapses import Synapses

wiring = AutoNCP(21, 1)
wiring.build(4)
synapses, generator = Synapses(wiring.adjacency_matrix), np.random.default_rng(0)
normal = lambda *shape: jnp.asarray(generator.normal(size=shape).astype("float32"))
positive = lambda *shape: jnp.asarray(generator.uniform(0.2, 1.0, size=shape).astype("float32"))
inner = 3 * positive(21, 21), normal(21, 21), positive(21, 21), jnp.asarray(wiring.adjacency_matrix, "float32")
is_valid = jnp.asarray(np.array([[1, 1, 1, 0, 1], [1, 0, 1, 1, 0], [1, 1, 0, 1, 1]], "float32")[:, None])
given = normal(3, 21, 5), positive(3, 21, 5), positive(21), positive(3, 1, 5), normal(21, 5), inner

def make_loss(timed):
    def loss(driving, conductance, capacitance, time_step, potential, inner):
        time_step, valid = (time_step, is_valid) if timed else (None, None)
        rest = capacitance, time_step, valid, potential, inner
        after = ltc_solver.solve_steps(synapses, 3, driving, conductance, *rest)
        return jnp.sum(jnp.cos(after * jnp.arange(1, 4)[:, None, None]))
    return jax.value_and_grad(loss, argnums=tuple(range(6)))

expected = [jax.jit(make_loss(timed))(*given) for timed in (False, True)]
use_fused_solver(interpret=True)
found = [jax.jit(make_loss(timed))(*given) for timed in (False, True)]
for theirs, ours in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(jnp.abs(theirs).max()))
use_fused_solver(interpret=False)
lowered = jax.jit(make_loss(True)).trace(*given).lower(lowering_platforms=("cuda",)).as_text()
assert lowered.count("xla.gpu.triton") == 2, lowered.count("xla.gpu.triton")
"""


def run_on_jax(*command: str) -> str:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout + done.stderr


@has_jax
@pytest.mark.slow
def test_the_kernel_of_a_step_agrees_with_the_loop():
    run_on_jax(sys.executable, "-c", KERNEL)
    # As before it is timed: the whole layer, and here without a GPU.
    program = "from benchmarks.gpu import CASES, use_kernel; use_kernel(CASES['ltc-auto-32'], 2, interpret=True)"
    run_on_jax(sys.executable, "-c", program)


@has_jax
@pytest.mark.slow
def test_the_benchmark_runs_on_a_machine_without_a_gpu(tmp_path):
    options = ["--cases", "ltc-auto-32,cfc-auto-19", "--batches", "2,4", "--precisions", "float32", "--rounds", "1"]
    table = tmp_path / "gpu.csv"
    printed = run_on_jax(sys.executable, "benchmarks/gpu.py", *options, "--sides", "ours,lstm", "--csv", str(table))
    assert "There is no GPU" in printed
    rows = list(csv.DictReader(line for line in table.read_text().splitlines() if not line.startswith("# ")))
    expected = [f"{case}, {batch}, float32" for case in ("ltc-auto-32", "cfc-auto-19") for batch in (2, 4)]
    assert [row["case, batch, precision"] for row in rows] == expected[2:] + expected[:2]
    assert all(float(row[f"{side}, CPU (ms)"]) > 0 for row in rows for side in ("ours", "LSTM"))


def test_the_most_important_comes_first_and_nothing_impossible():
    parts = plan_parts(GpuCommand(), ["cpu", "gpu"], torch=True)
    assert set(ORDER) == set(CASES)
    assert [(part["side"], part["processor"]) for part in parts[:4]] == [
        ("ours", "gpu"),
        ("ours", "cpu"),
        ("torch", "gpu"),
        ("lstm", "gpu"),
    ]
    assert parts[0]["batches"] == [64, 512, 4096]
    ways = [(part["case"], part["side"], part["precision"]) for part in parts]
    expected = [("ltc-auto-21", "kernel"), ("network", "lstm"), ("ltc-auto-21", "unrolled"), ("cfc-auto-19", "ours")]
    places = [ways.index((*way, "float32")) for way in expected]
    assert places == sorted(places)
    assert places[1] < ways.index(("ltc-auto-21", "torch", "bfloat16")) < places[2]
    assert not {("ltc-large", "kernel"), ("cfc-auto-19", "kernel"), ("cfc-auto-19", "unrolled")} & {
        way[:2] for way in ways
    }
    assert {side for _, side, precision in ways if precision == "bfloat16"} == {"ours", "torch", "lstm"}


def test_a_machine_without_gpu_and_torch_says_so():
    command = GpuCommand(batches="8,2")
    parts = plan_parts(command, ["cpu"], torch=False)
    assert {part["processor"] for part in parts} == {"cpu"}
    assert {part["side"] for part in parts} == {"ours", "lstm", "unrolled"}
    assert parts[0]["batches"] == [2, 8]
    assert len(list_notes(command, ["cpu"], torch=False)) == 3
    assert list_notes(command, ["cpu", "gpu"], torch=True) == []


@pytest.mark.parametrize(
    ("option", "value"), [("cases", "ltc"), ("sides", "ours,keras"), ("precisions", "float16"), ("batches", "64,0")]
)
def test_wrong_names_and_sizes_are_refused(option, value):
    with pytest.raises(InputError, match=f"--{option} takes .*Received: "):
        main([f"--{option}", value])


def test_it_is_said_where_a_gpu_pays(tmp_path):
    command = GpuCommand(cases="cfc-auto-19", batches="64,512", precisions="float32", sides="ours,lstm")
    parts = plan_parts(command, ["cpu", "gpu"], torch=True)
    milliseconds = {("ours", "gpu"): (2.0, 2.0), ("ours", "cpu"): (1.0, 9.0), ("lstm", "gpu"): (1.0, None)}
    found = []
    for part in parts:
        results = {}
        for batch, value in zip(part["batches"], milliseconds[part["side"], part["processor"]], strict=True):
            if value is not None:
                results |= {f"{batch} ms": value, f"{batch} first_s": 1.0, f"{batch} mib": 10.0}
        found.append(results)
    text = find_paying(parts, found)
    assert "A GPU pays for cfc-auto-19 at batch 512 (4.5 times as fast)." in text
    assert "It does not pay for cfc-auto-19 at batch 64 (0.5 times as fast)." in text
    assert "LSTM takes 0.50 times our step for cfc-auto-19 at batch 64." in text
    rows = tabulate(parts, found)
    assert [row["LSTM, GPU (ms)"] for row in rows] == [1.0, ""]
    write_table(rows, describe(command, text), tmp_path / "gpu.csv")
    line = (tmp_path / "gpu.csv").read_text().splitlines()[1]
    assert line.startswith("# command: python benchmarks/gpu.py --cases cfc-auto-19 --batches 64,512 --precisions")
    assert find_paying([], []).startswith("There is no GPU")
