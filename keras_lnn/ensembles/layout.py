"""The folder of an ensemble."""

from pathlib import Path

from keras_lnn.errors import InputError

MODEL_FILE, TABLE_FILE, RESULTS_FILE = "ensemble.keras", "ensemble.csv", "ensemble.json"
_WRITTEN = (MODEL_FILE, TABLE_FILE, RESULTS_FILE)


def require_output(folder: Path) -> None:
    """Checks that the folder of an ensemble is new or empty, or holds an earlier ensemble, which is replaced."""
    others = sorted({file.name for file in folder.iterdir()} - set(_WRITTEN)) if folder.is_dir() else []
    if others or (folder.exists() and not folder.is_dir()):
        raise InputError(
            "--output must be a new folder, or one that holds nothing but an earlier ensemble. Received:"
            f" {folder}{f' with {others[0]}' if others else ', a file'}. Choose another one."
        )
