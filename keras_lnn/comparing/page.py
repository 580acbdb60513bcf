"""The content of a comparison's page; the template is ``comparison.html`` of ``keras_lnn.pages``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_lnn.comparing import words
from keras_lnn.comparing.compared_run import ComparedRun
from keras_lnn.comparing.comparison import Comparison, FoldComparison, Model
from keras_lnn.comparing.pairs import Pair
from keras_lnn.comparing.sampling import describe_sampling
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.pages.rendering import Link, Picture, Table, relative_link, render
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.texts import interval, number, p_value, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPLITS = {"test": "test", "val": "validation"}
_FOLDS = "folds"
_CAPTIONS = {
    "roc": "ROC curves of all models in one plot.",
    "dice": "Dice of each image as the mean over the seeds, and its distribution over the images.",
    "metrics": "Every metric of every model, with 95% intervals.",
    _FOLDS: "Each fold is a grey line through the models, which learned from the same samples and were tested on the"
    " same others; in colour the mean over the folds with its 95% interval. Lines that rise or fall together show a"
    " difference; lines that cross show that it depends on the fold.",
    "sampling": "The same series sampled otherwise: means over the seeds; at the left of each panel "
    "all frames are kept. sampling.csv has the numbers with their intervals, sampling_differences.csv the differences.",
}
_DIFFERENCES = "differences_"
_METRICS_IN_A_TABLE = 6
_PAIR_HEAD = [
    "metric",
    "first",
    "second",
    "value of first",
    "value of second",
    "difference",
    "95% interval",
    "p, corrected",
]
# Further sentences are collapsed; the first ones describe the differences that the data show.
_MOST_SENTENCES_OPEN = 6
# Longer tables are folded.
_MOST_DIFFERENCES_OPEN, _MOST_RUNS_OPEN = 40, 12


def comparison_page(comparison: Comparison, figures: Mapping[str, Figure], folder: Path | None = None) -> str:
    """Returns the whole page.

    Args:
        comparison: The comparison to describe.
        figures: Figures by name, from ``draw_all``.
        folder: Where the page will be, so that it can link the pages of the runs; None for a page without links.
    """
    count = len(comparison.models)
    maps = [name for name in figures if name.startswith(_DIFFERENCES)]
    several = count > 2 or comparison.reference_given
    return render(
        "comparison.html",
        title=f"{count} model{'s' if count != 1 else ''} on {comparison.example.config.data}",
        about=_describe_samples(comparison),
        reference=words.describe_reference(comparison) if several else "",
        cautions=words.describe_cautions(comparison),
        findings=_findings(comparison),
        folds=_fold_section(comparison, figures),
        sampling_sentences=describe_sampling(comparison.sampling_differences),
        label_sentences=words.describe_labels(comparison) if comparison.label_pairs else [],
        models=[*_models_tables(comparison), _facts_table(comparison)],
        pictures=[_picture(name, figures[name]) for name in (*comparison.example.pictures, *_sampled(figures))],
        maps=[_picture(name, figures[name]) for name in maps] if comparison.pairs else [],
        differences=_differences_tables(comparison),
        runs=_runs_table(comparison, folder),
        methods=_methods(comparison),
    )


def _fold_section(comparison: Comparison, figures: Mapping[str, Figure]) -> dict[str, Any] | None:
    """Returns what cross-validations show on average over the folds; None for runs."""
    found = comparison.over_folds
    if found is None:
        return None
    names = [name for name in comparison.metrics if name in found.means[comparison.reference]]
    rows = [
        [metric_label(name), *(_estimate(found.means[model.name][name]) for model in comparison.models)]
        for name in names
    ]
    over_folds, of_all = words.describe_questions(comparison)
    reported = [pair for name in names for pair in comparison.reported_fold_pairs(name)]
    differences = [_pair_row(comparison, pair) for pair in reported]
    caption = f"{_which(comparison)}, p corrected within each metric; fold_pairs.csv has every pair"
    return {
        "question": over_folds,
        "other_question": of_all,
        "sentences": words.describe_folds(comparison),
        "means": Table(
            f"Means over {found.folds} folds with 95% intervals; fold_values.csv has those of each fold",
            ["metric", *(model.name for model in comparison.models)],
            rows,
        ),
        "differences": Table(caption, _PAIR_HEAD, differences, texts=3, folded=_fold(len(differences))),
        "picture": _picture(_FOLDS, figures[_FOLDS]),
    }


def _which(comparison: Comparison) -> str:
    return "Each pair" if comparison.reports_all_pairs else f"Each model against {comparison.reference}"


def _sampled(figures: Mapping[str, Figure]) -> list[str]:
    return ["sampling"] if "sampling" in figures else []


def _describe_samples(comparison: Comparison) -> str:
    example = comparison.example
    shares = [f"{name}: {count:,}" for name, count in zip(example.class_names, example.count_classes(), strict=True)]
    shown = "; ".join(shares[:15]) + ("; ..." if len(shares) > 15 else "")
    about = f"{example.samples:,} {_SPLITS[example.split]} samples ({shown}). {words.describe_basis(comparison)}"
    if comparison.positive_class is not None:
        about += (
            " The positive class of F1, precision, sensitivity, specificity and average precision is"
            f" {comparison.positive_class}."
        )
    return about


def _findings(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns for each metric its summary, the first sentences, and those that are folded."""
    return [
        {
            "summary": words.describe_summary(comparison, metric),
            "sentences": sentences[:_MOST_SENTENCES_OPEN],
            "rest": sentences[_MOST_SENTENCES_OPEN:],
        }
        for metric, sentences in words.describe_all(comparison).items()
    ]


