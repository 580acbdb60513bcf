"""The evaluation of a saved model on the data of its training, as at the end of its run, or on other data."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.config import TrainConfig
from keras_lnn.data import ImageData, Split, load_data
from keras_lnn.data.arrays import ALL, SPLITS, SeriesArray
from keras_lnn.data.catalog import find_denser
from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SplitPlan
from keras_lnn.data.sources.subgroups import open_subgroup_table, parse_subgroups, read_subgroups
from keras_lnn.data.thinning import samplings_of
from keras_lnn.errors import InputError
from keras_lnn.evaluation.sampling import SampledPredictions
from keras_lnn.fields.options import DataOptions
from keras_lnn.files.atomic import without_nan
from keras_lnn.runs.folder import RunFolder
from keras_lnn.runs.sampled_predictions import read_sampled
from keras_lnn.saved.predictor import Predictor, find_model, load_predictor, read_as_steps
from keras_lnn.saved.results import name_samples
from keras_lnn.saved.signature import Signature, read_signature
from keras_lnn.trained.class_names import with_classes_of, with_steps_of
from keras_lnn.trained.corruptions import measure_corruptions
from keras_lnn.trained.evaluation_page import Evaluated, write_evaluation
from keras_lnn.trained.samples import LEARNED_DATA, ChosenSamples, LearnedData, choose_samples
from keras_lnn.trained.sampling import measure_samplings, predict_samplings
from keras_lnn.trained.subgroups import measure_subgroups
from keras_lnn.training.promised import measure_promised
from keras_lnn.training.report import measure_split, metrics_of_split


@dataclasses.dataclass(frozen=True)
class ModelOnData:
    """A saved model with the samples that it is measured on.

    Args:
        predictor: The model.
        signature: Its signature.
        name: Name of the data.
        chosen: The samples.
        warnings: Reasons to doubt what is measured on them, one sentence each.
    """

    predictor: Predictor
    signature: Signature
    name: str
    chosen: ChosenSamples
    warnings: list[str]


class LastLoaded:
    """Loads data as :func:`keras_lnn.data.load_data` does, and keeps the last two for runs on the same data.

    They are two because data may have a denser companion.
    """

    def __init__(self) -> None:
        self._known: list[tuple[Any, ImageData]] = []

    def __call__(self, name: str, reading: Reading, *, plan: SplitPlan) -> ImageData:
        asked = (name, reading, plan)
        found = next((data for key, data in self._known if key == asked), None)
        if found is None:
            found = load_data(name, reading, plan=plan)
            self._known = [*self._known[-1:], (asked, found)]
        return found


def open_model(
    model: str | Path,
    *,
    data: str | None = None,
    split: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008, it is frozen
    map_classes: Mapping[str, str] | None = None,
    positive_class: str | None = None,
    load: Callable[..., ImageData] = load_data,
) -> ModelOnData:
    """Loads a saved model and the samples to measure it on; the arguments are those of :func:`evaluate_model`.

    Args:
        model: The model.
        data: Data set.
        split: Name of a split, or ``all``.
        options: Options for reading the data.
        map_classes: The model's class name for each class that has another name in the data.
        positive_class: The positive one of two classes.
        load: Loads data, as :func:`keras_lnn.data.load_data` does from their name, a reading and a plan.
    """
    predictor = load_predictor(model)
    signature = predictor.signature
    if positive_class is not None:
        signature.get_task().require_positive_class(positive_class)
        signature = _with_positive_class(positive_class, signature)
    learned = LearnedData.of(model, signature)
    name = data or learned.name
    reading = learned.reading(name, options)
    if signature.time_unit is not None and reading.own.max_steps != signature.image_shape[0]:
        predictor = read_as_steps(predictor, reading.own.max_steps)
        signature = dataclasses.replace(signature, image_shape=predictor.signature.image_shape)

    def load_with_classes(plan: SplitPlan) -> ImageData:
        loaded = with_steps_of(signature, load(name, reading, plan=plan))
        return with_classes_of(signature, loaded, map_classes or {})

    loaded = load_with_classes("whole")
    if ALL in loaded.splits and learned.samples is None and learned.is_same(loaded, name):
        # A version that kept no list of samples split them in the order of their table.
        loaded = load_with_classes("as listed")
    # Masks that get their size in another way have other pixels.
    compare_labels = not signature.get_task().resizes_labels or reading.own.fit == signature.own.fit
    chosen = choose_samples(learned, loaded, name, split, compare_labels)
    return ModelOnData(predictor, signature, name, chosen, _warnings(chosen, learned, loaded))


def evaluate_model(
    model: str | Path,
    *,
    data: str | None = None,
    split: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008, it is frozen
    map_classes: Mapping[str, str] | None = None,
    positive_class: str | None = None,
    sampling: bool = False,
    corruptions: bool = False,
    subgroups: str | None = None,
    subgroup_table: Path | None = None,
    output: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Measures a saved model.

    Images are recognised by their content, so the data that the model was trained on are measured in the splits of its
    run even if they were renamed or moved. Of other data all images are measured that were in neither training nor
    validation.

    Args:
        model: A run, a ``.keras`` file, an exported folder, or a name in ``saved_models/``.
        data: Data set; the one that it was trained on if not given.
        split: ``train``, ``val``, ``test`` or ``all``, which is everything but training and validation; if not given,
            ``test`` for the data that it was trained on and ``all`` for other data.
        options: Options for reading the data; missing values are those of the training.
        map_classes: The model's class name for each class that has another name in the data.
        positive_class: The positive one of two classes; that of its training if not given.
        sampling: Whether a model of series is also measured on the same series under other samplings.
        corruptions: Whether the model is also measured on corrupted images.
        subgroups: Columns by whose values the samples are also measured apart, such as ``sex,age:40:60``.
        subgroup_table: CSV file with these columns and one with the names of the samples; the table that the data are
            read from if not given.
        output: Folder for a page, the table of predictions, and the tables and pictures of what was asked for; None to
            write nothing.
        progress: Called with the fraction done.

    Returns:
        The content that metrics.json has for a split, with what was measured: ``model``, ``data``, ``data_is`` (in
        words), ``split``, ``images``, ``patients`` (None where unknown), ``left_out_training_images``, ``new_images``
        and ``missing_images``; for models that have them ``sets`` and ``referral``; where asked for also ``sampling``,
        one row per sampling, ``corruptions``, one row per corruption and strength, and ``subgroups``, one row per group
        and metric; ``written``, where there is an output, has the paths of its files.
    """
    if sampling:
        read_signature(find_model(model)).require_series(str(model), "--sampling")
    about = {"data": data, "split": split, "options": options, "map_classes": map_classes}
    load = functools.partial(load_data, progress=progress)
    opened = open_model(model, **about, positive_class=positive_class, load=load)
    predictor, signature, chosen = opened.predictor, opened.signature, opened.chosen
    predicted = np.concatenate([predictor.predict_compact(part.images) for part in chosen.parts])
    measured = chosen.joined()
    found = measure_split(measured, predicted, signature)
    metrics = metrics_of_split(found, signature, chosen.split)
    metrics |= measure_promised({chosen.split: (measured, predicted)}, signature)
    metrics["warnings"] = [*opened.warnings, *metrics["warnings"]]
    if sampling:
        samplings = predict_samplings(predictor, chosen.parts, predicted, find_denser_series(opened, load))
        metrics["sampling"] = without_nan(measure_samplings(Path(model).name, measured, signature, samplings))
    if corruptions:
        about = (Path(model).name, predictor, chosen.parts, measured, predicted, signature)
        metrics["corruptions"] = without_nan(measure_corruptions(*about, progress=progress))
    columns = parse_subgroups(subgroups)
    if columns:
        table = open_subgroup_table(opened.name, subgroup_table, columns)
        groups = read_subgroups(table, columns, measured.names, len(measured))
        metrics["subgroups"] = without_nan(measure_subgroups(measured, predicted, signature, groups))
    metrics = {"model": str(model), "data": opened.name, **_describe(chosen, measured), **metrics}
    if output is not None:
        evaluated = Evaluated(signature, measured, predicted, found, metrics)
        written = write_evaluation(evaluated, describe_measured(metrics), output)
        metrics["written"] = {name: str(path) for name, path in written.items()}
    return metrics


