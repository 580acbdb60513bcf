"""Models compared under different samplings of the same series."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from keras_lnn.comparing.comparison import SIGNIFICANT, Comparison, Model, compare_pairs
from keras_lnn.data.thinning import Sampling
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.evaluation.sampling import SampledPredictions, sampling_row
from keras_lnn.statistics.paired_tests import mean_over_runs
from keras_lnn.statistics.texts import signed

# Up to this many samplings are listed with their differences.
_MOST_LISTED = 4


def with_sampling(comparison: Comparison, predicted: Mapping[Path, Sequence[SampledPredictions]]) -> Comparison:
    """Returns a comparison with the leading metric of each model under each sampling, as the mean over its seeds.

    Under each sampling each model is compared with the reference on the same samples, as it is with all frames.

    Args:
        comparison: The comparison of the models.
        predicted: What each run predicts, by its folder, for the same samplings in the same order.
    """
    metric = comparison.example.leading
    count = len(predicted[comparison.example.path])
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for place in range(count):
        sampled = predicted[comparison.example.path][place]
        models = [_with_predictions(model, comparison.positive_class, predicted, place) for model in comparison.models]
        for model in models:
            rows.append(sampling_row(model.name, sampled, model.seeds, metric, model.metrics[metric]))
        differences += _compare_with_reference(models, comparison.reference, metric, sampled)
    table = pd.DataFrame(rows)
    # The rows of one model stand together.
    order = {model.name: place for place, model in enumerate(comparison.models)}
    table = table.sort_values("model", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    return dataclasses.replace(comparison, sampling=table, sampling_differences=pd.DataFrame(differences))


def _with_predictions(
    model: Model, positive_class: str | None, predicted: Mapping[Path, Sequence[SampledPredictions]], place: int
) -> Model:
    """Returns a model with its leading metric as measured under one sampling."""
    example = model.runs[0]
    runs = [dataclasses.replace(run, probabilities=predicted[run.path][place].predicted) for run in model.runs]
    measured, _ = example.kind.measure(runs, positive_class=positive_class)
    estimate = mean_over_runs(measured[example.leading], highest=example.highest.get(example.leading, 1.0))
    return dataclasses.replace(model, runs=tuple(runs), measured=measured, metrics={example.leading: estimate})


def _compare_with_reference(
    models: Sequence[Model], reference: str, metric: str, sampled: SampledPredictions
) -> list[dict[str, Any]]:
    """Returns the rows of sampling_differences.csv for one sampling: each model minus the reference."""
    rows = []
    for pair in compare_pairs(metric, ("",), models, reference):
        if reference not in (pair.first, pair.second):
            continue
        pair = pair.seen_from(pair.second if pair.first == reference else pair.first)
        found = pair.difference
        row = {"sampling": sampled.kind, "amount": sampled.amount, "model": pair.first, "reference": reference}
        # The negative of no difference would be written as -0.
        value, low, high = (end + 0.0 for end in (found.value, found.low, found.high))
        row |= {"metric": metric, "difference": value, "low": low, "high": high, "p": found.p}
        rows.append(row | {"corrected": pair.corrected_against_reference, "test": pair.test})
    return rows


def name_sampling(kind: str, amount: float) -> str:
    """Returns what a sampling is called in sentences and tables."""
    return "all frames" if Sampling(kind, amount).keeps_all else f"{kind} {amount:g}"


def describe_sampling(differences: pd.DataFrame | None) -> list[str]:
    """Returns sentences that say which models differ from the reference with all frames and under other samplings.

    Args:
        differences: The rows of sampling_differences.csv, of one data set; None where that was not measured.
    """
    if differences is None or differences.empty:
        return []
    pairs = zip(differences["sampling"], differences["amount"], strict=True)
    names = [name_sampling(kind, amount) for kind, amount in pairs]
    once = differences.assign(name=names).drop_duplicates(["model", "name"])
    label, reference = metric_label(once["metric"].iloc[0]), once["reference"].iloc[0]
    sentences, alike = [], []
    for model, rows in once.groupby("model", sort=False):
        sentence = _describe_model(str(model), rows, f"{reference} in {label}")
        alike += [str(model)] if sentence is None else []
        sentences += [] if sentence is None else [sentence]
    if alike:
        which = f"any of {', '.join(alike)} differs" if len(alike) > 1 else f"{alike[0]} differs"
        sentences.append(
            f"Neither with all frames nor under another sampling do the data show that {which} from {reference} in"
            f" {label}."
        )
    return sentences


def _describe_model(model: str, rows: pd.DataFrame, reference: str) -> str | None:
    """Returns a sentence about one model; None if it differs from the reference under no sampling."""
    rows = rows.assign(shown=rows["corrected"] < SIGNIFICANT)
    whole, others = rows[rows["name"] == "all frames"], rows[rows["name"] != "all frames"]
    shown = others[others["shown"]]
    if not rows["shown"].any():
        return None
    first = next(whole.itertuples())
    by = f"({signed(first.difference)}, 95% interval {signed(first.low)} to {signed(first.high)})"
    if shown.empty:
        return f"{model} differs from {reference} with all frames {by}, but under none of the other samplings."
    under = _list_samplings(shown, len(others))
    if first.shown:
        return f"{model} differs from {reference} with all frames {by}, and {under}."
    return f"With all frames the data do not show that {model} differs from {reference} {by}, but they do {under}."


def _list_samplings(shown: pd.DataFrame, count: int) -> str:
    """Returns under how many of the other samplings a model differs, with the largest differences."""
    order = shown["difference"].abs().sort_values(ascending=False, kind="stable").index[:_MOST_LISTED]
    largest = shown.loc[order].to_dict("records")
    listed = ", ".join(f"{row['name']} ({signed(row['difference'])})" for row in largest)
    which = f"all {count} other samplings" if len(shown) == count else f"{len(shown)} of {count} other samplings"
    return f"under {which}{', most under ' if len(shown) > len(largest) else ': '}{listed}"
