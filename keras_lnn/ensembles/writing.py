"""Making an ensemble: its folder with the model, and what it gains over its members."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.backend.programs import using_many_models
from keras_lnn.data.samples import SampleRecord
from keras_lnn.ensembles.deciding import choose_decisions
from keras_lnn.ensembles.gains import Gain, name_members
from keras_lnn.ensembles.joining import join_models
from keras_lnn.ensembles.layout import (
    MODEL_FILE,
    PICTURES,
    PREDICTIONS_FILE,
    RESULTS_FILE,
    TABLE_FILE,
    require_output,
)
from keras_lnn.ensembles.members import (
    MemberRun,
    find_axes,
    merge_records,
    open_members,
    share_splits,
    with_unseen_test,
)
from keras_lnn.ensembles.page import write_ensemble_page
from keras_lnn.ensembles.promises import Promises
from keras_lnn.ensembles.results import Results, TestPredictions, measure_ensemble, write_pictures, write_predictions
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path, remove_partial_files, without_nan, write_json, write_text
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.saved.ensembles import ENSEMBLE, Ensemble
from keras_lnn.saved.predictor import KerasPredictor, load_predictor
from keras_lnn.saved.signature import Signature, save_keras
from keras_lnn.trained.evaluate import LastLoaded, open_model
from keras_lnn.trained.samples import LearnedData


@dataclasses.dataclass(frozen=True)
class MadeEnsemble:
    """An ensemble that was written.

    Args:
        folder: Its folder.
        signature: Its signature.
        results: What was measured of it; None where nothing is left to measure it on.
        notes: What the user should know, one sentence each.
    """

    folder: Path
    signature: Signature
    results: Results | None
    notes: tuple[str, ...]

    @property
    def gain(self) -> Gain | None:
        """Returns what it gains over its members, where it was measured."""
        return None if self.results is None else self.results.gain

    def to_json(self) -> dict[str, Any]:
        """Returns the content of ensemble.json."""
        known = self.signature
        return {
            "members": [] if known.ensemble is None else [dataclasses.asdict(one) for one in known.ensemble.members],
            "data": known.data,
            "task": known.task,
            "classes": list(known.class_names),
            "thresholds": known.thresholds,
            "gain": None if self.gain is None else dataclasses.asdict(self.gain),
            "notes": list(self.notes),
            **({} if self.results is None else self.results.content),
        }


def make_ensemble(
    runs: Iterable[str | Path],
    output: str | Path,
    *,
    mirror: bool = False,
    promises: Promises = Promises(),  # noqa: B008, it is frozen
    progress: Callable[[float], None] | None = None,
) -> MadeEnsemble:
    """Joins runs into one model whose prediction is the mean of their calibrated probabilities, and writes it.

    Args:
        runs: Runs, or folders that contain them, such as that of a cross-validation.
        output: The folder for the model, its page and its tables, which replaces that of an earlier ensemble.
        mirror: Whether the members also predict the mirror images that they have learned from; then one run is enough.
        promises: The prediction sets and the referral that are asked for; where nothing is, the ensemble has those
            that its members agree on.
        progress: Called with the fraction done.
    """
    with using_many_models():
        return _make_ensemble(runs, Path(output), mirror, promises, progress or (lambda fraction: None))


def _make_ensemble(
    runs: Iterable[str | Path], output: Path, mirror: bool, promises: Promises, report: Callable[[float], None]
) -> MadeEnsemble:
    members = open_members(runs, 1 if mirror else 2)
    require_output(output)
    predictors = [_load(member) for member in members]
    axes = find_axes(members) if mirror else ()
    load = LastLoaded()
    signature, notes = choose_decisions(describe_ensemble(members, axes), members, promises, load)
    calibrations = [predictor.signature.calibration for predictor in predictors]
    model = join_models([predictor.model for predictor in predictors], calibrations, signature.get_task(), axes)
    record, missing = _find_samples(signature, members, load)
    report(0.1)
    remove_partial_files(output.parent)
    with atomic_path(output) as temporary:
        temporary.mkdir()
        save_keras(model, signature, temporary / MODEL_FILE, record)
        found, reason = None, missing
        if not missing:
            found, reason = _predict(temporary / MODEL_FILE, signature, members, predictors, load, report)
        results = None if found is None else measure_ensemble(signature, found)
        made = MadeEnsemble(output, signature, results, tuple(note for note in (*notes, reason) if note))
        if found is not None and results is not None:
            write_text(temporary / TABLE_FILE, to_csv(results.gain.to_table()))
            about = (signature, found, results.evaluation)
            write_predictions(temporary / PREDICTIONS_FILE, *about)
            write_pictures(temporary / PICTURES, *about)
        content = without_nan(made.to_json())
        write_ensemble_page(temporary, output, signature, members, content, made.gain)
        write_json(temporary / RESULTS_FILE, content)
    return made


def describe_ensemble(members: Sequence[MemberRun], axes: tuple[int, ...] = ()) -> Signature:
    """Returns the signature of the ensemble of some members, without thresholds.

    Args:
        members: The members.
        axes: Axes along which images are also mirrored.
    """
    from keras_lnn import __version__

    known = [member.signature for member in members]
    seeds, split_seeds = ({getattr(one, name) for one in known} for name in ("seed", "split_seed"))
    return dataclasses.replace(
        known[0],
        model=ENSEMBLE,
        model_args={},
        parameters=sum(one.parameters for one in known),
        seed=known[0].seed if len(seeds) == 1 else None,
        split_seed=known[0].split_seed if len(split_seeds) == 1 else None,
        fold=None if len({one.fold for one in known}) > 1 else known[0].fold,
        best_epoch=None,
        trained_by=f"keras-lnn {__version__}",
        thresholds=None,
        threshold_rule=None,
        calibration=None,
        sets=None,
        referral=None,
        ensemble=Ensemble(tuple(member.describe() for member in members), share_splits(members), mirrored=axes),
    )


def _load(member: MemberRun) -> KerasPredictor:
    predictor = load_predictor(member.path)
    if not isinstance(predictor, KerasPredictor):
        raise InputError(f"Members of an ensemble must be Keras models. Received: {member.path}. Name a run.")
    return predictor


def _find_samples(
    signature: Signature, members: Sequence[MemberRun], load: LastLoaded
) -> tuple[SampleRecord | None, str]:
    """Returns the samples that the members have seen and a test split for them all, and why there is none."""
    record = merge_records([member.folder.read_samples() for member in members])
    if record is None or record.counts()["test"]:
        return record, ""
    config = members[0].config
    learned = LearnedData(signature, config, record)
    try:
        data = load(config.data, learned.reading(config.data, config), plan="seeded")
    except InputError as error:
        return record, f"The ensemble was not measured: {error}"
    if "test" not in data.given_splits:
        return record, (
            "The ensemble was not measured: each sample of these data has trained some of its members. Measure it on"
            " others with keras-lnn evaluate --data."
        )
    whole = SampleRecord.of(data)
    return record if whole is None else with_unseen_test(record, whole), ""


def _predict(
    path: Path,
    signature: Signature,
    members: Sequence[MemberRun],
    predictors: Sequence[KerasPredictor],
    load: LastLoaded,
    report: Callable[[float], None],
) -> tuple[TestPredictions | None, str]:
    """Returns what the ensemble and its members predict for the test split, or why it is not measured."""
    config = members[0].config
    try:
        opened = open_model(path, data=config.data, split="test", options=config, load=load)
    except InputError as error:
        return None, f"The ensemble was not measured: {error}"
    parts, done = opened.chosen.parts, []
    plain = _without_calibration(signature, predictors)
    asked = [opened.predictor, *predictors, *([] if plain is None else [plain])]
    for number, predictor in enumerate(asked):
        done.append(np.concatenate([predictor.predict_compact(part.images) for part in parts]))
        report(0.1 + 0.9 * (number + 1) / len(asked))
    known = [predictor.signature for predictor in predictors]
    named = list(zip(name_members(members), known, done[1 : len(members) + 1], strict=True))
    found = TestPredictions(opened.chosen.joined(), done[0], named, None if plain is None else done[-1])
    return found, " ".join(opened.warnings)


def _without_calibration(signature: Signature, predictors: Sequence[KerasPredictor]) -> KerasPredictor | None:
    """Returns the ensemble of members that are not calibrated; None where that is the same, or not compared."""
    task, mirrored = signature.get_task(), () if signature.ensemble is None else signature.ensemble.mirrored
    if not task.keeps_logits or all(predictor.signature.calibration is None for predictor in predictors):
        return None
    models = [predictor.model for predictor in predictors]
    return KerasPredictor(join_models(models, [None] * len(models), task, mirrored), signature)
