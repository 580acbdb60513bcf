"""The number of epochs that a run has trained, where its time budget cut the last one short."""

from collections.abc import Mapping, Sequence

History = Sequence[Mapping[str, float]]


def is_cut_short(row: Mapping[str, float]) -> bool:
    """Returns whether a row of the history is of an epoch that was not trained to its end."""
    return row.get("fraction", 1.0) < 1.0


def count_epochs(history: History) -> float:
    """Returns the number of trained epochs, counting an unfinished one as a fraction."""
    return sum(row["fraction"] if is_cut_short(row) else 1.0 for row in history)


def describe_epochs(history: History) -> str:
    """Returns the trained epochs as text, such as ``4 whole epochs and 37% of the next``."""
    whole = sum(not is_cut_short(row) for row in history)
    epochs = f"{whole} whole epoch{'' if whole == 1 else 's'}"
    if not is_cut_short(history[-1]):
        return epochs
    # A begun epoch is never shown as 0%, and an unfinished one never as 100%.
    share = f"{min(max(history[-1]['fraction'], 0.01), 0.99):.0%}"
    return f"{epochs} and {share} of the next" if whole else f"{share} of the first epoch"
