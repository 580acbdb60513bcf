"""The content of a study's page; the template is ``study.html`` of ``keras_lnn.pages``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from keras_lnn.pages.rendering import Link, Picture, Table, relative_link, render
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.card import metric_label
from keras_lnn.saved.results import describe_metric
from keras_lnn.studies.declaration import path_name
from keras_lnn.studies.fold_results import FOLD, REPEAT, has_folds, name_draws
from keras_lnn.studies.pictures import describe_picture
from keras_lnn.studies.results import measured_metrics
from keras_lnn.studies.sampling_tables import SamplingContent
from keras_lnn.studies.tables import Content

# Longer tables of runs are folded.
_MOST_RUNS_OPEN = 12


def study_page(
    content: Content,
    results: pd.DataFrame,
    folder: Path,
    comparisons: Mapping[str, Path] | None = None,
    sampling: SamplingContent | None = None,
    pairs: pd.DataFrame | None = None,
) -> str:
    """Returns the page.

    Args:
        content: The tables, and what is said below them.
        results: The rows of ``results.csv``.
        folder: Folder of the study, which holds the pictures and in which the page will be.
        comparisons: The page of the comparison on each data set.
        sampling: The tables of the networks under other samplings, where they were measured.
        pairs: The comparison of every pair of networks with a column ``data``, of a study with folds.
    """
    comparisons = comparisons or {}
    return render(
        "study.html",
        title=content.title,
        tables={data: Table(f"Each network on {data}", content.head, rows) for data, rows in content.tables.items()},
        remarks=content.remarks,
        comparisons={data: Link("comparison.html", relative_link(path, folder)) for data, path in comparisons.items()},
        pictures={data: _read_pictures(folder / "plots", data, name_draws(results)) for data in content.tables},
        pairs={} if pairs is None or pairs.empty else _pairs_tables(pairs),
        runs=_runs_table(results, folder),
        samplings=[] if sampling is None else _sampling_tables(sampling),
        sampling_remarks=[] if sampling is None else sampling.remarks,
    )


def _pairs_tables(pairs: pd.DataFrame) -> dict[str, Table]:
    """Returns a table of every pair of networks for each data set."""
    head = ["first", "second", "metric", "first minus second", "95% interval", "p", "p after Holm"]
    found = {}
    for data, rows in pairs.groupby("data", sort=False):
        cells = [
            [row["network"], row["reference"], metric_label(row["metric"]), *_difference_cells(row)]
            for row in rows.to_dict("records")
        ]
        folded = f"{len(cells)} comparisons" if len(cells) > _MOST_RUNS_OPEN else ""
        caption = "Every pair of networks on the same folds, with Holm's correction for all pairs"
        found[str(data)] = Table(caption, head, cells, 3, folded)
    return found


def _difference_cells(row: dict[str, Any]) -> list[str]:
    if math.isnan(row["low"]):
        return [f"{row['difference']:+.3f}", "", "", ""]
    interval = f"{row['low']:+.3f} to {row['high']:+.3f}"
    return [f"{row['difference']:+.3f}", interval, f"{row['p']:.2g}", f"{row['corrected']:.2g}"]


def _sampling_tables(content: SamplingContent) -> list[Table]:
    """Returns the tables of samplings, with the intervals below the values."""
    return [
        Table(name, content.head, [[cell.replace(" (", "\n", 1).rstrip(")") for cell in row] for row in rows])
        for name, rows in content.tables.items()
    ]


def _runs_table(results: pd.DataFrame, folder: Path) -> Table:
    metrics = measured_metrics(results.dropna(axis="columns", how="all").columns)
    draws = [REPEAT, FOLD] if has_folds(results) else ["seed"]
    head = ["network", "data", *draws, *map(metric_label, metrics), "epochs", "state", "page"]
    rows = []
    for row in results.to_dict("records"):
        done = row["status"] == "done"
        values = [describe_metric(row[name]) if done else "" for name in metrics]
        state = f"failed: {row['failure']}" if row["status"] == "failed" else row["status"]
        state += ", collapsed" if done and row["collapsed"] is True else ""
        epochs = f"{row['epochs_trained']:g}" if done else ""
        page = RunFolder(Path(row["run"])).report
        link = Link("report.html", relative_link(page, folder)) if page.is_file() else ""
        rows.append([row["network"], row["data"], *(str(row[name]) for name in draws), *values, epochs, state, link])
    folded = f"{len(rows)} runs" if len(rows) > _MOST_RUNS_OPEN else ""
    return Table("Every run; its page has the curves, the pictures and the wrong images", head, rows, 2, folded)


def _read_pictures(plots: Path, data: str, draws: str) -> list[Picture]:
    """Returns the pictures of one data set."""
    start = f"{path_name(data)}-"
    found = sorted(path for path in plots.glob("*.png") if path.name.startswith(start))
    return [Picture.of_file(path, describe_picture(path.stem.removeprefix(start), draws)) for path in found]
