"""Measures how often the intervals of an evaluation hold the true numbers: python benchmarks/coverage.py.

Images are drawn again and again from a world in which every true metric is known, at several numbers of images, shares
of positives and strengths of the model, and with patients of several images. A row of the table is one such setting, a
column a metric; a cell is the share of experiments whose 95% interval holds the true number, among those that have an
interval.
"""

import argparse
import dataclasses
import math

import numpy as np

from keras_lnn.evaluation.metrics import METRICS
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.terminal import print_rows

SHOWN = tuple(name for name in METRICS if name != "expected_calibration_error")
_WORLD = 300_000


@dataclasses.dataclass(frozen=True)
class Setting:
    """One simulated population from which images are drawn.

    Args:
        images: Number of images in an experiment.
        positives: Share of the positive class.
        strength: Distance of the two classes, in standard deviations of a score.
        prior: Whether the model knows how rare the positive class is; otherwise it takes both for equally frequent.
        patients: Number of patients in an experiment, with equal numbers of images; None where images are independent.
        correlation: Correlation of the scores between the images of one patient, and with ``patients`` of the classes
            too.
        class_by_patient: Whether all images of a patient have one class.
    """

    images: int
    positives: float
    strength: float
    prior: bool = False
    patients: int | None = None
    correlation: float = 0.0
    class_by_patient: bool = True

    def draw(
        self, generator: np.random.Generator, images: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
        """Draws truth, probabilities (images, 2) and the patient of each image, or None."""
        count = images or self.images
        images_per_patient = 1 if self.patients is None else self.images // self.patients
        units = count // images_per_patient
        patient = np.repeat(np.arange(units), images_per_patient)
        size = units if self.patients is not None and self.class_by_patient else len(patient)
        positive = generator.random(size) < self.positives
        positive = positive[patient] if size == units else positive
        noise = math.sqrt(self.correlation) * generator.standard_normal(units)[patient]
        noise += math.sqrt(1 - self.correlation) * generator.standard_normal(len(patient))
        odds = self.strength * (noise + self.strength * (positive - 0.5))
        odds += math.log(self.positives / (1 - self.positives)) if self.prior else 0.0
        second = 1 / (1 + np.exp(-odds))
        groups = None if self.patients is None else [str(name) for name in patient]
        return positive.astype(np.int64), np.stack([1 - second, second], axis=1), groups


def measure_coverage(
    setting: Setting, experiments: int, seed: int = 0, world: int = _WORLD
) -> dict[str, tuple[float, float]]:
    """Returns for each metric how often its interval contains the true value, and how often there is an interval.

    Args:
        setting: The population from which images are drawn.
        experiments: Number of sets that are drawn.
        seed: Seed of the random numbers.
        world: Number of images from which the true values are computed.
    """
    generator = np.random.default_rng(seed)
    truth, probabilities, _ = setting.draw(generator, world)
    true = {name: estimate.value for name, estimate in _evaluate(truth, probabilities, None).items()}
    held: dict[str, list[bool]] = {name: [] for name in SHOWN}
    for _ in range(experiments):
        for name, estimate in _evaluate(*setting.draw(generator)).items():
            if name in held and not math.isnan(estimate.low):
                held[name].append(estimate.low <= true[name] <= estimate.high)
    return {
        name: (float(np.mean(found)) if found else math.nan, len(found) / experiments) for name, found in held.items()
    }


def _evaluate(truth: np.ndarray, probabilities: np.ndarray, groups: list[str] | None) -> dict:
    found = evaluate_predictions(
        truth, probabilities, task="binary", class_names=("negative", "positive"), groups=groups
    )
    return found.metrics


def settings_of_images() -> list[Setting]:
    """Returns the settings with independent images."""
    return [
        Setting(images, positives, strength, prior)
        for images in (60, 100, 156, 500)
        for positives in (0.05, 0.1, 0.2, 0.5)
        for strength, prior in ((0.6, False), (1.4, True), (2.0, False), (2.8, True))
    ]


def settings_of_patients() -> list[Setting]:
    """Returns the settings with patients of several images."""
    return [
        Setting(patients * images, 0.4, strength, False, patients, 0.5, by_patient)
        for patients, images in ((12, 6), (40, 6), (100, 3))
        for strength in (1.0, 2.0)
        for by_patient in (True, False)
    ]


def main() -> None:
    """Measures all settings and prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000, help="number of simulated test sets for each row")
    experiments = parser.parse_args().experiments
    for title, settings in (("images", settings_of_images()), ("patients", settings_of_patients())):
        fields = [list(dataclasses.asdict(setting).values()) for setting in settings]
        varying = [place for place, values in enumerate(zip(*fields, strict=True)) if len(set(values)) > 1]
        names = [dataclasses.fields(Setting)[place].name for place in varying]
        rows, every = [], []
        for setting, values in zip(settings, fields, strict=True):
            found = measure_coverage(setting, experiments)
            about = {name: str(values[place]) for name, place in zip(names, varying, strict=True)}
            rows.append(about | {name: share for name, (share, _) in found.items()})
            every += [(share, name) for name, (share, given) in found.items() if given > 0.05]
        print_rows(
            rows, f"95% intervals over {title}: share that contains the true value, {experiments} experiments", 3
        )
        outside = [f"{name} {share:.3f}" for share, name in sorted(every) if not 0.93 <= share <= 0.98]
        print(f"{len(every) - len(outside)} of {len(every)} lie between .93 and .98; outside: {', '.join(outside)}")


if __name__ == "__main__":
    main()
