"""What a run has recorded of its model and its training."""

from __future__ import annotations

from keras_lnn.checklists.described_run import DescribedRun
from keras_lnn.files.atomic import as_text
from keras_lnn.pages.run_page import describe_training, read_history
from keras_lnn.pages.run_tables import describe_decisions_of
from keras_lnn.runs.contents import CONTENTS
from keras_lnn.saved.card import describe_use
from keras_lnn.saved.results import describe_promised

_TRAINING = (
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "schedule",
    "loss",
    "precision",
    "time_budget",
)


def describe_task(run: DescribedRun) -> list[str]:
    """Returns what the model predicts, and its positive class."""
    positive = run.metrics.get("positive_class")
    return [*run.name("Task"), *([f"Positive class: {positive}"] if positive else [])]


def describe_model(run: DescribedRun) -> list[str]:
    """Returns the name of the model, its arguments and its size."""
    return [*run.name("Model", "Arguments", "Scale of the logits", "Created by")]


def describe_output(run: DescribedRun) -> list[str]:
    """Returns what the model gives."""
    return [f"Output: {run.task.prediction_noun} for the classes {', '.join(run.metrics['classes'])}"]


def describe_thresholds(run: DescribedRun) -> list[str]:
    """Returns how predictions become decisions."""
    found = describe_decisions_of(run.metrics, run.split)
    if found:
        return [found]
    return run.name("Thresholds") or ["The likeliest class is predicted; no threshold was chosen."]


def describe_sets_and_referral(run: DescribedRun) -> list[str]:
    """Returns what prediction sets and referral to a human promise."""
    found = describe_promised(run.metrics, run.split)
    return found or ["No prediction sets, and no referral to a human, were asked for."]


def describe_software(run: DescribedRun) -> list[str]:
    """Returns the versions of the software."""
    packages = run.environment.get("packages")
    if not packages:
        return []
    versions = {"Python": run.environment.get("python", "not recorded"), **packages}
    backend = run.environment.get("backend")
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    own = [f"Own modules: {', '.join(run.config.imports)}"] if run.config.imports else []
    return [f"Software: {named}", *([f"Backend of Keras: {backend}"] if backend else []), *own]


def describe_hardware(run: DescribedRun) -> list[str]:
    """Returns the machine that trained the model."""
    names = ("hosts", "devices", "machine", "system", "processors")
    found = {name: run.environment[name] for name in names if name in run.environment}
    if not found:
        return []
    values = (f"{label} {', '.join(value) if isinstance(value, list) else value}" for label, value in found.items())
    return [f"Hardware: {'; '.join(values)}"]


def describe_initialisation(run: DescribedRun) -> list[str]:
    """Returns where the first weights came from, and the seed."""
    if run.config.start_from is not None:
        return [f"The weights of the last epoch of the run {as_text(run.config.start_from)}; seed {run.config.seed}"]
    again = "gives the same weights" if run.config.deterministic else "may give other weights"
    return [
        f"At random by the initialisers of the layers, with seed {run.config.seed}; the same seed on the same machine"
        f" {again}."
    ]


def list_training(run: DescribedRun) -> list[str]:
    """Returns how long the model was trained, and the settings of its training."""
    values = {name: getattr(run.config, name) for name in _TRAINING}
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items() if value is not None)
    patience = run.config.early_stopping
    settings += f", early stopping after {patience} worse epochs" if patience else ", no early stopping"
    return [
        f"Training: {describe_training(run.config, run.metrics, read_history(run.folder))}",
        f"Settings: {settings}",
    ]


def describe_augmentation(run: DescribedRun) -> list[str]:
    """Returns the augmentation of the training images."""
    return [] if run.config.augmentation is None else [f"Augmentation of training images: {run.config.augmentation}"]


def describe_imbalance(run: DescribedRun) -> list[str]:
    """Returns what was done about rare classes."""
    if run.config.class_weight == "none":
        return ["Class weights: none; each sample counts the same in the loss."]
    return [f"Class weights: {run.config.class_weight}; rare classes weigh as much as frequent ones in the loss."]


def describe_kept(run: DescribedRun) -> list[str]:
    """Returns which epoch was kept and by which value."""
    monitor = run.metrics.get("monitor") or run.config.monitor
    if (run.metrics.get("keep") or run.config.keep) == "last":
        return [f"The last epoch was kept ({run.metrics['best_epoch']})."]
    by = f"the best by {monitor} on the validation split" if monitor else "chosen on the validation split"
    kept, epochs = run.metrics["best_epoch"], run.metrics["epochs"]
    return [f"Epoch {kept} of {epochs} was kept, {by}; test samples had no part in it."]


def describe_combining(run: DescribedRun) -> list[str]:
    """Returns whether several models or the weights of several steps were combined."""
    average = run.config.weight_average
    if average:
        return [f"One model, whose weights are a running average over training steps (momentum {average:g})."]
    return ["One model; no models were combined."]


def describe_availability(run: DescribedRun) -> list[str]:
    """Returns the software that can be had."""
    version = (run.environment.get("packages") or {}).get("keras-lnn", "(version not recorded)")
    own = f"; the own modules {', '.join(run.config.imports)} are not part of it" if run.config.imports else ""
    return [f"Code: keras-lnn {version}, open source under Apache-2.0{own}"]


def describe_files(run: DescribedRun) -> list[str]:
    """Returns the files of the run that hold further details."""
    return [f"{name}: {what}" for name, what in _DETAILS.items() if (run.folder.path / name).exists()]


_DETAILS = {name: CONTENTS[name] for name in ("config.yaml", "environment.json", "history.csv", "best.keras")}


def describe_purpose(run: DescribedRun) -> list[str]:
    """Returns what the model is for, and what not."""
    return ["{} {}: {}".format(*describe_use(run.task, run.samples))]