def _models_tables(comparison: Comparison) -> list[Table]:
    names, leading = comparison.metrics, metric_label(comparison.example.leading)
    several = any(model.seeds > 1 for model in comparison.models)
    caption = f"{'Means over the seeds' if several else 'Metrics'} with 95% intervals, the highest {leading} first"
    tables = []
    # A single table of all metrics would be wider than most windows.
    for place in range(0, len(names), _METRICS_IN_A_TABLE):
        shown = names[place : place + _METRICS_IN_A_TABLE]
        head = ["model", "seeds", *(metric_label(name) for name in shown)]
        rows = [
            [_name(model), str(model.seeds), *(_estimate(model.metrics[name]) for name in shown)]
            for model in comparison.models
        ]
        tables.append(Table(f"Further metrics: {caption[0].lower()}{caption[1:]}" if place else caption, head, rows))
    return tables


def _facts_table(comparison: Comparison) -> Table:
    settings = list(comparison.models[0].settings)
    several = any(model.seeds > 1 for model in comparison.models)
    leading = metric_label(comparison.example.leading)
    head = ["model", f"validation {leading}", "parameters", "training, s", "s per epoch", "best.keras, KB"]
    head += [f"{metric_label(name)} between seeds" for name in comparison.reported_metrics] if several else []
    rows = []
    for model in comparison.models:
        size = "–" if model.file_bytes is None else f"{model.file_bytes / 1000:,.0f}"
        row = [_name(model), number(model.validation_value), f"{model.runs[0].parameters:,}"]
        row += [f"{model.seconds:,.1f}", f"{model.seconds_an_epoch:,.2f}", size]
        row += [number(model.spread(metric)) for metric in comparison.reported_metrics] if several else []
        rows.append([*row, *(model.settings[name] for name in settings)])
    caption = "Size and cost; between seeds: standard deviation" if several else "Size and cost"
    caption += "; followed by the settings that differ" if settings else ""
    return Table(caption, head + [name.replace("_", " ") for name in settings], rows)


def _differences_tables(comparison: Comparison) -> list[Table]:
    """Returns the table of the differences, and for a multi-label task that of the differences in each label."""
    if not comparison.pairs:
        return []
    head, which = _PAIR_HEAD, _which(comparison)
    metrics = dict.fromkeys(pair.metric for pair in comparison.pairs)
    reported = [pair for metric in metrics for pair in comparison.reported_pairs(metric)]
    rows = [_pair_row(comparison, pair) for pair in reported]
    caption = f"{which}, p corrected within each metric; pairs.csv has every pair"
    tables = [Table(caption, head, rows, texts=3, folded=_fold(len(rows)))]
    metrics = dict.fromkeys(pair.metric for pair in comparison.label_pairs)
    reported = [pair for metric in metrics for pair in comparison.reported_label_pairs(metric)]
    if reported:
        rows = [[pair.label, *_pair_row(comparison, pair)] for pair in reported]
        caption = (
            f"{which} label by label, p corrected within each metric for all labels; label_pairs.csv has every pair"
        )
        tables.append(Table(caption, ["label", *head], rows, texts=4, folded=_fold(len(rows))))
    return tables


