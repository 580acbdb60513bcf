"""The card beside an exported model: what it learned from, how well it does, and what it is not for."""

import html
import re
from collections.abc import Sequence
from typing import Any

import yaml

from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.fields.values import name_steps
from keras_lnn.saved.ensembles import APPROXIMATE, ON_FOLDS, ON_VALIDATION
from keras_lnn.saved.formats import FORMATS, describe_precision
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.kinds import find_kind
from keras_lnn.tasks.task import Task
from keras_lnn.tasks.thresholds import TUNED, describe_rule

CARD_FILE = "README.md"
# What begins or ends markup within a line; underscores within words and other backslashes are printed as they are.
_MARKUP = re.compile(r"[|`*\[\]]|\\(?=[!-/:-@\[-`{-~])|(?<![^\W_])_|_(?![^\W_])")
# Characters that change the order in which the text around them is shown.
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
# What comes before the use of a model of series.
_USE_OF_SERIES = {
    "outputs": """# times: float32, (samples, {steps}), of each frame in {unit}, never falling
# lengths: int32, (samples,), the frames of each series, 1 to {steps}; images and times after them are not read
""",
    "predictor": """# frames: of each series its frames in order, uint8, (1 to {steps}, {frame})
# times: of each series the times of its frames in {unit}, never falling
from keras_lnn.data.arrays import SeriesArray

images = SeriesArray.join(frames, times, "{unit}", steps={steps})
""",
}
# What follows the use of a model that has prediction sets or refers to a human.
_USE_OF_PROMISED = {
    "outputs": {
        "set": '\nresult["set"]  # bool, (samples, {classes}): whether each class belongs to the prediction set',
        "refer": '\nresult["refer"]  # bool, (samples,): whether a human should decide',
    },
    "predictor": {
        "set": '\nmodel.signature.find_promised(model.predict(images))["set"]  # bool, (samples, {classes})',
        "refer": '\nmodel.signature.find_promised(model.predict(images))["refer"]  # bool, (samples,)',
    },
}


def shown_metrics(metrics: dict[str, Any], split: str) -> dict[str, str]:
    """Returns the metrics that are shown for one split, as a label by metric name, the most informative first.

    Args:
        metrics: Content of a metrics.json.
        split: Name of one of its splits.
    """
    labels = {name: metric_label(name) for name in metrics[split]}
    return find_kind(metrics.get("task")).show_metrics(labels, metrics, split)


def escape_markdown(text: object) -> str:
    """Returns text that a Markdown viewer prints as it is: no HTML, links, pictures, emphasis, cells or line breaks.

    Args:
        text: A name or a value.
    """
    plain = html.escape(_REORDERING.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text)), quote=False)
    return " ".join(_MARKUP.sub(r"\\\g<0>", plain).split())


