"""The files of a saved model that was measured on data: a page, tables and pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.evaluation.predictions import Evaluation
from keras_lnn.files.atomic import writing_to
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.files.written import OTHER_FOLDER, WrittenFiles
from keras_lnn.pages import run_tables
from keras_lnn.pages.rendering import Link, Picture, render
from keras_lnn.plots.reading import Part, order_pictures
from keras_lnn.plots.style import save_figure
from keras_lnn.saved.card import describe_use
from keras_lnn.saved.prediction_columns import insert_promised
from keras_lnn.saved.results import describe_promised, describe_result, name_samples
from keras_lnn.saved.signature import Signature, short_data_name
from keras_lnn.trained.measured_words import describe_corruptions, describe_subgroups
from keras_lnn.trained.robustness import write_robustness
from keras_lnn.trained.subgroups import write_subgroups
from keras_lnn.training.report import draw_referral

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_FILE, RESULTS_FILE = "evaluation.html", "evaluation.json"
PREDICTIONS_FILE, PICTURES = "evaluation_predictions.csv", "evaluation_plots"
_CONTENTS = {
    PAGE_FILE: "this page",
    RESULTS_FILE: "everything that was measured, as numbers",
    PREDICTIONS_FILE: "truth and prediction of every sample",
    PICTURES: "pictures of the predictions as files",
    "subgroups.csv": "every metric of every subgroup, and how far it is from that of the others",
    "corruptions.csv": "the leading metric under each corruption and strength",
    "sampling.csv": "the leading metric under each sampling of the series",
}


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A saved model that was measured on some samples.

    Args:
        signature: The signature of the model.
        samples: The samples.
        predicted: What the model predicts for them.
        found: Its metrics.
        metrics: What :func:`~keras_lnn.trained.evaluate.evaluate_model` returns.
    """

    signature: Signature
    samples: Split
    predicted: np.ndarray
    found: Evaluation
    metrics: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Section:
    """A part of the page that only shows where it was asked for.

    Args:
        heading: What it is called.
        reading: What its picture shows.
        write: Writes its table and its picture, from its rows, a metric, a title and a folder.
        describe: Returns what its rows say in sentences, from the rows and the metric.
    """

    heading: str
    reading: str
    write: Callable[..., dict[str, Path]]
    describe: Callable[..., list[str]]


_SECTIONS = {
    "subgroups": _Section(
        "Subgroups",
        "Each group below all samples, with 95% intervals; groups that differ from the others, after Holm's"
        " correction, are orange.",
        write_subgroups,
        lambda rows, metric: describe_subgroups(rows),
    ),
    "corruptions": _Section(
        "Corrupted images",
        "The metric at each strength of each corruption, with 95% intervals; strength 0 is the images as they are.",
        lambda *about: write_robustness("corruptions", *about),
        lambda rows, metric: [describe_corruptions(rows, metric)],
    ),
    "sampling": _Section(
        "Other samplings of the series",
        "The metric of the same series with fewer frames, with 95% intervals.",
        lambda *about: write_robustness("sampling", *about),
        lambda rows, metric: [],
    ),
}


