"""Runs that an ensemble joins: which go together, which samples they have seen, and how they decide together."""

import dataclasses

import numpy as np
import pytest
from mask_run_samples import answer as change_masks
from mask_run_samples import make_truth as make_masks
from mask_run_samples import signature as mask_signature
from mask_run_samples import write_mask_run
from quick_predictors import make_signature
from run_samples import (
    BREAST,
    CHEST,
    binary_probabilities,
    label_probabilities,
    make_truth,
    write_breast_runs,
    write_run,
)

from keras_lnn.comparing.comparison import compare
from keras_lnn.comparing.runs import load_runs
from keras_lnn.config import TrainConfig
from keras_lnn.data.arrays import SPLITS, ImageData, Split
from keras_lnn.data.augment.operations import find_mirrors
from keras_lnn.data.samples import SampleRecord
from keras_lnn.ensembles import members as ensemble_members
from keras_lnn.ensembles.deciding import choose_decisions
from keras_lnn.ensembles.gains import measure_gain
from keras_lnn.ensembles.layout import require_output
from keras_lnn.ensembles.members import MemberRun, merge_records, open_members, share_splits, with_unseen_test
from keras_lnn.ensembles.promises import Promises
from keras_lnn.ensembles.results import TestPredictions, measure_ensemble
from keras_lnn.ensembles.unseen import UnseenPredictions, gather_unseen
from keras_lnn.ensembles.writing import describe_ensemble
from keras_lnn.errors import InputError
from keras_lnn.saved.card import model_card
from keras_lnn.saved.ensembles import ON_FOLDS, ON_VALIDATION, Ensemble, Member
from keras_lnn.saved.signature import Signature
from keras_lnn.statistics.paired_tests import compare_auc
from keras_lnn.statistics.prediction_sets import conformal_thresholds
from keras_lnn.tasks.prediction_sets import PredictionSets
from keras_lnn.tasks.thresholds import choose_thresholds
from keras_lnn.trained.samples import LearnedData, choose_samples
from keras_lnn.training.report import measure_split

TRUTH = make_truth()


def sign(**changes):
    return make_signature(**{"model": "lnn", "task": "binary", "class_names": BREAST} | changes)


def as_member(path, **changes):
    return MemberRun(path, TrainConfig.from_yaml(path / "config.yaml"), sign(**changes), path.name)


@pytest.fixture(scope="module")
def breast(tmp_path_factory):
    folder = write_breast_runs(tmp_path_factory.mktemp("runs"), {"lnn": 1.0, "cnn": 0.8})
    return [as_member(folder / f"{name}-0", model=name, seed=seed) for seed, name in enumerate(("lnn", "cnn"))]


def test_a_signature_names_the_members_and_comes_back(breast):
    found = describe_ensemble(breast)
    assert (found.model, found.parameters, found.seed, found.best_epoch) == ("ensemble", 18, None, None)
    assert found.ensemble is not None
    assert [member.run for member in found.ensemble.members] == ["lnn-0", "cnn-0"]
    assert found.ensemble.same_splits
    assert Signature.from_json(found.to_json()) == found
    for wrong in ({}, [], {"members": [{}], "same_splits": True, "thresholds_on": ""}, {"members": 1}):
        with pytest.raises(ValueError, match="ensemble"):
            Signature.from_json(found.to_json() | {"ensemble": wrong})


def test_thresholds_of_a_shared_validation_split_are_those_of_the_mean(breast):
    found, notes = choose_decisions(describe_ensemble(breast), breast)
    half = len(TRUTH) // 2
    mean = np.mean([binary_probabilities(TRUTH, *about)[:half] for about in ((1.0, 0), (0.8, 1000))], axis=0)
    assert found.thresholds == pytest.approx(choose_thresholds(TRUTH[:half], mean, "youden"))
    assert (found.threshold_rule, found.ensemble.thresholds_on, notes) == ("youden", ON_VALIDATION, [])


def test_sets_are_chosen_anew_where_all_members_have_them(breast):
    asked = [dataclasses.replace(one, config=one.config.model_copy(update={"coverage": 0.9})) for one in breast]
    found, _ = choose_decisions(describe_ensemble(asked), asked)
    assert found.sets.coverage == 0.9
    assert choose_decisions(describe_ensemble(breast), [asked[0], breast[1]])[0].sets is None


