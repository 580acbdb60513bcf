"""Calibration: scales and offsets of logits, fitted on validation, under which probabilities are what they say.

Temperature scaling divides all logits by one number, which changes neither the order of the images nor any decision at
one half: Guo, Pleiss, Sun and Weinberger (2017), "On calibration of modern neural networks", ICML. Their vector scaling
gives each class a scale and an offset of its own. Of two classes, and of each of several labels, that is Platt scaling
(1999): a slope and an offset. An offset mends a wrong share of positives, which a temperature cannot, but it moves
decisions at one half and takes more validation images to be known; so it is not the default.

The likelihood is taken as if, in sum, one validation sample more were wrong, much as Platt does: a model that is right
about all of them, or nearly, would else become as sure as numbers allow, and pay for it at its first error in the test.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

UNCALIBRATED = "none"
METHODS = (UNCALIBRATED, "temperature", "vector")
# From fewer samples the likeliest scale is mostly chance.
FEWEST_SAMPLES = 20
# Where the likeliest scale lies beyond, the logits say nothing or nearly everything.
_SCALES = (0.01, 100.0)
_LARGEST_OFFSET = 100.0


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What is done to logits before they become probabilities: ``logits * scales + offsets``.

    Args:
        method: ``temperature`` or ``vector``.
        scales: One positive number, or one for each class or label; the inverse of a temperature.
        offsets: One for each class or label, or none.
    """

    method: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...] = ()

    def apply(self, logits: Any) -> Any:
        """Returns the calibrated logits, (..., classes or labels); float32 arrays or tensors, also within a graph."""
        import numpy as np

        scaled = logits * np.array(self.scales, np.float32)
        return scaled + np.array(self.offsets, np.float32) if self.offsets else scaled

    def undo(self, probabilities: np.ndarray, exclusive: bool) -> np.ndarray | None:
        """Returns the probabilities without calibration, from those with it, float64 of the same shape.

        A softmax forgets what its logits have in common, so that nothing is returned where classes differ in scale.

        Args:
            probabilities: (samples, classes or labels).
            exclusive: Whether each sample has exactly one of the classes, so that they come from a softmax.
        """
        import numpy as np

        if exclusive and len(set(self.scales)) > 1:
            return None
        numbers = np.finfo(np.float32)  # in which probabilities are predicted; what rounds to 0 or 1 lies beyond
        known = np.asarray(probabilities, np.float64).clip(float(numbers.tiny), 1.0)
        logits = np.log(known)
        if not exclusive:
            logits -= np.log1p(-known.clip(None, 1 - float(numbers.epsneg) / 2))
        logits = (logits - np.array(self.offsets)) / self.scales if self.offsets else logits / self.scales
        if not exclusive:
            return 1 / (1 + np.exp(-logits))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    def fits(self, outputs: int) -> bool:
        """Returns whether the numbers can belong to a model of so many outputs.

        Args:
            outputs: How many classes or labels it has.
        """
        numbers = (*self.scales, *self.offsets)
        whole = all(isinstance(value, int | float) and math.isfinite(value) for value in numbers)
        lengths = len(self.scales) in (1, outputs) and len(self.offsets) in (0, outputs)
        return self.method in METHODS[1:] and whole and lengths and all(scale > 0 for scale in self.scales)

    def describe(self, class_names: Sequence[str]) -> str:
        """Returns the method and its numbers in words, such as ``temperature 0.412``.

        Args:
            class_names: One name for each class or label.
        """
        if len(self.scales) == 1:
            text = f"temperature {1 / self.scales[0]:.3g}"
        else:
            text = "temperatures " + ", ".join(
                f"{name} {1 / scale:.3g}" for name, scale in zip(class_names, self.scales, strict=True)
            )
        if not self.offsets:
            return text
        shifted = zip(class_names, self.offsets, strict=True)
        return f"{text}; offsets " + ", ".join(f"{name} {offset:+.3g}" for name, offset in shifted if offset)


def fit_calibration(logits: np.ndarray, truth: np.ndarray, method: str) -> tuple[Calibration | None, str]:
    """Returns the calibration of the largest likelihood, and a sentence where something is left as it is.

    Args:
        logits: Of samples that must not be those of the test, (samples, classes or labels).
        truth: Class indices (samples,), or 0/1 (samples, labels).
        method: One of ``METHODS``.

    Returns:
        None where nothing can or shall be calibrated, and the reason; empty where there is nothing to say.
    """
    import numpy as np

    if method == UNCALIBRATED:
        return None, ""
    logits = np.asarray(logits, np.float64)
    if len(logits) < FEWEST_SAMPLES:
        return None, _left(f"the validation split has {len(logits)} samples, and {FEWEST_SAMPLES} are the fewest")
    if not np.isfinite(logits).all():
        return None, _left("the model gives numbers that are not finite")
    fit = _fit_classes if truth.ndim == 1 else _fit_labels
    return fit(logits, truth.astype(np.int64), method)


