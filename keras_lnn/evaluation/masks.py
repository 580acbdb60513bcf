"""From true and predicted masks to honest metrics: every number with its interval, and warnings in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.evaluation.cautions import COLLAPSED_SHARE, FEW_SAMPLES, Basis
from keras_lnn.evaluation.mask_overlaps import MaskMeasures, measure_masks
from keras_lnn.evaluation.metrics import MASK_METRICS, MaskCounts
from keras_lnn.evaluation.predictions import Evaluation
from keras_lnn.statistics.bootstrap import bootstrap, defined_mean
from keras_lnn.statistics.deviations import jackknife_deviations
from keras_lnn.statistics.measurements import Measurement


@dataclasses.dataclass(frozen=True)
class MaskEvaluation(Evaluation):
    """The metrics of predicted masks, with intervals and warnings.

    Args:
        metrics: The estimate of each name in ``MASK_METRICS``, means over the classes without the background but for
            ``pixel_error``; then Dice and IoU of each class, such as ``dice_liver``. Distances in millimetres are
            called so, ``hd95_mm``. They leave out images in which a class is missed or invented, so that a network that
            misses the hard ones looks better by them: read them beside ``missed``.
        per_class: For each class its ``support`` (images that it is in), ``missed`` (images that it is in without being
            predicted), ``invented`` (images that it is predicted in without being there) and each of ``MASK_METRICS``.
        warnings: Sentences on what the numbers do not show.
        measures: Measures of each image.
    """

    measures: MaskMeasures


def evaluate_masks(
    truth: np.ndarray,
    predicted: np.ndarray,
    *,
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
    spacing: np.ndarray | Sequence[float] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    progress: Callable[[float], None] | None = None,
) -> MaskEvaluation:
    """Computes all segmentation metrics with bootstrap intervals over the patients, or over the images where unknown.

    ``dice``, ``iou`` and ``pixel_error`` are of all pixels of the set together. ``dice_per_image`` and
    ``iou_per_image`` are means over the images in which a class is there or predicted; an image without it on either
    side has nothing to measure. ``hd95`` and ``surface_distance`` are means over the images in which a class is both
    there and predicted; elsewhere there is no distance, and ``missed`` and ``invented`` count such images. ``hd95`` is
    the larger one of the two directions' 95th percentiles, not one percentile of both directions together as in
    ``medpy``, which is smaller; see :func:`~keras_lnn.evaluation.surfaces.surface_distances`.

    Args:
        truth: Class indices (samples, [depth,] height, width).
        predicted: The same of the predictions.
        class_names: One name per class, the background first.
        groups: The patient of each image, whose images are drawn together.
        spacing: Millimetres from pixel to pixel along each axis, of all images or (samples, axes); distances are in
            pixels if not given.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.
        confidence: Coverage of the intervals.
        progress: Called with the fraction of the images that is measured.

    Raises:
        InputError: If truth, predictions and names do not fit together.
    """
    measures = measure_masks(truth, predicted, class_names, spacing, progress)
    about = {"resamples": resamples, "seed": seed, "confidence": confidence}
    basis = Basis.of(len(measures), groups)
    return evaluate_measures([measures], [groups], background=class_names[0], basis=basis, **about)


def evaluate_measures(
    repeats: Sequence[MaskMeasures],
    units: Sequence[Sequence[str] | None],
    *,
    background: str,
    basis: Basis,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> MaskEvaluation:
    """Computes the metrics of :func:`evaluate_masks` from what was measured of each image.

    Several models that each predict all images give the mean of each metric, whose interval rests on the same resamples
    of patients or images for all of them.

    Args:
        repeats: What was measured of each image, for each of the models.
        units: What each image belongs to, for each of the models; None where each image is drawn alone, which needs
            the same order of images.
        background: Name of the class that is not measured.
        basis: What the units are called, and how many there are.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.
        confidence: Coverage of the intervals.
    """
    measures = MaskMeasures.join(repeats)
    names, classes = [metric_name(name, measures) for name in MASK_METRICS], measures.class_names
    # No two pixels are further apart than the corners of an image.
    farthest = float(measures.diagonals.max())
    limits = np.array([farthest if metric.is_distance else 1.0 for metric in MASK_METRICS.values()])
    grouped = [GroupedMeasures(one, of_one) for one, of_one in zip(repeats, units, strict=True)]
    estimates = bootstrap(
        lambda weights: defined_mean(np.stack([statistics(weights) for statistics in grouped])),
        grouped[0].groups,
        resamples=resamples,
        seed=seed,
        confidence=confidence,
        highest=np.concatenate([limits, np.repeat(limits, len(classes))]),
    )
    metrics = dict(zip(names, estimates, strict=False))
    class_estimates = np.reshape(np.array(estimates[len(names) :], dtype=object), (len(names), len(classes)))
    found = {name: dict(zip(names, class_estimates[:, index], strict=True)) for index, name in enumerate(classes)}
    by_class = [name for name, metric in MASK_METRICS.items() if metric.shown_by_class]
    metrics |= {f"{metric}_{name}": found[name][metric] for metric in by_class for name in classes}
    counts = _count_images(measures, len(repeats))
    per_class = {name: {**counts[name], **found[name]} for name in classes}
    return MaskEvaluation(metrics, per_class, find_warnings(measures, background, basis), basis, measures)


def _count_images(measures: MaskMeasures, repeats: int) -> dict[str, dict[str, int | float]]:
    """Returns for each class the images that it is in, those where it was missed, and those where it was invented.

    Of repeats they are means, so that each image counts as one.
    """
    there, said = measures.truth > 0, measures.predicted > 0
    counts = {"support": there, "missed": there & ~said, "invented": said & ~there}
    return {
        name: {key: _divide(int(images[:, index].sum()), repeats) for key, images in counts.items()}
        for index, name in enumerate(measures.class_names)
    }


def _divide(count: int, repeats: int) -> int | float:
    return count / repeats if count % repeats else count // repeats


def metric_name(name: str, measures: MaskMeasures) -> str:
    """Returns the name of one of ``MASK_METRICS`` in results, which ends in ``_mm`` for millimetres."""
    return f"{name}_mm" if MASK_METRICS[name].is_distance and measures.in_millimetres else name


def measure_with_deviations(measures: MaskMeasures, groups: Sequence[str] | None = None) -> dict[str, Measurement]:
    """Returns the metrics of masks with the contribution of each patient or image to their uncertainty.

    The contributions are those of the jackknife, which leaves out one patient or image after the other.

    Args:
        measures: Measures of each image.
        groups: The patient of each image, whose images are left out together.
    """
    basis = Basis.of(len(measures), groups)
    found = evaluate_measures([measures], [groups], background="background", basis=basis).metrics
    statistics = GroupedMeasures(measures, groups)
    names, classes = [metric_name(name, measures) for name in MASK_METRICS], measures.class_names
    by_class = [f"{name}_{of_class}" for name in MASK_METRICS for of_class in classes]
    deviations = jackknife_deviations(statistics.leave_out_each())
    known = dict(zip([*names, *by_class], deviations, strict=True))
    return {name: Measurement(estimate, known[name]) for name, estimate in found.items()}


class GroupedMeasures:
    """Computes ``MASK_METRICS`` from weights of groups (resamples, groups), first overall and then for each class.

    Args:
        measures: Measures of each image.
        groups: What each image belongs to; each image is a group of its own if not given.
    """

    def __init__(self, measures: MaskMeasures, groups: Sequence[str] | None = None):
        names, place = (None, np.arange(len(measures))) if groups is None else np.unique(groups, return_inverse=True)
        self.groups = len(measures) if names is None else len(names)
        self._pixels = measures.pixels
        counts = [measures.truth, measures.predicted, measures.common]
        means = [measures.dice, measures.iou, measures.hausdorff, measures.surface]
        terms = [*counts, *(part for mean in means for part in (np.nan_to_num(mean), (~np.isnan(mean)).astype(float)))]
        # (terms, samples, classes) to (terms, classes, groups)
        self._terms = self._add_up(np.stack(terms).transpose(0, 2, 1), place)
        self._wrong = self._add_up(np.stack([measures.wrong, np.ones(len(measures))]), place)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return self._compute(self._terms @ weights.T, self._wrong @ weights.T)

    def leave_out_each(self) -> np.ndarray:
        """Returns the metrics without each of the groups in turn, (metrics, groups)."""
        return self._compute(*(sums.sum(axis=-1, keepdims=True) - sums for sums in (self._terms, self._wrong)))

    def _compute(self, term_sums: np.ndarray, wrong_sums: np.ndarray) -> np.ndarray:
        truth, predicted, common, *means = term_sums
        wrong, images = wrong_sums
        image_sums = zip(
            ("dice", "iou", "hd95", "surface_distance"), zip(means[::2], means[1::2], strict=True), strict=True
        )
        counts = MaskCounts(truth, predicted, common, dict(image_sums), wrong, images * self._pixels)
        class_values = [metric.of_class(counts) for metric in MASK_METRICS.values()]
        overall = [
            defined_mean(rows) if metric.overall is None else metric.overall(counts)
            for metric, rows in zip(MASK_METRICS.values(), class_values, strict=True)
        ]
        return np.concatenate([np.stack(overall), *class_values])

    def _add_up(self, terms: np.ndarray, place: np.ndarray) -> np.ndarray:
        sums = np.zeros((*terms.shape[:-1], self.groups))
        np.add.at(sums, (..., place), terms)  # ty: ignore[invalid-argument-type] its stub knows no Ellipsis
        return sums


def find_warnings(measures: MaskMeasures, background: str, basis: Basis) -> tuple[str, ...]:
    """Returns warnings of what the metrics do not show."""
    truth, predicted = measures.truth.sum(axis=0), measures.predicted.sum(axis=0)
    names, warnings = measures.class_names, []
    shares = predicted / (len(measures) * measures.pixels)
    collapsed = truth.sum() > 0 and predicted.sum() <= (1 - COLLAPSED_SHARE) * truth.sum()
    if collapsed:
        warnings.append(
            f"The model has collapsed: it predicts '{background}' for {1 - shares.sum():.2%} of the pixels, where it "
            f"is right for {1 - truth.sum() / (len(measures) * measures.pixels):.2%}."
        )
    elif shares.max() >= COLLAPSED_SHARE:
        name = names[int(shares.argmax())]
        warnings.append(f"The model has collapsed: it predicts '{name}' for {shares.max():.2%} of the pixels.")
    never = [f"'{name}'" for name, there, said in zip(names, truth, predicted, strict=True) if there and not said]
    if never and not collapsed:
        warnings.append(f"The model never predicts {', '.join(never)}.")
    absent = [f"'{name}'" for name, there in zip(names, truth, strict=True) if not there]
    if absent:
        warnings.append(f"No mask contains {', '.join(absent)}: their overlap cannot be measured here.")
    one_sided = ((measures.truth > 0) != (measures.predicted > 0)).sum(axis=0)
    affected = [f"'{name}' in {count}" for name, count in zip(names, one_sided, strict=True) if count]
    if affected:
        warnings.append(
            f"Distances leave out images in which a class is missed or invented: {', '.join(affected)} of"
            f" {len(measures)} images."
        )
    if basis.count < FEW_SAMPLES:
        warnings.append(
            f"There are {basis.count} {basis.unit}: intervals that rest on fewer than {FEW_SAMPLES} are unreliable."
        )
    return tuple(warnings)
