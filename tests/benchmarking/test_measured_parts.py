"""Benchmarks whose parts are measured in processes of their own: time limits, kept results, tables, sentences."""

import collections
import json
from pathlib import Path

import pytest

from benchmarks.backends import MODELS, BackendsCommand, describe, find_faster, tabulate
from benchmarks.measuring import make_environment, measure_part, measure_parts, write_table

ROOT = Path(__file__).parents[2]
PART = {"network": "dnn", "backend": "jax", "processor": "cpu"}
MEASURED = {"first_s": 2.5, "step_ms": 10.0, "memory_mib": 300.0}


def write_script(folder, *lines):
    script = folder / "script.py"
    script.write_text("\n".join(["import json, os, sys, time", "part = json.loads(sys.argv[2])", *lines]))
    return str(script)


def test_a_part_is_measured_in_its_own_environment_and_measured_once(tmp_path):
    lines = ["print('a warning')", "print(json.dumps(part | {'seen': os.environ['KERAS_BACKEND']}))"]
    script, kept, reported = write_script(tmp_path, *lines), tmp_path / "kept.json", []
    assert measure_parts(script, [PART], 60, kept, reported.append) == [PART | {"seen": "jax"}]
    again = measure_parts("no-such-script.py", [PART], 60, kept, reported.append)
    assert (again, len(reported)) == ([PART | {"seen": "jax"}], 1)
    # A part with other settings has not been measured.
    (failed,) = measure_parts("no-such-script.py", [PART | {"batch": 2}], 60, kept, reported.append)
    assert "no-such-script.py" in failed["failure"]
    assert len(json.loads(kept.read_text())) == 2


def test_what_a_budget_leaves_no_time_for_is_measured_the_next_time(tmp_path):
    script, kept = write_script(tmp_path, "print(json.dumps({'ms': 1}))"), tmp_path / "kept.json"
    (cut,) = measure_parts(script, [PART], 60, kept, print, budget=0)
    assert cut == {"failure": "no time was left"}
    assert measure_parts(script, [PART], 60, kept, print) == [{"ms": 1}]


def test_what_a_part_has_printed_before_it_failed_counts(tmp_path):
    script = write_script(tmp_path, "print(json.dumps({'first': 1}))", "sys.exit('No memory is left.')")
    assert measure_part(script, PART, 60) == {"first": 1, "failure": "No memory is left."}


def test_a_part_that_takes_too_long_is_stopped(tmp_path):
    script = write_script(tmp_path, "time.sleep(1000)")
    assert measure_part(script, PART, 0.2)["failure"] == "took more than 0 s"


@pytest.mark.parametrize(("processor", "platform", "devices"), [("cpu", "cpu", ""), ("gpu", "cuda", "0")])
def test_a_part_sees_only_its_processor(processor, platform, devices, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    environment = make_environment("jax", processor)
    assert (environment["JAX_PLATFORMS"], environment["CUDA_VISIBLE_DEVICES"]) == (platform, devices)


def test_one_or_two_networks_of_each_family_are_compared():
    listed = json.loads((ROOT / "keras_lnn" / "models" / "listed.json").read_text())["models"]
    families = collections.Counter(model["family"] for model in listed if model["name"] in MODELS)
    assert set(families) == {model["family"] for model in listed}
    assert set(families.values()) <= {1, 2}
    assert families.total() == len(MODELS)


def test_backends_are_compared_in_a_table_and_in_words(tmp_path):
    steps = {"dnn": (20.0, 10.0), "lnn": (10.0, 30.0), "cnn": (10.0, 10.5), "unet": (10.0, None)}
    parts, found = [], []
    for network, pair in steps.items():
        for backend, step in zip(("tensorflow", "jax"), pair, strict=True):
            parts.append({"network": network, "backend": backend, "processor": "cpu"})
            found.append({"failure": "was killed"} if step is None else MEASURED | {"step_ms": step})
    rows = tabulate(parts, found)
    assert [row["TensorFlow / JAX"] for row in rows] == [2.0, pytest.approx(1 / 3), pytest.approx(10 / 10.5), ""]
    assert (rows[3]["TensorFlow step (ms)"], rows[3]["JAX step (ms)"]) == (10.0, "")
    expected = "A training step is faster on JAX for dnn, cpu (2.0 times)."
    expected += " It is faster on TensorFlow for lnn, cpu (3.0 times)."
    assert find_faster(rows) == f"{expected} The backends differ by less than 10% for cnn, cpu."
    facts = describe(BackendsCommand(models="dnn", hardware="one core"), rows)
    write_table(rows, facts, tmp_path / "table.csv")
    head = (tmp_path / "table.csv").read_text().splitlines()[:6]
    assert head[1] == "# command: python benchmarks/backends.py --models dnn"
    assert head[4:] == ["# hardware: one core", f"# findings: {find_faster(rows)}"]
