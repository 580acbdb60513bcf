"""Samples with their predictions and the maps of what counted for them, and what a table says of each map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_lnn.data.arrays import ImageArray, as_series, network_inputs
from keras_lnn.explaining.maps import find_target, make_maps, make_subject
from keras_lnn.explaining.subject import Subject
from keras_lnn.saved.prediction_columns import LIKENESS
from keras_lnn.saved.predictor import Predictor, batch_size_for

_STRONGEST = 0.1
_PLACES = {"images": ("row", "column"), "volumes": ("slice", "row", "column"), "series": ("frame", "row", "column")}


@dataclasses.dataclass(frozen=True)
class Explained:
    """One sample with its prediction and the maps of what counted for it.

    Args:
        name: Its name, such as its file.
        image: Its pixels, uint8, (height, width, channels), or with an axis of slices or frames before them.
        predicted: What is predicted, in words.
        probability: The probability of that; of masks, the mean over the pixels.
        target: The class or label that the maps are about, in words.
        target_probability: Its probability.
        maps: By the name of the method, of the shape of the image without its channels.
        truth: The true class, in words; None if unknown.
        why: Why the sample was chosen, such as ``worst``; empty if it was given.
        times: For a series the time of each frame, NaN where there is no frame; None for images and volumes.
        unit: The unit of the times.
        likeness: The share of the validation samples that are at least as far from the training samples; None if that
            was not measured.
    """

    name: str
    image: np.ndarray
    predicted: str
    probability: float
    target: str
    target_probability: float
    maps: Mapping[str, np.ndarray]
    truth: str | None = None
    why: str = ""
    times: np.ndarray | None = None
    unit: str = ""
    likeness: float | None = None

    @property
    def kind(self) -> str:
        """Returns what the sample is one of: ``images``, ``volumes`` or ``series``."""
        if self.times is not None:
            return "series"
        return "volumes" if self.image.ndim == 4 else "images"

    def strongest_point(self, method: str) -> tuple[int, ...]:
        """Returns the place of the highest value of a map: (slice or frame if there are any, row, column), from 0."""
        values = self.maps[method]
        return tuple(int(place) for place in np.unravel_index(np.argmax(values), values.shape))

    def to_rows(self) -> list[dict[str, Any]]:
        """Returns one row per map for a table."""
        return [self._to_row(method) for method in self.maps]

    def _to_row(self, method: str) -> dict[str, Any]:
        share = concentration(self.maps[method])
        # An empty map has no strongest point.
        point = self.strongest_point(method) if np.isfinite(share) else (None,) * self.maps[method].ndim
        places: dict[str, Any] = dict(zip(_PLACES[self.kind], point, strict=True))
        if self.times is not None:
            places[f"time ({self.unit})"] = None if point[0] is None else float(self.times[point[0]])
        return {
            "name": self.name,
            **({} if self.truth is None else {"truth": self.truth}),
            "predicted": self.predicted,
            "probability": self.probability,
            "target": self.target,
            "target probability": self.target_probability,
            **({} if self.likeness is None else {LIKENESS: self.likeness}),
            "method": method,
            **{f"strongest {name}": place for name, place in places.items()},
            "share in strongest tenth": share,
        }


def concentration(values: np.ndarray) -> float:
    """Returns the share of a map's positive part in its strongest 10% of pixels: 0.1 if it is even; NaN if empty.

    Args:
        values: One map.
    """
    positive = np.sort(np.maximum(values, 0).ravel())[::-1]
    total = positive.sum(dtype=np.float64)
    count = max(1, round(_STRONGEST * len(positive)))
    return float(positive[:count].sum(dtype=np.float64) / total) if total > 0 else float("nan")


def explain_samples(
    predictor: Predictor,
    images: ImageArray,
    names: Sequence[str],
    methods: Sequence[str],
    target: int | str | None = None,
    *,
    truths: Sequence[str] | None = None,
    why: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
    before_batch: Callable[[], object] | None = None,
) -> list[Explained]:
    """Returns samples with their predictions and maps.

    Args:
        predictor: A run or a ``.keras`` file, as for :func:`~keras_lnn.explaining.maps.explain`.
        images: The samples.
        names: Name of each sample.
        methods: Names in ``METHODS``.
        target: Name or index of a class or label; None for what is predicted.
        truths: True class of each sample, in words; None if unknown.
        why: Why each sample was chosen; None if they were given.
        progress: Called with the fraction done.
        before_batch: Called before each batch of predictions; ends the work by an error.
    """
    subject = make_subject(predictor, before_batch)
    place, series = find_target(subject.task, target), as_series(images)
    found: list[Explained] = []
    for start in range(0, len(images), size := batch_size_for(images.shape[1:])):
        pixels, *times = network_inputs(images, slice(start, start + size))
        batch = [pixels.astype(np.float32), *times]
        about = _Prediction.of(subject, batch, None)
        asked = about if place is None else _Prediction.of(subject, batch, place)
        maps = {method: make_maps(subject, batch, method, asked.weights) for method in methods}
        for row in range(len(pixels)):
            sample = start + row
            found.append(
                Explained(
                    name=names[sample],
                    image=pixels[row],
                    predicted=subject.task.describe_label(about.decisions[row]),
                    probability=float(about.probabilities[row]),
                    target=asked.names[row],
                    target_probability=float(asked.probabilities[row]),
                    maps={method: values[row] for method, values in maps.items()},
                    truth=None if truths is None else truths[sample],
                    why="" if why is None else why[sample],
                    times=times[0][row] if times else None,
                    unit="" if series is None else series.unit,
                )
            )
        if progress is not None:
            progress(min(1.0, (start + size) / len(images)))
    return found


@dataclasses.dataclass(frozen=True)
class _Prediction:
    """What is explained of a batch.

    Args:
        weights: The weight of each logit.
        decisions: What is predicted for each sample.
        names: What the weights are about for each sample: a class or label, or its absence.
        probabilities: Its probability.
    """

    weights: np.ndarray
    decisions: np.ndarray
    names: list[str]
    probabilities: np.ndarray

    @classmethod
    def of(cls, subject: Subject, batch: list[np.ndarray], target: int | None) -> _Prediction:
        weights, task = subject.weigh(batch, target), subject.task
        decisions = task.decide(ops.convert_to_numpy(task.probabilities(subject.logits(batch))), subject.thresholds)
        totals = weights.reshape(len(weights), -1, weights.shape[-1]).sum(axis=1)
        # Without a positive weight it is the absence of the label with the lowest one.
        names = [
            task.class_names[row.argmax()] if row.max() > 0 else f"no {task.class_names[row.argmin()]}"
            for row in totals
        ]
        return cls(weights, decisions, names, subject.probabilities(batch, weights))
