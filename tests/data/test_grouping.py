"""Balanced splits: shares of labels, whole groups, rare labels, the same split for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_lnn.data.balancing import balanced_split
from keras_lnn.data.grouping import complete_grouped_splits

FRACTIONS = (0.7, 0.1, 0.2)


def make_labels(seed, count, rates=(0.4, 0.15, 0.05, 0.01)):
    return (np.random.default_rng(seed).random((count, len(rates))) < rates).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 120), st.integers(1, 9), st.booleans())
def test_each_sample_occurs_once_and_groups_stay_together(seed, count, group_size, grouped):
    labels = make_labels(seed, count)
    groups = [f"p{k // group_size}" for k in range(count)] if grouped else None
    parts = balanced_split(labels, FRACTIONS, seed, groups=groups)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    if grouped:
        seen = [{groups[row] for row in part} for part in parts]
        assert sum(map(len, seen)) == len(set(groups))
    again = balanced_split(labels, FRACTIONS, seed, groups=groups)
    assert all(np.array_equal(*pair) for pair in zip(parts, again, strict=True))


@pytest.mark.parametrize("grouped", [False, True])
def test_each_part_has_its_share_of_each_label(grouped):
    labels = make_labels(3, 6000)
    groups = [k // 3 for k in range(6000)] if grouped else None
    for share, part in zip(FRACTIONS, balanced_split(labels, FRACTIONS, groups=groups), strict=True):
        wanted = labels.sum(axis=0) * share
        assert (np.abs(labels[part].sum(axis=0) - wanted) <= (6 if grouped else 1.5)).all()
        assert abs(len(part) - 6000 * share) <= 120


def test_a_label_of_three_samples_occurs_in_all_splits():
    labels = np.zeros((200, 2), np.uint8)
    labels[[3, 50, 120], 1] = 1
    labels[::2, 0] = 1
    for seed in range(20):
        parts = balanced_split(labels, FRACTIONS, seed)
        assert [int(labels[part, 1].sum()) for part in parts] == [1, 1, 1]


def test_seeds_give_different_splits():
    labels = make_labels(0, 300)
    assert not np.array_equal(balanced_split(labels, FRACTIONS, 0)[2], balanced_split(labels, FRACTIONS, 1)[2])


@pytest.mark.parametrize("given_splits", [("train",), ("train", "test"), ("train", "val"), ("train", "val", "test")])
def test_given_splits_are_unchanged(given_splits):
    labels = make_labels(1, 400)
    named = [given_splits[k % len(given_splits)] for k in range(400)]
    rows = complete_grouped_splits(labels, named, 0)
    for name in set(given_splits) - {"train"}:
        assert rows[name].tolist() == [k for k in range(400) if named[k] == name]
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(400))
    train = sum(name == "train" for name in named)
    if given_splits == ("train", "test"):
        assert abs(len(rows["val"]) - train / 8) <= 3


def cohort(seed):
    """Labels and patients of 264 patients with 1 to 66 images: frequent and rare findings, more in large patients."""
    generator = np.random.default_rng(seed)
    sizes = np.clip(np.rint(generator.lognormal(0.6, 1.1, 264)), 1, 66).astype(int)
    sizes[0] = 66
    patients = np.repeat(np.arange(264), sizes)
    rates = np.geomspace(0.25, 0.005, 13) * generator.gamma(0.7, 1 / 0.7, (264, 13)) * (1 + sizes[:, None] / 15)
    labels = (generator.random((len(patients), 13)) < rates[patients]).astype(np.uint8)
    return np.column_stack([labels, labels.sum(axis=1) == 0]), patients


def unevenness(labels, patients, parts):
    """Returns the largest deviation of the splits: shares of labels, their average, of images and of patients."""
    away = np.abs([labels[part].mean(axis=0) - labels.mean(axis=0) for part in parts])
    counts = [(len(part) / len(labels), len(set(patients[part])) / len(set(patients))) for part in parts]
    return [away.max(), away.mean(), *np.abs(np.array(counts) - np.array(FRACTIONS)[:, None]).max(axis=0)]


def by_scikit_learn(classes, patients, seed):
    """Train, val and test out of ten folds of StratifiedGroupKFold."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(10, shuffle=True, random_state=seed).split(classes, classes, patients)
    test = [rows for _, rows in folds]
    return [np.concatenate(test[3:]), test[2], np.concatenate(test[:2])]


@pytest.mark.parametrize("several", [True, False], ids=["several labels", "classes"])
@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
def test_patient_splits_are_better_balanced_than_those_of_scikit_learn(several):
    ours, theirs = [], []
    for seed in range(5):
        labels, patients = cohort(seed)
        if not several:
            first = np.where(labels[:, :3].any(axis=1), labels[:, :3].argmax(axis=1), 3)
            labels = (first[:, None] == np.arange(4)).astype(np.uint8)
        classes = np.unique(labels, axis=0, return_inverse=True)[1]
        parts = balanced_split(labels, FRACTIONS, seed, groups=list(patients))
        assert all(labels[part].any(axis=0).all() for part in parts)
        ours.append(unevenness(labels, patients, parts))
        theirs.append(unevenness(labels, patients, by_scikit_learn(classes, patients, seed)))
    # No seed is worse in any of the four, and all of them together are much better.
    assert (np.array(ours) <= theirs).all()
    assert (np.mean(ours, axis=0) < np.mean(theirs, axis=0) / 2).all()


def test_large_patients_are_not_always_in_the_same_split():
    labels, patients = cohort(0)
    large = np.argsort(-np.bincount(patients))[:20]
    of_seeds = [balanced_split(labels, FRACTIONS, seed, groups=list(patients)) for seed in range(8)]
    shares = np.mean([[np.isin(large, patients[part]).mean() for part in parts] for parts in of_seeds], axis=0)
    assert (shares > np.array(FRACTIONS) / 3).all()
    assert len({tuple(np.isin(large, patients[parts[2]])) for parts in of_seeds}) > 4


def test_labels_of_three_patients_occur_in_all_splits():
    generator = np.random.default_rng(0)
    for seed in range(30):
        # Each of four findings in three patients, who may have several of them, and many images without any.
        labels = np.zeros((60, 4), np.uint8)
        for label in range(4):
            labels[generator.choice(12, 3, replace=False), label] = 1
        parts = balanced_split(labels, FRACTIONS, seed, groups=[k % 20 for k in range(60)])
        assert all(len(part) for part in parts)
        assert sum(labels[part].any(axis=0).sum() for part in parts) >= 11


@pytest.mark.parametrize("count", [3, 4, 5])
def test_no_split_of_few_patients_is_empty(count):
    for seed in range(20):
        labels = (np.random.default_rng(seed).random((4 * count, 3)) < 0.3).astype(np.uint8)
        parts = balanced_split(labels, FRACTIONS, seed, groups=[k // 4 for k in range(4 * count)])
        assert all(len(part) for part in parts)
