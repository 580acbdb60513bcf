"""Exact text of formatted numbers."""

import math

import pytest

from keras_lnn.statistics import Estimate
from keras_lnn.statistics.texts import interval, number, p_value, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.871, ".871"), (1.0, "1.000"), (0.0, ".000"), (-0.0204, "−.020"), (0.99996, "1.000"), (math.nan, "–")],
)
def test_numbers_are_formatted(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.091, "+.091"), (-0.021, "−.021"), (-0.0001, "+.000"), (0.0, "+.000"), (math.nan, "–")]
)
def test_signed_numbers_are_formatted(value, text):
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00001, "p < .0001"),
        (0.0002, "p = .0002"),
        (0.0123, "p = .012"),
        (0.94, "p = .94"),
        (0.999, "p = 1"),
        (1.0, "p = 1"),
        (math.nan, "no p-value"),
    ],
)
def test_p_values_are_formatted(value, text):
    assert p_value(value) == text


def test_intervals_are_formatted():
    assert interval(Estimate(0.871, 0.8, 0.92)) == ".871 (.800 to .920)"
    assert interval(Estimate(1.0, math.nan, math.nan)) == "1.000"
