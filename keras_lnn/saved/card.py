"""The card beside an exported model: what it learned from, how well it does, and what it is not for."""

import html
from collections.abc import Sequence
from typing import Any

from keras_lnn.saved.formats import FORMATS
from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.kinds import find_kind
from keras_lnn.tasks.thresholds import TUNED, describe_rule

CARD_FILE = "README.md"
_LABELS = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "f1": "F1",
    "f1_macro": "F1, mean over the classes",
    "precision": "precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "average_precision": "average precision",
    "brier": "Brier score",
    "dice": "Dice",
    "iou": "IoU",
    "dice_per_image": "Dice, mean over images",
    "iou_per_image": "IoU, mean over images",
    "hd95": "Hausdorff distance, 95th percentile (pixels)",
    "hd95_mm": "Hausdorff distance, 95th percentile (mm)",
    "surface_distance": "mean surface distance (pixels)",
    "surface_distance_mm": "mean surface distance (mm)",
    "expected_calibration_error": "expected calibration error",
}


def metric_label(name: str) -> str:
    """A metric's name for people; behind those of masks there may be the name of a class."""
    if name in _LABELS:
        return _LABELS[name]
    if name.endswith(TUNED):
        return f"{metric_label(name.removesuffix(TUNED))} at the threshold"
    metric, _, of_class = name.partition("_")
    return f"{_LABELS[metric]} {of_class}" if metric in ("dice", "iou") else name.replace("_", " ")


def shown_metrics(metrics: dict[str, Any], split: str) -> dict[str, str]:
    """Returns what people are shown of one split, as a label by the name of each metric, the most telling first.

    Args:
        metrics: Content of a metrics.json.
        split: Which of its splits.
    """
    labels = {name: metric_label(name) for name in metrics[split]}
    return find_kind(metrics.get("task")).show_metrics(labels, metrics, split)


def escape_markdown(text: object) -> str:
    """Returns text that a Markdown viewer prints as it is: names bring no HTML, no table cell and no line of their own.

    Args:
        text: A name or a value.
    """
    return " ".join(html.escape(str(text), quote=False).replace("|", "\\|").split())


def model_card(
    signature: Signature, metrics: dict[str, Any] | None, format: str, logit_scale: float | None = None
) -> str:
    """The card as Markdown.

    Args:
        signature: What the model is.
        metrics: Content of the run's metrics.json, or None where the model was not tested.
        format: The name of its export format.
        logit_scale: The learned number that bounded outputs are multiplied by; None where there is none.
    """
    classes = ", ".join(f"{index}: {name}" for index, name in enumerate(signature.class_names))
    shape = f"(samples, {', '.join(map(str, signature.image_shape))})"
    sides = ", ".join(map(str, signature.image_shape[:-1]))
    task = signature.get_task()
    use = (FORMATS[format].loading + task.usage[FORMATS[format].gives]).format(
        folder="path/to/this/folder",
        shape=shape,
        classes=len(signature.class_names),
        pixels=f"(samples, {sides})",
        pixels_of_classes=f"(samples, {sides}, {len(signature.class_names)})",
    )
    facts = {
        "Network": f"{signature.model}, {signature.parameters:,} trainable parameters",
        "Arguments": ", ".join(f"{name}={value}" for name, value in signature.model_args.items()) or "defaults",
        "Task": f"{signature.task}; {classes}",
        "Input": f"raw uint8 images {shape}, values 0..255; the preprocessing is inside",
        "Scale of the logits": _scale(logit_scale),
        "Learned from": f"{signature.data} ({signature.checksum})",
        "Splits": _splits(metrics),
        "Colours of the classes": _of_classes(signature, signature.colours),
        "Values of the classes in masks": _of_classes(signature, signature.mask_values),
        "Licence of the data": signature.licence or "not stated",
        "Seed": signature.seed,
        "Epoch, chosen on validation": signature.best_epoch,
        "Thresholds": describe_thresholds(signature),
        "Made by": signature.trained_by,
    }
    title = escape_markdown(f"{signature.model} on {signature.data}")
    lines = [f"# {title}", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {escape_markdown(value)} |" for name, value in facts.items() if value is not None]
    lines += [
        "",
        "## Results",
        "",
        *_results(metrics, task.note_on_results),
        "",
        "## Use",
        "",
        "```python",
        use,
        "```",
        "",
    ]
    lines += [
        "## Intended use",
        "",
        "Research and teaching on images like those it learned from. **Not for diagnosis**: it is no medical device,",
        "was not validated on patients, scanners or hospitals other than those of its data set, and says nothing of",
        f"images of another kind, for which it gives {task.prediction_noun} all the same.",
        "",
    ]
    return "\n".join(lines)


def describe_thresholds(signature: Signature) -> str | None:
    """Returns in words what a model predicts classes by; None where it has no thresholds of its own."""
    if signature.thresholds is None:
        return None
    shown = signature.get_task().speaks_of(signature.positive_class)
    rules = ", ".join(f"{signature.class_names[place]} above {signature.thresholds[place]:.3f}" for place in shown)
    return f"{rules}; {describe_rule(signature.threshold_rule)}"


def _splits(metrics: dict[str, Any] | None) -> str | None:
    """Returns how many images and patients each split of own images has; None where that is not known."""
    found = []
    for name, split in ((metrics or {}).get("splits") or {}).items():
        patients = "" if split["patients"] is None else f" of {split['patients']:,} patients"
        found.append(f"{name} {split['images']:,} images{patients}")
    return ", ".join(found) or None


def _scale(logit_scale: float | None) -> str | None:
    if logit_scale is None:
        return None
    return (
        f"{logit_scale:.2f}, learned: the liquid layer gives numbers between -1 and 1, too small to be sure of a class"
    )


def _of_classes(signature: Signature, values: Sequence[object] | None) -> str | None:
    if values is None:
        return None
    return ", ".join(f"{name} {value}" for name, value in zip(signature.class_names, values, strict=True))


def _basis(metrics: dict[str, Any]) -> str:
    """Returns what the intervals of the test split rest on; an older version has not written it down."""
    basis = metrics.get("intervals_over", {}).get("test")
    return "its images" if basis is None else f"{basis['count']:,} {basis['unit']}"


def _results(metrics: dict[str, Any] | None, note: str | None) -> list[str]:
    if metrics is None or "test" not in metrics:
        return ["Not tested here: `python -m keras_lnn evaluate` measures it."]
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
        lines += ["", "Decisions are measured at 0.5 and, where it is said, at the thresholds above, as they are made."]
    if metrics.get("positive_class"):
        lines += [
            "",
            f"F1, precision, sensitivity, specificity and average precision are those of "
            f"{escape_markdown(metrics['positive_class'])}.",
        ]
    return lines + [f"\n**Warning:** {escape_markdown(warning)}" for warning in metrics["warnings"]]


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
