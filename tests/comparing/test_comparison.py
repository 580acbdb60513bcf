"""The numbers of a comparison against scikit-learn, a direct bootstrap and the tests called alone."""

import dataclasses
import json
import math

import numpy as np
import pytest
from run_samples import (
    BLOOD,
    BREAST,
    CHEST,
    binary_probabilities,
    class_probabilities,
    label_probabilities,
    make_truth,
    write_breast_runs,
    write_label_runs,
    write_run,
)
from scipy.stats import ttest_1samp
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, recall_score, roc_auc_score

from keras_lnn.comparing import compare, load_runs
from keras_lnn.comparing.measuring import correct_predictions, measure_model
from keras_lnn.comparing.words import describe_all, describe_cautions, describe_labels
from keras_lnn.errors import InputError
from keras_lnn.evaluation.metrics import METRICS, list_compared_metrics
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.statistics.paired_tests import compare_accuracy, compare_auc, compare_means, holm

TRUTH = make_truth()
FEW = 200


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three models of one run each."""
    folder = write_breast_runs(tmp_path_factory.mktemp("three"), {"lnn": 1.0, "dnn": 0.4, "cnn": 1.3})
    return compare(load_runs([folder]))


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Two models of four seeds each."""
    folder = write_breast_runs(tmp_path_factory.mktemp("seeds"), {"lnn": 1.2, "dnn": 0.6}, seeds=4)
    return compare(load_runs([folder]))


def find_pair(comparison, metric, first, second):
    return next(
        pair for pair in comparison.pairs if pair.metric == metric and {pair.first, pair.second} == {first, second}
    )


def test_values_equal_those_of_the_run_and_of_scikit_learn(three):
    for model in three.models:
        run = model.runs[0]
        expected = evaluate_predictions(
            run.truth, run.probabilities, task="binary", class_names=run.class_names
        ).metrics
        for name in list_compared_metrics(METRICS):
            assert model.metrics[name].value == pytest.approx(expected[name].value, abs=1e-12)
            assert model.metrics[name].low < model.metrics[name].value < model.metrics[name].high
        assert model.metrics["auc"].value == pytest.approx(roc_auc_score(run.truth, run.probabilities[:, 1]))
        assert correct_predictions(run).mean() == pytest.approx(
            accuracy_score(run.truth, run.probabilities.argmax(axis=1))
        )


def test_single_runs_are_compared_by_delong_and_mcnemar(three):
    by_name = {model.name: model.runs[0] for model in three.models}
    for metric, expected in (
        ("auc", compare_auc(TRUTH == 1, *(by_name[name].probabilities[:, 1] for name in ("cnn", "dnn")))),
        ("accuracy", compare_accuracy(*(correct_predictions(by_name[name]) for name in ("cnn", "dnn")))),
    ):
        found = find_pair(three, metric, "cnn", "dnn").seen_from("cnn")
        assert found.difference.value == pytest.approx(expected.value)
        assert found.difference.p == pytest.approx(expected.p)
        assert found.difference.low == pytest.approx(expected.low)


def test_standard_errors_of_differences_agree_with_a_bootstrap(three):
    one, other = (next(model.runs[0] for model in three.models if model.name == name) for name in ("cnn", "dnn"))
    measures = {
        "f1": lambda truth, scores: f1_score(truth, scores > 0.5),
        "sensitivity": lambda truth, scores: recall_score(truth, scores > 0.5),
        "average_precision": average_precision_score,
        "brier": lambda truth, scores: np.mean((truth - scores) ** 2),
    }
    generator = np.random.default_rng(0)
    rows = {name: [] for name in measures}
    for _ in range(FEW):
        drawn = generator.integers(len(TRUTH), size=len(TRUTH))
        for name, measure in measures.items():
            values = [measure(TRUTH[drawn], run.probabilities[drawn, 1]) for run in (one, other)]
            rows[name].append(values[0] - values[1])
    for name, values in rows.items():
        # 200 resamples give a standard deviation to within 5%.
        found = find_pair(three, name, "cnn", "dnn").difference
        assert found.standard_error == pytest.approx(np.std(values, ddof=1), rel=0.15)
        assert find_pair(three, name, "cnn", "dnn").test == "paired t"


def test_a_run_does_not_differ_from_itself(three):
    run = three.models[0].runs[0]
    found = compare_means(measure_model([run])[0]["f1"], three.models[0].measured["f1"])
    assert (found.value, found.standard_error) == (0, 0)


