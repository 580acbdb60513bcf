"""Two cross-validations compared: on average over the folds, and by all of their predictions."""

import dataclasses
import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from run_samples import binary_probabilities, make_truth, write_run
from scipy.stats import t

from keras_lnn.comparing.comparison import compare
from keras_lnn.comparing.cross_validations import (
    ClassCrossValidation,
    PooledRun,
    find_cross_validations,
    load_cross_validations,
)
from keras_lnn.comparing.fold_differences import with_folds
from keras_lnn.comparing.page import comparison_page
from keras_lnn.comparing.pictures import plot_folds
from keras_lnn.comparing.words import describe_cautions, describe_folds
from keras_lnn.comparing.writing import print_comparison
from keras_lnn.errors import InputError
from keras_lnn.folds.pooling import FoldPredictions, measure_pooled
from keras_lnn.plots.style import new_figure
from keras_lnn.statistics.paired_tests import compare_accuracy, holm

SIZE, FOLDS, RATIO = 40, 3, 0.5


def write_folds(folder, model, strength, *, repeats=1, split_seed=0, seed=0, groups=False, names=None, data="data"):
    """Writes the files of a complete cross-validation; its samples are dealt anew in each repeat."""
    folder.mkdir(parents=True)
    (folder / "folds.yaml").write_text(f"folds: {FOLDS}\n")
    truth = make_truth(SIZE * FOLDS, 70)
    for repeat in range(repeats):
        dealt = np.random.default_rng(split_seed + repeat).permutation(SIZE * FOLDS)
        place = 1000 * seed + 100 * repeat + len(model)
        probabilities = binary_probabilities(truth, strength, place)
        for fold in range(FOLDS):
            rows = np.sort(dealt[fold::FOLDS])
            write_run(
                folder / f"repeat-{repeat + 1}" / f"fold-{fold + 1}",
                truth[rows],
                probabilities[rows],
                names=[f"{names or 'scan'}-{row:03}.png" for row in rows],
                groups=[f"patient {row // 2}" for row in rows] if groups else None,
                thresholds=(0.6 - fold / 10, 0.4 + fold / 10),
                model=model,
                data=data,
                seed=seed + repeat,
                split_seed=split_seed + repeat,
                fold=f"{fold + 1}/{FOLDS}",
            )
    known = {"folds": FOLDS, "repeats": repeats, "test_over_train": RATIO, "warnings": [f"{model} is small."]}
    (folder / "folds.json").write_text(json.dumps(known))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("cross-validations")
    strengths = {"lnn": 1.2, "cnn": 1.0, "dense": 0.1}
    return [write_folds(place / model, model, strength) for model, strength in strengths.items()]


@pytest.fixture(scope="module")
def compared(folders):
    return with_folds(compare(load_cross_validations(folders)))


def test_the_mean_over_folds_is_tested_by_the_corrected_resampled_t(compared):
    values = compared.over_folds.values
    assert len(values) == 3 * FOLDS
    found = {}
    for pair in compared.over_folds.pairs:
        first, second = (values[values["model"] == name][pair.metric].to_numpy() for name in (pair.first, pair.second))
        apart = first - second
        error = math.sqrt(np.var(apart, ddof=1) * (1 / FOLDS + RATIO))
        assert (pair.first_value, pair.second_value) == (pytest.approx(first.mean()), pytest.approx(second.mean()))
        if pair.metric == "auc":
            found[pair.first, pair.second] = pair
            assert pair.difference.value == pytest.approx(apart.mean())
            assert pair.difference.p == pytest.approx(2 * t.sf(abs(apart.mean()) / error, FOLDS - 1))
            reach = t.ppf(0.975, FOLDS - 1) * error
            assert pair.difference.high == pytest.approx(apart.mean() + reach)
    expected = holm([pair.difference.p for pair in found.values()])
    assert [pair.corrected for pair in found.values()] == pytest.approx(expected)