def test_folds_choose_thresholds_on_what_each_did_not_see(tmp_path):
    parts = TRUTH[:80], TRUTH[80:]
    probabilities = [binary_probabilities(part, 1.0, seed) for seed, part in enumerate(parts)]
    for number in (1, 2):
        about = {"fold": f"{number}/3", "names": [f"{number}-{row}" for row in range(len(parts[number - 1]))]}
        write_run(tmp_path / f"fold-{number}", parts[number - 1], probabilities[number - 1], **about)
    folds = [as_member(tmp_path / f"fold-{number}", fold=f"{number}/3", threshold_rule="f1") for number in (1, 2)]
    found, notes = choose_decisions(describe_ensemble(folds), folds)
    assert (found.fold, found.ensemble.same_splits, found.ensemble.thresholds_on, notes) == (None, False, ON_FOLDS, [])
    assert found.thresholds == pytest.approx(choose_thresholds(TRUTH, np.concatenate(probabilities), "f1"))
    # Sets are chosen on the same predictions, and asking for them needs no members that have some.
    promised, _ = choose_decisions(describe_ensemble(folds), folds, Promises(coverage=0.8, referral_risk=0.4))
    levels = conformal_thresholds(np.concatenate(probabilities), TRUTH, 0.8)
    assert promised.sets == PredictionSets(0.8, False, tuple(levels))
    assert promised.referral.confidence is not None
    assert Signature.from_json(promised.to_json()) == promised
    card = model_card(promised, None, "keras")
    assert "; from predictions of single members, so that it holds only approximately" in card
    asked = [dataclasses.replace(one, config=one.config.model_copy(update={"referral_risk": 0.4})) for one in folds]
    assert choose_decisions(describe_ensemble(asked), asked)[0].referral == promised.referral
    # Runs of other splits that are no folds leave nothing to choose on.
    others = [dataclasses.replace(one, signature=sign()) for one in folds]
    assert not share_splits(others)
    found, (note,) = choose_decisions(describe_ensemble(others), others)
    assert found.thresholds is None
    assert "Thresholds are 0.5" in note
    with pytest.raises(InputError, match=r"--coverage must be chosen on samples that members have not seen"):
        choose_decisions(describe_ensemble(others), others, Promises(coverage=0.8))


def test_repeats_are_no_new_samples():
    truth, names = np.array([0, 1, 0, 1]), ("a", "b", "a", "b")
    unseen = UnseenPredictions(truth, np.eye(2)[truth] * 0.5 + 0.25, None, ON_FOLDS, names)
    once = unseen.of_each_once()
    assert sorted(zip(once.names, once.truth.tolist(), strict=True)) == [("a", 0), ("b", 1)]
    assert (once.probabilities.argmax(axis=1) == once.truth).all()
    assert once.of_each_once() is once
    nameless = dataclasses.replace(unseen, names=())
    assert nameless.of_each_once() is nameless


def test_what_an_ensemble_cannot_promise_is_one_line(breast, tmp_path):
    with pytest.raises(InputError, match=r"--coverage-by-class needs a coverage. Received: none."):
        Promises(coverage_by_class=True).complete(breast)
    masks = [dataclasses.replace(breast[0], signature=mask_signature())]
    for asked, option in ((Promises(coverage=0.9), "--coverage"), (Promises(referral_risk=0.1), "--referral-risk")):
        with pytest.raises(InputError, match=rf"{option} is for data with one class per image. .* Leave it out"):
            asked.complete(masks)


def test_decisions_are_chosen_on_what_is_predicted_with_mirror_images(breast):
    def predict(member, run):
        return run.probabilities[:, ::-1]

    plain, mirrored = gather_unseen(breast, True), gather_unseen(breast, True, predict)
    np.testing.assert_allclose(mirrored.probabilities, plain.probabilities[:, ::-1])


def test_several_labels_have_a_threshold_each(tmp_path):
    truth = (np.random.default_rng(2).random((60, 4)) < 0.3).astype(np.uint8)
    for seed in range(2):
        probabilities = label_probabilities(truth, 1.5, seed)
        write_run(tmp_path / f"run-{seed}", truth, probabilities, class_names=CHEST, task="multi-label", seed=seed)
    about = {"task": "multi-label", "class_names": CHEST}
    members = [as_member(tmp_path / f"run-{seed}", **about) for seed in range(2)]
    unseen = gather_unseen(members, same_splits=True)
    assert unseen.probabilities.shape == (30, 4)
    found, _ = choose_decisions(describe_ensemble(members), members)
    assert len(found.thresholds) == 4


