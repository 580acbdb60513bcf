"""The tables of a study's networks under other samplings."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pandas as pd

from keras_lnn.comparing.sampling import describe_sampling, name_sampling
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.studies.differences import SIGNIFICANT
from keras_lnn.studies.sampling import SampledNetworks
from keras_lnn.studies.tables import Cells

_CAPTION = (
    "Means over the seeds on the same test series under each sampling, with 95% intervals that cover samples and seeds;"
    " in the tables of differences * marks p below 0.05 after Holm's correction for the number of networks, not of"
    " samplings."
)


@dataclasses.dataclass(frozen=True)
class SamplingContent:
    """The content of the tables of samplings.

    Args:
        title: Title of the study.
        sampled: The networks under other samplings.
    """

    title: str
    sampled: SampledNetworks

    @property
    def head(self) -> list[str]:
        """Returns the names of the columns: the samplings, that of all frames once."""
        return ["network", *self._samplings]

    @property
    def tables(self) -> dict[str, Cells]:
        """Returns the rows of each data set as text, and those of the differences from its reference."""
        found, metric = {}, self.sampled.metric
        for data, rows in self.sampled.table.groupby("data", sort=False):
            names = (metric, f"{metric}_low", f"{metric}_high")
            found[f"{data}, {metric_label(metric)}"] = self._cells(rows, names, "")
            known = self.sampled.differences
            differences = known[known["data"] == data] if len(known) else known
            if len(differences):
                name = f"{data}, {metric_label(metric)} minus that of {differences['reference'].iloc[0]}"
                found[name] = self._cells(differences, ("difference", "low", "high"), "+")
        return found

    @property
    def remarks(self) -> list[str]:
        """Returns what the numbers are, and which networks differ on each data set."""
        known = self.sampled.differences
        parts = known.groupby("data", sort=False) if len(known) else ()
        described = [f"{data}: {sentence}" for data, rows in parts for sentence in describe_sampling(rows)]
        return [_CAPTION, *described, *self.sampled.left_out]

    @property
    def _samplings(self) -> list[str]:
        table = self.sampled.table
        pairs = zip(table["sampling"], table["amount"], strict=True)
        return list(dict.fromkeys(name_sampling(kind, amount) for kind, amount in pairs))

    def _cells(self, rows: pd.DataFrame, names: tuple[str, str, str], sign: str) -> Cells:
        found: dict[str, dict[str, str]] = {}
        for row in rows.to_dict("records"):
            name = name_sampling(row["sampling"], row["amount"])
            found.setdefault(row["model"], {}).setdefault(name, _cell(row, names, sign))
        return [[network, *(cells.get(name, "-") for name in self._samplings)] for network, cells in found.items()]


def _cell(row: dict[str, Any], names: tuple[str, str, str], sign: str) -> str:
    value, low, high = (row[name] for name in names)
    mark = "*" if row.get("corrected", math.nan) < SIGNIFICANT else ""
    ends = "" if math.isnan(low) else f" ({low:{sign}.3f} to {high:{sign}.3f})"
    return "-" if math.isnan(value) else f"{value:{sign}.3f}{mark}{ends}"
