"""Programs that JAX has compiled once are used by later processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_lnn.starting import kept_programs
from keras_lnn.starting.kept_programs import keep_programs, remove_programs

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
TRAINED = """
from keras_lnn.starting.importing import import_keras
import_keras()
import jax, json, keras, numpy as np
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.rpartition("/")[2]))
from keras_lnn.layers import CfC
inputs = keras.Input((3, 2))
model = keras.Model(inputs, CfC(2)(inputs))
model.compile("sgd", "mse")
model.fit(np.ones((2, 3, 2)), np.ones((2, 2)), verbose=0)
print(json.dumps([events.count("cache_hits"), events.count("cache_misses")]))
"""


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """Removes settings of the user, and afterwards what a test has set."""
    for name in (VARIABLE, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delenv("KERAS_LNN_PROGRAMS", raising=False)


def test_jax_keeps_its_programs_in_a_folder_of_the_cache_that_only_the_user_reads():
    folder = keep_programs("jax")
    assert folder.is_relative_to(os.environ["KERAS_LNN_CACHE"])
    assert os.environ[VARIABLE] == str(folder)
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "value", "backend"),
    [
        ("KERAS_LNN_PROGRAMS", "0", "jax"),
        (VARIABLE, "/elsewhere/programs/jax", "jax"),
        ("KERAS_LNN_CACHE", "/dev/null/cache", "jax"),
        ("HOME", "/", "tensorflow"),
        ("HOME", "/", "numpy"),
    ],
)
def test_nothing_is_kept(monkeypatch, name, value, backend):
    monkeypatch.setenv(name, value)
    before = dict(os.environ)
    assert keep_programs(backend) is None
    assert dict(os.environ) == before


def test_without_a_home_folder_nothing_is_kept(monkeypatch):
    monkeypatch.delenv("KERAS_LNN_CACHE")

    def fail():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)
    assert keep_programs("jax") is None


@pytest.mark.parametrize("off", [False, True])
def test_a_folder_that_a_process_on_another_machine_has_chosen_is_not_used(monkeypatch, off):
    monkeypatch.setenv(VARIABLE, "/home/somebody/programs/jax-0123456789ab")
    monkeypatch.setenv("KERAS_LNN_PROGRAMS", "0" if off else "1")
    folder = keep_programs("jax")
    assert os.environ.get(VARIABLE) == (None if off else str(folder))


def test_the_programs_that_were_not_read_for_the_longest_time_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_programs, "_MOST_BYTES", 250)
    folder = tmp_path / "programs" / "jax-0123456789ab"
    (folder / "parts").mkdir(parents=True)
    for age, name in enumerate(("a", "parts/b", "c", "parts/d")):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (2e9 - age, 1e9))
    remove_programs(folder)
    assert [path.name for path in sorted(folder.rglob("?"))] == ["a", "b"]


def test_folders_of_other_processors_are_removed_once_nobody_uses_them(tmp_path):
    folder, used, unused, other = (tmp_path / f"{name * 12}" for name in "abcd")
    folder, used, unused = (path.with_name(f"jax-{path.name}") for path in (folder, used, unused))
    for path in (folder, used, unused, other):
        path.mkdir()
    for path in (folder, unused, other):
        os.utime(path, (1.0, 1.0))
    remove_programs(folder)
    assert set(tmp_path.iterdir()) == {folder, used, other}


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    own = {"KERAS_BACKEND": "jax", "KERAS_LNN_CACHE": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    counts = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", TRAINED], env={**os.environ, **own}, capture_output=True, check=True
        )
        counts.append(json.loads(done.stdout.splitlines()[-1]))
    (found_first, compiled_first), (found, compiled) = counts
    assert compiled_first > 0
    assert compiled == 0
    assert found == found_first + compiled_first
