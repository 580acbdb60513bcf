"""Prediction sets and referral of a run: chosen on validation, equal for arrays and tensors, measured and described."""

import dataclasses

import keras
import numpy as np
import pytest
from quick_predictors import Brightness, make_signature

from keras_lnn import TrainConfig, plots, train
from keras_lnn.data.arrays import Split
from keras_lnn.errors import InputError
from keras_lnn.evaluation.prediction_sets import measure_referral, measure_sets
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.saved.card import model_card
from keras_lnn.saved.ensembles import ON_FOLDS
from keras_lnn.saved.image_predictions import require_free_table, shorten_predictions, write_predictions
from keras_lnn.saved.prediction_columns import insert_promised, tabulate_predictions
from keras_lnn.saved.results import describe_promised
from keras_lnn.tasks.decisions import confidence_in
from keras_lnn.tasks.prediction_sets import PredictionSets
from keras_lnn.tasks.prediction_tables import read_probabilities
from keras_lnn.tasks.referral import Referral
from keras_lnn.training.promised import choose_promised, measure_promised

NAMES = ("a", "b", "c")
SIGNATURE = make_signature(model="cnn", task="multi-class", class_names=NAMES)
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.1, 0.3, 0.6], [0.34, 0.33, 0.33]])


def draw(samples, seed, patients=None):
    """Samples whose class is drawn from their probabilities, and these."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet([0.5, 0.5, 0.5], samples)
    labels = (generator.random((samples, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    groups = None if patients is None else tuple(f"P{row % patients}" for row in range(samples))
    return Split(np.zeros((samples, 1, 1, 1), np.uint8), labels, groups=groups), probabilities


def with_rules(**rules):
    return dataclasses.replace(SIGNATURE, **rules)


def test_sets_hold_the_classes_above_their_level_and_the_predicted_one():
    signature = with_rules(sets=PredictionSets(0.9, True, (0.8, 0.3, 0.3)), referral=Referral(0.1, 0.5))
    found = signature.find_promised(PROBABILITIES)
    # The first sample is below its level, and a set without the predicted class would contradict it.
    assert found["set"].tolist() == [
        [True, False, False],
        [True, True, False],
        [False, True, True],
        [True, True, True],
    ]
    assert found["refer"].tolist() == [False, True, False, True]
    tensors = signature.find_promised(keras.ops.convert_to_tensor(PROBABILITIES))
    for name, values in found.items():
        np.testing.assert_array_equal(tensors[name], values)
    assert SIGNATURE.find_promised(PROBABILITIES) == {}
    everything = with_rules(referral=Referral(0.1, None)).find_promised(PROBABILITIES)
    assert everything["refer"].all()


def test_two_classes_are_referred_by_their_distance_from_the_threshold():
    # The second class is predicted above 0.3, where both classes have a confidence of one half.
    signature = make_signature(task="binary", class_names=("no", "yes"), thresholds=(0.7, 0.3))
    signature = dataclasses.replace(signature, sets=PredictionSets(0.9, False, (0.6, 0.6)), referral=Referral(0.1, 0.6))
    yes = np.array([0.1, 0.29, 0.35, 0.9])
    found = signature.find_promised(np.stack([1 - yes, yes], axis=1))
    # 0.1 is two thirds of the way from the threshold to 0, and 0.35 a fourteenth of that to 1.
    assert found["refer"].tolist() == [False, True, True, False]
    confidence = confidence_in(np.stack([1 - yes, yes], axis=1), np.array([0, 0, 1, 1]), (0.7, 0.3))
    np.testing.assert_allclose(confidence, 0.5 + 0.5 * np.array([2 / 3, 1 / 30, 1 / 14, 6 / 7]))
    assert found["set"].tolist() == [[True, False], [True, False], [True, True], [False, True]]


def test_tables_have_the_set_and_the_referral_beside_the_prediction(tmp_path):
    signature = with_rules(sets=PredictionSets(0.9, True, (0.8, 0.3, 0.3)), referral=Referral(0.1, 0.5))
    table = tabulate_predictions(list("1234"), PROBABILITIES, signature)
    assert list(table)[:5] == ["file", "predicted", "set", "refer", "probability a"]
    assert table["set"].tolist() == ["a", "a|b", "b|c", "a|b|c"]
    assert table["refer"].tolist() == [False, True, False, True]
    write_predictions(table, tmp_path / "predictions.csv")
    assert require_free_table(tmp_path / "predictions.csv")
    many = Brightness(*"abcde")
    more = dataclasses.replace(many.signature, sets=PredictionSets(0.9, False, (0.1,) * 5))
    shown = shorten_predictions(tabulate_predictions(["1"], np.array([[0.5, 0.2, 0.2, 0.05, 0.05]]), more))
    assert list(shown) == ["file", "predicted", "set", "3 of 5 probabilities"]


def test_what_is_promised_on_validation_holds_on_the_test():
    config = TrainConfig(coverage=0.8, referral_risk=0.2)
    validation, known = draw(2000, 0)
    signature, notes = choose_promised(config, SIGNATURE, validation, known)
    assert notes == []
    test = draw(4000, 1)
    metrics = measure_promised({"test": test}, signature)
    sets, referral = metrics["sets"]["test"], metrics["referral"]["test"]
    assert sets["coverage"]["value"] == pytest.approx(0.8, abs=0.02)
    # The true risk is below 0.2, and the test adds its own chance.
    assert referral["risk"]["value"] < 0.22 < referral["risk_of_all"]["value"]
    assert 0.2 < referral["decided"]["value"] < 0.9
    by_class, _ = choose_promised(TrainConfig(coverage=0.8, coverage_by_class=True), SIGNATURE, validation, known)
    shares = measure_promised({"test": test}, by_class)["sets"]["test"]["coverage_of"]
    assert [share["value"] for share in shares.values()] == pytest.approx([0.8] * 3, abs=0.05)


def test_what_cannot_be_promised_is_a_sentence():
    config = TrainConfig(coverage=0.9, referral_risk=0.05)
    few, known = draw(200, 0, patients=8)
    signature, notes = choose_promised(config, SIGNATURE, few, known)
    assert signature.sets.levels == (0, 0, 0)
    assert signature.referral.confidence is None
    assert [note.partition(":")[0] for note in notes] == ["Prediction sets", "Referral"]
    assert "every class belongs to the set, because validation has too few samples" in notes[0]
    assert "because 8 validation patients do not show a risk of at most 0.05" in notes[1]
    metrics = measure_promised({"test": (few, known)}, signature)
    assert metrics["sets"]["test"]["mean_size"]["value"] == 3
    assert metrics["referral"]["test"]["risk"] is None
    assert "Every one of the images is referred" in describe_promised(metrics | {"task": "multi-class"}, "test")[1]
    rare = Split(few.images, np.zeros(len(few), np.int64))
    by_class = TrainConfig(coverage=0.9, coverage_by_class=True)
    _, (note,) = choose_promised(by_class, SIGNATURE, rare, known)
    assert "b, c always belong to the set, because validation has too few samples of a class" in note


def test_sets_and_referral_are_measured_by_hand():
    sets = np.array([[True, False], [True, True], [True, True], [False, True]])
    found = measure_sets(sets, np.array([0, 0, 1, 0]), ("a", "b"))
    assert (found["coverage"]["value"], found["single"]["value"]) == (0.75, 0.5)
    assert found["mean_size"]["value"] == 1.5
    assert 1 < found["mean_size"]["low"] < 1.5 < found["mean_size"]["high"] < 2
    assert {name: share["value"] for name, share in found["coverage_of"].items()} == {"a": 2 / 3, "b": 1.0}
    wide = measure_sets(np.repeat(sets, 30, axis=0), np.repeat([0, 0, 1, 0], 30), ("a", "b"), np.repeat(range(4), 30))
    narrow = measure_sets(np.repeat(sets, 30, axis=0), np.repeat([0, 0, 1, 0], 30), ("a", "b"))
    assert wide["coverage"]["high"] - wide["coverage"]["low"] > 3 * (
        narrow["coverage"]["high"] - narrow["coverage"]["low"]
    )
    referred, right = np.array([True, True, False, False]), np.array([False, True, True, False])
    found = measure_referral(referred, right)
    assert [found[name]["value"] for name in ("decided", "risk", "risk_of_all")] == [0.5, 0.5, 0.5]


def test_sentences_say_what_is_promised_and_what_was_found():
    signature = with_rules(sets=PredictionSets(0.9, False, (0.3,) * 3), referral=Referral(0.05, 0.55))
    split = Split(np.zeros((4, 1, 1, 1), np.uint8), np.array([0, 1, 2, 2]))
    metrics = {"task": "multi-class", **measure_promised({"test": (split, PROBABILITIES)}, signature)}
    sets, referral = describe_promised(metrics, "test")
    assert sets.startswith(
        "Prediction sets are chosen on validation to contain the true class of 0.9 of all images, on"
    )
    assert "and not for each single one; on the test split they do for 1.000 (" in sets
    assert "Below a confidence of 0.550 images are referred to a human" in referral
    assert "decides .500 (" in referral
    assert "wrong about .000 (.000 to" in referral
    assert describe_promised({"task": "multi-class"}, "test") == []
    folds = describe_promised(metrics | {"thresholds_on": ON_FOLDS}, "test")
    assert folds[0].startswith("Prediction sets are chosen on the folds that each member did not see to contain")
    assert "chosen on the folds that each member did not see so that" in folds[1]
    assert folds[2].endswith("from predictions of single members, so that it holds only approximately for their mean.")
    card = model_card(signature, None, "saved_model")
    assert "| Prediction sets | 0.9 of samples: a from 0.300" in card
    assert "| Referred to a human | below a confidence of 0.550, for a risk of at most 0.05 |" in card
    assert 'result["refer"]  # bool, (samples,)' in card
    assert 'find_promised(model.predict(images))["set"]' in model_card(signature, None, "keras")


def test_the_picture_shows_the_errors_that_are_left():
    confidence, right = np.array([0.5, 0.9, 0.7, 0.7]), np.array([False, True, True, False])
    (axes,) = plots.plot_referral(confidence, right, 0.2, 0.65).axes
    curve, promised, dot = axes.get_lines()
    np.testing.assert_allclose(curve.get_xydata(), [[0.25, 0], [0.75, 1 / 3], [1, 0.5]])
    assert promised.get_ydata()[0] == 0.2
    np.testing.assert_allclose(dot.get_xydata(), [[0.75, 1 / 3]])
    assert len(plots.plot_referral(confidence, right).axes[0].get_lines()) == 1
    with pytest.raises(InputError, match="one number per sample"):
        plots.plot_referral(confidence, right[1:])


def test_the_predictions_of_a_run_have_its_sets_and_are_read_with_them_or_without(tmp_path):
    split = Split(np.zeros((4, 1, 1, 1), np.uint8), np.array([0, 1, 2, 0]))
    rules = {"sets": PredictionSets(0.9, True, (0.8, 0.3, 0.3)), "referral": Referral(0.1, 0.5)}
    path = tmp_path / "predictions.csv"
    for signature, columns in ((with_rules(**rules), ["set", "refer"]), (SIGNATURE, [])):
        table = signature.get_task().tabulate(split, PROBABILITIES, None, "test")
        table = insert_promised(table, PROBABILITIES, signature)
        assert list(table)[4:-3] == columns
        path.write_text(to_csv(table))
        np.testing.assert_array_equal(read_probabilities(path, "test", NAMES)[1], PROBABILITIES)
        if columns:
            expected = tabulate_predictions(list("1234"), PROBABILITIES, signature)
            assert table[columns].equals(expected[columns])


@pytest.mark.slow
def test_sets_cover_the_test_images_of_phantoms(tmp_path):
    """Validation chose the epoch, the calibration and the threshold as well, which may make sets too small."""
    found = []
    for seed in range(4):
        about = {"model": "cnn", "data": "phantom-breast", "epochs": 6, "seed": seed, "tensorboard": False}
        about |= {"coverage": 0.9, "referral_risk": 0.2, "export": "none", "run_dir": tmp_path / str(seed)}
        metrics = train(TrainConfig(**about)).metrics
        assert (tmp_path / str(seed) / "plots" / "referral.png").exists()
        assert "Prediction sets are chosen" in (tmp_path / str(seed) / "report.html").read_text()
        found.append([metrics["sets"]["test"][name]["value"] for name in ("coverage", "mean_size")])
        print(seed, metrics["sets"]["chosen_on"], found[-1], metrics["referral"])
    assert np.mean(found, axis=0)[0] == pytest.approx(0.9, abs=0.05)
