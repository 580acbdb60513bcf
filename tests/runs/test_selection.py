"""Choice of the epoch that is kept, and early stopping."""

import numpy as np
import pytest

from keras_lnn.config import TrainConfig
from keras_lnn.runs.selection import Selection, find_best
from keras_lnn.training.protocol import complete_config


def history_of(**columns):
    names, rows = list(columns), zip(*columns.values(), strict=True)
    return [{"epoch": index + 1, **dict(zip(names, row, strict=True))} for index, row in enumerate(rows)]


def test_the_best_epoch_is_the_earliest_of_equals():
    history = history_of(val_auc=[0.5, 0.9, 0.9], val_loss=[3, 1, 2])
    assert find_best(history, "val_auc") == (2, 0.9)
    assert find_best(history, "val_loss") == (2, 1)
    history[1]["val_auc"] = float("nan")
    assert find_best(history, "val_auc") == (3, 0.9)


def test_epochs_that_are_nan_are_never_the_best():
    nan = float("nan")
    history = history_of(val_auc=[nan, 0.4, nan], val_loss=[nan] * 3)
    selection = Selection("val_auc")
    assert selection.choose(history) == (2, 0.4)
    assert selection.warn(history) == ""
    # Where all are NaN the last one is kept, and the run reports it.
    selection = Selection("val_loss", patience=1)
    epoch, value = selection.choose(history)
    assert epoch == 3
    assert np.isnan(value)
    assert selection.describe(epoch, value) == "epoch 3, the last"
    assert selection.warn(history).startswith(
        "val_loss is not a number in any of 3 epochs, so no epoch could be chosen"
    )
    assert not selection.stops(history)
    assert Selection("val_loss", keep="last").warn(history) == ""


def test_the_largest_score_is_the_best():
    history = history_of(val_score=[0.5, 0.8, 0.7], val_loss=[1, 2, 3])
    assert find_best(history, "val_score") == (2, 0.8)
    assert Selection("val_score", patience=1).stops(history)
    assert not Selection("val_score", patience=2).stops(history)


def test_epochs_without_the_value_are_never_the_best():
    """Epochs of a continued run with another metric."""
    history = [{"epoch": 1, "val_auc": 0.9}, {"epoch": 2, "val_auc": 0.8, "val_score": 0.3}]
    assert find_best(history, "val_score") == (2, 0.3)
    assert np.isnan(find_best(history[:1], "val_score")[1])
    assert Selection("val_score", keep="last").choose(history) == (2, 0.3)


def test_the_last_epoch_is_kept_if_configured():
    history = history_of(val_auc=[0.5, 0.9, 0.7])
    assert Selection("val_auc").choose(history) == (2, 0.9)
    assert Selection("val_auc", keep="last").choose(history) == (3, 0.7)
    assert Selection("val_auc").describe(2) == "epoch 2, the best by val_auc"
    assert Selection("val_auc", keep="last").describe(3) == "epoch 3, the last"


@pytest.mark.parametrize(
    ("losses", "patience", "margin", "stops"),
    [
        ([3, 2, 2.5, 2.1], 2, 0.0, True),
        ([3, 2, 2.5], 2, 0.0, False),
        ([3, 2, 2, 2], 2, 0.0, True),  # as good as before is no improvement
        ([3, 2, 2.5, 2.1, 1.9], 2, 0.0, False),  # counts anew from the new best
        ([3, 2, 2.05, 2.05, 2.05], 2, 0.1, False),  # within the margin nothing counts
        ([3, 2, 2.5, 2.05, 2.5], 2, 0.1, True),  # in total, not in a row
        ([3, 4, 5, 6], 0, 0.0, False),
        ([3, 2, float("nan"), float("nan")], 2, 0.1, True),
    ],
)
def test_epochs_that_are_worse_count_against_the_best(losses, patience, margin, stops):
    assert Selection("val_loss", patience=patience, margin=margin).stops(history_of(val_loss=losses)) == stops
    upwards = Selection("val_auc", patience=patience, margin=margin)
    assert upwards.stops(history_of(val_auc=[-loss for loss in losses])) == stops


def test_rules_follow_from_the_configuration():
    config = complete_config(TrainConfig(model="LiqExp4N2", data="adrenalmnist3d"))
    assert Selection.of(config) == Selection("val_loss", "last", 10, 1e-3)
    config = complete_config(TrainConfig(model="LiqExp4N2", data="adrenalmnist3d", keep="best", early_stopping=0))
    assert Selection.of(config) == Selection("val_loss", "best", 0, 1e-3)
