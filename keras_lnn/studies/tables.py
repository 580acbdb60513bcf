"""The summary of a study as text for the terminal, Markdown and LaTeX."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.saved.card import escape_markdown
from keras_lnn.studies.differences import describe_differences
from keras_lnn.studies.results import measured_metrics

Cells = list[list[str]]
_ANY_WIDTH = 10_000


class Tables(Protocol):
    """What a table file says: a title, one table per name with the same columns, and remarks below them."""

    @property
    def title(self) -> str:
        """Returns the title."""
        ...

    @property
    def head(self) -> list[str]:
        """Returns the names of the columns."""
        ...

    @property
    def tables(self) -> dict[str, Cells]:
        """Returns the rows of each table as text."""
        ...

    @property
    def remarks(self) -> list[str]:
        """Returns the sentences below the tables."""
        ...


_CAPTION = (
    "Means over the seeds on the test split, standard deviations over the seeds, and 95% intervals of the means"
    " (Student's t, for other seeds{}).{}"
)
_FOLDS_CAPTION = (
    "Means over the folds, each tested by a model that was neither trained on it nor chosen by it, standard deviations"
    " over the folds, and 95% intervals of the means by the corrected resampled t (Nadeau and Bengio 2003), which takes"
    " account of the training samples that the models of the folds share.{} Networks are compared on the same folds. A"
    " test split that the data came with is in none of them.{}"
)
_POOLED = (
    " The column of all predictions measures those for all folds as one set, with 95% intervals over patients, or"
    " over samples where patients are not known{}."
)
_SCALES = "; for AUC read the mean, because probabilities of different models may be on different scales"
_ELSEWHERE = " The published figures were measured on other images."
_ONE_RUN = " The published figure is that of one run."
_PUBLISHED = (
    " 'yes' means that the published figure lies in the range that contains 95% of single runs like ours, 'no' that it"
    " lies outside."
)


@dataclasses.dataclass(frozen=True)
class Content:
    """The content of a table.

    Args:
        title: Title of the study.
        summary: The result of :func:`~keras_lnn.studies.results.summary_table`.
        differences: The result of :func:`~keras_lnn.studies.differences.compare_networks` with a column ``data``; empty
            where no differences are to be shown.
        shuffled_splits: Whether the seeds had splits of their own.
        notes: Further notes below the table.
        elsewhere: Whether the published figures were measured on other images.
        published_note: Note on the published figures, where there are any.
        shown: The metrics to show; all that were measured, of classification or segmentation, if not given.
    """

    title: str
    summary: pd.DataFrame
    differences: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
    shuffled_splits: bool = False
    notes: Sequence[str] = ()
    elsewhere: bool = False
    published_note: str = ""
    shown: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Returns the metrics to show."""
        return self.shown or measured_metrics(self.summary.columns, "_mean")

    @property
    def head(self) -> list[str]:
        """Returns the names of the columns."""
        names = ["network", "parameters", "runs"]
        for metric in self.metrics:
            names += [f"{metric_label(metric)} (SD)", "95% interval"]
            names += ["all predictions"] if self._has_pooled(metric) else []
            names += ["published"] if self._has_published else []
            names += [f"minus {self.differences['reference'].iloc[0]}"] if len(self.differences) else []
        return [*names, "epochs", "s/epoch"]

    @property
    def tables(self) -> dict[str, Cells]:
        """Returns the rows of each data set as text."""
        groups = self.summary.groupby("data", sort=False)
        return {str(data): [self._cells(row) for _, row in rows.iterrows()] for data, rows in groups}

    @property
    def remarks(self) -> list[str]:
        """Returns the caption and the notes below the table."""
        published = self._about_published if self._has_published else ""
        if self._has_folds:
            pooled = _POOLED.format(_SCALES if self._has_pooled("auc") else "")
            caption = _FOLDS_CAPTION.format(pooled if any(map(self._has_pooled, self.metrics)) else "", published)
        else:
            samples = " and splits" if self.shuffled_splits else " on the same test samples"
            caption = _CAPTION.format(samples, published)
        described = describe_differences(self.differences) if len(self.differences) else []
        return [caption, *self.notes, *self._describe_collapsed(), *described]

    def _describe_collapsed(self) -> list[str]:
        """Returns a sentence on runs that always predict one class: their accuracy is that of a constant prediction."""
        fallen = self.summary[self.summary["collapsed"] > 0]
        several = self.summary["data"].nunique() > 1
        named = [
            f"{row.network} ({row.collapsed} of {row.runs}{f' on {row.data}' if several else ''})"
            for row in fallen.itertuples()
        ]
        return [f"Runs that have collapsed to one class: {', '.join(named)}."] if named else []

    @property
    def _has_folds(self) -> bool:
        return "folds" in self.summary

    def _has_pooled(self, metric: str) -> bool:
        return f"{metric}_pooled" in self.summary

    @property
    def _has_published(self) -> bool:
        return bool(self.summary[[f"{metric}_published" for metric in self.metrics]].notna().any(axis=None))

    @property
    def _about_published(self) -> str:
        judged = self.summary[[f"{metric}_published_fits" for metric in self.metrics]].notna().any(axis=None)
        if self.elsewhere and not judged:
            return f"{_ELSEWHERE} {self.published_note}".rstrip()
        return f"{_PUBLISHED} {self.published_note}" if self.published_note else f"{_ONE_RUN}{_PUBLISHED}"

    def _cells(self, row: pd.Series) -> list[str]:
        cells = [str(row["network"]), f"{row['parameters']:,}", f"{row['runs']}"]
        for metric in self.metrics:
            mean, spread = row[f"{metric}_mean"], row[f"{metric}_sd"]
            cells.append(_number(mean) + ("" if _missing(spread) else f" ({_number(spread)})"))
            low, high = row[f"{metric}_low"], row[f"{metric}_high"]
            cells.append("-" if _missing(low) else f"{_number(low)} to {_number(high)}")
            if self._has_pooled(metric):
                value, low, high = (row[f"{metric}_pooled{end}"] for end in ("", "_low", "_high"))
                cells.append(_number(value) + ("" if _missing(low) else f" ({_number(low)} to {_number(high)})"))
            if self._has_published:
                fits = row[f"{metric}_published_fits"]
                described = "" if _missing(fits) else " yes" if fits else " no"
                cells.append(_number(row[f"{metric}_published"]) + described)
            if len(self.differences):
                cells.append(self._difference(row, metric))
        seconds = row["seconds_an_epoch"]
        return [*cells, f"{round(row['epochs'], 1):g}", "-" if _missing(seconds) else f"{seconds:.2f}"]

    def _difference(self, row: pd.Series, metric: str) -> str:
        known = self.differences
        found = known[
            (known["data"] == row["data"]) & (known["network"] == row["network"]) & (known["metric"] == metric)
        ]
        if found.empty:
            return "-"
        value, low, high = (found[name].iloc[0] for name in ("difference", "low", "high"))
        return f"{value:+.3f}" + ("" if _missing(low) else f" ({low:+.3f} to {high:+.3f})")


