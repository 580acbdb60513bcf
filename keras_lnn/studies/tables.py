"""The summary of a study as people read it: on the terminal, in Markdown, in LaTeX and in HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_lnn.model_card import metric_label
from keras_lnn.studies.results import METRICS

Cells = list[list[str]]

CAPTION = (
    "Means over the seeds on the test split, their standard deviation, and the 95% interval of the mean (Student's t:"
    " other seeds, same test samples). The published figure is of one run; 'yes' says that it lies where 95% of single"
    " runs as ours would lie, 'no' that it does not."
)


def layout(summary: pd.DataFrame) -> tuple[list[str], dict[str, Cells]]:
    """The head, and for each data set the rows, as text."""
    head = ["network", "parameters", "runs"]
    for metric in METRICS:
        label = metric_label(metric)
        head += [f"{label} (SD)", "95% interval", "published"]
    head += ["epochs", "s/epoch"]
    groups = summary.groupby("data", sort=False)
    return head, {str(data): [_cells(row) for _, row in rows.iterrows()] for data, rows in groups}


def print_summary(console: Console, summary: pd.DataFrame, title: str) -> None:
    """One table a data set."""
    head, tables = layout(summary)
    for data, rows in tables.items():
        name = f"{title}: {data}"
        table = Table(title=name, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for index, name in enumerate(head):
            table.add_column(name, justify="right" if index else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    console.print(Text(CAPTION))


def to_text(summary: pd.DataFrame, title: str) -> str:
    """Columns of even width."""
    head, tables = layout(summary)
    parts = [title]
    for data, rows in tables.items():
        widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
        lines = [_pad(row, widths) for row in [head, ["-" * width for width in widths], *rows]]
        parts.append("\n".join([data, *lines]))
    return "\n\n".join([*parts, CAPTION]) + "\n"


def to_markdown(summary: pd.DataFrame, title: str) -> str:
    """A heading and a table a data set."""
    head, tables = layout(summary)

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    rule = line(["---", *["---:"] * (len(head) - 1)])
    parts = [f"# {title}"]
    for data, rows in tables.items():
        parts.append("\n".join([f"## {data}", "", line(head), rule, *map(line, rows)]))
    return "\n\n".join([*parts, CAPTION]) + "\n"


def to_latex(summary: pd.DataFrame, title: str) -> str:
    """A table environment a data set, for documents that load booktabs."""
    head, tables = layout(summary)

    def line(cells: list[str]) -> str:
        return f"{' & '.join(map(_escape_latex, cells))} \\\\"

    parts = []
    for data, rows in tables.items():
        caption = _escape_latex(f"{title}: {data}. {CAPTION}")
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


def to_html(summary: pd.DataFrame, title: str) -> str:
    """A page of its own."""
    head, tables = layout(summary)
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse;margin:0 0 2rem}"
        "th,td{padding:.25rem .7rem;text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}"
        "thead th{border-bottom:2px solid #444}tbody tr:nth-child(even){background:#f4f4f4}.wide{overflow-x:auto}"
    )
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for data, rows in tables.items():
        heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
        body = "".join(map(_html_row, rows))
        parts.append(
            f'<h2>{html.escape(data)}</h2><div class="wide"><table><thead><tr>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head><body>{''.join(parts)}<p>{html.escape(CAPTION)}</p></body></html>\n"
    )


def _html_row(cells: list[str]) -> str:
    first, *rest = map(html.escape, cells)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'


FORMATS: dict[str, Callable[[pd.DataFrame, str], str]] = {
    "txt": to_text,
    "md": to_markdown,
    "tex": to_latex,
    "html": to_html,
}


def _cells(row: pd.Series) -> list[str]:
    cells = [str(row["network"]), f"{row['parameters']:,}", f"{row['runs']}"]
    for metric in METRICS:
        mean, spread = row[f"{metric}_mean"], row[f"{metric}_sd"]
        cells.append(_number(mean) + ("" if _missing(spread) else f" ({_number(spread)})"))
        low, high = row[f"{metric}_low"], row[f"{metric}_high"]
        cells.append("-" if _missing(low) else f"{_number(low)} to {_number(high)}")
        fits = row[f"{metric}_published_fits"]
        told = "" if _missing(fits) else " yes" if fits else " no"
        cells.append(_number(row[f"{metric}_published"]) + told)
    return [*cells, f"{row['epochs']:.0f}", f"{row['seconds_an_epoch']:.2f}"]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> str:
    return "-" if _missing(value) else f"{value:.3f}"


def _pad(row: list[str], widths: list[int]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _escape_latex(text: str) -> str:
    return "".join({"%": "\\%", "_": "\\_", "&": "\\&", "#": "\\#", "$": "\\$"}.get(letter, letter) for letter in text)