def predict_run_samplings(
    run: Path, split: str, truth: np.ndarray, load: Callable[..., ImageData] = load_data
) -> list[SampledPredictions]:
    """Returns what the kept model of a run predicts for its own samples under each sampling.

    Args:
        run: The run's folder.
        split: ``test`` or ``val``.
        truth: The labels by which the run was measured; the samples must still have them.
        load: Loads data, as in :func:`open_model`.
    """
    if split == "test":
        kept = read_sampled(run, samplings_of(TrainConfig.from_yaml(RunFolder(run).config).data))
        if kept is not None:
            return kept
    opened = open_model(run, split=split, load=load)
    if not np.array_equal(opened.chosen.joined().labels, truth):
        raise InputError(
            f"--sampling needs the {split} samples that a run was measured on. Received: {run}, whose data"
            f" {opened.name} have other samples or labels now. Restore them, or leave out --sampling."
        )
    return predict_samplings(opened.predictor, opened.chosen.parts, denser=find_denser_series(opened, load))


def find_denser_series(opened: ModelOnData, load: Callable[..., ImageData] = load_data) -> SeriesArray | None:
    """Returns the samples of a model's data at twice the frame rate, where the data have such a companion.

    Args:
        opened: The model with its samples.
        load: Loads data, as in :func:`open_model`.
    """
    name = find_denser(opened.name)
    if name is None or opened.chosen.split not in SPLITS:
        return None
    signature = opened.signature
    reading = Reading(fold=signature.fold, seed=LearnedData(signature, None, None).seed)
    split = load(name, reading, plan="whole").splits[opened.chosen.split]
    if len(split) != len(opened.chosen.joined()) or split.series is None:
        raise ValueError(f"Denser data must have the same series. Received: {name} for {opened.name}.")
    return split.series


