"""Every kind of sentence, word for word."""

import dataclasses
import math

import numpy as np
import pytest
from run_samples import binary_probabilities, make_truth, write_breast_runs, write_run

from keras_lnn.comparing import compare, load_runs, words
from keras_lnn.statistics.paired_tests import Difference

TRUTH = make_truth()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = write_breast_runs(tmp_path_factory.mktemp("two"), {"A": 1.2, "B": 0.4})
    return compare(load_runs([folder]))


def with_difference(comparison, metric="auc", **changes):
    """The only pair of two models with another result."""
    found = {"value": 0.091, "low": 0.05, "high": 0.13, "standard_error": 0.02, "degrees": math.inf, "p": 0.0002}
    pair = next(pair for pair in comparison.pairs if pair.metric == metric)
    difference = Difference(**{**found, **changes})
    return dataclasses.replace(
        pair, first="A", second="B", first_value=0.871, second_value=0.78, difference=difference, corrected=difference.p
    )


def test_a_significant_difference_is_described(two):
    assert words.describe_pair(two, with_difference(two)) == (
        "A has a higher AUC than B: .871 against .780, a difference of +.091 (95% interval +.050 to +.130, p = .0002)."
    )


def test_the_better_model_comes_first(two):
    sentence = words.describe_pair(two, with_difference(two, "brier"))
    # A has the larger Brier score, which is the worse one.
    assert sentence.startswith("B has a lower Brier score than A: .780 against .871, a difference of −.091 (95% inter")


def test_an_insignificant_difference_is_described(two):
    pair = with_difference(two, value=0.004, low=-0.021, high=0.03, standard_error=0.013, p=0.76)
    # (1.960 + 0.842) times .013 is .036.
    assert words.describe_pair(two, pair) == (
        "The data do not show which of A and B has the better AUC: .871 against .780, a difference of +.004 (95% "
        "interval −.021 to +.030, p = .76). With 156 test samples, only differences above about .04 are likely to be "
        "detected."
    )
    assert words.smallest_seen(two, pair) == pytest.approx(2.8016 * 0.013, abs=1e-5)


def test_a_difference_without_spread_is_described(two):
    nothing = {"low": math.nan, "high": math.nan, "standard_error": 0.0}
    sentence = words.describe_pair(two, with_difference(two, p=math.nan, **nothing))
    assert sentence.startswith("A has .871 and B .780 as AUC; the uncertainty of the difference cannot be estimated")
    same = words.describe_pair(two, with_difference(two, value=0.0, p=1.0, **nothing))
    assert same == "A and B have the same AUC: their predictions do not differ in it."
    undefined = words.describe_pair(two, with_difference(two, value=math.nan, p=math.nan, **nothing))
    assert undefined == "The AUC of A and B cannot be compared: it is not defined."


def test_corrections_are_named(tmp_path):
    comparison = compare(load_runs([write_breast_runs(tmp_path, {"A": 1.2, "B": 0.4, "C": 1.1})]))
    sentences = [sentence for found in words.describe_all(comparison).values() for sentence in found]
    assert len(sentences) == 6
    assert all("after correction for 3 comparisons" in sentence for sentence in sentences)
    pair = dataclasses.replace(with_difference(comparison, p=0.03), corrected=0.09)
    assert "p = .090 after correction for 3 comparisons, p = .030 before)" in words.describe_pair(comparison, pair)
    assert words.describe_summary(comparison, "auc").startswith("AUC: the data show ")
    assert words.describe_summary(comparison, "auc").endswith(" of 3 differences between two models.")
    assert (
        words.describe_reference(comparison)
        == f"Reference: {comparison.reference}, the best by its mean validation AUC."
    )


def test_many_models_are_reported_against_the_reference(tmp_path):
    strengths = {f"network-{index}": 0.4 + 0.1 * index for index in range(7)}
    comparison = compare(load_runs([write_breast_runs(tmp_path, strengths)]))
    sentences = words.describe_all(comparison)["auc"]
    assert len(sentences) == 6
    assert all(comparison.reference in sentence and "for 6 comparisons" in sentence for sentence in sentences)
    assert words.describe_summary(comparison, "auc").endswith(
        f"of the 6 other models the data show a difference from {comparison.reference}."
    )
    reported = compare(load_runs([tmp_path]), "network-0")
    assert words.describe_reference(reported) == "Reference: network-0, as requested."


def test_cautions_are_listed_in_full(two, tmp_path):
    once = "Each model was trained once: the results describe these trained models, not the training method."
    assert words.describe_cautions(two) == [once]
    constant = np.tile([0.4, 0.6], (len(TRUTH), 1))
    write_run(tmp_path / "a", TRUTH, constant, model="dnn")
    alone = words.describe_cautions(compare(load_runs([tmp_path])))
    assert alone[0] == "There is only one model, so there is nothing to compare it with."
    assert alone[1].startswith("The model was trained once: the results describe this trained model")
    assert alone[2].startswith("dnn: The model predicts 'normal, benign' for all 156 samples")
    for seed in range(2):
        write_run(tmp_path / f"b{seed}", TRUTH, binary_probabilities(TRUTH, 1.0, seed), seed=seed)
    write_run(tmp_path / "b-again", TRUTH, binary_probabilities(TRUTH, 1.0, 1), seed=1)
    mixed = words.describe_cautions(compare(load_runs([tmp_path])))
    assert mixed[0].startswith("dnn was trained once: the intervals do not include the variation")
    assert any(text.startswith("Left out, because another run of the same model has the same seed") for text in mixed)
    validation = words.describe_cautions(compare(load_runs([tmp_path], split="val")))
    assert "The epochs were chosen on validation, so its metrics are too good." in validation


def test_sentences_refer_to_patients_where_they_are_known(tmp_path):
    patients = [f"P{index // 4}" for index in range(len(TRUTH))]
    for place, model in enumerate(["lnn", "cnn"]):
        write_run(tmp_path / model, TRUTH, binary_probabilities(TRUTH, 1.0, place), model=model, groups=patients)
    comparison = compare(load_runs([tmp_path]))
    assert words.describe_basis(comparison) == (
        "Intervals and tests are over 39 patients (156 images): images of one patient count together."
    )
    assert "With 156 test samples of 39 patients, only differences above" in words.describe_all(comparison)["auc"][0]


def test_sentences_count_images_where_patients_are_unknown(two):
    assert words.describe_basis(two) == (
        "Intervals and tests are over 156 images: no patients are known, so each image counts as independent."
    )


def test_models_with_perfect_metrics_are_named(tmp_path):
    perfect = np.where(TRUTH == 1, 0.9, 0.1)
    write_run(tmp_path / "a", TRUTH, np.stack([1 - perfect, perfect], axis=1), model="lnn")
    write_run(tmp_path / "b", TRUTH, binary_probabilities(TRUTH, 1.0, 1), model="cnn")
    cautions = words.describe_cautions(compare(load_runs([tmp_path])))
    assert next(text for text in cautions if "No error was seen" in text).startswith("lnn: No error was seen: AUC, acc")
    assert not any(text.startswith(("No error", "cnn: No error")) for text in cautions)


def test_sentences_name_seeds_where_they_limit_the_detectable_difference(tmp_path):
    folder = write_breast_runs(tmp_path, {"lnn": 1.0, "dnn": 1.0}, seeds=2)
    sentence = words.describe_all(compare(load_runs([folder])))["auc"][0]
    assert "With 156 test samples and 2 seeds each, only differences above about" in sentence