def test_what_one_member_trained_on_is_no_test_of_the_ensemble():
    digests = [f"{number:064x}" for number in range(4)]
    one = SampleRecord(["train", "train", "val", "test"], digests, list("abcd"), list("efgh"))
    two = SampleRecord(["train", "train", "val", "test"], digests[::-1], list("dcba"), list("hgfe"))
    merged = merge_records([one, two])
    assert dict(zip(merged.digests, merged.splits, strict=True)) == dict.fromkeys(digests, "train")
    assert merge_records([one, one]) == one
    assert merge_records([one, None]) is None
    # The same content under another name is known.
    whole = SampleRecord(["test", "test", "train"], [digests[0], "f" * 64, "e" * 64], list("axy"), list("zxy"))
    assert with_unseen_test(merged, whole).counts() == {"train": 4, "val": 0, "test": 1}


def test_the_gain_is_that_of_a_paired_test():
    probabilities = [binary_probabilities(TRUTH, 1.0, seed) for seed in range(3)]
    mean = np.mean(probabilities, axis=0)
    split = Split(np.zeros((len(TRUTH), 1, 1, 1), np.uint8), TRUTH)
    members = [(f"run-{seed}", one) for seed, one in enumerate(probabilities)]
    gain = measure_gain(sign(), split, mean, members)
    expected = compare_auc(TRUTH == 1, mean[:, 1], probabilities[0][:, 1])
    assert dataclasses.asdict(gain.members[0].difference) == pytest.approx(dataclasses.asdict(expected))
    values = [one.difference.value for one in gain.members]
    assert gain.mean.difference.value == pytest.approx(np.mean(values))
    assert gain.mean.difference.low < gain.mean.difference.value < gain.mean.difference.high
    assert gain.to_table()["model"].tolist() == ["ensemble", "mean of members", "run-0", "run-1", "run-2"]
    assert "156 images of the test split" in gain.describe()
    assert "members on average (95% interval of the difference" in gain.explain()
    for low, expected in ((0.01, "The interval excludes 0"), (-0.01, "these images do not show whether")):
        difference = dataclasses.replace(gain.mean.difference, low=low, high=0.2)
        mean = dataclasses.replace(gain.mean, difference=difference)
        assert expected in dataclasses.replace(gain, mean=mean).explain()


def test_metrics_stand_beside_the_mean_of_the_members():
    probabilities = [binary_probabilities(TRUTH, 1.0, seed) for seed in range(2)]
    split = Split(np.zeros((len(TRUTH), 1, 1, 1), np.uint8), TRUTH)
    signature = sign(sets=PredictionSets(0.9, False, (0.1, 0.1)), ensemble=Ensemble((), True))
    members = [(f"run-{seed}", sign(thresholds=(0.3, 0.7)), one) for seed, one in enumerate(probabilities)]
    found = TestPredictions(split, np.mean(probabilities, axis=0), members, probabilities[0])
    content = measure_ensemble(signature, found).content
    alone = [measure_split(split, one, sign()).metrics for one in probabilities]
    for name in ("auc", "accuracy", "brier", "expected_calibration_error"):
        assert content["mean_of_members"][name] == pytest.approx(np.mean([one[name].value for one in alone]))
    assert content["uncalibrated"]["brier"]["value"] == pytest.approx(alone[0]["brier"].value)
    assert content["sets"]["test"]["coverage"]["low"] < content["sets"]["test"]["coverage"]["value"]
    plain = measure_ensemble(signature, dataclasses.replace(found, uncalibrated=None)).content
    assert plain["uncalibrated"] == {}


def test_the_gain_of_masks_is_that_of_a_comparison_of_runs(tmp_path):
    truth = make_masks()
    predicted = [change_masks(truth, wrong, seed) for seed, wrong in enumerate((0.2, 0.4))]
    groups = [f"p{row % 8}" for row in range(len(truth))]
    split = Split(np.zeros((*truth.shape, 1), np.uint8), truth, None, groups)
    gain = measure_gain(mask_signature(), split, predicted[0], [("run", predicted[1])])
    for seed, masks in enumerate(predicted):
        write_mask_run(tmp_path / f"run-{seed}", truth, masks, model=("unet", "liquid-unet")[seed])
    pairs = compare(load_runs([tmp_path])).pairs
    (pair,) = (pair.seen_from(pair.first) for pair in pairs if pair.metric == "dice")
    expected = pair if pair.first_value > pair.second_value else pair.seen_from(pair.second)
    assert gain.metric == "dice"
    assert dataclasses.asdict(gain.mean.difference) == pytest.approx(dataclasses.asdict(expected.difference))


