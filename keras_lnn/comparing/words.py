"""Sentences that say what the numbers of a comparison show, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Callable

from keras_lnn.comparing.comparison import SIGNIFICANT, Comparison, Model, is_better
from keras_lnn.comparing.pairs import Pair
from keras_lnn.evaluation.cautions import BELOW_CHANCE, NO_ERROR
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.statistics.paired_tests import RESAMPLED
from keras_lnn.statistics.texts import number, p_value, signed

# Up to this many labels with a significant difference are listed with its value.
_MOST_LABELS_NAMED = 8
# A true difference is found in four of five experiments if it lies this many standard errors beyond the limit.
_FOUR_OF_FIVE = 0.8416


def describe_pair(comparison: Comparison, pair: Pair) -> str:
    """Returns a sentence about one pair of models and one metric."""
    label, difference = metric_label(pair.metric), pair.difference
    if math.isnan(difference.value):
        return f"The {label} of {pair.first} and {pair.second} cannot be compared: it is not defined."
    if difference.standard_error == 0:
        return _describe_without_spread(pair, label)
    p = comparison.reported_p(pair)
    count = comparison.comparisons(pair.metric)
    after = f" after correction for {count} comparisons" if count > 1 else ""
    if count > 1 and difference.p < SIGNIFICANT <= p:
        after += f", {p_value(difference.p)} before"
    if p < SIGNIFICANT:
        pair = pair if is_better(pair.metric, pair.first_value, pair.second_value) else pair.seen_from(pair.second)
        found = pair.difference
        which = "higher" if found.value > 0 else "lower"
        return (
            f"{pair.first} has a {which} {label} than {pair.second}: {number(pair.first_value)} against "
            f"{number(pair.second_value)}, a difference of {signed(found.value)} (95% interval {signed(found.low)} to "
            f"{signed(found.high)}, {p_value(p)}{after})."
        )
    seen = smallest_seen(comparison, pair)
    return (
        f"The data do not show which of {pair.first} and {pair.second} has the better {label}: "
        f"{number(pair.first_value)} against {number(pair.second_value)}, a difference of {signed(difference.value)} "
        f"(95% interval {signed(difference.low)} to {signed(difference.high)}, {p_value(p)}{after}). "
        f"{_describe_smallest(comparison, pair, seen)}"
    )


def smallest_seen(comparison: Comparison, pair: Pair) -> float:
    """Returns the true difference that four of five such experiments would find, after the correction."""
    from scipy.stats import t

    level = SIGNIFICANT / 2 / max(comparison.comparisons(pair.metric), 1)
    limit = float(t.isf(level, pair.difference.degrees))
    return (limit + _FOUR_OF_FIVE) * pair.difference.standard_error


def describe_all(comparison: Comparison) -> dict[str, list[str]]:
    """Returns the sentences of each metric that is described in words, significant differences first."""
    return _describe_each(comparison, comparison.reported_pairs)


def describe_folds(comparison: Comparison) -> list[str]:
    """Returns the sentences on the differences of cross-validations on average over the folds; none for runs."""
    found = _describe_each(comparison, comparison.reported_fold_pairs)
    return [sentence for sentences in found.values() for sentence in sentences]


def describe_questions(comparison: Comparison) -> tuple[str, str]:
    """Returns which question the means over the folds of cross-validations are about, and which all predictions."""
    samples = comparison.example.basis.samples
    return (
        f"Which of these ways to train gives the better networks from {samples} like these? Read the differences on"
        f" average over the folds: they count that other training {samples} give other networks.",
        f"Which of the networks that were trained here predicts new {comparison.example.basis.unit} better? Read the"
        f" differences of all predictions together: they count the choice of the {comparison.example.basis.unit} alone,"
        " so that they show smaller differences.",
    )


def _describe_each(comparison: Comparison, find_pairs: Callable[[str], list[Pair]]) -> dict[str, list[str]]:
    found = {}
    for metric in comparison.reported_metrics:
        pairs = sorted(find_pairs(metric), key=lambda pair: (_order(comparison.reported_p(pair)), pair.first))
        if pairs:
            found[metric] = [describe_pair(comparison, pair) for pair in pairs]
    return found


def describe_labels(comparison: Comparison) -> list[str]:
    """Returns, for multi-label tasks, a sentence per metric and pair of models on the labels in which they differ."""
    sentences = []
    for metric in dict.fromkeys(pair.metric for pair in comparison.label_pairs):
        reported = comparison.reported_label_pairs(metric)
        family = sum(not math.isnan(pair.difference.p) for pair in reported)
        for first, second in dict.fromkeys((pair.first, pair.second) for pair in reported):
            pairs = [pair for pair in reported if (pair.first, pair.second) == (first, second)]
            sentences.append(_describe_labels_of_pair(comparison, pairs, family))
    return sentences


def _describe_labels_of_pair(comparison: Comparison, pairs: list[Pair], family: int) -> str:
    shown = [pair for pair in pairs if comparison.reported_p(pair) < SIGNIFICANT]
    shown.sort(key=lambda pair: -abs(pair.difference.value))
    named = [
        f"{pair.label} {signed(pair.difference.value)} ({p_value(comparison.reported_p(pair))})"
        for pair in shown[:_MOST_LABELS_NAMED]
    ]
    named += [f"{len(shown) - _MOST_LABELS_NAMED} more"] if len(shown) > _MOST_LABELS_NAMED else []
    return (
        f"{metric_label(pairs[0].metric)} label by label, {pairs[0].first} minus {pairs[0].second}: the data show a "
        f"difference for {len(shown) or 'none'} of {len(pairs)} labels{': ' if named else ''}{', '.join(named)} "
        f"(p corrected for {family} comparisons)."
    )


def describe_summary(comparison: Comparison, metric: str) -> str:
    """Returns a sentence that says how many of the described differences of a metric the data show."""
    pairs = comparison.reported_pairs(metric)
    shown = sum(comparison.reported_p(pair) < SIGNIFICANT for pair in pairs)
    label = metric_label(metric)
    label = label[0].upper() + label[1:]
    if len(pairs) == 1:
        return f"{label}: the data {'show' if shown else 'do not show'} a difference."
    if comparison.reports_all_pairs:
        return f"{label}: the data show {shown or 'none'} of {len(pairs)} differences between two models."
    return (
        f"{label}: for {shown or 'none'} of the {len(pairs)} other models the data show a difference from "
        f"{comparison.reference}."
    )


def describe_cautions(comparison: Comparison) -> list[str]:
    """Returns cautions about single seeds, collapsed runs, copies, and what the metrics rest on."""
    models, example = comparison.models, comparison.example
    single = [model.name for model in models if model.seeds == 1]
    cautions = []
    if len(models) == 1:
        cautions.append("There is only one model, so there is nothing to compare it with.")
    if comparison.over_folds is not None:
        single = []  # a cross-validation trains several times, and says so itself
    elif len(single) == len(models):
        subject = "Each model was" if len(models) > 1 else "The model was"
        these = "these trained models" if len(models) > 1 else "this trained model"
        cautions.append(f"{subject} trained once: the results describe {these}, not the training method.")
    if single and len(single) < len(models):
        cautions.append(
            f"{_join(single)} {'was' if len(single) == 1 else 'were'} trained once: the intervals do not include the "
            "variation between seeds."
        )
    cautions += [_describe_collapse(model) for model in models if model.collapsed]
    if comparison.left_out:
        places = _join([str(run.path) for run in comparison.left_out])
        cautions.append(f"Left out, because another run of the same model has the same seed: {places}.")
    positives = {run.positive_class for model in models for run in model.runs}
    if len(positives) > 1:
        cautions.append(
            f"The runs were trained with {_join(sorted(map(str, positives)))} as their positive classes: here all "
            f"metrics are for {comparison.positive_class}."
        )
    if example.split == "val":
        cautions.append("The epochs were chosen on validation, so its metrics are too good.")
    # Warnings that all runs share are about the samples; the rest are about single runs.
    runs = [run for model in models for run in model.runs]
    shared = [text for text in example.warnings if all(text in run.warnings for run in runs)]
    model_markers = ("collapsed", NO_ERROR, BELOW_CHANCE)
    named = [
        f"{model.name}: {text}"
        for marker in (BELOW_CHANCE, NO_ERROR)
        for model in models
        for text in model.runs[0].warnings
        if marker in text
    ]
    if comparison.over_folds is not None:
        own = [(model.name, text) for model in models for text in model.runs[0].warnings if text not in shared]
        named += [f"{name}: {text}" for name, text in own if f"{name}: {text}" not in (*cautions, *named)]
    return cautions + named + [text for text in shared if not any(marker in text for marker in model_markers)]


def describe_basis(comparison: Comparison) -> str:
    """Returns a sentence that says what intervals and tests rest on."""
    basis = comparison.example.basis
    if basis.unit == "patients":
        return f"Intervals and tests are over {basis}: {basis.samples} of one patient count together."
    sample = "image" if basis.samples == "images" else basis.samples
    return f"Intervals and tests are over {basis}: no patients are known, so each {sample} counts as independent."


def describe_reference(comparison: Comparison) -> str:
    """Returns a sentence that names the reference and says why it was chosen."""
    if comparison.reference_given:
        return f"Reference: {comparison.reference}, as requested."
    leading = metric_label(comparison.example.leading)
    return f"Reference: {comparison.reference}, the best by its mean validation {leading}."


def _describe_without_spread(pair: Pair, label: str) -> str:
    if pair.difference.value == 0 or pair.difference.p == 1:
        return f"{pair.first} and {pair.second} have the same {label}: their predictions do not differ in it."
    return (
        f"{pair.first} has {number(pair.first_value)} and {pair.second} {number(pair.second_value)} as {label}; the "
        "uncertainty of the difference cannot be estimated, because nothing varies over the samples."
    )


def _describe_smallest(comparison: Comparison, pair: Pair, seen: float) -> str:
    example = comparison.example
    seeds = {model.seeds for model in comparison.models if model.name in (pair.first, pair.second)}
    basis, split = example.basis, _split_name(example.split)
    if pair.test == RESAMPLED:
        given = f"With {pair.difference.degrees + 1:.0f} folds"
    else:
        given = f"With {example.samples:,} {split} samples"
        given += f" of {basis.count:,} patients" if basis.unit == "patients" else ""
        if seeds != {1}:
            count = f"{min(seeds)} seeds each" if len(seeds) == 1 else f"{min(seeds)} and {max(seeds)} seeds"
            given += f" and {count}"
    if seen >= 1:
        return f"{given}, hardly any difference could be detected."
    rounded = number(seen, 2 if seen >= 0.01 else 3)
    return f"{given}, only differences above about {rounded} are likely to be detected."


def _describe_collapse(model: Model) -> str:
    if model.seeds == 1:
        return f"{model.name}: {next(text for text in model.runs[0].warnings if 'has collapsed' in text)}"
    which = "which means that they never or always predict some class"
    return f"{model.name}: {model.collapsed} of {model.seeds} runs have collapsed, {which}."


def _split_name(split: str) -> str:
    return {"val": "validation"}.get(split, split)


def _join(names: list[str]) -> str:
    if len(names) > 6:
        names = [*names[:5], f"{len(names) - 5} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _order(p: float) -> float:
    return math.inf if math.isnan(p) else p
