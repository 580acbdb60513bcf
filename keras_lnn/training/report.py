"""The results of a run, written after its last epoch: models, predictions, metrics, pictures and the export."""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from keras_lnn.config import CompleteConfig
from keras_lnn.data.arrays import ImageData, SeriesArray, Split, take_images
from keras_lnn.data.brightness import follow_brightness
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.evaluation.class_curves import ClassCurves
from keras_lnn.evaluation.metrics import CALIBRATION_METRICS
from keras_lnn.evaluation.predictions import Evaluation
from keras_lnn.explaining.examples import are_cheap, explain_examples
from keras_lnn.explaining.maps import DEFAULT_METHOD
from keras_lnn.explaining.output_names import name_outputs
from keras_lnn.files.atomic import atomic_path, without_nan, write_json, write_text
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.pages.run_page import describe_end, write_run_page
from keras_lnn.runs.epoch_shares import count_epochs, is_cut_short
from keras_lnn.runs.folder import RunFolder
from keras_lnn.runs.selection import Selection
from keras_lnn.saved.prediction_columns import insert_promised
from keras_lnn.saved.predictor import KerasPredictor, predict_courses, predict_probabilities
from keras_lnn.saved.signature import Signature, read_signature, save_keras
from keras_lnn.statistics import Estimate
from keras_lnn.tasks.decisions import confidence_in
from keras_lnn.tasks.thresholds import choose_thresholds
from keras_lnn.terminal import loading, print_labels, print_metrics, print_written
from keras_lnn.training.calibrating import CalibratedPredictions, predict_calibrated
from keras_lnn.training.promised import choose_promised, describe_chosen_on, measure_promised
from keras_lnn.training.variables import assign_variables, model_variables

# The courses of so many series are predicted, each after every frame.
_COURSES = 100


@dataclasses.dataclass(frozen=True)
class RunReport:
    """A run whose training is over.

    Args:
        folder: The run's folder.
        config: Its complete configuration.
        data: The data that it was trained on.
        signature: Signature of the kept model.
        history: One row per epoch.
        seconds: Training time in seconds.
        stopped_because: Why training ended before its last epoch, or empty.
        confusion: Validation confusion matrices of the last epochs.
    """

    folder: RunFolder
    config: CompleteConfig
    data: ImageData
    signature: Signature
    history: list[dict[str, float]]
    seconds: float
    stopped_because: str
    confusion: list[np.ndarray] = dataclasses.field(default_factory=list)


def measure_split(split: Split, predicted: np.ndarray, signature: Signature) -> Evaluation:
    """Measures what a model predicts for one split, by its thresholds and its positive class."""
    return signature.get_task().measure(split, predicted, signature.thresholds, signature.positive_class)


def measure_leading(split: Split, predicted: np.ndarray, signature: Signature) -> Estimate:
    """Measures the leading metric of what a model predicts for one split, as :func:`measure_split` does."""
    return signature.get_task().measure_leading(split, predicted, signature.thresholds, signature.positive_class)


def metrics_of_split(found: Evaluation, signature: Signature, split_name: str) -> dict[str, Any]:
    """Returns the metrics of one split with their intervals, in the form of metrics.json."""
    task = signature.get_task()
    return without_nan(
        {
            split_name: found.to_json(),
            "per_class": {split_name: found.per_class_to_json()},
            "classes": list(task.class_names),
            "positive_class": task.choose_positive_class(found.positive_class),
            "task": task.kind,
            "threshold_rule": signature.threshold_rule,
            **({} if signature.ensemble is None else {"thresholds_on": signature.ensemble.thresholds_on}),
            "warnings": list(found.warnings),
            "intervals_over": {split_name: dataclasses.asdict(found.basis)},
        }
    )


