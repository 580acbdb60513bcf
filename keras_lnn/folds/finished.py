"""A complete run of a fold, with what it was measured by and what its model predicts for the fold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_lnn.comparing.compared_run import ComparedRun
from keras_lnn.folds.layout import FoldRun


@dataclasses.dataclass(frozen=True)
class FinishedFold:
    """A complete run of a fold.

    Args:
        run: The run as it was laid out.
        metrics: Content of its metrics.json.
        read: Its predictions for its fold.
    """

    run: FoldRun
    metrics: Mapping[str, Any]
    read: ComparedRun

    @property
    def test_over_train(self) -> float:
        """Returns the ratio of the samples that the model is tested on to those that it learned from."""
        splits = self.metrics["splits"]
        return splits["test"]["images"] / splits["train"]["images"]
