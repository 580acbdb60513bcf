"""The comparison as one self-contained HTML page, complete without network, other files or scripts."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from keras_lnn.comparing import words
from keras_lnn.comparing.comparison import Comparison, Model, Pair
from keras_lnn.comparing.page_style import SCRIPT, STYLE
from keras_lnn.comparing.words import (
    describe_all,
    describe_cautions,
    describe_labels,
    describe_reference,
    describe_summary,
    interval,
    number,
    p_value,
    signed,
)
from keras_lnn.saved.card import metric_label
from keras_lnn.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPLITS = {"test": "test", "val": "validation"}
_CAPTIONS = {
    "roc": "ROC curves of all models over each other.",
    "dice": "Dice of each image, the mean over the seeds, and how it spreads over the images.",
    "metrics": "Every metric of every model, with 95% intervals.",
}
_DIFFERENCES = "differences_"
_METRICS_IN_A_TABLE = 6
# Further sentences are collapsed; the first ones describe the differences that the data show.
_MOST_SENTENCES_OPEN = 6


def comparison_page(comparison: Comparison, figures: Mapping[str, Figure]) -> str:
    """Returns the whole page.

    Args:
        comparison: The comparison to describe.
        figures: Figures by name, from ``draw_all``.
    """
    example = comparison.example
    count = len(comparison.models)
    title = f"{count} model{'s' if count != 1 else ''} on {example.config.data}"
    sections = [
        _header(comparison, title),
        _findings(comparison),
        _section("Models", _models_table(comparison) + _facts_table(comparison)),
        _section(
            "Curves and intervals", "".join(_picture(name, figures[name]) for name in comparison.example.pictures)
        ),
        _differences(comparison, figures),
        _section("Runs", _runs_table(comparison)),
        _section("How the numbers were worked out", _methods(comparison)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Without an embedded icon a browser would request one from the server.
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n'
        f"<main>\n{''.join(sections)}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _header(comparison: Comparison, title: str) -> str:
    example = comparison.example
    shares = [f"{name}: {count:,}" for name, count in zip(example.class_names, example.count_classes(), strict=True)]
    shown = "; ".join(shares[:15]) + ("; ..." if len(shares) > 15 else "")
    about = f"{example.samples:,} {_SPLITS[example.split]} samples ({shown}). {words.describe_basis(comparison)}"
    if comparison.positive_class is not None:
        about += (
            f" F1, precision, sensitivity, specificity and average precision are those of {comparison.positive_class}."
        )
    return f"<header>\n<h1>{escape(title)}</h1>\n<p>{escape(about)}</p>\n</header>\n"


def _findings(comparison: Comparison) -> str:
    parts = []
    if len(comparison.models) > 2 or comparison.reference_given:
        parts.append(f"<p>{escape(describe_reference(comparison))}</p>\n")
    parts += [f'<p class="caution">{escape(text)}</p>\n' for text in describe_cautions(comparison)]
    for metric, sentences in describe_all(comparison).items():
        parts.append(f"<h3>{escape(describe_summary(comparison, metric))}</h3>\n")
        parts.append(_list(sentences[:_MOST_SENTENCES_OPEN]))
        rest = sentences[_MOST_SENTENCES_OPEN:]
        if rest:
            parts.append(f"<details>\n<summary>{len(rest)} more sentences</summary>\n{_list(rest)}</details>\n")
    if comparison.label_pairs:
        parts.append(f"<h3>Label by label</h3>\n{_list(describe_labels(comparison))}")
    return _section("What the data show, and what they do not", "".join(parts))


def _models_table(comparison: Comparison) -> str:
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
        tables.append(_table(f"Further metrics: {caption[0].lower()}{caption[1:]}" if place else caption, head, rows))
    return "".join(tables)


def _facts_table(comparison: Comparison) -> str:
    settings = list(comparison.models[0].settings)
    several = any(model.seeds > 1 for model in comparison.models)
    leading = metric_label(comparison.example.leading)
    head = ["model", f"validation {leading}", "parameters", "training, s", "s an epoch", "best.keras, KB"]
    head += [f"{metric_label(name)} between seeds" for name in comparison.reported_metrics] if several else []
    rows = []
    for model in comparison.models:
        size = "–" if model.file_bytes is None else f"{model.file_bytes / 1000:,.0f}"
        row = [_name(model), number(model.validation_value), f"{model.runs[0].parameters:,}"]
        row += [f"{model.seconds:,.1f}", f"{model.seconds_an_epoch:,.2f}", size]
        row += [number(model.spread(metric)) for metric in comparison.reported_metrics] if several else []
        rows.append([*row, *(model.settings[name] for name in settings)])
    caption = "Size and cost; between seeds: standard deviation" if several else "Size and cost"
    caption += "; then the settings that differ" if settings else ""
    return _table(caption, head + [name.replace("_", " ") for name in settings], rows)


def _differences(comparison: Comparison, figures: Mapping[str, Figure]) -> str:
    if not comparison.pairs:
        return ""
    content = "".join(_picture(name, figure) for name, figure in figures.items() if name.startswith(_DIFFERENCES))
    metrics = dict.fromkeys(pair.metric for pair in comparison.pairs)
    reported = [pair for metric in metrics for pair in comparison.reported_pairs(metric)]
    head = ["metric", "first", "second", "of the first", "of the second", "difference", "95% interval", "p, corrected"]
    rows = [_pair_row(comparison, pair) for pair in reported]
    which = "Each pair" if comparison.reports_all_pairs else f"Each model against {comparison.reference}"
    caption = f"{which}, p corrected within each metric; pairs.csv has every pair"
    table = _folded(_table(caption, head, rows, texts=3), len(rows))
    return _section("Differences", content + table + _label_differences(comparison, which, head))


def _label_differences(comparison: Comparison, which: str, head: list[str]) -> str:
    """Returns the table of the differences in each label, or an empty string unless the task is multi-label."""
    metrics = dict.fromkeys(pair.metric for pair in comparison.label_pairs)
    reported = [pair for metric in metrics for pair in comparison.reported_label_pairs(metric)]
    if not reported:
        return ""
    rows = [[pair.label, *_pair_row(comparison, pair)] for pair in reported]
    caption = f"{which} label by label, p corrected within each metric for all labels; label_pairs.csv has every pair"
    return _folded(_table(caption, ["label", *head], rows, texts=4), len(rows))


def _folded(table: str, rows: int) -> str:
    if rows <= 40:
        return table
    return f"<details>\n<summary>{rows} differences as numbers</summary>\n{table}</details>\n"


def _pair_row(comparison: Comparison, pair: Pair) -> list[str]:
    found = pair.difference
    ends = "–" if found.low != found.low else f"{signed(found.low)} to {signed(found.high)}"
    p = p_value(comparison.reported_p(pair)).removeprefix("p ").removeprefix("= ")
    values = (number(pair.first_value), number(pair.second_value), signed(found.value))
    return [metric_label(pair.metric), pair.first, pair.second, *values, ends, p]


def _runs_table(comparison: Comparison) -> str:
    reported = comparison.reported_metrics
    head = ["model", "folder", "seed", *map(metric_label, reported), "epochs", "warning"]
    rows = []
    for model in comparison.models:
        for place, run in enumerate(model.runs):
            values = [number(float(model.measured[name].values[place])) for name in reported]
            warning = "collapsed" if run.collapsed else ""
            rows.append([model.name, str(run.path), str(run.config.seed), *values, str(run.epochs), warning])
    table = _table("Every run", head, rows, texts=2)
    if len(rows) <= 12:
        return table
    return f"<details>\n<summary>{len(rows)} runs</summary>\n{table}</details>\n"


def _methods(comparison: Comparison) -> str:
    example, several = comparison.example, any(model.seeds > 1 for model in comparison.models)
    intervals, tests = example.describe_methods()
    points = [
        f"{words.describe_basis(comparison)} {intervals}",
        tests,
        "p-values are corrected by Holm's method within each metric: in sentences and tables for the pairs that "
        "are reported there, in the maps of differences for all pairs; pairs.csv has both. Intervals of differences "
        "are not corrected."
        + (" Single labels are corrected for all labels and pairs of a metric." if comparison.label_pairs else ""),
        "No difference shown does not mean that there is none: the interval says how large it may be.",
    ]
    if several:
        points.insert(
            2,
            "Of several seeds the means are compared. Their uncertainty has two parts: the choice of the test samples, "
            "which is common to all models, and the seeds, of which the variance between them tells; Student's t with "
            "Welch and Satterthwaite's degrees of freedom allows for the few seeds.",
        )
    return _list(points)


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}</section>\n"


def _list(sentences: Sequence[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{_prose(text)}</li>\n" for text in sentences) + "</ul>\n"


def _prose(text: str) -> str:
    """Returns text as HTML in which no line breaks within a p-value."""
    return re.sub(r"\bp (=|&lt;) (?=[\d.])", r"p&nbsp;\1&nbsp;", escape(text))


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Returns a table whose first ``texts`` columns are words; text after a line break in a cell is small.

    The table scrolls by itself where the page is narrow.
    """
    columns = "".join(
        f"<th scope=col{' class=text' if place < texts else ''}>{escape(name)}</th>" for place, name in enumerate(head)
    )
    lines = []
    for row in rows:
        cells = [f'<th scope="row">{escape(row[0])}</th>']
        for place, cell in enumerate(row[1:], start=1):
            value, _, below = cell.partition("\n")
            small = f"<small>{escape(below)}</small>" if below else ""
            cells.append(f"<td{' class=text' if place < texts else ''}>{escape(value)}{small}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>\n")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">\n<table>\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{columns}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody>\n"
        "</table>\n</div>\n"
    )


def _picture(name: str, figure: Figure) -> str:
    """Returns a figure as an embedded SVG image of its own, so that names in one SVG do not collide with another's."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    reported = metric_label(name.removeprefix(_DIFFERENCES))
    of_differences = f"{reported} of each row's model less that of each column's; pairs.csv has the numbers."
    caption = escape(_CAPTIONS.get(name, of_differences))
    width = round(float(figure.get_size_inches()[0]) * 96)
    return (
        f'<figure>\n<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f'<img src="data:image/svg+xml;base64,{content}" alt="{caption}" width="{width}"'
        # At a smaller width the text would be unreadable, so the figure scrolls instead.
        f' style="min-width: {round(0.8 * width)}px"></div>\n'
        f"<figcaption>{caption}</figcaption>\n</figure>\n"
    )


def _estimate(estimate: Estimate) -> str:
    value, _, ends = interval(estimate).partition(" ")
    return f"{value}\n{ends.strip('()')}"


def _name(model: Model) -> str:
    return model.name + (" (collapsed)" if model.collapsed else "")
