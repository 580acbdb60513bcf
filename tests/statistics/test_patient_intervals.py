"""Coverage of 95% intervals where several images belong to one patient, by patients and by images."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit

from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.statistics.deviations import Units, auc_deviations
from keras_lnn.statistics.measurements import measure_auc, measure_loss, measure_proportion
from keras_lnn.statistics.paired_tests import Measured, compare_auc, compare_means

METRICS = ("auc", "accuracy", "sensitivity", "specificity", "brier", "log_loss")


@dataclasses.dataclass(frozen=True)
class Patients:
    """A population of patients with unequal numbers of images.

    Args:
        images: Images of an experiment, on average.
        by_patient: Whether all images of a patient have one class.
        correlation: Correlation of the scores of two images of one patient.
        mean_images: Images of a patient, on average: from one to nearly twice as many.
    """

    images: int
    by_patient: bool = True
    correlation: float = 0.6
    mean_images: int = 5

    def draw(self, generator, images=None):
        """Draws truth, scores and the patient of each image."""
        count = (images or self.images) // self.mean_images
        patient = np.repeat(np.arange(count), generator.integers(1, 2 * self.mean_images, count))
        positive = generator.random(count)[patient] < 0.4 if self.by_patient else generator.random(len(patient)) < 0.4
        return positive, 1.6 * (positive - 0.5) + self.draw_noise(generator, patient), patient

    def draw_noise(self, generator, patient):
        """Draws what a score has of its patient and of its image."""
        common, own = generator.standard_normal(patient.max() + 1)[patient], generator.standard_normal(len(patient))
        return np.sqrt(self.correlation) * common + np.sqrt(1 - self.correlation) * own


def measure(positive, scores, patient, names):
    """The metrics by the functions of an evaluation, without the others, which take most of its time."""
    units = Units(len(positive), patient)
    predicted, probability = scores > 0, expit(1.6 * scores)
    every = np.ones(len(positive), bool)
    possible = {
        "auc": lambda: measure_auc(positive, scores, units, 0.95),
        "accuracy": lambda: measure_proportion(predicted == positive, every, units, 0.95),
        "sensitivity": lambda: measure_proportion(predicted, positive, units, 0.95),
        "specificity": lambda: measure_proportion(~predicted, ~positive, units, 0.95),
        "brier": lambda: measure_loss((probability - positive) ** 2, 1.0, True, units, 0.95),
        "log_loss": lambda: measure_loss(np.logaddexp(0, -1.6 * scores * (2 * positive - 1)), 15.9, True, units, 0.95),
    }
    return {name: possible[name]().estimate for name in names}


def find_coverage(population, experiments, names=METRICS, seed=0):
    """The share of experiments whose interval holds the true value, by patients and by images, for each metric."""
    generator = np.random.default_rng(seed)
    positive, scores, _ = population.draw(generator, 1_000_000)
    true = {name: estimate.value for name, estimate in measure(positive, scores, None, names).items()}
    held = {unit: dict.fromkeys(names, 0) for unit in ("patients", "images")}
    for _ in range(experiments):
        positive, scores, patient = population.draw(generator)
        for unit, groups in (("patients", patient), ("images", None)):
            for name, found in measure(positive, scores, groups, names).items():
                held[unit][name] += found.low <= true[name] <= found.high
    return {unit: {name: count / experiments for name, count in counts.items()} for unit, counts in held.items()}


def test_the_quick_way_measures_what_an_evaluation_reports():
    positive, scores, patient = Patients(100).draw(np.random.default_rng(1))
    probabilities = np.stack([expit(-1.6 * scores), expit(1.6 * scores)], axis=1)
    about = {"task": "binary", "class_names": ("no", "yes"), "groups": patient}
    expected = evaluate_predictions(positive.astype(int), probabilities, **about).metrics
    for name, found in measure(positive, scores, patient, METRICS).items():
        assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected[name]), abs=1e-3), name


def test_intervals_by_patient_hold_where_those_by_image_do_not():
    held = find_coverage(Patients(200), 300, ("auc", "accuracy"))
    # Of 300 shares of .95 one in a hundred lies beyond these.
    assert all(0.91 <= share <= 0.98 for share in held["patients"].values()), held
    assert all(share < 0.85 for share in held["images"].values()), held


def test_the_deviations_of_a_loss_are_those_of_leaving_out_each_patient():
    generator = np.random.default_rng(4)
    _, scores, patient = Patients(60).draw(generator)
    losses, units = expit(scores), Units(len(scores), [f"{name:03}" for name in patient])
    count = patient.max() + 1
    left_out = np.array([losses[patient != one].mean() for one in range(count)])
    expected = (count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()
    found = measure_loss(losses, 1.0, True, units, 0.95)
    assert (found.deviations**2).sum() == pytest.approx(expected)
    # Equally many images of each patient are as many patients; one patient with nearly all images is hardly one.
    assert Units(6, ["a", "b", "c"] * 2).even_count == pytest.approx(3)
    assert Units(102, ["a"] * 100 + ["b", "c"]).even_count == pytest.approx(1, abs=0.01)
    alone = measure_loss(losses, 1.0, True, Units(len(scores)), 0.95)
    assert (alone.deviations**2).sum() == pytest.approx(losses.var(ddof=1) / len(losses))


@pytest.mark.slow
@pytest.mark.parametrize("by_patient", [True, False])
@pytest.mark.parametrize("images", [100, 200, 500, 1000])
def test_intervals_by_patient_have_their_coverage(images, by_patient):
    held = find_coverage(Patients(images, by_patient), 3000)
    print(images, by_patient, held)
    assert {name: share for name, share in held["patients"].items() if abs(share - 0.95) > 0.015} == {}
    assert all(share < 0.935 for share in held["images"].values())


def find_rejections(population, experiments, seed=0):
    """The share of p-values below .05 for two models that are equally good, by patients and by images."""
    generator = np.random.default_rng(seed)
    rejected = {unit: dict.fromkeys(("auc", "accuracy"), 0) for unit in ("patients", "images")}
    for _ in range(experiments):
        positive, first, patient = population.draw(generator)
        # The same images, and as much noise of the second model's own as is common to both.
        second = 0.5 * first + 0.8 * (positive - 0.5) + np.sqrt(0.75) * population.draw_noise(generator, patient)
        for unit, groups in (("patients", patient), ("images", None)):
            units = Units(len(positive), groups)
            rejected[unit]["auc"] += compare_auc(positive, first, second, groups=groups).p < 0.05
            every = np.ones(len(positive), bool)
            right = [(scores > 0) == positive for scores in (first, second)]
            measured = [measure_proportion(hits, every, units, 0.95) for hits in right]
            runs = [Measured([one.estimate], one.deviations[None]) for one in measured]
            rejected[unit]["accuracy"] += compare_means(*runs, degrees=units.count - 1).p < 0.05
    return {unit: {name: count / experiments for name, count in counts.items()} for unit, counts in rejected.items()}


def test_paired_tests_by_patient_err_as_rarely_as_they_say():
    rejected = find_rejections(Patients(200), 150)
    assert all(share <= 0.1 for share in rejected["patients"].values()), rejected
    assert all(share > 0.12 for share in rejected["images"].values()), rejected


@pytest.mark.parametrize("by_patient", [True, False])
def test_areas_are_compared_by_clusters_and_with_one_image_per_patient_by_delong(by_patient):
    generator = np.random.default_rng(2)
    population = Patients(150, by_patient, correlation=0.9)
    positive, first, patient = population.draw(generator)
    second = first + population.draw_noise(generator, patient)
    alone = compare_auc(positive, first, second)
    each = compare_auc(positive, first, second, groups=[f"patient {row}" for row in range(len(first))])
    assert dataclasses.astuple(each) == pytest.approx(dataclasses.astuple(alone))
    together = compare_auc(positive, first, second, groups=patient)
    assert together.value == alone.value
    assert together.standard_error > 1.2 * alone.standard_error
    # A whole copy of the images adds no patient: only corrections for small numbers are left of it.
    twice = compare_auc(*(np.tile(row, 2) for row in (positive, first, second)), groups=np.tile(patient, 2))
    assert twice.standard_error == pytest.approx(together.standard_error)


@pytest.mark.slow
@pytest.mark.parametrize("images", [100, 200, 500, 1000])
def test_paired_tests_by_patient_have_their_error_rate(images):
    rejected = find_rejections(Patients(images), 3000)
    print(images, rejected)
    # Of two areas of 20 or 40 patients the test is careful: it errs in 2 to 3% of cases.
    least = 0.01 if images < 500 else 0.035
    assert all(least <= share <= 0.065 for share in rejected["patients"].values())
    assert all(share > 0.12 for share in rejected["images"].values())


def test_the_variance_of_an_area_is_that_of_obuchowski():
    positive, scores, patient = Patients(60, by_patient=False).draw(np.random.default_rng(3))
    # By comparing every pair, as in Obuchowski (1997), Biometrics 53, 567, equations for clustered data.
    above = (scores[positive][:, None] > scores[~positive]) + 0.5 * (scores[positive][:, None] == scores[~positive])
    area, m, n = above.mean(), positive.sum(), (~positive).sum()
    count = patient.max() + 1
    of_positive = np.bincount(patient[positive], above.mean(axis=1) - area, count)
    of_negative = np.bincount(patient[~positive], above.mean(axis=0) - area, count)
    with_positive, with_negative = (len(np.unique(patient[side])) for side in (positive, ~positive))
    expected = with_positive / ((with_positive - 1) * m**2) * (of_positive**2).sum()
    expected += with_negative / ((with_negative - 1) * n**2) * (of_negative**2).sum()
    expected += 2 * count / ((count - 1) * m * n) * (of_positive * of_negative).sum()
    found, deviations = auc_deviations(positive, scores)
    ours = (Units(len(positive), patient).gather_sides(deviations, positive) ** 2).sum()
    assert found == pytest.approx(area)
    # Only the correction of the covariance of both sides differs, which here is the mean of those of the sides.
    assert ours == pytest.approx(expected, rel=0.02)
