"""The folder of an ensemble."""

from pathlib import Path

from keras_lnn.errors import InputError

MODEL_FILE, TABLE_FILE, RESULTS_FILE = "ensemble.keras", "ensemble.csv", "ensemble.json"
PAGE_FILE, PREDICTIONS_FILE, PICTURES = "ensemble.html", "predictions.csv", "plots"
CONTENTS = {
    PAGE_FILE: "this page",
    MODEL_FILE: "the model with its signature: predict, evaluate, explain and export take it or this folder",
    TABLE_FILE: "the leading metric of the ensemble and of each member, and what the ensemble gains",
    PREDICTIONS_FILE: "truth and prediction of every test sample",
    RESULTS_FILE: "everything on this page as numbers",
    PICTURES: "the pictures of this page as files",
}


def require_output(folder: Path) -> None:
    """Checks that the folder of an ensemble is new or empty, or holds an earlier ensemble, which is replaced."""
    others = sorted({file.name for file in folder.iterdir()} - set(CONTENTS)) if folder.is_dir() else []
    if others or (folder.exists() and not folder.is_dir()):
        raise InputError(
            "--output must be a new folder, or one that holds nothing but an earlier ensemble. Received:"
            f" {folder}{f' with {others[0]}' if others else ', a file'}. Choose another one."
        )