def write_evaluation(evaluated: Evaluated, title: str, folder: Path) -> dict[str, Path]:
    """Writes the page of an evaluation with its tables and pictures, and returns the paths by what they are.

    Args:
        evaluated: What was measured.
        title: What was measured of which model, in words.
        folder: The folder, which may hold other files; files that the package wrote there before are replaced.
    """
    signature, metrics = evaluated.signature, evaluated.metrics
    leading = signature.get_task().leading
    asked = [name for name in _SECTIONS if name in metrics]
    files = WrittenFiles(folder, OTHER_FOLDER)
    files.require_free(folder / name for name in (PAGE_FILE, RESULTS_FILE, PREDICTIONS_FILE, PICTURES))
    about = f"{metrics['model']} on {metrics['data']}"
    written = {name: _SECTIONS[name].write(metrics[name], leading, about, folder)[name] for name in asked}
    with writing_to(folder):
        with files.write(folder / PICTURES) as temporary:
            temporary.mkdir(parents=True)
            for name, figure in draw(evaluated).items():
                save_figure(figure, temporary / f"{name}.png")
        files.write_text(folder / PREDICTIONS_FILE, to_csv(tabulate(evaluated)))
        files.write_text(folder / RESULTS_FILE, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
        files.write_text(folder / PAGE_FILE, evaluation_page(evaluated, title, folder))
    return {"page": folder / PAGE_FILE, "predictions": folder / PREDICTIONS_FILE, **written}


def draw(evaluated: Evaluated) -> dict[str, Figure]:
    """Draws the predictions as a run draws those of its test split, by the name of each picture."""
    signature, samples, predicted = evaluated.signature, evaluated.samples, evaluated.predicted
    about = (signature.thresholds, signature.positive_class)
    figures = signature.get_task().draw_test(samples, predicted, evaluated.found, *about)
    if signature.referral is not None:
        figures["referral"] = draw_referral(samples, predicted, signature)
    return figures


def tabulate(evaluated: Evaluated) -> Any:
    """Returns the table of predictions, with one row per sample."""
    signature, predicted = evaluated.signature, evaluated.predicted
    table = signature.get_task().tabulate(evaluated.samples, predicted, evaluated.found, evaluated.metrics["split"])
    return insert_promised(table, predicted, signature)


def evaluation_page(evaluated: Evaluated, title: str, folder: Path) -> str:
    """Returns the page of an evaluation whose other files are written; arguments as in :func:`write_evaluation`."""
    signature, metrics, split = evaluated.signature, evaluated.metrics, evaluated.metrics["split"]
    task, samples = signature.get_task(), name_samples(metrics)
    pictures = _read_pictures(folder / PICTURES, samples)
    return render(
        "evaluation.html",
        title=f"{signature.model} on {short_data_name(metrics['data'])}",
        about=f"{title}.",
        counts=_describe_counts(metrics, samples),
        result=describe_result(metrics),
        cautions=metrics["warnings"],
        metrics=run_tables.metrics_table(metrics, split),
        decisions=run_tables.describe_decisions_of(metrics, split),
        promised=describe_promised(metrics, split),
        note=task.note_on_results,
        samples=samples,
        labels=run_tables.labels_table(metrics, split),
        pictures=pictures[Part.TEST],
        hard=run_tables.hard_cases_table(folder / PREDICTIONS_FILE, task, split, signature),
        cases=pictures[Part.CASES],
        sections=[
            {
                "name": name,
                "heading": section.heading,
                "sentences": section.describe(metrics[name], task.leading),
                "picture": Picture.of_file(folder / f"{name}.png", section.reading),
            }
            for name, section in _SECTIONS.items()
            if name in metrics
        ],
        use=describe_use(task, samples),
        files=[(Link(name, name), what) for name, what in _CONTENTS.items() if _is_of(name, metrics)],
    )


def _read_pictures(folder: Path, samples: str) -> dict[Part, list[Picture]]:
    """Returns the pictures of the predictions, by the part of the page that shows them."""
    found: dict[Part, list[Picture]] = {Part.TEST: [], Part.CASES: []}
    for name, reading in order_pictures([path.stem for path in folder.glob("*.png")], samples).items():
        found[reading.part].append(Picture.of_file(folder / f"{name}.png", reading.sentence, reading.title))
    return found


def _is_of(name: str, metrics: Mapping[str, Any]) -> bool:
    """Returns whether an evaluation has written a file, which may also be there from an earlier one."""
    section = Path(name).stem
    return section not in _SECTIONS or section in metrics


def _describe_counts(metrics: Mapping[str, Any], samples: str) -> list[str]:
    """Returns sentences on samples that were not measured."""
    counts = {
        "left_out_training_images": "were left out, because the model was trained or chosen by them",
        "new_images": "were added to the data after the training, and are not measured",
        "missing_images": "of the split no longer exist",
    }
    return [f"{metrics[name]:,} {samples} {what}." for name, what in counts.items() if metrics[name]]
