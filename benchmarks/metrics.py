"""Compares the cost of metrics in a training step with that of the same set built from keras.metrics.

python benchmarks/metrics.py --labels 14 --batch-size 512

Mean F1, and F1, precision, recall and AUC per label: one ``ClassificationMetrics``, compared with F1Score, one
Precision and one Recall per label and AUCs of 200 thresholds, once as one for the mean of the labels (fewer numbers
than ours) and once as one per label. Each set is updated in one compiled function, alternating in one run; ``step`` is
an update followed by the results, which each step of ``fit`` computes.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.terminal import loading, make_console, print_rows, start_keras


class MetricsCommand(pydantic.BaseModel):
    """Measure what metrics cost."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    labels: int = pydantic.Field(14, ge=1, description="labels per sample")
    batch_size: int = pydantic.Field(512, ge=1, description="samples per update")
    rounds: int = pydantic.Field(30, ge=1, description="number of rounds in which all are timed in turn")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the sets of metrics and prints the results."""
    command = parse_command(MetricsCommand, arguments, "benchmarks/metrics.py")
    console = make_console(stderr=True)
    start_keras(console)
    with loading(console, "measuring") as progress:
        rows = measure(command, progress)
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    title = f"{command.labels} labels, batch {command.batch_size}, milliseconds (medians)"
    print_rows(rows, title, digits=3)
    return 0


def measure(command: MetricsCommand, progress: Callable[[float], None]) -> list[dict[str, Any]]:
    """Returns one row per set of metrics, with its time relative to the first set of keras.metrics."""
    import numpy as np
    import tensorflow as tf

    generator = np.random.default_rng(0)
    shape = (command.batch_size, command.labels)
    truth = tf.constant(generator.integers(0, 2, shape).astype("float32"))
    scores = tf.constant(generator.random(shape).astype("float32"))
    sets = make_sets(command.labels)
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for name, metrics in sets.items():
        for metric in metrics:
            metric.update_state(truth, scores)

        def update(metrics: list[Any] = metrics) -> None:
            for metric in metrics:
                metric.update_state(truth, scores)

        def step(metrics: list[Any] = metrics) -> list[Any]:
            update(metrics)
            return [metric.result() for metric in metrics]

        for what, function in (("update", update), ("step", step)):
            calls[name, what] = tf.function(function, autograph=False)
            calls[name, what]()
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for index in range(command.rounds):
        for name, call in calls.items():
            begun = time.perf_counter()
            for _ in range(10):
                call()
            times[name].append((time.perf_counter() - begun) / 10)
        progress((index + 1) / command.rounds)
    medians = {key: 1e3 * statistics.median(values) for key, values in times.items()}
    rows = []
    for name, metrics in sets.items():
        row: dict[str, Any] = {"set": name, "objects": len(metrics)}
        for what in ("update", "step"):
            value = medians[name, what]
            row |= {what: value, f"share_of_{what}": value / medians["keras.metrics, AUC of the mean", what]}
        rows.append(row)
    return rows


def make_sets(labels: int) -> dict[str, list[Any]]:
    """Returns the sets of metrics by name."""
    import keras

    from custom_metrics import ClassificationMetrics

    by_label = ["f1", *(f"{name}_per_class" for name in ("f1", "precision", "recall", "auc"))]

    def keras_metrics(aucs: list[Any]) -> list[Any]:
        ratios = [
            kind(thresholds=0.5, class_id=label)
            for kind in (keras.metrics.Precision, keras.metrics.Recall)
            for label in range(labels)
        ]
        return [keras.metrics.F1Score(average=None, threshold=0.5), *ratios, *aucs]

    mean = [keras.metrics.AUC(num_thresholds=200, multi_label=True, num_labels=labels)]
    each = [OneLabelAUC(label) for label in range(labels)]
    return {
        "ours, exact up to 4,096 samples (default)": [ClassificationMetrics("multi-label", by_label)],
        "ours, exact up to 11,219 samples": [ClassificationMetrics("multi-label", by_label, exact_samples=11_219)],
        "ours, by histogram": [ClassificationMetrics("multi-label", by_label, exact_samples=0)],
        "keras.metrics, AUC of the mean": keras_metrics(mean),
        "keras.metrics, AUC by label": keras_metrics(each),
    }


class OneLabelAUC:
    """An AUC of keras.metrics for one of several labels."""

    def __init__(self, label: int) -> None:
        import keras

        self.label, self.metric = label, keras.metrics.AUC(num_thresholds=200)

    def update_state(self, truth: Any, scores: Any) -> None:
        """Adds a batch."""
        self.metric.update_state(truth[:, self.label], scores[:, self.label])

    def result(self) -> Any:
        """Returns the AUC of that label."""
        return self.metric.result()


if __name__ == "__main__":
    run_main(main)
