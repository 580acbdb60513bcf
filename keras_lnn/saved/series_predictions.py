"""Series through a saved model: thinned to the frames that it reads, predicted, one row per series."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.faults import describe_faults
from keras_lnn.data.options import OwnImages
from keras_lnn.data.thinning import thin_evenly
from keras_lnn.errors import InputError
from keras_lnn.fields.values import name_steps
from keras_lnn.files.atomic import as_text
from keras_lnn.saved.own_series import OwnSeries, find_series
from keras_lnn.saved.prediction_columns import tabulate_predictions
from keras_lnn.saved.predictor import Predictor
from keras_lnn.saved.series_files import read_series_file
from keras_lnn.saved.signature import Signature

# Where the median interval of a series is so many times that of the training data, or such a part, it is far off.
FAR_OFF = 5.0


def predict_series(
    predictor: Predictor,
    series: SeriesArray,
    names: Sequence[str],
    begins: np.ndarray | None = None,
    warn: Callable[[str], None] | None = None,
    compare: Callable[[SeriesArray], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Returns the class probabilities of series.

    Series with more frames than the model reads are thinned evenly in time.

    Args:
        predictor: A loaded model of series.
        series: The series, with times in the unit that the model has learned.
        names: Name of each series, such as its file.
        begins: Time of the first frame of each series; 0 if not given.
        warn: Called with each sentence on what may spoil the predictions.
        compare: Gives how like the training series each is, for a column; None for none.

    Returns:
        One row per series: its name, what the model predicts, a column of probabilities for each class, the number of
        frames that were read, and the times of the first and the last one.
    """
    signature = predictor.signature
    read = fit_series(signature, series, names, warn)
    likeness = None if compare is None else compare(read)
    table = tabulate_predictions(names, predictor.predict(read), signature, likeness)
    first = np.zeros(len(series)) if begins is None else begins
    table["frames"] = read.lengths
    steps = name_steps(series.unit)
    table[f"first {steps} ({series.unit})"] = first
    table[f"last {steps} ({series.unit})"] = first + np.nanmax(read.times(), axis=1)
    return table


def fit_series(
    signature: Signature, series: SeriesArray, names: Sequence[str], warn: Callable[[str], None] | None = None
) -> SeriesArray:
    """Returns series as a model reads them: checked, and thinned to the frames that it reads.

    Args:
        signature: Of the model.
        series: The series.
        names: Name of each series.
        warn: Called with each sentence on what may spoil the predictions.
    """
    if signature.time_unit is None:
        raise InputError(
            f"Series need a model of series. Received: {signature.model}, which reads images. Train lnn-series."
        )
    if series.unit != signature.time_unit or series.shape[2:] != signature.image_shape[1:]:
        raise InputError(
            f"Series must be as the model has learned them, frames of {signature.image_shape[1:]} with"
            f" {name_steps(signature.time_unit)}s in {signature.time_unit}. Received: {series.shape[2:]} in"
            f" {series.unit}. Bring them into that form."
        )
    read = thin_series(series, signature.image_shape[0])
    if warn is not None:
        for sentence in _find_cautions(series, read, names, signature.median_interval):
            warn(sentence)
    return read


