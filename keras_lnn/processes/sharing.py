"""How several processes share this machine: environment variables for the processors and GPUs that each may use."""

from __future__ import annotations

import importlib.util
import os
import subprocess

# Memory of a GPU is taken as it is needed, so that several processes can share one.
SHARED_GPU: dict[str, str | None] = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def share_processors(workers: int) -> dict[str, str | None]:
    """Returns environment variables that limit each of several processes to its share of processors and GPU memory."""
    threads = limit_threads(max(1, (os.cpu_count() or 1) // workers)) if workers > 1 else {}
    return threads | SHARED_GPU


def limit_threads(processors: int) -> dict[str, str | None]:
    """Returns environment variables that make a process compute on so many processors."""
    return {"TF_NUM_INTRAOP_THREADS": str(processors), "OMP_NUM_THREADS": str(processors)}


def share_gpus(workers: int) -> list[dict[str, str | None]]:
    """Returns, for each process, the environment variable that assigns it one GPU; empty if there is no GPU."""
    gpus = list_gpus()
    return [{"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} if gpus else {} for worker in range(workers)]


def list_gpus() -> list[str]:
    """Returns the GPUs that this process may use, without starting any."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [part for part in chosen.split(",") if part.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def keep_this_process_small() -> None:
    """Selects Keras's numpy backend, which suffices for a program that only waits; start its processes before.

    That backend computes some functions by JAX, so where JAX is not installed the backend stays as it is.
    """
    if importlib.util.find_spec("jax") is not None:
        os.environ["KERAS_BACKEND"] = "numpy"
