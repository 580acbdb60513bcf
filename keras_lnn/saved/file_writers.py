"""What ``keras-lnn predict`` writes: a table of probabilities, or masks with their table; a task names its writer."""

from __future__ import annotations

import abc
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from keras_lnn.errors import InputError
from keras_lnn.saved.image_predictions import predict_files, require_free_table, shorten_predictions, write_predictions
from keras_lnn.saved.mask_predictions import predict_masks, require_free_masks

if TYPE_CHECKING:
    import pandas as pd

    from keras_lnn.saved.predictor import Predictor
    from keras_lnn.tasks.task import Task


class FileWriter(abc.ABC):
    """Writes what a model predicts for image files.

    Attributes:
        noun: What it writes for one image.
        default_output: Where to, if nobody says.
        can_overlay: Whether it can draw predictions on their images.
    """

    noun: ClassVar[str]
    default_output: ClassVar[Path]
    can_overlay: ClassVar[bool] = False

    @abc.abstractmethod
    def require_free(self, files: Sequence[Path], paths: Sequence[Path], output: Path, overlay: bool) -> bool:
        """Checks that everything can be written without the loss of another file.

        Args:
            files: Image files.
            paths: What was named: these files, and folders that hold them.
            output: Where to write.
            overlay: Whether pictures of the predictions on their images are asked for.

        Returns:
            Whether a table of earlier predictions will be replaced.
        """

    @abc.abstractmethod
    def write(
        self, predictor: Predictor, paths: Sequence[Path], output: Path, overlay: bool, **options: Any
    ) -> pd.DataFrame:
        """Predicts and writes.

        Args:
            predictor: A loaded model.
            paths: Image files, and folders that are searched for them.
            output: Where to write.
            overlay: Whether to draw the predictions on their images.
            **options: As :func:`~keras_lnn.saved.image_predictions.predict_files` takes them.

        Returns:
            One row per file.
        """

    def shorten(self, table: pd.DataFrame) -> pd.DataFrame:
        """Returns a table that :meth:`write` returned so that it fits a terminal."""
        return table


class TableWriter(FileWriter):
    """Writes one table with the probabilities of every image."""

    noun = "prediction"
    default_output = Path("predictions.csv")

    def require_free(self, files: Sequence[Path], paths: Sequence[Path], output: Path, overlay: bool) -> bool:
        """Checks that the output is free or a table of earlier predictions."""
        return require_free_table(output)

    def write(
        self, predictor: Predictor, paths: Sequence[Path], output: Path, overlay: bool, **options: Any
    ) -> pd.DataFrame:
        """Predicts and writes the table."""
        table = predict_files(predictor, paths, **options)
        write_predictions(table, output)
        return table

    def shorten(self, table: pd.DataFrame) -> pd.DataFrame:
        """Returns the table with the likeliest of many classes."""
        return shorten_predictions(table)


class MaskWriter(FileWriter):
    """Writes one mask for each image, and a table of the pixels of each class, to a folder."""

    noun = "mask"
    default_output = Path("predictions")
    can_overlay = True

    def require_free(self, files: Sequence[Path], paths: Sequence[Path], output: Path, overlay: bool) -> bool:
        """Checks that no mask takes the place of an image."""
        require_free_masks(files, paths, output, overlay)
        return False

    def write(
        self, predictor: Predictor, paths: Sequence[Path], output: Path, overlay: bool, **options: Any
    ) -> pd.DataFrame:
        """Predicts and writes the masks."""
        return predict_masks(predictor, paths, output, overlay=overlay, **options)


def find_writer(task: Task, model: str, overlay: bool) -> FileWriter:
    """Returns the writer for the predictions of a task.

    Args:
        task: The task of the model.
        model: Name by which the model was requested.
        overlay: Whether predictions are to be drawn on their images.
    """
    writer: FileWriter = pkgutil.resolve_name(task.file_writer)()
    if overlay and not writer.can_overlay:
        raise InputError(
            f"--overlay is for segmentation models. Received: {model}, which predicts no masks. Leave it out."
        )
    return writer
