"""Thresholds of several labels, chosen on validation: a rare label's probability seldom passes one half."""

import numpy as np

NEUTRAL = 0.5


def choose_thresholds(truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, ...]:
    """For each label the threshold with the largest F1 on these samples, which must not be those of the test.

    A label is predicted where its probability lies above the threshold. Between two neighbouring probabilities the
    middle is taken, and of several equal F1 that nearest to one half. A label without positives keeps one half.

    Args:
        truth: 0/1 (samples, labels).
        probabilities: (samples, labels).
    """
    return tuple(_choose(column == 1, scores) for column, scores in zip(truth.T, probabilities.T, strict=True))


def _choose(positive: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import precision_recall_curve

    if not positive.any():
        return NEUTRAL
    precision, recall, levels = precision_recall_curve(positive, scores)
    precision, recall = precision[:-1], recall[:-1]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    # scikit-learn predicts a label from a level on, we above a threshold, which none is below zero.
    f1 = np.where(levels > 0, f1, 0.0)
    middles = 0.5 * (levels + np.concatenate([[0.0], levels[:-1]]))
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(middles[best[np.argmin(np.abs(middles[best] - NEUTRAL))]])