def print_summary(console: Console, content: Content) -> None:
    """Prints one table per data set, or one for each metric where it would not fit."""
    for data in content.tables:
        table = _make_table(content, data)
        if _fits(table, console):
            console.print(table)
            continue
        for metric in content.metrics:
            part = _make_table(dataclasses.replace(content, shown=(metric,)), data)
            fits = _fits(part, console)
            for column in part.columns:
                column.no_wrap = fits
            console.print(part)
    for remark in content.remarks:
        console.print(Text(remark))


def _fits(table: Table, console: Console) -> bool:
    return console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum <= console.width


def _make_table(content: Content, data: str) -> Table:
    name = f"{content.title}: {data}"
    table = Table(title=name, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, name in enumerate(content.head):
        table.add_column(name, justify="right" if index else "left", no_wrap=True, overflow="fold")
    for row in content.tables[data]:
        table.add_row(*map(Text, row))
    return table


def to_text(content: Tables) -> str:
    """Returns the summary as plain text with aligned columns."""
    head = content.head
    parts = [content.title]
    for data, rows in content.tables.items():
        widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
        lines = [_pad(row, widths) for row in [head, ["-" * width for width in widths], *rows]]
        parts.append("\n".join([data, *lines]))
    return "\n\n".join([*parts, *content.remarks]) + "\n"


def to_markdown(content: Tables) -> str:
    """Returns the summary as Markdown, with a heading and a table per data set."""
    head = content.head

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(map(escape_markdown, cells))} |"

    rule = line(["---", *["---:"] * (len(head) - 1)])
    parts = [f"# {escape_markdown(content.title)}"]
    for data, rows in content.tables.items():
        parts.append("\n".join([f"## {escape_markdown(data)}", "", line(head), rule, *map(line, rows)]))
    return "\n\n".join([*parts, *map(escape_markdown, content.remarks)]) + "\n"


def to_latex(content: Tables) -> str:
    """Returns the summary as LaTeX, one table environment per data set, for documents that load booktabs."""
    head = content.head

    def line(cells: list[str]) -> str:
        return f"{' & '.join(map(_escape_latex, cells))} \\\\"

    parts = []
    for data, rows in content.tables.items():
        caption = _escape_latex(f"{content.title}: {data}. {' '.join(content.remarks)}")
        parts.append(
            "\n".join(
                [
                    "\\begin{table}",
                    "\\centering",
                    f"\\caption{{{caption}}}",
                    f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
                    "\\toprule",
                    line(head),
                    "\\midrule",
                    *map(line, rows),
                    "\\bottomrule",
                    "\\end{tabular}",
                    "\\end{table}",
                ]
            )
        )
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(parts) + "\n"


# Characters that LaTeX reads as commands or does not print.
_LATEX = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "%_&#${}"},
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "\n": " ",
    }
)

FORMATS: dict[str, Callable[[Tables], str]] = {
    "txt": to_text,
    "md": to_markdown,
    "tex": to_latex,
}


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> str:
    return "-" if _missing(value) else f"{value:.3f}"


def _pad(row: Sequence[str], widths: list[int]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _escape_latex(text: str) -> str:
    return text.translate(_LATEX)