def reported_run(path, task, patients):
    """Writes the run of one task; gives what it reports of its test split."""
    groups = [f"P{index // 3}" for index in range(120)] if patients else None
    about = {"task": task, "groups": groups, "model": "lnn"}
    if task == "binary":
        truth = make_truth(120, 80)
        about |= {"thresholds": (0.4, 0.6), "positive_class": BREAST[0]}
        write_run(path, truth, binary_probabilities(truth, 1.0, 1), **about)
    elif task == "multi-class":
        truth = np.arange(120) % 3
        write_run(path, truth, class_probabilities(truth, 3, 1.0, 1), class_names=BLOOD, **about)
    else:
        truth = (np.random.default_rng(2).random((120, 4)) < 0.3).astype(np.uint8)
        about |= {"class_names": CHEST, "thresholds": (0.3, 0.4, 0.5, 0.6)}
        write_run(path, truth, label_probabilities(truth, 1.0, 1), **about)
    return json.loads((path / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("patients", [False, True])
@pytest.mark.parametrize("task", ["binary", "multi-class", "multi-label"])
def test_a_single_run_has_the_numbers_and_intervals_that_it_reports(tmp_path, task, patients):
    reported = reported_run(tmp_path / "run", task, patients)
    (model,) = compare(load_runs([tmp_path])).models
    left_out = {"log_loss", "expected_calibration_error"}
    assert set(model.metrics) == set(reported["test"]) - left_out
    for name, found in model.metrics.items():
        expected = [reported["test"][name][end] for end in ("value", "low", "high")]
        assert dataclasses.astuple(found) == pytest.approx(expected, abs=1e-12), name
    for label, metrics in model.labels.items():
        for name, measured in metrics.items():
            expected = reported["per_class"]["test"][label][name]
            assert dataclasses.asdict(measured.estimates[0]) == pytest.approx(expected, abs=1e-12), name


def test_runs_are_compared_by_patient_where_patients_are_known(tmp_path):
    patients = [f"P{index // 4}" for index in range(len(TRUTH))]
    for place, (name, strength) in enumerate({"lnn": 1.0, "cnn": 1.3}.items()):
        probabilities = binary_probabilities(TRUTH, strength, place)
        # An older run has not written its patients down; they are those of the other.
        write_run(tmp_path / name, TRUTH, probabilities, model=name, groups=patients if name == "lnn" else None)
    comparison = compare(load_runs([tmp_path]))
    assert comparison.to_json()["intervals_over"] == {"unit": "patients", "count": 39}
    assert {pair.test for pair in comparison.pairs} == {"Obuchowski", "paired t, by patient"}
    runs = {model.name: model.runs[0] for model in comparison.models}
    right = [correct_predictions(runs[name]).astype(float) for name in ("cnn", "lnn")]
    # The t-test of the patients' sums is that of the mean, since all have as many images.
    expected = ttest_1samp([np.sum((right[0] - right[1])[start : start + 4]) for start in range(0, 156, 4)], 0)
    found = find_pair(comparison, "accuracy", "cnn", "lnn").seen_from("cnn").difference
    assert found.p == pytest.approx(expected.pvalue)
    other = [f"P{index // 2}" for index in range(len(TRUTH))]
    write_run(tmp_path / "torn", TRUTH, binary_probabilities(TRUTH, 1.0, 5), model="dnn", groups=other)
    with pytest.raises(InputError, match="sample 2 of another patient"):
        load_runs([tmp_path])


def test_models_of_several_seeds_are_compared_by_their_means(seeds):
    model = seeds.models[0]
    areas = [roc_auc_score(TRUTH, run.probabilities[:, 1]) for run in model.runs]
    assert model.seeds == 4
    assert model.metrics["auc"].value == pytest.approx(np.mean(areas))
    assert model.spread("auc") == pytest.approx(np.std(areas, ddof=1))
    pair = find_pair(seeds, "auc", "lnn", "dnn").seen_from("lnn")
    assert pair.test == "DeLong, with seeds"
    assert pair.difference.value == pytest.approx(pair.first_value - pair.second_value)
    assert pair.difference.degrees < 200
    assert find_pair(seeds, "accuracy", "lnn", "dnn").test == "paired t, with seeds"


def test_models_are_ordered_and_the_reference_is_the_best_on_validation(three):
    areas = [model.metrics["auc"].value for model in three.models]
    assert areas == sorted(areas, reverse=True)
    assert three.reference == max(three.models, key=lambda model: model.validation_value).name
    assert not three.reference_given


def test_correction_counts_all_pairs_or_those_with_the_reference(three):
    pairs = [pair for pair in three.pairs if pair.metric == "auc"]
    p_values = [pair.difference.p for pair in pairs]
    np.testing.assert_allclose([pair.corrected for pair in pairs], holm(p_values))
    assert three.comparisons("auc") == 3
    runs = [model.runs[0] for model in three.models]
    chosen = compare(runs, "dnn")
    assert chosen.comparisons("auc") == 2
    reported = chosen.reported_pairs("auc")
    assert [pair.second for pair in reported] == ["dnn", "dnn"]
    np.testing.assert_allclose(
        [chosen.reported_p(pair) for pair in reported], holm([pair.difference.p for pair in reported])
    )
    without = [pair for pair in chosen.pairs if "dnn" not in (pair.first, pair.second)]
    assert all(math.isnan(pair.corrected_against_reference) for pair in without)


def test_a_pair_is_reversed_with_its_interval(three):
    pair = three.pairs[0]
    turned = pair.seen_from(pair.second)
    assert (turned.first, turned.first_value) == (pair.second, pair.second_value)
    assert turned.difference.value == -pair.difference.value
    assert (turned.difference.low, turned.difference.high) == (-pair.difference.high, -pair.difference.low)
    assert turned.seen_from(pair.first) == pair


def test_several_classes(tmp_path):
    truth = np.arange(90) % 3
    for place, model in enumerate(["lnn", "cnn"]):
        probabilities = class_probabilities(truth, 3, 1 + place, place)
        write_run(tmp_path / model, truth, probabilities, model=model, class_names=BLOOD, task="multi-class")
    comparison = compare(load_runs([tmp_path]))
    cnn = comparison.models[0]
    assert cnn.name == "cnn"
    expected = roc_auc_score(truth, cnn.runs[0].probabilities, multi_class="ovr")
    assert cnn.metrics["auc"].value == pytest.approx(expected)
    assert 0 < cnn.metrics["brier"].low < cnn.metrics["brier"].high < 2
    assert find_pair(comparison, "accuracy", "lnn", "cnn").test == "McNemar, mid-p"


def test_several_labels_with_thresholds(tmp_path):
    truth = (np.random.default_rng(2).random((120, 4)) < 0.3).astype(np.uint8)
    for place, model in enumerate(["lnn", "cnn"]):
        probabilities = label_probabilities(truth, 1 + place, place)
        about = {"class_names": CHEST, "task": "multi-label", "thresholds": (0.3, 0.4, 0.5, 0.6)}
        write_run(tmp_path / model, truth, probabilities, model=model, **about)
    comparison = compare(load_runs([tmp_path]))
    run = comparison.models[0].runs[0]
    assert comparison.models[0].metrics["accuracy"].value == pytest.approx(((run.probabilities > 0.5) == truth).mean())
    expected = f1_score(truth, run.probabilities > np.array(run.thresholds), average="macro")
    assert comparison.models[0].metrics["f1_tuned"].value == pytest.approx(expected)
    assert find_pair(comparison, "accuracy", "lnn", "cnn").test == "paired t"


@pytest.fixture(scope="module")
def label_runs(tmp_path_factory):
    return write_label_runs(tmp_path_factory.mktemp("labels"))


def test_labels_are_compared_one_by_one_and_corrected_together(label_runs):
    comparison = compare(load_runs([label_runs]))
    table = comparison.label_pairs_table()
    assert list(table.columns[:2]) == ["label", "metric"]
    assert table.groupby(["metric", "label"]).size().to_dict() == {
        (metric, label): 3 for metric in ("auc", "f1_tuned") for label in CHEST
    }
    runs = {model.name: model.runs[0] for model in comparison.models}
    for row in table[table["metric"] == "auc"].itertuples():
        place = CHEST.index(row.label)
        scores = [runs[name].probabilities[:, place] for name in (row.first, row.second)]
        expected = compare_auc(runs[row.first].truth[:, place] == 1, *scores)
        assert (row.difference, row.low, row.high) == pytest.approx((expected.value, expected.low, expected.high))
        assert row.p == pytest.approx(expected.p)
        assert row.test == "DeLong"
    for _, rows in table.groupby("metric"):
        np.testing.assert_allclose(rows["corrected"], holm(rows["p"].to_numpy()))
        with_reference = rows[[comparison.reference in (row.first, row.second) for row in rows.itertuples()]]
        corrected = with_reference["corrected_against_reference"]
        np.testing.assert_allclose(corrected, holm(with_reference["p"].to_numpy()))
    assert comparison.to_json()["label_pairs"][0].keys() == set(table.columns)
    sentence = next(text for text in describe_labels(comparison) if "cnn minus lnn" in text)
    assert sentence.startswith(
        "AUC label by label, cnn minus lnn: the data show a difference for 1 of 4 labels: atelect"
    )
    assert sentence.endswith("(p corrected for 12 comparisons).")
    pairs = ("lnn minus dnn", "dnn minus lnn")
    alike = next(text for text in describe_labels(comparison) if any(pair in text for pair in pairs))
    assert "the data show a difference for none of 4 labels (p corrected" in alike


def test_accuracy_over_all_labels_is_not_the_main_metric(label_runs):
    comparison = compare(load_runs([label_runs]))
    assert comparison.headline == ("auc", "f1_tuned", "balanced_accuracy_tuned", "average_precision")
    assert list(describe_all(comparison)) == ["auc", "f1_tuned"]
    named = [text for text in describe_cautions(comparison) if "The AUC is below one half for 'atelectasis'" in text]
    assert {text.partition(":")[0] for text in named} <= {"lnn", "dnn"}


def test_all_runs_are_measured_for_one_positive_class_at_their_own_thresholds(tmp_path):
    scores = [binary_probabilities(TRUTH, 1.0, seed) for seed in range(2)]
    write_run(tmp_path / "a", TRUTH, scores[0], model="lnn", positive_class=BREAST[0], thresholds=(0.4, 0.6))
    write_run(tmp_path / "b", TRUTH, scores[1], model="cnn", thresholds=(0.3, 0.7))
    comparison = compare(load_runs([tmp_path]))
    assert comparison.positive_class == comparison.to_json()["positive_class"] == BREAST[0]
    for model in comparison.models:
        (run,) = model.runs
        ill, first = TRUTH == 0, run.probabilities[:, 1] <= 0.5
        assert model.metrics["sensitivity"].value == pytest.approx(first[ill].mean())
        first = run.probabilities[:, 1] <= run.thresholds[1]
        assert model.metrics["sensitivity_tuned"].value == pytest.approx(first[ill].mean())
        assert model.metrics["accuracy_tuned"].value == pytest.approx((first == ill).mean())
    assert any(text.endswith("here all metrics are for malignant.") for text in describe_cautions(comparison))


def test_one_model_and_its_tables(tmp_path):
    write_run(tmp_path / "run", TRUTH, binary_probabilities(TRUTH, 1.0, 0))
    comparison = compare(load_runs([tmp_path]))
    assert comparison.pairs == ()
    assert len(comparison.models_table()) == 1
    assert comparison.pairs_table().empty
    assert comparison.to_json()["pairs"] == []


def test_tables_and_json_hold_the_same_numbers(seeds):
    models, pairs = seeds.models_table(), seeds.pairs_table()
    content = seeds.to_json()
    assert list(models["model"]) == [model["model"] for model in content["models"]] == ["lnn", "dnn"]
    assert models["seeds"].tolist() == [4, 4]
    assert models["auc_low"][0] == content["models"][0]["auc_low"] == seeds.models[0].metrics["auc"].low
    assert len(pairs) == len(content["pairs"]) == len(seeds.pairs)
    assert set(pairs.columns) >= {"metric", "first", "second", "difference", "low", "high", "p", "corrected", "test"}


def test_invalid_comparisons_are_refused(three, tmp_path):
    runs = [model.runs[0] for model in three.models]
    with pytest.raises(InputError, match=r"reference must be one of the models\. Received: cn\. Did you mean cnn"):
        compare(runs, "cn")
    with pytest.raises(InputError, match="There must be a run to compare"):
        compare([])
    other = np.roll(TRUTH, 1)
    write_run(tmp_path / "other", other, binary_probabilities(other, 1.0, 0))
    with pytest.raises(InputError, match="the same test samples"):
        compare([*runs, *load_runs([tmp_path])])
