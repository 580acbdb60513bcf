"""The table and the picture of a metric under other samplings of series or corruptions of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from keras_lnn.data.corruptions import CORRUPTIONS
from keras_lnn.data.thinning import SAMPLING_KINDS
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.files.atomic import writing_to
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.files.written import OTHER_FOLDER, WrittenFiles
from keras_lnn.plots.sampling import plot_corruptions, plot_sampling
from keras_lnn.plots.style import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class _Changes:
    """How a metric under changes of the samples is drawn, and a label for each kind of change."""

    draw: Callable[..., Figure]
    labels: Mapping[str, str]


_CHANGES = {
    "sampling": _Changes(plot_sampling, {kind: known.label for kind, known in SAMPLING_KINDS.items()}),
    "corruptions": _Changes(plot_corruptions, {kind: known.label for kind, known in CORRUPTIONS.items()}),
}


def write_robustness(
    name: str, rows: Sequence[dict[str, Any]], metric: str, title: str, folder: Path
) -> dict[str, Path]:
    """Writes a table and its picture to a folder, such as corruptions.csv and corruptions.png; returns their paths.

    Args:
        name: ``sampling`` or ``corruptions``.
        rows: The rows of the table.
        metric: Name of its metric.
        title: Beginning of the picture's heading.
        folder: The folder; files that the package wrote there before are replaced.
    """
    changes, table = _CHANGES[name], pd.DataFrame(rows)
    # Cells without a value would make a column one of objects.
    numbers = table.columns.intersection([metric, f"{metric}_low", f"{metric}_high", "relative_loss"])
    table = table.astype(dict.fromkeys(numbers, float))
    written = {name: folder / f"{name}.csv", "picture": folder / f"{name}.png"}
    files = WrittenFiles(folder, OTHER_FOLDER)
    files.require_free(written.values())
    with writing_to(folder):
        with files.write(written["picture"]) as temporary:
            save_figure(changes.draw(table, metric, metric_label(metric), changes.labels, title), temporary)
        files.write_text(written[name], to_csv(table))
    return written
