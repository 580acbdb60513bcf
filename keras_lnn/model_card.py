"""The card beside an exported model: what it learned from, how well it does, and what it is not for."""

from typing import Any

from keras_lnn.signature import Signature

CARD_FILE = "README.md"
_USE = {
    "saved_model": """import tensorflow as tf

model = tf.saved_model.load("{folder}")
answer = model.serve(images)  # uint8, {shape}, pixel values as they are
answer["probabilities"]  # (samples, {classes}), in the order of answer["class_names"]
answer["predicted"]  # bool, of the same shape: what the probabilities say, by the thresholds where there are any""",
    "keras": """from keras_lnn.inference import load_predictor

model = load_predictor("{folder}")
model.predict(images)  # uint8, {shape}, pixel values as they are; gives (samples, {classes})""",
}
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
    "f1_tuned": "F1 at the chosen thresholds",
    "brier": "Brier score",
    "expected_calibration_error": "expected calibration error",
}


def metric_label(name: str) -> str:
    """A metric's name for people."""
    return _LABELS.get(name, name.replace("_", " "))


def model_card(signature: Signature, metrics: dict[str, Any] | None, format: str) -> str:
    """The card as Markdown.

    Args:
        signature: What the model is.
        metrics: Content of the run's metrics.json, or None where the model was not tested.
        format: ``saved_model`` or ``keras``.
    """
    classes = ", ".join(f"{index}: {name}" for index, name in enumerate(signature.class_names))
    shape = f"(samples, {', '.join(map(str, signature.image_shape))})"
    use = _USE[format].format(folder="path/to/this/folder", shape=shape, classes=len(signature.class_names))
    facts = {
        "Network": f"{signature.model}, {signature.parameters:,} trainable parameters",
        "Arguments": ", ".join(f"{name}={value}" for name, value in signature.model_args.items()) or "defaults",
        "Task": f"{signature.task}; {classes}",
        "Input": f"raw uint8 images {shape}, values 0..255; the preprocessing is inside",
        "Learned from": f"{signature.data} ({signature.checksum})",
        "Licence of the data": signature.licence or "not stated",
        "Seed": signature.seed,
        "Epoch, chosen on validation": signature.best_epoch,
        "Thresholds, chosen on validation": _thresholds(signature),
        "Made by": signature.trained_by,
    }
    lines = [f"# {signature.model} on {signature.data}", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
    lines += ["", "## Results", "", *_results(metrics), "", "## Use", "", "```python", use, "```", ""]
    lines += [
        "## Intended use",
        "",
        "Research and teaching on images like those it learned from. **Not for diagnosis**: it is no medical device,",
        "was not validated on patients, scanners or hospitals other than those of its data set, and says nothing of",
        "images of another kind, for which it gives probabilities all the same.",
        "",
    ]
    return "\n".join(lines)


def _thresholds(signature: Signature) -> str | None:
    if signature.thresholds is None:
        return None
    pairs = zip(signature.class_names, signature.thresholds, strict=True)
    return ", ".join(f"{name} {value:.3f}" for name, value in pairs)


def _results(metrics: dict[str, Any] | None) -> list[str]:
    if metrics is None or "test" not in metrics:
        return ["Not tested here: `python -m keras_lnn evaluate` measures it."]
    lines = [
        "Test split, 95% bootstrap intervals over the images.",
        "",
        "| | value | interval |",
        "| --- | --- | --- |",
    ]
    for name, estimate in metrics["test"].items():
        value, low, high = (_number(estimate[key]) for key in ("value", "low", "high"))
        lines.append(f"| {metric_label(name)} | {value} | {low} to {high} |")
    if metrics.get("positive_class"):
        lines += [
            "",
            f"F1, precision, sensitivity and average precision are those of class 1, {metrics['positive_class']}.",
        ]
    return lines + [f"\n**Warning:** {warning}" for warning in metrics["warnings"]]


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