def labels_table(per_class: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Returns one row per class or label: its samples, metrics with intervals, and its threshold if it has one."""
    rows = []
    for name, entries in per_class.items():
        row: dict[str, Any] = {"label": name}
        for metric, entry in entries.items():
            if isinstance(entry, dict):
                row |= {metric: entry["value"], f"{metric}_low": entry["low"], f"{metric}_high": entry["high"]}
            else:
                row[metric] = entry
        rows.append(row)
    return pd.DataFrame(rows)


def write_report(report: RunReport, model: Any, console: Console) -> dict[str, Any]:
    """Saves the last model and the kept one, tests the kept one once, and writes all results.

    Args:
        report: The run.
        model: Its model, which afterwards has the weights of the kept epoch.
        console: Console on which the tables are printed.

    Returns:
        The content of metrics.json, which is written last.
    """
    folder, task = report.folder, report.signature.get_task()
    # A run that was killed after writing its last checkpoint has not written the row of its last epoch.
    folder.write_history(report.history)
    measured = ("val", "test") if report.config.test else ("val",)
    shown = measured[-1]
    selection = Selection.of(report.config)
    with loading(console, f"{'testing' if report.config.test else 'measuring'} the {selection.keep} epoch"):
        assign_variables(model_variables(model), folder.read_last())
        samples = SampleRecord.of(report.data)
        save_keras(model, report.signature, folder.last_model, samples)
        kept_epoch, kept_value = selection.choose(report.history)
        assign_variables(model_variables(model), folder.read_best(kept_epoch))
        splits = {name: report.data.splits[name] for name in measured}
        calibrated = predict_calibrated(model, splits, report.signature, report.config.calibration)
        report, predicted = dataclasses.replace(report, signature=calibrated.signature), calibrated.predicted
        if task.has_thresholds:
            report = dataclasses.replace(report, signature=_with_thresholds(report, splits["val"], predicted["val"]))
        signature, notes = choose_promised(report.config, report.signature, splits["val"], predicted["val"])
        report = dataclasses.replace(report, signature=signature)
        save_keras(model, report.signature, folder.best_model, samples)
        found = {name: measure_split(splits[name], predicted[name], report.signature) for name in measured}
        tables = [
            insert_promised(
                task.tabulate(splits[name], predicted[name], found[name], name), predicted[name], report.signature
            )
            for name in measured
        ]
        write_text(folder.predictions, to_csv(pd.concat(tables)))
    metrics = _gather(report, {name: metrics_of_split(found[name], report.signature, name) for name in measured})
    metrics["calibration"] = _describe_calibration(calibrated, splits)
    promised = measure_promised({name: (splits[name], predicted[name]) for name in measured}, report.signature)
    metrics |= {name: found | {"chosen_on": describe_chosen_on(splits["val"])} for name, found in promised.items()}
    metrics["warnings"] += [note for note in (calibrated.note, *notes) if note]
    curves = _write_curves(report)
    write_text(folder.labels, to_csv(labels_table(metrics["per_class"][shown])))
    with loading(console, "drawing"):
        _draw(report, model, calibrated, found.get("test"), curves)
    written = {"run": folder.path, "pictures": folder.plots}
    if report.config.export != "none":
        with loading(console, "exporting"):
            written["exported"] = _export(report, model, metrics)
    write_run_page(folder, metrics, report.signature)
    write_json(folder.metrics, metrics)
    if report.stopped_because:
        where = "in" if is_cut_short(report.history[-1]) else "after"
        console.print(f"stopped {where} epoch {len(report.history)}: {report.stopped_because}")
    print_labels(console, metrics, shown)
    measured_on = "test" if report.config.test else "validation"
    print_metrics(console, metrics, f"{measured_on} of {selection.describe(kept_epoch, kept_value)}")
    print_written(console, written)
    console.print(describe_end(metrics, folder), soft_wrap=True)
    return metrics


def _with_thresholds(report: RunReport, validation: Split, probabilities: np.ndarray) -> Signature:
    """Returns the signature with the thresholds that are best on validation."""
    signature = report.signature
    task = signature.get_task()
    rule = report.config.threshold or task.threshold_rule
    if rule is None:
        return signature
    positive = task.positive_index(signature.positive_class)
    thresholds = choose_thresholds(validation.labels, probabilities, rule, positive)
    return dataclasses.replace(signature, thresholds=thresholds, threshold_rule=rule)


def _describe_calibration(calibrated: CalibratedPredictions, splits: dict[str, Split]) -> dict[str, Any] | None:
    """Returns how probabilities are calibrated, and what would be measured of each split without; None for not."""
    calibration, plain = calibrated.signature.calibration, dataclasses.replace(calibrated.signature, calibration=None)
    if calibration is None:
        return None
    before = {
        name: measure_split(splits[name], predicted, plain).to_json()
        for name, predicted in calibrated.uncalibrated.items()
    }
    return without_nan(
        {
            **dataclasses.asdict(calibration),
            "fitted_on": calibrated.samples,
            "before": {name: {key: found[key] for key in CALIBRATION_METRICS} for name, found in before.items()},
        }
    )


def _export(report: RunReport, model: Any, metrics: dict[str, Any]) -> Path:
    """Exports the kept model, and returns the folder."""
    from keras_lnn.saved.export import COMPARED_SAMPLES, export_model

    output = _export_path(report.config.export_dir, report.folder.name, report.signature)
    samples = take_images(report.data.splits["val"].images, slice(COMPARED_SAMPLES))
    # What predictions have compiled serves the comparison too.
    loaded = KerasPredictor(model, report.signature)
    return export_model(report.folder.path, output, report.config.export, metrics, samples, loaded=loaded)


def _export_path(parent: Path, name: str, signature: Signature) -> Path:
    """Returns a folder for the export: a new one, or the one of an earlier export of this run."""
    paths = (parent / (name if count == 1 else f"{name}-{count}") for count in itertools.count(1))
    return next(path for path in paths if not path.exists() or _is_export_of(path, signature))


def _is_export_of(path: Path, signature: Signature) -> bool:
    with contextlib.suppress(InputError):
        return read_signature(path) == signature
    return False


def _gather(report: RunReport, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    last = found["test" if "test" in found else "val"]
    return {
        **{name: entry[name] for name, entry in reversed(found.items())},
        "per_class": {name: entry["per_class"][name] for name, entry in reversed(found.items())},
        "classes": last["classes"],
        "positive_class": last["positive_class"],
        "task": last["task"],
        "threshold_rule": last["threshold_rule"],
        "warnings": [*filter(None, [Selection.of(report.config).warn(report.history)]), *last["warnings"]],
        "intervals_over": {name: entry["intervals_over"][name] for name, entry in reversed(found.items())},
        **_describe_data(report),
        "best_epoch": report.signature.best_epoch,
        "epochs": len(report.history),
        "epochs_trained": round(count_epochs(report.history), 4),
        "monitor": report.config.monitor,
        "keep": report.config.keep,
        "parameters": report.signature.parameters,
        "seconds": round(report.seconds, 2),
        "stopped_because": report.stopped_because,
    }


def _describe_data(report: RunReport) -> dict[str, Any]:
    """Returns how many images and patients each split has, and what a look at own images found."""
    check, task = report.data.check, report.signature.get_task()
    if check is not None:
        found = {"notes": list(check.notes), "warnings": list(check.warnings)}
        return {"splits": check.describe_splits(), "data_check": found}
    return {
        "splits": {
            name: {
                "images": len(split),
                "patients": None if split.groups is None else len(set(split.groups)),
                "classes": task.count_labels(split.labels),
            }
            for name, split in report.data.splits.items()
        }
    }


def _write_curves(report: RunReport) -> ClassCurves | None:
    """Writes the confusion matrices of the epochs and what follows from them; nothing if they were not counted."""
    task = report.signature.get_task()
    curves = task.count_epochs(report.confusion, len(report.history))
    if curves is None:
        return None
    if task.exclusive:
        write_text(report.folder.confusion, to_csv(curves.cells()))
    write_text(report.folder.class_accuracy, to_csv(curves.accuracy(), index=True))
    write_text(report.folder.class_correlation, to_csv(curves.correlation(), index=True))
    return curves


def _draw(
    report: RunReport,
    model: Any,
    calibrated: CalibratedPredictions,
    found: Evaluation | None,
    curves: ClassCurves | None,
) -> None:
    from keras_lnn import plots

    signature, history, test = report.signature, pd.DataFrame(report.history), report.data.splits["test"]
    task, predicted = signature.get_task(), calibrated.predicted.get("test")
    figures = {"images": task.draw_images(report.data.splits["train"])}
    figures |= {"history": plots.plot_history(history, signature.best_epoch)}
    figures |= task.draw_epochs(history, signature.best_epoch, None if predicted is None else curves)
    if predicted is not None and found is not None:
        about = (signature.thresholds, signature.positive_class, calibrated.uncalibrated.get("test"))
        figures |= task.draw_test(test, predicted, found, *about)
        if signature.referral is not None:
            figures["referral"] = draw_referral(test, predicted, signature)
        if test.series is not None:
            figures["course"] = _draw_course(model, test.series, test.labels, signature)
        if report.config.explanations and are_cheap(signature) and not test.labels_are_pixels:
            figures["explanations"] = _draw_explanations(model, test, predicted, signature)
        figures |= _draw_layers(model, test.images[:1], report.config.model, signature.class_names)
    with atomic_path(report.folder.plots) as temporary:
        temporary.mkdir()
        for name, figure in figures.items():
            plots.save_figure(figure, temporary / f"{name}.png")


def _draw_explanations(model: Any, test: Split, predicted: np.ndarray, signature: Signature) -> Any:
    """Returns a picture of where the model looks in the test samples it is most and least wrong about."""
    from keras_lnn.plots.explanations import plot_explained_examples

    found = explain_examples(KerasPredictor(model, signature), test, predicted)
    return plot_explained_examples(
        [each.image for each in found],
        [each.maps[DEFAULT_METHOD] for each in found],
        [each.name for each in found],
        [each.truth or "" for each in found],
        [each.predicted for each in found],
        [each.why for each in found],
    )


def draw_referral(test: Split, predicted: np.ndarray, signature: Signature) -> Any:
    """Returns a picture of the errors that are left where unsure samples are referred to a human."""
    from keras_lnn import plots

    decided, referral = signature.get_task().decide(predicted, signature.thresholds), signature.referral
    about = () if referral is None else (referral.risk, referral.confidence)
    return plots.plot_referral(confidence_in(predicted, decided, signature.thresholds), decided == test.labels, *about)


def _draw_course(model: Any, series: SeriesArray, labels: np.ndarray, signature: Signature) -> Any:
    """Returns a picture of how predictions develop in some test series, spread evenly over the split."""
    from keras_lnn import plots

    rows = np.unique(np.linspace(0, len(series) - 1, _COURSES).round().astype(np.int64))
    some, task = series.take(rows), signature.get_task()
    courses = predict_courses(lambda images: predict_probabilities(model, images, task), some)
    about = (task.kind, task.class_names, signature.thresholds, signature.positive_class)
    return plots.plot_course(labels[rows], courses, some.times(), some.unit, *about, follow_brightness(some))


def _draw_layers(model: Any, images: np.ndarray, name: str, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns pictures of the model's wirings and of the orders in which it reads an image."""
    import keras

    from keras_lnn import plots
    from keras_lnn.layers import SequenceLayer

    figures = {}
    for layer in model.layers:
        wiring = getattr(getattr(layer, "forward_layer", layer), "built_wiring", None)
        if wiring is not None:
            outputs = name_outputs(model, layer, wiring.output_dim, class_names)
            figures[f"wiring_{layer.name}"] = plots.plot_wiring(wiring, f"Wiring of {layer.name} in {name}", outputs)
        if isinstance(layer, SequenceLayer):
            # Called eagerly, because compiling the earlier layers for a single image takes far longer.
            maps = keras.Model(model.inputs[0], layer.input)(images.astype("float32"), training=False)
            maps = keras.ops.convert_to_numpy(maps)[0]
            image = images[0] if images.ndim == 4 else None
            title = f"Order in which layer {layer.name} of {name} reads an image"
            figures[f"sequence_{layer.name}"] = plots.plot_sequence(layer.positions(maps.shape), maps, image, title)
    return figures
