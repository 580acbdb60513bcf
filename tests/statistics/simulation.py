"""Simulated predictions of two correlated models of known AUC and accuracy, for the coverage of intervals."""

import dataclasses

import numpy as np
from scipy.stats import norm

from keras_lnn.statistics import measurements
from keras_lnn.statistics.deviations import Units, welch_degrees
from keras_lnn.statistics.paired_tests import Measured

# As the test split of BreastMNIST.
SAMPLES, POSITIVES = 156, 114
POSITIVE = np.arange(SAMPLES) < POSITIVES
# Shares of a score's variance: difficulty that is common to both models, a model's own, and a seed's own.
COMMON, OWN, OF_SEED = 0.4, 0.3, 0.3


@dataclasses.dataclass(frozen=True)
class Truth:
    """What a model's scores and right answers are in the long run, over samples and over seeds.

    Args:
        strength: How far apart the two classes lie, in standard deviations of a score.
        seed_effect: Standard deviation of the strength between seeds.
        threshold: Above which a score is answered as positive.
    """

    strength: float
    seed_effect: float
    threshold: float

    @property
    def auc(self):
        return norm.cdf(self.strength / np.sqrt(2 + self.seed_effect**2))

    @property
    def sensitivity(self):
        return norm.cdf((self.strength - self.threshold) / np.sqrt(1 + self.seed_effect**2))

    @property
    def specificity(self):
        return norm.cdf(self.threshold)

    @property
    def accuracy(self):
        return (POSITIVES * self.sensitivity + (SAMPLES - POSITIVES) * self.specificity) / SAMPLES


def draw_scores(generator, truths, seeds, positive=POSITIVE):
    """Scores of each model, (seeds, samples), for one draw of the test samples and of the seeds."""
    common = generator.standard_normal(SAMPLES)
    drawn = []
    for truth in truths:
        own = generator.standard_normal(SAMPLES)
        noise = generator.standard_normal((seeds, SAMPLES))
        strength = truth.strength + truth.seed_effect * generator.standard_normal((seeds, 1))
        difficulty = np.sqrt(COMMON) * common + np.sqrt(OWN) * own + np.sqrt(OF_SEED) * noise
        drawn.append(strength * positive + difficulty)
    return drawn


def measure_auc(scores):
    units = Units(SAMPLES)
    runs = [measurements.measure_auc(POSITIVE, row, units, 0.95) for row in scores]
    deviations = np.stack([run.deviations for run in runs])
    degrees = welch_degrees(deviations.mean(axis=0), POSITIVE.astype(int))
    return Measured([run.estimate for run in runs], deviations, degrees)


def measure_accuracy(correct):
    units, everything = Units(SAMPLES), np.ones(SAMPLES, bool)
    runs = [measurements.measure_proportion(row, everything, units, 0.95) for row in correct]
    return Measured([run.estimate for run in runs], np.stack([run.deviations for run in runs]), SAMPLES - 1)
