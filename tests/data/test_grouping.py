"""Iterative stratification: shares of labels, whole groups, rare labels, the same split for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_lnn.data.grouping import complete_grouped_splits, iterative_split

FRACTIONS = (0.7, 0.1, 0.2)


def make_labels(seed, count, rates=(0.4, 0.15, 0.05, 0.01)):
    return (np.random.default_rng(seed).random((count, len(rates))) < rates).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 120), st.integers(1, 9), st.booleans())
def test_every_sample_once_and_no_group_divided(seed, count, group_size, grouped):
    labels = make_labels(seed, count)
    groups = [f"p{k // group_size}" for k in range(count)] if grouped else None
    parts = iterative_split(labels, FRACTIONS, seed, groups=groups)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    if grouped:
        seen = [{groups[row] for row in part} for part in parts]
        assert sum(map(len, seen)) == len(set(groups))
    again = iterative_split(labels, FRACTIONS, seed, groups=groups)
    assert all(np.array_equal(*pair) for pair in zip(parts, again, strict=True))


@pytest.mark.parametrize("grouped", [False, True])
def test_each_part_has_its_share_of_each_label(grouped):
    labels = make_labels(3, 6000)
    groups = [k // 3 for k in range(6000)] if grouped else None
    for share, part in zip(FRACTIONS, iterative_split(labels, FRACTIONS, groups=groups), strict=True):
        wanted = labels.sum(axis=0) * share
        assert (np.abs(labels[part].sum(axis=0) - wanted) <= (6 if grouped else 1.5)).all()
        assert abs(len(part) - 6000 * share) <= 120


def test_a_label_of_three_is_seen_in_all_parts():
    labels = np.zeros((200, 2), np.uint8)
    labels[[3, 50, 120], 1] = 1
    labels[::2, 0] = 1
    for seed in range(20):
        parts = iterative_split(labels, FRACTIONS, seed)
        assert [int(labels[part, 1].sum()) for part in parts] == [1, 1, 1]


def test_seeds_differ():
    labels = make_labels(0, 300)
    assert not np.array_equal(iterative_split(labels, FRACTIONS, 0)[2], iterative_split(labels, FRACTIONS, 1)[2])


@pytest.mark.parametrize("given_splits", [("train",), ("train", "test"), ("train", "val"), ("train", "val", "test")])
def test_given_splits_stay(given_splits):
    labels = make_labels(1, 400)
    named = [given_splits[k % len(given_splits)] for k in range(400)]
    rows = complete_grouped_splits(labels, named, 0)
    for name in set(given_splits) - {"train"}:
        assert rows[name].tolist() == [k for k in range(400) if named[k] == name]
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(400))
    train = sum(name == "train" for name in named)
    if given_splits == ("train", "test"):
        assert abs(len(rows["val"]) - train / 8) <= 3
