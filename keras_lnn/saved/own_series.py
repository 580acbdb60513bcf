"""Own series to be predicted: in tables with their times, in folders, and in files that know their times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.data.decode.image_finding import find_images, is_image_name
from keras_lnn.data.decode.medical_files import is_medical
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.decoded_samples import decode_samples
from keras_lnn.data.sources.loading import with_columns_of
from keras_lnn.data.sources.own_frames import SeriesFiles
from keras_lnn.data.sources.series_finding import FoundSeries, SeriesTable, TimedSeries, join_files, read_times_of_files
from keras_lnn.data.sources.series_times import LENGTHS, guess_unit
from keras_lnn.data.sources.table_columns import find_file_column, require_filled
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import as_text, require_file
from keras_lnn.saved.signature import Signature

_REMEDY = "Write a table with columns series, file and time, and predict that."


@dataclasses.dataclass(frozen=True)
class OwnSeries:
    """Series of own images, sorted by time and thinned to the number of images that a model reads.

    Args:
        names: Name of each series.
        series: The images of each series with their times since its first one, in the unit of the model.
        begins: Time of the first image of each series; 0 where it is a date.
        reading: How the images become pixels.
        warnings: What may spoil the predictions, one sentence each.
    """

    names: list[str]
    series: list[SeriesFiles]
    begins: np.ndarray
    reading: Reading
    warnings: tuple[str, ...]

    def list_files(self) -> list[Path]:
        """Returns the files of all images, each once."""
        return list(dict.fromkeys(frame.path for each in self.series for frame in each.frames))

    def read(
        self, progress: Callable[[float], None] | None = None, warn: Callable[[str], None] | None = None
    ) -> tuple[SeriesArray, list[str], np.ndarray]:
        """Decodes the images.

        Args:
            progress: Called with the fraction that is decoded.
            warn: Called with each sentence on what may spoil the predictions.

        Returns:
            The series of which at least one image can be read, the name of each, and the time of its first image.
        """
        decoded = decode_samples(self.series, self.names, dataclasses.replace(self.reading, progress=progress))
        if warn is not None:
            for sentence in (*self.warnings, *decoded.left_out):
                warn(sentence)
        options = self.reading.own
        rows = np.arange(len(decoded.rows))
        series = decoded.arrange(rows, options.model_unit, options.max_steps)
        if not isinstance(series, SeriesArray) or decoded.files.times is None:
            raise TypeError("Files of series must give series. Received: images.")
        # An image that cannot be read may have been the first one.
        begins = self.begins[decoded.rows] + decoded.files.times[decoded.files.rows[series.starts]]
        return series, [self.names[row] for row in decoded.rows.tolist()], begins


def find_series(paths: Sequence[Path], signature: Signature, given: OwnImages) -> list[Path | OwnSeries]:
    """Finds the series that are named on a command line, with the times of their images; no pixels are read.

    Args:
        paths: ``.npz`` files; tables; folders; and image files, which are joined to series as those of folders are.
        signature: Of the model.
        given: Columns, folders and the unit of tables as the user gives them; None for what is found.

    Returns:
        The paths of ``.npz`` files, and the series of each table, and of all folders and image files.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"Series must be in a file or a folder. Received: {path}, which does not exist.")
        if not path.is_dir():
            require_file(path, "A file of series")
    loose = [path for path in paths if path.is_dir() or is_image_name(path.name) or is_medical(path)]
    found: list[Path | OwnSeries] = []
    for path in paths:
        if path in loose:
            found += [_find_in_files(loose, signature, given)] if path == loose[0] else []
        elif path.suffix.lower() == ".npz":
            found.append(path)
        else:
            found.append(_find_in_table(path, signature, given, named=len(paths) > 1))
    return found


def _find_in_files(paths: Sequence[Path], signature: Signature, given: OwnImages) -> OwnSeries:
    files = list(dict.fromkeys(file for path in paths for file in (find_images(path) if path.is_dir() else [path])))
    if not files:
        shown = ", ".join(map(str, paths))
        raise InputError(f"There must be series of images to predict. Received: {shown} without any image.")
    options = _choose_options(signature, signature.own, given)
    members, _ = join_files(files, options.steps_along)
    found = FoundSeries({as_text(place): part for place, part in members.items()}, files)
    return _sort(read_times_of_files(found, options, _REMEDY), signature, options)


def open_series_table(path: Path, signature: Signature, given: OwnImages) -> tuple[SeriesTable, OwnImages]:
    """Returns a table of series with the columns that are found in it, and how its series are read.

    Args:
        path: The table.
        signature: Of the model.
        given: Columns, folders and units as the user gives them; None for what is found.
    """
    options = _choose_options(signature, with_columns_of(f"series:{path}", signature.own), given)
    return SeriesTable.open(path, options), options


def _find_in_table(path: Path, signature: Signature, given: OwnImages, named: bool) -> OwnSeries:
    """Returns the series of a table.

    Args:
        path: The table.
        signature: Of the model.
        given: Columns, folders and units as the user gives them.
        named: Whether the names of its series begin with that of the table.
    """
    opened, options = open_series_table(path, signature, given)
    column = opened.time_column
    by_time = options.steps_along == "time"
    assumed = by_time and column is not None and given.time_unit is None and guess_unit(column) is None
    if assumed:
        options = dataclasses.replace(options, time_unit=signature.time_unit)
    cells = require_filled(opened.table, find_file_column(opened.table, options.file_column), "a file")
    timed = opened.add_times(opened.find(cells, options), options, _REMEDY)
    warnings = timed.warnings
    if assumed and timed.are_numbers:
        unit = f"the times in column {column} were read as {signature.time_unit}, the unit that the model has learned"
        warnings = (*warnings, f"{unit}, since its name holds none; name another one with --time-unit")
    names = [f"{as_text(path)}#{name}" if named else name for name in timed.names]
    return _sort(dataclasses.replace(timed, names=names, warnings=warnings), signature, options)


def _choose_options(signature: Signature, known: OwnImages, given: OwnImages) -> OwnImages:
    """Returns how series are read: in the unit and of the length that the model has learned, else as options say.

    Args:
        signature: Of the model.
        known: How own images were read when the model was trained.
        given: What the user gives.
    """
    unit = signature.time_unit
    if unit not in LENGTHS:
        raise InputError(
            "Tables, folders and image files of series need a model that has learned times in a unit of time. Received:"
            f" {signature.model} with times in {unit}. Save the series as .npz files with frames, times and lengths."
        )
    roles = ("image_dir", "file_column", "series_column", "time_column", "position_column", "group_column")
    chosen = {name: value for name in roles if (value := getattr(given, name)) is not None}
    return dataclasses.replace(
        known,
        time_unit=given.time_unit,
        model_unit=unit,
        max_steps=signature.image_shape[0],
        skip_bad=given.skip_bad,
        **chosen,
    )


def _sort(timed: TimedSeries, signature: Signature, options: OwnImages) -> OwnSeries:
    unit = options.model_unit or ""
    found = timed.sort(unit, options.max_steps)
    starts = timed.starts()[found.rows] / LENGTHS[unit] if timed.are_numbers else np.zeros(len(found.rows))
    _, height, width, channels = signature.image_shape
    thinned = [f"{found.describe_thinned()}, the number that the model reads"] if found.long else []
    return OwnSeries(
        names=[as_text(timed.names[row]) for row in found.rows],
        series=found.samples,
        begins=starts,
        reading=Reading(size=(height, width), channels=channels, own=options),
        warnings=(*timed.warnings, *found.warnings, *thinned),
    )
