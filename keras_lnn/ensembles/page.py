"""The page of an ensemble, which links the page of each member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_lnn.data.catalog import is_own
from keras_lnn.ensembles.gains import Gain, name_members
from keras_lnn.ensembles.layout import CONTENTS, PAGE_FILE, PICTURES, RESULTS_FILE
from keras_lnn.ensembles.members import MemberRun
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.files.atomic import write_text
from keras_lnn.pages.rendering import Link, Picture, Table, relative_link, render
from keras_lnn.pages.run_commands import quote_path
from keras_lnn.pages.run_tables import describe_decisions_of, estimate_cell, labels_table
from keras_lnn.plots.reading import order_pictures
from keras_lnn.saved.card import describe_use, shown_metrics
from keras_lnn.saved.results import describe_basis, describe_metric, describe_promised, describe_result, name_class
from keras_lnn.saved.signature import Signature, short_data_name
from keras_lnn.statistics.texts import number, p_value, signed

_ROC = (
    "The ensemble over its members, all on the same samples: the nearer to the upper left corner the better; the"
    " diagonal is guessing."
)
_RELIABILITY = (
    "Whether predictions are right as often as their probability says: dots on the dotted line are, predictions of dots"
    " below it are too sure. Grey dots, where there are any, are those without the calibration of the members."
)
_OWN_READINGS = {"roc": _ROC, "reliability": _RELIABILITY}


def write_ensemble_page(
    folder: Path,
    place: Path,
    signature: Signature,
    members: Sequence[MemberRun],
    found: dict[str, Any],
    gain: Gain | None,
) -> None:
    """Writes the page of an ensemble into a folder that becomes its own.

    Args:
        folder: The folder that is written now, which holds the pictures.
        place: What the folder will be called, for links and commands.
        signature: The signature of the ensemble.
        members: Its members.
        found: Content of its ensemble.json.
        gain: What it gains; None where it was not measured.
    """
    write_text(folder / PAGE_FILE, ensemble_page(folder, place, signature, members, found, gain))


def ensemble_page(
    folder: Path,
    place: Path,
    signature: Signature,
    members: Sequence[MemberRun],
    found: dict[str, Any],
    gain: Gain | None,
) -> str:
    """Returns the page of an ensemble; arguments as in :func:`write_ensemble_page`."""
    measured = {} if gain is None else _list_measured(found, gain)
    written = {PAGE_FILE, RESULTS_FILE}  # which the page itself comes before
    return render(
        "ensemble.html",
        title=f"Ensemble of {_name_members(members)} on {short_data_name(signature.data)}",
        about=_describe(signature),
        cautions=found.get("warnings", []),
        notes=found["notes"],
        measured=measured,
        pictures=_read_pictures(folder / PICTURES, signature.samples),
        members=_members_table(place, members),
        methods=[] if gain is None else describe_methods(signature),
        use=describe_use(signature.get_task(), signature.samples),
        commands=list_commands(place, signature.samples, members[0].config.data),
        files=[
            (Link(name, name), what) for name, what in CONTENTS.items() if name in written or (folder / name).exists()
        ],
    )


def _name_members(members: Sequence[MemberRun]) -> str:
    models = " and ".join(dict.fromkeys(member.signature.model for member in members))
    return f"{len(members)} {models}"


def _describe(signature: Signature) -> str:
    known = signature.ensemble
    parts = "" if known is None else f": {known.describe()}"
    return f"One model with {signature.parameters:,} parameters{parts}."


def _list_measured(found: dict[str, Any], gain: Gain) -> dict[str, Any]:
    """Returns what the page shows of an ensemble that was measured."""
    return {
        "result": describe_result(found),
        "gain": gain.explain(),
        "gains": _gains_table(gain),
        "metrics": _metrics_table(found),
        "decisions": describe_decisions_of(found, "test"),
        "calibration": describe_uncalibrated(found),
        "promised": describe_promised(found, "test"),
        "sets": _sets_table(found),
        "labels": labels_table(found, "test"),
    }


def _gains_table(gain: Gain) -> Table:
    label, rows = metric_label(gain.metric), []
    for one in (gain.ensemble, gain.mean, *gain.members):
        row = [one.name, estimate_cell(one.estimate.to_json())]
        difference = one.difference
        if difference is None:
            rows.append([*row, "", ""])
            continue
        known = difference.low == difference.low
        ends = f"\n{signed(difference.low)} to {signed(difference.high)}" if known else ""
        p = p_value(difference.p).removeprefix("p ").removeprefix("= ")
        rows.append([*row, f"{signed(difference.value)}{ends}", p])
    head = ["model", label, "gain of the ensemble", "p"]
    return Table(f"{label} on {gain.samples} of the test split, with 95% intervals", head, rows)


def _metrics_table(found: dict[str, Any]) -> Table:
    """Returns each metric of the ensemble beside the mean of its members, and without their calibration if known."""
    test, means, before = found["test"], found["mean_of_members"], found["uncalibrated"]
    rows = []
    for name, label in shown_metrics(found, "test").items():
        mean = number(means[name]) if means.get(name) is not None else ""
        row = [label + name_class(name, found["positive_class"]), estimate_cell(test[name]), mean]
        rows.append([*row, estimate_cell(before.get(name))] if before else row)
    head = ["metric", "ensemble", "mean of members", *(["ensemble without calibration"] if before else [])]
    return Table(f"Metrics on the test split with 95% intervals, {describe_basis(found, 'test')}", head, rows)


def describe_uncalibrated(found: Mapping[str, Any]) -> str:
    """Returns what the calibration of the members does to that of the ensemble; empty where none is calibrated.

    Args:
        found: Content of an ensemble.json.
    """
    name = "expected_calibration_error"
    before = found["uncalibrated"].get(name)
    if before is None:
        return ""
    return (
        f"The {metric_label(name)} of the ensemble is {describe_metric(found['test'][name]['value'])}, and"
        f" {describe_metric(before['value'])} if the probabilities of its members are averaged without their"
        " calibration. A mean is less sure than what it is the mean of, so that members which are"
        " each sure enough may be too unsure together."
    )


def _sets_table(found: Mapping[str, Any]) -> Table | None:
    """Returns what prediction sets do on the test split; None where the ensemble has none."""
    sets = found.get("sets")
    if sets is None:
        return None
    measured = sets["test"]
    rows = [["contain the true class", estimate_cell(measured["coverage"])]]
    rows += [[f"of {name}", estimate_cell(one)] for name, one in measured["coverage_of"].items()]
    rows += [["have a single class", estimate_cell(measured["single"])]]
    rows += [["classes in a set, on average", estimate_cell(measured["mean_size"])]]
    return Table("Prediction sets on the test split, with 95% intervals", ["sets that", "share"], rows)


def _read_pictures(folder: Path, samples: str) -> list[Picture]:
    readings = order_pictures([path.stem for path in folder.glob("*.png")], samples)
    return [
        Picture.of_file(folder / f"{name}.png", _OWN_READINGS.get(name, reading.sentence), reading.title)
        for name, reading in readings.items()
    ]


def _members_table(place: Path, members: Sequence[MemberRun]) -> Table:
    rows: list[list[str | Link]] = []
    for name, member in zip(name_members(members), members, strict=True):
        known = member.signature
        seed = "" if known.seed is None else str(known.seed)
        row = [name, known.model, seed, known.fold or "", f"{known.parameters:,}"]
        page = member.folder.report
        rows.append([*row, Link(page.name, relative_link(page, place)) if page.is_file() else ""])
    head = ["member", "model", "seed", "fold", "parameters", "page"]
    return Table("Members; the page of each has its training and its own test", head, rows, 2)


def describe_methods(signature: Signature) -> list[str]:
    """Returns sentences on how the numbers of an ensemble came about and what they stand for."""
    ensemble, samples = signature.ensemble, signature.samples
    same = ensemble is None or ensemble.same_splits
    return [
        f"The test {samples} are known to no member: none of them was trained on one, or chose its epoch by one."
        + ("" if same else " They are the test split that the data came with, which the folds have left out."),
        f"A gain is the difference from the ensemble on the same {samples}, with the interval and p of a paired test."
        f" They cover the choice of the test {samples} alone: other members could gain more or less. p-values are not"
        " corrected for the number of members.",
        "The mean of members is the mean of a metric over the members, each with its own calibration and thresholds,"
        " and not the metric of a mean.",
    ]


def list_commands(place: Path, samples: str, data: str) -> list[tuple[str, str]]:
    """Returns what each command that goes on with an ensemble does, and the command.

    Args:
        place: The folder of the ensemble.
        samples: What its samples are, in the plural.
        data: The data of its members.
    """
    joined = quote_path(place)
    measured = f"{joined} --data {quote_path(Path(data))}" if is_own(data) else joined
    return [
        (f"Predict {samples} of your own", f"keras-lnn predict {joined} my_{samples}/"),
        (f"Measure it again, or with --data on other {samples}", f"keras-lnn evaluate {measured}"),
        ("See where it looks", f"keras-lnn explain {joined} my_{samples}/"),
        ("Export the model for use without this package", f"keras-lnn export {joined} --format saved_model"),
    ]