def _fold(rows: int) -> str:
    return f"{rows} differences as numbers" if rows > _MOST_DIFFERENCES_OPEN else ""


def _pair_row(comparison: Comparison, pair: Pair) -> list[str]:
    found = pair.difference
    ends = "–" if found.low != found.low else f"{signed(found.low)} to {signed(found.high)}"
    p = p_value(comparison.reported_p(pair)).removeprefix("p ").removeprefix("= ")
    values = (number(pair.first_value), number(pair.second_value), signed(found.value))
    return [metric_label(pair.metric), pair.first, pair.second, *values, ends, p]


def _runs_table(comparison: Comparison, folder: Path | None) -> Table:
    reported = comparison.reported_metrics
    head = ["model", "folder", "seed", *map(metric_label, reported), "epochs", "warning"]
    rows = []
    for model in comparison.models:
        for place, run in enumerate(model.runs):
            values = [number(float(model.measured[name].values[place])) for name in reported]
            warning = "collapsed" if run.collapsed else ""
            rows.append([model.name, _link(run, folder), str(run.config.seed), *values, str(run.epochs), warning])
    folded = f"{len(rows)} runs" if len(rows) > _MOST_RUNS_OPEN else ""
    return Table("Every run", head, rows, texts=2, folded=folded)


def _link(run: ComparedRun, folder: Path | None) -> str | Link:
    """Returns a run's folder, as a link to its page if there is one."""
    if folder is None or not run.page.is_file():
        return str(run.path)
    return Link(str(run.path), relative_link(run.page, folder))


def _methods(comparison: Comparison) -> list[str]:
    example, several = comparison.example, any(model.seeds > 1 for model in comparison.models)
    intervals, tests = example.describe_methods()
    points = [
        f"{words.describe_basis(comparison)} {intervals}",
        tests,
        "p-values are corrected by Holm's method within each metric: in sentences and tables for the pairs that "
        "are reported there, in the maps of differences for all pairs; pairs.csv has both. Intervals of differences "
        "are not corrected."
        + (
            " p-values of single labels are corrected for all labels and pairs of a metric."
            if comparison.label_pairs
            else ""
        ),
        "If no difference is shown, there may still be one: the interval shows how large it may be.",
    ]
    if comparison.sampling_differences is not None:
        points.insert(
            3,
            f"Under each sampling each model is compared with {comparison.reference} by the same tests; p is corrected "
            "for the number of models, not of samplings.",
        )
    if comparison.over_folds is not None:
        points += _fold_methods(comparison.over_folds)
    if several:
        points.insert(
            2,
            "Models with several seeds are compared by their means. The uncertainty of a mean has two parts: the "
            "choice of the test samples, which is common to all models, and the seeds, whose part is estimated from"
            " the "
            "variance between them; Student's t with Welch and Satterthwaite's degrees of freedom allows for the few "
            "seeds.",
        )
    return points


def _fold_methods(found: FoldComparison) -> list[str]:
    return [
        f"On average over the {found.folds} folds the models are compared by the corrected resampled t (Nadeau and"
        f" Bengio 2003; for repeats Bouckaert and Frank 2004) with {found.test_over_train:.2f} test samples for each"
        " training one: the models of the folds share training samples, so that the plain paired t-test finds"
        " differences where there are none.",
        "All predictions together are those of each sample by the model that did not learn from it, with the decisions"
        " of that model. Metrics of several repeats are means over them, on the same samples.",
    ]


def _picture(name: str, figure: Figure) -> Picture:
    reported = metric_label(name.removeprefix(_DIFFERENCES))
    reported = reported[0].upper() + reported[1:]
    differences = f"{reported} of each row's model minus that of each column's model; pairs.csv has the numbers."
    return Picture.of_figure(figure, _CAPTIONS.get(name, differences))


def _estimate(estimate: Estimate) -> str:
    value, _, ends = interval(estimate).partition(" ")
    return f"{value}\n{ends.strip('()')}"


def _name(model: Model) -> str:
    return model.name + (" (collapsed)" if model.collapsed else "")
