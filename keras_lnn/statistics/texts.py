"""Numbers as people read them: values, differences, p-values and intervals."""

from __future__ import annotations

import math

from keras_lnn.statistics.intervals import Estimate


def number(value: float, digits: int = 3) -> str:
    """Returns a number between 0 and 1 as text without its leading zero, such as ``.871``."""
    if math.isnan(value):
        return "–"
    text = f"{abs(value):.{digits}f}"
    sign = "−" if value < 0 and float(text) else ""
    return sign + (text[1:] if text.startswith("0.") else text)


def signed(value: float, digits: int = 3) -> str:
    """Returns a difference as text with its sign, such as ``+.091``."""
    if math.isnan(value):
        return "–"
    return number(value, digits) if value < 0 and round(value, digits) else f"+{number(abs(value), digits)}"


def p_value(value: float) -> str:
    """Returns a p-value as text, such as ``p = .0002``."""
    if math.isnan(value):
        return "no p-value"
    if value < 0.0001:
        return "p < .0001"
    digits = 4 if value < 0.001 else 3 if value < 0.1 else 2
    return f"p = {number(value, digits)}" if round(value, digits) < 1 else "p = 1"


def interval(estimate: Estimate) -> str:
    """Returns a value with its interval as text, such as ``.871 (.80 to .92)``."""
    if math.isnan(estimate.low):
        return number(estimate.value)
    return f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"
