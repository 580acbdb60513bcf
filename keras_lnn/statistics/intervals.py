"""Confidence intervals that hold for few samples, for rare classes, and where no error was observed.

``benchmarks/coverage.py`` measures by simulation how often each of them contains the true value.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.errors import InputError

# Enough halvings for interval ends with nine correct digits.
_HALVINGS = 30


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval.

    Args:
        value: The number from all samples; nan where it is not defined.
        low: Lower end of the interval; nan if there is no interval.
        high: Upper end of the interval; nan if there is no interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_json(self) -> dict[str, float]:
        """Returns the three numbers by name."""
        return dataclasses.asdict(self)


def quantile(confidence: float, degrees: float = math.inf) -> float:
    """Returns how many standard errors an interval extends to either side: Student's t, or the normal quantile.

    Args:
        confidence: Share of experiments in which the interval contains the true value, between 0 and 1.
        degrees: Degrees of freedom of the standard error; fewer than one count as one.
    """
    from scipy.special import ndtri, stdtrit

    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1. Received: {confidence}. Give 0.95 for 95%.")
    share = (1 + confidence) / 2
    return float(ndtri(share) if math.isinf(degrees) else stdtrit(max(degrees, 1.0), share))


def proportion_interval(value: float, samples: float, reach: float) -> tuple[float, float]:
    """Returns the interval of a share of samples, such as accuracy or sensitivity.

    It is the interval of Agresti and Coull (1998), The American Statistician 52, 119: the centre of Wilson's interval
    with a width that is never smaller. From 30 samples on it contains a share between .5 and .995 in at least 93.4% of
    cases, whereas Wilson's falls to 86% and the mid-p interval to 92%; Clopper and Pearson's contains it in more than
    98% of cases for every ninth share at 60 samples. Where every sample is right, the lower end is a bound: .72 for 12
    of 12.

    Args:
        value: The share, from 0 to 1.
        samples: Number of independent samples; a fraction where samples of one patient depend on each other.
        reach: Standard errors to either side, from :func:`quantile`.
    """
    total = samples + reach**2
    centre = (value * samples + reach**2 / 2) / total
    width = reach * math.sqrt(centre * (1 - centre) / total)
    return max(centre - width, 0.0), min(centre + width, 1.0)


def auc_interval(
    value: float, positives: float, negatives: float, variance: float, reach: float
) -> tuple[float, float]:
    """Returns the interval of an area under the ROC curve.

    It contains the areas whose distance from the value is at most ``reach`` of *their own* standard errors, as Wilson's
    interval does for a share and method 5 of Newcombe (2006), Statistics in Medicine 25, 559, does for an area. The
    standard error is that of two normal distributions of equal width; where the measured variance is larger, it is
    enlarged at each area by the same factor. A perfect area thus has a bound, and the interval from three positives is
    not as narrow as their measured variance alone would make it.

    Args:
        value: The area.
        positives: Number of independent positive samples.
        negatives: Number of independent negative samples.
        variance: Variance of the area, by DeLong's method; 0 where nothing varies.
        reach: Standard errors to either side, from :func:`quantile`.
    """
    model = _binormal_variance(value, positives, negatives)
    factor = max(variance / model, 1.0) if model > 0 else 1.0

    def within(area: float) -> bool:
        return (value - area) ** 2 <= reach**2 * factor * _binormal_variance(area, positives, negatives)

    return _last_within(within, value, 0.0), _last_within(within, value, 1.0)


def mean_interval(value: float, variance: float, highest: float, reach: float) -> tuple[float, float]:
    """Returns the interval of the mean of a number between 0 and a limit, symmetric on the scale of the log odds.

    Args:
        value: The mean.
        variance: Variance of the mean.
        highest: The upper limit.
        reach: Standard errors to either side, from :func:`quantile`.

    Returns:
        The lower and the upper end; nan if the value is at a limit or does not vary.
    """
    if not 0 < value < highest or not variance > 0:
        return math.nan, math.nan
    odds = value / (highest - value)
    # A larger exponent would overflow; at this one the end already equals the limit to all digits.
    factor = math.exp(min(reach * math.sqrt(variance) * highest / (value * (highest - value)), 300.0))
    return highest * (odds / factor) / (1 + odds / factor), highest * (odds * factor) / (1 + odds * factor)


def interval_of_mean(parts: Sequence[Estimate], correlations: np.ndarray) -> tuple[float, float]:
    """Returns the interval of the mean of several numbers, from the interval of each.

    The distances from each number to its ends take the place of standard errors: the method of variance estimates
    recovery, Zou and Donner (2008), Statistics in Medicine 27, 1693.

    Args:
        parts: The numbers; those without an interval count as known exactly.
        correlations: Correlations of the numbers with each other, (parts, parts).
    """
    values, lows, highs = (np.array([getattr(part, name) for part in parts]) for name in ("value", "low", "high"))
    if np.isnan(lows).all():
        return math.nan, math.nan
    down, up = np.nan_to_num(values - lows), np.nan_to_num(highs - values)
    mean, count = float(values.mean()), len(parts)
    low = mean - math.sqrt(max(down @ correlations @ down, 0.0)) / count
    high = mean + math.sqrt(max(up @ correlations @ up, 0.0)) / count
    return low, high


def _binormal_variance(area: float, positives: float, negatives: float) -> float:
    """Returns the variance of an area where the scores of both classes are normally distributed with equal width."""
    from scipy.special import ndtr, ndtri, owens_t

    if not 0 < area < 1:
        return 0.0
    point = float(ndtri(area))
    # The probability that two samples of one class both lie on the right side of one sample of the other class.
    both = float(ndtr(point)) - 2 * float(owens_t(point, 1 / math.sqrt(3)))
    return (area * (1 - area) + (positives + negatives - 2) * max(both - area**2, 0.0)) / (positives * negatives)


def _last_within(within: Callable[[float], bool], start: float, end: float) -> float:
    """Returns, by bisection, the point farthest from ``start`` towards ``end`` for which ``within`` still holds."""
    if within(end):
        return end
    inside, outside = start, end
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if within(middle):
            inside = middle
        else:
            outside = middle
    return inside
