"""What a cross-validation asks of each kind of task: how its folds are described and drawn."""

from __future__ import annotations

import abc
import pkgutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from keras_lnn.evaluation.predictions import Evaluation
from keras_lnn.folds.finished import FinishedFold
from keras_lnn.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class FoldKind(abc.ABC):
    """The folds of tasks with one form of output; a task names the one of its folds.

    Attributes:
        shown: The metrics that the page shows of each fold.
        readings: What each picture shows, by its name.
        predictions_are: What predictions.csv holds.
        chosen: What a fold chooses as the validation of another run.
        pooling: A sentence on how the predictions of different models become one set.
        advice: A sentence on whether to read the mean over folds or all predictions.
    """

    shown: ClassVar[tuple[str, ...]]
    readings: ClassVar[Mapping[str, str]]
    predictions_are: ClassVar[str]
    chosen: ClassVar[str]
    pooling: ClassVar[str]
    advice: ClassVar[str]

    @staticmethod
    def of(task: type[Task]) -> FoldKind:
        """Returns how the folds of a task are described and drawn."""
        return pkgutil.resolve_name(task.fold_kind)()

    def measure_further(self, repeats: Sequence[Sequence[FinishedFold]]) -> dict[str, Any]:
        """Returns what folds.json has for this kind alone.

        Args:
            repeats: The folds of each repeat.
        """
        return {}

    def tabulate_doubtful(
        self, repeats: Sequence[Sequence[FinishedFold]], found: Mapping[str, Any]
    ) -> pd.DataFrame | None:
        """Returns one row per label that the predictions contradict; None for a kind without a search for them.

        Args:
            repeats: The folds of each repeat.
            found: Content of folds.json.
        """
        return None

    def with_decisions(self, table: pd.DataFrame, fold: FinishedFold) -> pd.DataFrame:
        """Returns the predictions of a fold with what its model decides, where its own table lacks that."""
        return table

    def caution(
        self, folds: Sequence[FinishedFold], pooled: Evaluation, means: Mapping[str, Mapping[str, float]]
    ) -> list[str]:
        """Returns what the numbers do not show because several models made them, one sentence each."""
        return []

    @abc.abstractmethod
    def draw(self, folds: Sequence[FinishedFold], found: Mapping[str, Any]) -> dict[str, Figure]:
        """Returns the pictures, by their names in ``readings``.

        Args:
            folds: All folds.
            found: Content of folds.json.
        """
