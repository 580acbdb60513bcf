"""Which class a network took for which after each epoch: the counts, each class's accuracy, and how these correlate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd


@dataclasses.dataclass(frozen=True)
class ClassCurves:
    """The validation counts of a run's epochs.

    Args:
        matrices: Counts of each epoch in order: (truth, predicted), or (labels, 2, 2) for several labels per image.
        last_epoch: The number of the last epoch.
        class_names: One name per class or label.
        multi_label: Whether an image can carry several labels.
    """

    matrices: Sequence[np.ndarray]
    last_epoch: int
    class_names: Sequence[str]
    multi_label: bool = False

    @property
    def epochs(self) -> np.ndarray:
        """Their numbers; a run that was begun by an older version has counted its last ones only."""
        return np.arange(self.last_epoch - len(self.matrices), self.last_epoch) + 1

    def cells(self) -> pd.DataFrame:
        """One row an epoch and cell: ``epoch``, ``truth``, ``predicted``, ``count``."""
        names = list(self.class_names)
        keys = pd.MultiIndex.from_product([self.epochs, names, names], names=["epoch", "truth", "predicted"])
        return pd.DataFrame({"count": np.stack(self.matrices).ravel()}, index=keys).reset_index()

    def accuracy(self) -> pd.DataFrame:
        """One row an epoch and one column a class: the share of its images that was found; nan of a class without any.

        Of several labels to an image: the share of images for which a label was rightly given or left out.
        """
        counts = np.stack(self.matrices).astype(np.float64)
        right = np.trace(counts, axis1=2, axis2=3) if self.multi_label else np.diagonal(counts, axis1=1, axis2=2)
        total = counts.sum(axis=(2, 3) if self.multi_label else 2)
        values = np.where(total > 0, right / np.maximum(total, 1.0), np.nan)
        return pd.DataFrame(values, index=pd.Index(self.epochs, name="epoch"), columns=list(self.class_names))

    def correlation(self) -> pd.DataFrame:
        """Pearson's correlation of each two classes' accuracies over the epochs; nan where one never changes."""
        return self.accuracy().corr().rename_axis("class")
