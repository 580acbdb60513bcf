"""Programs that are compiled once are used by later processes, and never one that may be damaged."""

import os
import subprocess
import sys

import pytest

from keras_lnn.starting import kept_programs
from keras_lnn.starting.kept_programs import flush_programs, keep_programs, remove_programs

OPTION = "--tf_xla_persistent_cache_directory="
TRAINED = """
import os
from keras_lnn.starting.importing import import_keras
import_keras()
import keras, numpy as np
from keras_lnn.layers import CfC
inputs = keras.Input((3, 2))
model = keras.Model(inputs, CfC(2)(inputs))
model.compile("sgd", "mse")
model.fit(np.ones((2, 3, 2)), np.ones((2, 2)), verbose=0)
"""


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """Removes settings of the user, and what a test sets beside the monkeypatch."""
    for name in ("TF_XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delenv("KERAS_LNN_PROGRAMS", raising=False)
    monkeypatch.setattr(kept_programs.atexit, "register", lambda *_: None)


def test_tensorflow_keeps_its_programs_in_a_folder_of_the_cache():
    folder = keep_programs("tensorflow")
    assert folder.is_relative_to(os.environ["KERAS_LNN_CACHE"])
    assert f"{OPTION}{folder}" in os.environ["TF_XLA_FLAGS"].split()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_jax_keeps_its_programs_in_another_folder():
    folder = keep_programs("jax")
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder) != str(keep_programs("tensorflow"))


def test_only_the_user_reads_the_programs():
    assert keep_programs("tensorflow").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "value", "backend"),
    [
        ("KERAS_LNN_PROGRAMS", "0", "tensorflow"),
        ("TF_XLA_FLAGS", f"{OPTION}/elsewhere", "tensorflow"),
        ("JAX_COMPILATION_CACHE_DIR", "/elsewhere", "jax"),
        ("KERAS_LNN_CACHE", "/dev/null/cache", "tensorflow"),
        ("HOME", "", "numpy"),
    ],
)
def test_nothing_is_kept(monkeypatch, name, value, backend):
    monkeypatch.setenv(name, value)
    before = dict(os.environ)
    assert keep_programs(backend) is None
    assert dict(os.environ) == before


def test_a_path_that_tensorflow_would_divide_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "my cache"))
    assert keep_programs("tensorflow") is None


def test_a_disk_without_room_is_not_used(monkeypatch):
    monkeypatch.setattr(kept_programs, "_LEAST_FREE_BYTES", 2**60)
    assert keep_programs("tensorflow") is None


def test_other_flags_of_the_user_stay_and_those_of_another_machine_go(monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", f"--tf_xla_clustering_debug {OPTION}/other/programs/tensorflow-1234")
    folder = keep_programs("tensorflow")
    flags = os.environ["TF_XLA_FLAGS"].split()
    assert "--tf_xla_clustering_debug" in flags
    assert [flag for flag in flags if flag.startswith(OPTION)] == [f"{OPTION}{folder}"]


def test_a_program_from_before_the_last_start_of_the_machine_must_have_been_flushed(tmp_path):
    for name in ("flushed", "damaged", "new"):
        (tmp_path / name).write_bytes(b"program")
    flush_programs(tmp_path)
    (tmp_path / "damaged").write_bytes(b"")
    (tmp_path / "unknown").write_bytes(b"prog")
    for name in ("flushed", "damaged", "unknown"):
        os.utime(tmp_path / name, (1.0, 1.0))
    remove_programs(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"flushed", "new", "flushed.txt"}


def test_the_oldest_programs_make_room_for_new_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_programs, "_MOST_BYTES", 250)
    for age in range(4):
        (tmp_path / f"{age}").write_bytes(bytes(100))
        os.utime(tmp_path / f"{age}", (2e9 - age, 2e9 - age))
    remove_programs(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}


def test_a_damaged_list_of_flushed_programs_is_no_error(tmp_path):
    (tmp_path / "flushed.txt").write_bytes(b"\xff\n12\nx name\n7 program")
    (tmp_path / "program").write_bytes(b"program")
    os.utime(tmp_path / "program", (1.0, 1.0))
    remove_programs(tmp_path)
    assert (tmp_path / "program").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_second_process_compiles_nothing(tmp_path, backend):
    own = {"KERAS_BACKEND": backend, "KERAS_LNN_CACHE": str(tmp_path)}
    own |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    files = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", TRAINED], env={**os.environ, **own}, capture_output=True, check=True)
        found = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith("-atime")]
        files.append({path.name: path.stat().st_mtime_ns for path in found})
    # A program that is compiled again is written again.
    assert files[0] == files[1]
    assert len(files[0]) > 1