def test_all_predictions_are_tested_on_the_same_samples(compared, folders):
    first, second = (load_cross_validations([folder])[0].repeats[0] for folder in folders[:2])
    assert isinstance(first, PooledRun)
    assert isinstance(second, PooledRun)
    assert first.files == second.files
    assert len(set(first.files)) == SIZE * FOLDS
    right = [(run.probabilities[:, 1] > 0.5) == run.truth for run in (first, second)]
    pair = next(p for p in compared.pairs if (p.metric, {p.first, p.second}) == ("accuracy", {"lnn", "cnn"}))
    expected = compare_accuracy(*right).p
    assert pair.seen_from("lnn").difference.p == pytest.approx(expected)
    # Each model decides at its own threshold, not at that of another fold.
    tuned = np.concatenate([run.probabilities[:, 1] > run.thresholds[1] for run in first.folds])
    assert (first.check().tuned[:, 1] == tuned[first.order]).all()
    assert (first.check().tuned != first.check().predicted).any()


def test_patients_and_repeats_count_as_what_they_are(tmp_path):
    folders = [
        write_folds(tmp_path / model, model, strength, repeats=2, groups=True)
        for model, strength in {"lnn": 1.0, "dnn": 0.9}.items()
    ]
    found = with_folds(compare(load_cross_validations(folders)))
    assert [model.seeds for model in found.models] == [1, 1]
    # All predictions have the numbers that the cross-validation itself reports.
    read = found.models[0].runs[0]
    assert isinstance(read, ClassCrossValidation)
    dealt = [
        [FoldPredictions(f.truth, f.probabilities, f.files, f.thresholds, f.groups) for f in part.folds]
        for part in read.repeats
    ]
    expected = measure_pooled(dealt, task=read.task, class_names=read.class_names).metrics
    for metric, estimate in found.models[0].metrics.items():
        numbers = dataclasses.astuple(expected[metric])
        assert dataclasses.astuple(estimate) == pytest.approx(numbers, nan_ok=True), metric
    assert str(found.example.basis) == f"{SIZE * FOLDS // 2} patients ({SIZE * FOLDS} images)"
    assert found.over_folds.folds == 2 * FOLDS
    assert {pair.difference.degrees for pair in found.over_folds.pairs} == {2 * FOLDS - 1}
    assert any("With 6 folds, only differences above" in text for text in describe_folds(found))


def test_what_cannot_be_compared_is_refused(folders, tmp_path):
    for text, about in {
        "3 folds, 1 repeat and split seed 0, .* with 3 folds, 1 repeat and split seed 5": {"split_seed": 5},
        "3 folds, 1 repeat and split seed 0, .* with 3 folds, 2 repeats and split seed 0": {"repeats": 2},
        "scan-000.png as sample 0": {"names": "other"},
    }.items():
        other = write_folds(tmp_path / next(iter(about)), "dnn", 1.0, **about)
        with pytest.raises(InputError, match=text):
            load_cross_validations([folders[0], other])
    with pytest.raises(InputError, match=r"a cross-validation, and .*fold-1, which is none"):
        find_cross_validations([folders[0], folders[1] / "repeat-1" / "fold-1"])
    with pytest.raises(InputError, match=r"Received: --split val. Leave it out"):
        load_cross_validations(folders, "val")
    unfinished = write_folds(tmp_path / "unfinished", "dnn", 1.0)
    (unfinished / "folds.json").unlink()
    with pytest.raises(InputError, match=r"without a sound folds.json. Continue it with train --config"):
        load_cross_validations([unfinished])


def test_the_page_and_the_terminal_say_which_question_each_answers(compared, tmp_path):
    figure = plot_folds(compared)
    assert [len(axes.lines) for axes in figure.axes] == [FOLDS + 2 * 3] * 2
    figures = dict.fromkeys(compared.example.pictures, new_figure(1, 1)) | {"folds": figure}
    page = comparison_page(compared, figures, tmp_path)
    console = Console(width=200, record=True, file=io.StringIO())
    print_comparison(compared, console)
    for shown in (page, console.export_text()):
        for text in ("Which of these ways to train gives the better networks", "of all predictions together"):
            assert text in shown
    assert "corrected resampled t" in page
    assert f"Means over {FOLDS} folds" in page
    tables = compared.fold_tables()
    assert list(tables) == ["fold_values", "fold_pairs"]
    assert isinstance(tables["fold_pairs"], pd.DataFrame)
    assert json.loads(json.dumps(compared.to_json()))["fold_pairs"][0]["test"] == "corrected resampled t"
    cautions = describe_cautions(compared)
    assert "lnn: lnn is small." in cautions
    assert not any("trained once" in text for text in cautions)
