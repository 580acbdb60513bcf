"""Training on a file larger than memory should hold: the resident set stays flat."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

GIBIBYTE = 2**30
TRAIN_IN_PROCESS = """
import json, sys
from pathlib import Path

from rich.console import Console

from keras_lnn.config import TrainConfig
from keras_lnn.training.loop import train


def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


folder = Path(sys.argv[1])
values = {"model": "dnn", "epochs": 1, "export": "none", "tensorboard": False, "accept_checksum": True}
values |= {"explanations": False, "model_args": {"units": 4, "second_units": 4}, "batch_size": 2048}
console = Console(file=open("/dev/null", "w"))
train(TrainConfig.create(values | {"data": "phantom-breast", "run_dir": folder / "warm-up"}), console)
before = resident("VmRSS")
train(TrainConfig.create(values | {"data": "pathmnist", "data_dir": folder, "run_dir": folder / "run"}), console)
print(json.dumps({"before": before, "peak": resident("VmHWM")}))
"""


def write_large_file(path: Path, total_bytes: int) -> None:
    """A file like pathmnist.npz of random pixels, written in pieces."""
    pixels = 28 * 28 * 3
    generator = np.random.default_rng(0)
    piece = generator.integers(0, 256, (10_000, 28, 28, 3), dtype=np.uint8).tobytes()
    counts = {"train": total_bytes // pixels // 10_000 * 10_000, "val": 10_000, "test": 10_000}
    with zipfile.ZipFile(path, "w") as archive:
        for split, count in counts.items():
            with archive.open(f"{split}_images.npy", "w", force_zip64=True) as stream:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, 28, 28, 3)}
                np.lib.format.write_array_header_1_0(stream, header)
                for _ in range(count // 10_000):
                    stream.write(piece)
            with archive.open(f"{split}_labels.npy", "w") as stream:
                np.lib.format.write_array(stream, generator.integers(0, 9, (count, 1)).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the resident set from /proc")
def test_four_gibibytes_raise_the_resident_set_by_less_than_one(tmp_path):
    write_large_file(tmp_path / "pathmnist.npz", 4 * GIBIBYTE)
    command = [sys.executable, "-c", TRAIN_IN_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["peak"] - found["before"] < GIBIBYTE
