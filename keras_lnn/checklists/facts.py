"""The facts of a run by the names that the items of a guideline give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keras_lnn.checklists import data_facts, model_facts, result_facts
from keras_lnn.checklists.described_run import DescribedRun
from keras_lnn.pages.rendering import Table

# Each returns sentences and tables; nothing if the run has not recorded it.
FACTS: Mapping[str, Callable[[DescribedRun], Sequence[str | Table]]] = {
    "data": data_facts.describe_data,
    "reading": data_facts.describe_selection,
    "missing": data_facts.describe_missing,
    "labels": data_facts.describe_labels,
    "preprocessing": data_facts.describe_preprocessing,
    "input": data_facts.describe_input,
    "splits": data_facts.show_splits,
    "assignment": data_facts.describe_assignment,
    "separation": data_facts.describe_separation,
    "test_size": data_facts.describe_test_size,
    "task": model_facts.describe_task,
    "model": model_facts.describe_model,
    "output": model_facts.describe_output,
    "thresholds": model_facts.describe_thresholds,
    "promised": model_facts.describe_sets_and_referral,
    "software": model_facts.describe_software,
    "hardware": model_facts.describe_hardware,
    "initialisation": model_facts.describe_initialisation,
    "training": model_facts.list_training,
    "augmentation": model_facts.describe_augmentation,
    "imbalance": model_facts.describe_imbalance,
    "kept": model_facts.describe_kept,
    "combining": model_facts.describe_combining,
    "availability": model_facts.describe_availability,
    "files": model_facts.describe_files,
    "use": model_facts.describe_purpose,
    "result": result_facts.state_result,
    "metrics": result_facts.show_metrics,
    "classes": result_facts.show_classes,
    "measures": result_facts.list_measures,
    "intervals": result_facts.describe_intervals,
    "calibration": result_facts.describe_calibrated,
    "tested": result_facts.describe_tested,
    "external": result_facts.describe_external,
    "warnings": result_facts.list_warnings,
    "failures": result_facts.show_failures,
    "subgroups": result_facts.describe_groups,
    "corruptions": result_facts.describe_robustness,
    "folds": result_facts.describe_cross_validation,
}