def _left(reason: str) -> str:
    return f"Probabilities are not calibrated: {reason}."


def _fit_classes(logits: np.ndarray, truth: np.ndarray, method: str) -> tuple[Calibration | None, str]:
    import numpy as np

    classes = logits.shape[1]
    seen = len(np.unique(truth))
    if seen < 2:
        return None, _left("the validation split has a single class")
    if method == "temperature" or seen < classes:
        (scale,), _ = _minimise(_softmax_loss(logits, truth), 1, 0)
        missing = "Calibrated by one temperature, since the validation split lacks a class."
        return Calibration("temperature", (scale,)), "" if method == "temperature" else missing
    if classes == 2:
        # Each class with a scale of its own could change the order of the images.
        distance = logits[:, 1] - logits[:, 0]
        (scale,), (offset,) = _minimise(_sigmoid_loss(distance, truth), 1, 1)
        return Calibration(method, (scale,), (0.0, offset)), ""
    scales, offsets = _minimise(_softmax_loss(logits, truth), classes, classes)
    return Calibration(method, scales, offsets), ""


def _fit_labels(logits: np.ndarray, truth: np.ndarray, method: str) -> tuple[Calibration | None, str]:
    scales, offsets, left = [], [], []
    for place, (column, positive) in enumerate(zip(logits.T, truth.T, strict=True)):
        if not 0 < positive.sum() < len(positive):
            left.append(place)
            scales.append(1.0)
            offsets.append(0.0)
            continue
        scale, offset = _minimise(_sigmoid_loss(column, positive), 1, int(method == "vector"))
        scales += scale
        offsets += offset or (0.0,)
    if len(left) == logits.shape[1]:
        return None, _left("the validation split has one side only of each label")
    note = (
        f"{len(left)} of {logits.shape[1]} labels are not calibrated: the validation split has one side only of them."
    )
    return Calibration(method, tuple(scales), tuple(offsets) if any(offsets) else ()), note if left else ""


# The mean negative log likelihood with its gradients by each scale and each offset.
Loss = Callable[["np.ndarray", "np.ndarray"], tuple[float, "np.ndarray", "np.ndarray"]]


def _softmax_loss(logits: np.ndarray, truth: np.ndarray) -> Loss:
    """Returns the loss of classes, which takes one scale for all of them or one for each."""
    import numpy as np
    from scipy.special import log_softmax

    wrong = _share_wrong(truth)
    targets = np.full(logits.shape, wrong / (logits.shape[1] - 1))
    targets[np.arange(len(truth)), truth] = 1 - wrong

    def loss(scales: np.ndarray, offsets: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        logarithms = log_softmax(logits * scales + (offsets if offsets.size else 0.0), axis=1)
        gradient = np.exp(logarithms) - targets
        by_scale = (gradient * logits).mean(axis=0)
        by_scale = by_scale.sum(keepdims=True) if scales.size == 1 else by_scale
        return -float((targets * logarithms).sum(axis=1).mean()), by_scale, gradient.mean(axis=0)[: offsets.size]

    return loss


def _sigmoid_loss(scores: np.ndarray, truth: np.ndarray) -> Loss:
    """Returns the loss of one label."""
    import numpy as np
    from scipy.special import expit

    wrong = _share_wrong(truth)
    targets = np.where(truth == 1, 1 - wrong, wrong)

    def loss(scales: np.ndarray, offsets: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        scaled = scores * scales + (offsets if offsets.size else 0.0)
        gradient = expit(scaled) - targets
        value = float((np.logaddexp(0, scaled) - scaled * targets).mean())
        by_scale, by_offset = np.array([(gradient * scores).mean()]), np.array([gradient.mean()])
        return value, by_scale, by_offset[: offsets.size]

    return loss


def _share_wrong(truth: np.ndarray) -> float:
    """Returns the share of each sample that counts as wrong, which sums to about one sample."""
    return 1 / (len(truth) + 2)


def _minimise(loss: Loss, scales: int, offsets: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the scales and offsets of the smallest loss, which is convex, within their bounds."""
    import numpy as np
    from scipy.optimize import minimize

    def value_and_gradient(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        value, by_scale, by_offset = loss(numbers[:scales], numbers[scales:])
        return value, np.concatenate([by_scale, by_offset])

    found = minimize(
        value_and_gradient,
        np.repeat([1.0, 0.0], [scales, offsets]),
        jac=True,
        method="L-BFGS-B",
        bounds=[_SCALES] * scales + [(-_LARGEST_OFFSET, _LARGEST_OFFSET)] * offsets,
        options={"ftol": 1e-14, "gtol": 1e-10, "maxiter": 1000},
    )
    return tuple(found.x[:scales].tolist()), tuple(found.x[scales:].tolist())
