"""One number of several for choosing an epoch: the score of a published study."""

from typing import Any

import keras

from custom_metrics import ClassificationMetrics

WEIGHTS = {"accuracy": 0.2, "f1": 0.3, "iou": 0.5}


@keras.saving.register_keras_serializable(package="keras_lnn")
class ScoredMetrics(ClassificationMetrics):
    """Results of :class:`ClassificationMetrics` and, from the same counts, ``score``.

    The score is 0.2 accuracy + 0.3 F1 + 0.5 IoU. It was published with Dice in the place of the IoU. But Dice is F1,
    and what the study prints as Dice is F1 / (2 - F1) for each of its 18 networks, up to rounding (F1 96.13 and "Dice"
    92.56, 95.42 and 91.25): that is Jaccard's index, the IoU. With it the score ranks as it did there. Of two classes
    F1 and IoU are those of class 1; of more classes, or of several labels, they are the means over them.

    It is not among the results of :class:`ClassificationMetrics`, whose definitions everybody shares: the weights of
    one study are no such thing, and that file can be copied anywhere.

    Example:
        >>> metric = ScoredMetrics("binary", ["accuracy", "f1"])
        >>> metric.update_state([0, 1, 1, 1], [0.2, 0.9, 0.8, 0.1])
        >>> {name: round(float(value), 4) for name, value in metric.result().items()}
        {'accuracy': 0.75, 'f1': 0.8, 'score': 0.7233}
    """

    def _results(self, counts: Any, tables: dict[bool, tuple[Any, Any]]) -> dict[str, Any]:
        """All results by name, the score too."""
        average = None if self.kind == "binary" else "macro"
        parts = {part: self._compute(part, None if part == "accuracy" else average, counts) for part in WEIGHTS}
        score = sum(weight * parts[part] for part, weight in WEIGHTS.items())
        return {**super()._results(counts, tables), "score": score}
