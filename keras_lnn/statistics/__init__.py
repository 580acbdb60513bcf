"""Metrics with their uncertainty: intervals of metrics, and paired tests of two models.

``intervals`` holds the formulas, ``deviations`` the contribution of each sample or patient to the uncertainty of a
metric, ``measurements`` the metrics themselves with both, ``bootstrap`` the resampling for segmentation metrics and
``paired_tests`` the comparison of models on the same samples. Nothing here depends on models or on files.
"""

from keras_lnn.statistics.intervals import Estimate

__all__ = ["Estimate"]
