"""Image files through a saved model: read, brought to its input, predicted in pieces, one row a file."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_lnn.data.arrays import ImageArray
from keras_lnn.data.options import OwnImages
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import as_text, atomic_path
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.files.written import is_stream, open_stream
from keras_lnn.saved.image_files import FileReader, find_files
from keras_lnn.saved.prediction_columns import COLUMNS, LIKENESS, OF_SERIES, PROBABILITY, PROMISED, tabulate_predictions
from keras_lnn.saved.predictor import Predictor
from keras_lnn.saved.series_predictions import predict_series_files

_LONGEST_HEADER = 2**20
_SHOWN_CLASSES = 3


def predict_files(
    predictor: Predictor,
    paths: Sequence[Path],
    progress: Callable[[float], None] | None = None,
    *,
    own: OwnImages | None = None,
    skip_bad: bool = False,
    warn: Callable[[str], None] | None = None,
    compare: Callable[[ImageArray], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Returns the class probabilities of image files, or of files of series for a model of series.

    Args:
        predictor: A loaded model.
        paths: Image files, and folders that are searched for them; ``.npy`` and NIfTI files for a model of volumes;
            for a model of series ``.npz`` files, tables, folders of series, and DICOM and NIfTI files.
        progress: Called with the fraction done.
        own: For a model of series, columns, folder and unit of tables; None for what is found in them.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
        warn: Called with each sentence on what may spoil the predictions.
        compare: Gives of images as the model reads them how like the training images each is, for a column; None for
            none.

    Returns:
        One row per file: its path, what the model predicts, and a column of probabilities for each class; for series
        one row per series, as :func:`~keras_lnn.saved.series_predictions.predict_series` returns it.
    """
    signature = predictor.signature
    if signature.time_unit is not None:
        return predict_series_files(predictor, paths, progress, own=own, skip_bad=skip_bad, warn=warn, compare=compare)
    if own is not None:
        signature.require_series(signature.model, "own")
    files = find_files(paths, volumes=len(signature.image_shape) == 4)
    read, parts, likeness = [], [], []
    for images, piece in FileReader(files, signature, skip_bad, warn).read(progress):
        parts.append(predictor.predict(images))
        if compare is not None:
            likeness.append(compare(images))
        read += piece
    probabilities = np.concatenate(parts)
    names, compared = [as_text(file) for file in read], np.concatenate(likeness) if likeness else None
    return tabulate_predictions(names, probabilities, signature, compared)


def shorten_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of predictions that fits a terminal: of more than three classes only the three likeliest."""
    columns = [name for name in table if name.startswith(PROBABILITY)]
    if len(columns) <= _SHOWN_CLASSES:
        return table
    names = [name.removeprefix(PROBABILITY) for name in columns]
    values = table[columns].to_numpy()
    places = np.argsort(-values, axis=1, kind="stable")[:, :_SHOWN_CLASSES]
    likeliest = [
        ", ".join(f"{names[place]} {row[place]:.4f}" for place in order)
        for row, order in zip(values, places, strict=True)
    ]
    words = [name for name in (*COLUMNS, *PROMISED, LIKENESS) if name in table]
    return table[words].assign(**{f"{_SHOWN_CLASSES} of {len(columns)} probabilities": likeliest})


def require_free_table(path: Path) -> bool:
    """Checks that a table of predictions can be written without the loss of another file.

    Args:
        path: The path of the table.

    Returns:
        Whether a table of earlier predictions will be replaced.
    """
    if not os.path.lexists(path) or is_stream(path):
        return False
    if path.is_dir():
        raise InputError(f"The output must be a file to write. Received: {path} (Is a directory).")
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            header = next(csv.reader([stream.readline(_LONGEST_HEADER)]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        header = []
    others = (name for name in header[2:] if name not in PROMISED)
    if header[:2] != COLUMNS or not all(name.startswith((LIKENESS, PROBABILITY, *OF_SERIES)) for name in others):
        raise InputError(
            f"Only an earlier table of predictions is replaced. Received: {path}, which is none. Choose another"
            " --output, or move it away."
        )
    return True


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Writes a table of predictions: a file atomically, in the place of an earlier table only, else to a stream."""
    require_free_table(path)
    try:
        if is_stream(path):
            with open_stream(path) as stream:
                stream.write(to_csv(table))
            return
        # Through a link, which stays.
        with atomic_path(Path(os.path.realpath(path))) as temporary:
            temporary.write_text(to_csv(table), encoding="utf-8")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"The output must be a file to write. Received: {path} ({error.strerror}).") from None
