"""Folders of runs, found at any depth below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# The options of a cross-validation, in the folder that holds the runs of its folds.
FOLDS_FILE = "folds.yaml"
_CONFIG = "config.yaml"
# A folder with one of these files was a run before its configuration was lost.
_REMAINS = {"metrics.json", "environment.json", "history.csv"}


def find_run_folders(path: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yields each folder at or below a path that is or was a run, with the names of its files.

    Hidden folders, such as what a killed process was writing, are no runs, and neither is what a run's folder holds.
    """
    for place, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = set(files)
        if _CONFIG in names or names & _REMAINS:
            folders.clear()
            yield Path(place), names
