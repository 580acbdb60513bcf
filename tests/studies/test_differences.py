"""Differences between a study's networks and the reference, paired by sample or by split."""

import numpy as np
import pandas as pd
import pytest
from run_samples import binary_probabilities, write_run
from scipy import stats

from keras_lnn.statistics.paired_tests import compare_resampled
from keras_lnn.studies.declaration import Study
from keras_lnn.studies.differences import compare_networks, describe_differences
from keras_lnn.studies.results import METRICS, summary_table
from keras_lnn.studies.tables import FORMATS, Content


def results_of(runs: dict[str, list], values: dict[str, list[float]] | None = None) -> pd.DataFrame:
    rows = []
    for network, paths in runs.items():
        for seed, path in enumerate(paths):
            value = values[network][seed] if values else 0.8
            row = {"data": "some", "network": network, "seed": seed, "status": "done", "run": str(path)}
            rows.append({**row, "auc": value, "accuracy": value, "val_auc": 0.5, "parameters": 9, "epochs_trained": 2})
    return pd.DataFrame(rows).assign(seconds=1.0, seconds_an_epoch=0.5, collapsed=False)


def test_resampled_differences_agree_with_a_t_test_of_a_wider_variance():
    values = np.array([0.02, 0.01, 0.04, -0.01, 0.03, 0.02, 0.05])
    found = compare_resampled(values, 2 / 7)
    plain = stats.ttest_1samp(values, 0.0)
    wider = np.sqrt((1 / 7 + 2 / 7) / (1 / 7))
    assert found.value == pytest.approx(values.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(plain.statistic / wider, 6))
    half = wider * (plain.confidence_interval().high - values.mean())
    assert (found.low, found.high) == (pytest.approx(values.mean() - half), pytest.approx(values.mean() + half))


def test_differences_handle_one_split_and_no_spread():
    assert np.isnan(compare_resampled(np.array([0.1]), 0.2).p)
    same = compare_resampled(np.zeros(3), 0.2)
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert compare_resampled(np.full(3, 0.1), 0.2).p == 0.0


def test_the_corrected_test_keeps_its_nominal_error_rate():
    """Two constant predictors learn from features of equal worth: of 400 studies of 7 splits few find a difference."""
    generator = np.random.default_rng(0)
    found = {"corrected": [], "plain": []}
    for _ in range(400):
        labels, features = generator.normal(0, 1, 90), generator.normal(0, 1, (2, 90))
        differences = []
        for _ in range(7):
            order = generator.permutation(90)
            train, test = order[:70], order[70:]
            slopes = [feature[train] @ labels[train] / (feature[train] @ feature[train]) for feature in features]
            errors = [
                np.mean((labels[test] - slope * feature[test]) ** 2)
                for slope, feature in zip(slopes, features, strict=True)
            ]
            differences.append(errors[0] - errors[1])
        found["corrected"].append(compare_resampled(np.array(differences), 20 / 70).p < 0.05)
        found["plain"].append(stats.ttest_1samp(differences, 0.0).pvalue < 0.05)
    assert np.mean(found["corrected"]) < 0.05 < np.mean(found["plain"])


def test_the_same_samples_are_compared_sample_by_sample(tmp_path):
    truth = np.random.default_rng(0).integers(0, 2, 200)
    runs = {}
    for place, (network, strength) in enumerate((("plain one", 0.2), ("better", 2.5), ("like it", 0.2))):
        folder = tmp_path / network.replace(" ", "-")
        runs[network] = [folder / f"seed-{seed}" for seed in range(4)]
        for seed, path in enumerate(runs[network]):
            answers = binary_probabilities(truth, strength, seed + 10 * place)
            write_run(path, truth, answers, seed=seed, learning_rate=0.001 * (place + 1))
    comparison, differences = compare_networks(results_of(runs), "plain one")
    assert comparison.reference == "plain-one"
    assert list(differences["network"]) == ["better", "like it"] * len(METRICS)
    assert set(differences["reference"]) == {"plain one"}
    better = differences[differences["network"] == "better"].iloc[0]
    assert better["low"] > 0.1
    assert better["corrected"] < 0.05
    reported = describe_differences(differences.assign(data="some"))
    assert reported[0].startswith("some, AUC: 1 of 2 networks differ from plain one: better +0.")
    like = describe_differences(differences[differences["network"] == "like it"].assign(data="some"))
    assert like[0].startswith("some, AUC: the data do not show that like it differs from plain one (")
    alone = describe_differences(differences[differences["network"] == "better"].assign(data="some"))
    assert alone[0].startswith("some, AUC: better differs from plain one (+0.")


def test_shuffled_splits_are_compared_split_by_split(tmp_path):
    runs = {name: [tmp_path / name / f"seed-{seed}" for seed in range(3)] for name in ("one", "other")}
    for place, paths in enumerate(runs.values()):
        for seed, path in enumerate(paths):
            truth = np.random.default_rng(seed).permutation([0, 1] * 20)
            write_run(path, truth, binary_probabilities(truth, 1, seed), seed=seed, learning_rate=0.1 / (place + 1))
    values = {"one": [0.7, 0.8, 0.75], "other": [0.72, 0.83, 0.76]}
    results = results_of(runs, values)
    comparison, differences = compare_networks(results, "one")
    assert comparison is None
    expected = compare_resampled(np.array([0.02, 0.03, 0.01]), 0.2 / 0.7)
    row = differences.iloc[0]
    assert (row["network"], row["reference"], row["metric"]) == ("other", "one", "auc")
    assert (row["difference"], row["low"], row["p"]) == pytest.approx((expected.value, expected.low, expected.p))

    study = Study(title="A study", data=["some"], networks={"one": {}, "other": {}})
    content = Content("A study", summary_table(results, study), differences.assign(data="some"), True)
    for write in FORMATS.values():
        text = write(content)
        assert "minus one" in text
        assert f"+0.020 ({expected.low:+.3f} to {expected.high:+.3f})" in text
        assert "published" not in text
        assert "do not show" in text
        assert "other seeds and splits" in text