def _with_positive_class(positive_class: str, signature: Signature) -> Signature:
    """Returns the signature with another positive class; the threshold rule then names the class it was chosen for."""
    before = signature.class_names[signature.get_task().positive_index(signature.positive_class)]
    rule = signature.threshold_rule
    if rule is not None and positive_class != before:
        rule = f"{rule} of {before}"
    return dataclasses.replace(signature, positive_class=positive_class, threshold_rule=rule)


def _describe(chosen: ChosenSamples, measured: Split) -> dict[str, Any]:
    """Returns which samples were measured, and how many."""
    return {
        "data_is": chosen.data_is,
        "split": chosen.split,
        "images": len(measured),
        "patients": None if measured.groups is None else len(set(measured.groups)),
        "left_out_training_images": chosen.left_out,
        "new_images": chosen.new,
        "missing_images": chosen.missing,
    }


def describe_measured(metrics: dict[str, Any]) -> str:
    """Returns a title for the metrics of :func:`evaluate_model`: model, split, data and number of images."""
    samples = name_samples(metrics)
    which = f"all {samples}" if metrics["split"] == ALL else f"the {metrics['split']} split"
    patients = "" if metrics["patients"] is None else f" of {metrics['patients']:,} patients"
    return (
        f"{metrics['model']} on {which} of {metrics['data']} ({metrics['data_is']}): {metrics['images']:,} {samples}"
        f"{patients}"
    )


def _warnings(chosen: ChosenSamples, learned: LearnedData, loaded: ImageData) -> list[str]:
    """Returns reasons to doubt the metrics, one sentence each."""
    found = list(chosen.warnings)
    asked_for = learned.config is not None and learned.is_named(loaded.name)
    if asked_for and learned.samples is not None and chosen.data_is != LEARNED_DATA:
        there = learned.count_found(loaded.splits[ALL].require_digests())
        found.insert(
            0,
            f"{loaded.name} no longer contains the data that the model was trained on: {there} of"
            f" {len(learned.samples)} {learned.signature.samples} are left.",
        )
    return found + ([] if loaded.check is None else [f"{warning}." for warning in loaded.check.warnings])