def model_card(
    signature: Signature,
    metrics: dict[str, Any] | None,
    format: str,
    logit_scale: float | None = None,
    difference: str | None = None,
    loss: str | None = None,
) -> str:
    """Returns the model card as Markdown.

    Args:
        signature: Signature of the model.
        metrics: Content of the run's metrics.json, or None if the model was not tested.
        format: Name of its export format.
        logit_scale: The learned factor of bounded outputs; None if there is none.
        difference: How far its probabilities are from those of the Keras model, in words; None where it is that model.
        loss: What it loses by a lower precision, in words; None where that was not measured.
    """
    task = signature.get_task()
    facts = describe_model(signature, metrics, logit_scale)
    facts |= {} if difference is None else {"Difference": difference}
    facts |= {} if loss is None else {"Loss of precision": loss}
    title = escape_markdown(f"{signature.model} on {signature.data}")
    lines = [*_front_matter(signature, FORMATS[format].library), f"# {title}", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {escape_markdown(value)} |" for name, value in facts.items()]
    lines += [
        "",
        "## Results",
        "",
        *_results(metrics, task.note_on_results),
        "",
        "## Use",
        "",
        "```python",
        _usage(signature, format),
        "```",
        "",
    ]
    lines += [
        "## Intended use",
        "",
        "{} **{}**: {}".format(*describe_use(task, signature.samples)),
        "",
    ]
    return "\n".join(lines)


def _usage(signature: Signature, format: str) -> str:
    """Returns Python code that loads a model of this format and predicts."""
    shape, sides, classes = (
        signature.image_shape,
        ", ".join(map(str, signature.image_shape[:-1])),
        signature.class_names,
    )
    gives, unit = FORMATS[format].gives, signature.time_unit
    names = ("images",) if unit is None else ("images", "times", "lengths")
    promised = {"set": signature.sets, "refer": signature.referral}
    after = "".join(_USE_OF_PROMISED[gives][name] for name, rule in promised.items() if rule is not None)
    before = "" if unit is None else _USE_OF_SERIES[gives]
    return (before + FORMATS[format].loading + signature.get_task().usage[gives] + after).format(
        folder="path/to/this/folder",
        inputs=", ".join(names),
        named_inputs="{" + ", ".join(f'"{name}": {name}' for name in names) + "}",
        keyword_inputs=", ".join(f"{name}={name}" for name in names),
        shape=f"(samples, {', '.join(map(str, shape))})",
        classes=len(classes),
        pixels=f"(samples, {sides})",
        pixels_of_classes=f"(samples, {sides}, {len(classes)})",
        frame=", ".join(map(str, shape[1:])),
        steps=shape[0],
        unit=unit,
    )


def _front_matter(signature: Signature, library: str) -> list[str]:
    """Returns what model hubs read before the text, as lines of YAML."""
    task = signature.get_task()
    fields = {
        "library_name": library,
        "pipeline_tag": task.hub_pipeline,
        # The licence of the code is not that of the weights, which depends on the data.
        "license": "other",
        "tags": ["keras-lnn", "medical-imaging", " ".join(signature.model.split())],
        "metrics": list(task.hub_metrics),
    }
    return ["---", *yaml.safe_dump(fields, sort_keys=False, allow_unicode=True).splitlines(), "---", ""]


def describe_model(
    signature: Signature, metrics: dict[str, Any] | None, logit_scale: float | None = None
) -> dict[str, str]:
    """Returns the facts about a model by their names; arguments as in :func:`model_card`."""
    classes = ", ".join(f"{index}: {name}" for index, name in enumerate(signature.class_names))
    shape = f"(samples, {', '.join(map(str, signature.image_shape))})"
    of_folds = signature.ensemble is not None and signature.ensemble.thresholds_on == ON_FOLDS
    folds = f"; {APPROXIMATE}" if of_folds else ""
    facts: dict[str, object] = {
        "Model": f"{signature.model}, {signature.parameters:,} trainable parameters",
        "Arguments": ", ".join(f"{name}={value}" for name, value in signature.model_args.items()) or "defaults",
        "Members": None if signature.ensemble is None else signature.ensemble.describe(),
        "Task": f"{signature.task}; {classes}",
        "Input": f"raw uint8 {signature.samples} {shape}, values from 0 to 255; the preprocessing is part of the model",
        "Times": _describe_times(signature),
        "Scale of the logits": _scale(logit_scale),
        "Trained on": f"{signature.data} ({signature.checksum})",
        "Splits": _splits(metrics, signature.samples),
        "Colours of the classes": _list_by_class(signature, signature.colours),
        "Values of the classes in masks": _list_by_class(signature, signature.mask_values),
        "Licence of the data": signature.licence or "not stated",
        "Seed": signature.seed,
        "Epoch chosen on validation": signature.best_epoch,
        "Thresholds": describe_thresholds(signature),
        "Calibration": _describe_calibration(signature),
        "Prediction sets": None if signature.sets is None else signature.sets.describe(signature.class_names) + folds,
        "Referred to a human": None if signature.referral is None else signature.referral.describe() + folds,
        "Precision": None if signature.precision is None else describe_precision(signature.precision),
        "Created by": signature.trained_by,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def describe_use(task: Task, samples: str) -> tuple[str, str, str]:
    """Returns what a model may be used for, what it is not for, and why not.

    Args:
        task: What it has learned to predict.
        samples: What its samples are, in the plural.
    """
    return (
        f"Research and teaching with {samples} like those that the model was trained on.",
        "Not for diagnosis",
        "it is not a medical device and was not validated on other patients, scanners or hospitals than those of its"
        f" data set. For {samples} of another kind it still gives {task.prediction_noun}, which mean nothing.",
    )


def describe_thresholds(signature: Signature) -> str | None:
    """Returns the thresholds above which a model predicts its classes, in words; None if it has none of its own."""
    if signature.thresholds is None:
        return None
    shown = signature.get_task().described_classes(signature.positive_class)
    rules = ", ".join(f"{signature.class_names[place]} above {signature.thresholds[place]:.3f}" for place in shown)
    chosen_on = ON_VALIDATION if signature.ensemble is None else signature.ensemble.thresholds_on
    return f"{rules}; {describe_rule(signature.threshold_rule, chosen_on)}"


def _describe_calibration(signature: Signature) -> str | None:
    """Returns how the probabilities are calibrated, in words; None for not at all."""
    if signature.calibration is None:
        return None
    return f"{signature.calibration.describe(signature.class_names)}, fitted on validation"


def _describe_times(signature: Signature) -> str | None:
    """Returns what the times of series are, in words; None for images."""
    if signature.time_unit is None:
        return None
    place, distance = ("", "time") if name_steps(signature.time_unit) == "time" else ("the positions ", "distance")
    learned = "" if signature.median_interval is None else f", {signature.median_interval:.3g} in the training data"
    return (
        f"{place}of each frame in {signature.time_unit}, from any start; 1 to {signature.image_shape[0]} frames; the"
        f" model divides the {distance} between frames by its median{learned}"
    )


def _splits(metrics: dict[str, Any] | None, samples: str) -> str | None:
    """Returns the number of samples and patients in each split; None if it is not known."""
    found = []
    for name, split in ((metrics or {}).get("splits") or {}).items():
        patients = "" if split["patients"] is None else f" of {split['patients']:,} patients"
        found.append(f"{name} {split['images']:,} {samples}{patients}")
    return ", ".join(found) or None


def _scale(logit_scale: float | None) -> str | None:
    if logit_scale is None:
        return None
    return (
        f"{logit_scale:.2f}, learned: outputs of a liquid layer, between -1 and 1, are too small for confident"
        " probabilities"
    )


def _list_by_class(signature: Signature, values: Sequence[object] | None) -> str | None:
    if values is None:
        return None
    return ", ".join(f"{name} {value}" for name, value in zip(signature.class_names, values, strict=True))


def _basis(metrics: dict[str, Any]) -> str:
    """Returns the units that the intervals of the test split rest on; older versions did not record them."""
    basis = metrics.get("intervals_over", {}).get("test")
    return "its samples" if basis is None else f"{basis['count']:,} {basis['unit']}"


def _results(metrics: dict[str, Any] | None, note: str | None) -> list[str]:
    if metrics is None or "test" not in metrics:
        return ["Not tested yet; `python -m keras_lnn evaluate` measures it."]
    lines = [
        f"Test split, with 95% intervals over {_basis(metrics)}.",
        "",
        "| | value | interval |",
        "| --- | --- | --- |",
    ]
    for name, label in shown_metrics(metrics, "test").items():
        estimate = metrics["test"][name]
        value, low, high = (_number(estimate[key]) for key in ("value", "low", "high"))
        ends = "-" if estimate["low"] is None else f"{low} to {high}"
        lines.append(f"| {escape_markdown(label)} | {value} | {ends} |")
    if note is not None:
        lines += ["", note]
    if any(name.endswith(TUNED) for name in metrics["test"]):
        lines += ["", "Decisions are measured at 0.5; metrics marked as such are at the thresholds above."]
    if metrics.get("positive_class"):
        lines += [
            "",
            f"The positive class of F1, precision, sensitivity, specificity and average precision is "
            f"{escape_markdown(metrics['positive_class'])}.",
        ]
    return lines + [f"\n**Warning:** {escape_markdown(warning)}" for warning in metrics["warnings"]]


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