def test_only_a_test_split_that_data_came_with_is_unseen_by_members_of_other_splits():
    members = (Member("a", "0", "cnn", 0), Member("b", "1", "cnn", 1))
    split = Split(np.zeros((2, 16, 16, 1), np.uint8), np.array([0, 1]))
    data = ImageData("x", "binary", BREAST, dict.fromkeys(SPLITS, split), "sha256:0", given_splits=("train",))
    for same_splits in (True, False):
        signature = sign(data="x", ensemble=Ensemble(members, same_splits))
        learned = LearnedData(signature, None, None)
        given = dataclasses.replace(data, given_splits=SPLITS)
        assert len(choose_samples(learned, given, "x", None).joined()) == 2
        if same_splits:
            assert choose_samples(learned, data, "x", "val").split == "val"
            continue
        for wrong, name in ((data, None), (given, "val")):
            with pytest.raises(InputError, match="Members that learned from different samples"):
                choose_samples(learned, wrong, "x", name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b")}, "must have the same classes, malignant, normal, benign as"),
        ({"image_shape": (8, 8, 1)}, r"the same shape of an image, \(16, 16, 1\) as"),
        ({"task": "multi-label"}, "the same task, binary as .*lnn-0. Received: .*cnn-0 with multi-label"),
        ({"checksum": "sha256:9"}, "must have the same data"),
        ({"time_unit": "days"}, "must have the same unit of times"),
    ],
)
def test_runs_of_another_signature_are_refused(breast, changes, message):
    with pytest.raises(InputError, match=message):
        ensemble_members.require_alike([breast[0], dataclasses.replace(breast[1], signature=sign(**changes))])


def test_runs_that_make_no_ensemble_are_refused(breast, tmp_path, monkeypatch):
    monkeypatch.setattr(ensemble_members, "read_signature", lambda path: sign())
    first, second = (member.path for member in breast)
    for paths, message in (
        ([first], "joins at least two runs. Received: only .*lnn-0. Name more runs, or --views"),
        ([first, first], "joins different models. Received: .*lnn-0, the same model as .*lnn-0"),
        ([tmp_path], "must hold complete runs"),
        ([first, tmp_path / "none"], "must be given as folders"),
    ):
        with pytest.raises(InputError, match=message):
            open_members(paths)
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "keras_lnn.json").write_text("{}")
    with pytest.raises(InputError, match=r"joins runs. Received: .*exported, an exported folder. Name the folder"):
        open_members([first, tmp_path / "exported"])
    with pytest.raises(InputError, match=r"a file. Name the folder of its run"):
        open_members([second / "best.keras"])


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    require_output(tmp_path / "new")
    (tmp_path / "ensemble.keras").touch()
    require_output(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"nothing but an earlier ensemble. Received: .* with notes.txt"):
        require_output(tmp_path)
    with pytest.raises(InputError, match="a file"):
        require_output(tmp_path / "notes.txt")


def test_mirror_images_are_those_of_the_augmentation(breast):
    for name, shape, axes in (
        ("mirror", (8, 8, 1), (2,)),
        ("any-orientation+noise", (8, 8, 1), (1, 2)),
        ("flip-turn-shift", (8, 8, 8, 1), (1, 2, 3)),
        ("shift-rotate", (8, 8, 1), ()),
        ("none", (8, 8, 1), ()),
    ):
        assert find_mirrors(name, shape) == axes
    # The order of frames is never reversed.
    assert find_mirrors("flip-both", (6, 8, 8, 1), series=True) == (2, 3)
    assert find_mirrors("flip-shift", (6, 8, 8, 1), series=True) == (2, 3)
    with pytest.raises(InputError, match=r"--views mirror needs members .* Received: the augmentation none. Leave it"):
        ensemble_members.find_axes([dataclasses.replace(breast[0], config=TrainConfig(augmentation="none"))])


def test_members_in_words():
    members = (Member("a", "0", "cnn", fold="1/3"), Member("b", "1", "cnn", fold="2/3"), Member("c", "2", "lnn"))
    assert Ensemble(members).describe() == "mean of the probabilities of 2 cnn and 1 lnn, of the folds 1/3, 2/3"