def predict_series_files(
    predictor: Predictor,
    paths: Sequence[Path],
    progress: Callable[[float], None] | None = None,
    *,
    own: OwnImages | None = None,
    skip_bad: bool = False,
    warn: Callable[[str], None] | None = None,
    compare: Callable[[SeriesArray], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Returns the class probabilities of series in files, tables and folders, as :func:`predict_series` does.

    Args:
        predictor: A loaded model of series.
        paths: ``.npz`` files; tables of series; folders of series; DICOM and NIfTI files.
        progress: Called with the fraction done.
        own: Columns, folder and unit of tables; None for what is found in them.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
        warn: Called with each sentence on what may spoil the predictions.
        compare: As in :func:`predict_series`.
    """
    options: dict[str, Any] = {"own": own, "skip_bad": skip_bad, "warn": warn}
    found = read_series(predictor.signature, paths, progress, **options)
    return pd.concat([predict_series(predictor, *part, warn, compare) for part in found], ignore_index=True)


def read_series(
    signature: Signature,
    paths: Sequence[Path],
    progress: Callable[[float], None] | None = None,
    *,
    own: OwnImages | None = None,
    skip_bad: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Iterator[tuple[SeriesArray, list[str], np.ndarray]]:
    """Gives the series in files, tables and folders, with the name of each and the time of its first frame.

    Args:
        signature: Of the model.
        paths: As in :func:`predict_series_files`, as are the other arguments.
        progress: Called with the fraction done.
        own: Columns, folder and unit of tables; None for what is found in them.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
        warn: Called with each sentence on what may spoil the predictions.
    """
    given = dataclasses.replace(own or OwnImages(), skip_bad=skip_bad)
    sources = find_series(paths, signature, given)
    faults: dict[int, str] = {}
    for place, source in enumerate(sources):
        if isinstance(source, OwnSeries):
            part = None if progress is None else functools.partial(_report_part, progress, place, len(sources))
            yield source.read(part, warn)
        else:
            try:
                series, begins = read_series_file(source, signature)
            except InputError as error:
                faults[place] = str(error)
                if not skip_bad:
                    break
            else:
                whole = as_text(source)
                names = [whole] if len(series) == 1 else [f"{whole}#{row}" for row in range(len(series))]
                yield series, names, begins
        if progress:
            progress((place + 1) / len(sources))
    if faults and (not skip_bad or len(faults) == len(sources)):
        remedy = "" if skip_bad else "Replace or remove them, or skip them with --skip-bad."
        raise InputError(describe_faults(faults, _name_sources(sources), remedy))
    if faults and warn:
        bad = [f"{sources[place]} ({fault})" for place, fault in faults.items()]
        warn(f"left out {len(bad)} of {len(sources)} files: {name_some(bad)}")


def _report_part(progress: Callable[[float], None], place: int, count: int, fraction: float) -> None:
    # Decoding takes nearly all of the time.
    progress((place + fraction) / count)


def _name_sources(sources: Sequence[Path | OwnSeries]) -> list[Path]:
    """Returns a path for each source, for messages; only those of files are shown."""
    return [Path() if isinstance(source, OwnSeries) else source for source in sources]


def thin_series(series: SeriesArray, steps: int) -> SeriesArray:
    """Returns series of at most so many frames, which are spread evenly in time; shorter ones are unchanged.

    Args:
        series: The series.
        steps: The number of frames that each series is padded to.
    """
    if series.lengths.max() <= steps:
        return dataclasses.replace(series, steps=steps)
    bounds = zip(series.starts, series.lengths, strict=True)
    kept = [start + thin_evenly(series.frame_times[start : start + length], steps) for start, length in bounds]
    places = np.concatenate(kept)
    return SeriesArray(
        frames=np.asarray(series.frames[places]),
        starts=np.concatenate([[0], np.cumsum([len(part) for part in kept])[:-1]]),
        lengths=np.array([len(part) for part in kept]),
        frame_times=series.frame_times[places],
        steps=steps,
        unit=series.unit,
    )


def _find_cautions(series: SeriesArray, read: SeriesArray, names: Sequence[str], learned: float | None) -> list[str]:
    """Returns sentences on series that were thinned, and on those with other intervals than the model has learned."""
    found = []
    longer = np.flatnonzero(series.lengths > read.lengths)
    if len(longer):
        shown = name_some([f"{names[row]} ({series.lengths[row]:,})" for row in longer])
        found.append(
            f"{len(longer):,} of {len(series):,} series have more than the {read.steps} frames that the model reads and"
            f" were thinned to as many, evenly in {name_steps(series.unit)}: {shown}"
        )
    if learned is None:
        return found
    far = []
    for row in range(len(read)):
        gaps = np.diff(read.times(row))
        gaps = gaps[np.isfinite(gaps) & (gaps > 0)]
        if len(gaps) and not learned / FAR_OFF <= np.median(gaps) <= learned * FAR_OFF:
            far.append(f"{names[row]} ({np.median(gaps):.3g} {series.unit})")
    if far:
        found.append(
            f"{len(far):,} of {len(series):,} series have a median interval more than {FAR_OFF:g} times above or below"
            f" {learned:.3g} {series.unit}, that of the training data, so predictions for them are uncertain:"
            f" {name_some(far)}"
        )
    return found
