"""The reference of the Python interface: every public name under one heading, from its docstring."""

import importlib
import inspect
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

import keras_lnn

# Each public name stands in exactly one group.
GROUPS = {
    "Training": ("TrainConfig", "train", "resume"),
    "Data": ("load_data", "register_arrays", "register_data"),
    "Models": ("build_model", "list_models", "register_model"),
    "Liquid layers": ("LTC", "CfC"),
    "Saved models": ("load_model", "load_predictor", "predict_files", "export_model"),
    "Measuring": ("evaluate_model", "evaluate_predictions"),
    "Comparing": ("load_runs", "compare", "write_comparison"),
    "Searching": ("search", "SearchSettings", "make_space"),
}
# What these functions take and return.
TYPES = (
    "keras_lnn.training.loop.TrainResult",
    "keras_lnn.runs.folder.RunFolder",
    "keras_lnn.data.arrays.ImageData",
    "keras_lnn.data.arrays.Split",
    "keras_lnn.data.arrays.ImageArray",
    "keras_lnn.data.catalog.DataEntry",
    "keras_lnn.data.options.OwnImages",
    "keras_lnn.config.DataOptions",
    "keras_lnn.registry.ModelEntry",
    "keras_lnn.layers.recurrence.LiquidRNN",
    "keras_lnn.layers.traces.Trace",
    "keras_lnn.saved.predictor.Predictor",
    "keras_lnn.evaluation.predictions.Evaluation",
    "keras_lnn.comparing.compared_run.ComparedRun",
    "keras_lnn.comparing.runs.Run",
    "keras_lnn.comparing.mask_runs.MaskRun",
    "keras_lnn.comparing.comparison.Comparison",
    "keras_lnn.comparing.comparison.Model",
    "keras_lnn.comparing.comparison.Pair",
    "keras_lnn.statistics.intervals.Estimate",
    "keras_lnn.models.ranges.Range",
    "keras_lnn.models.ranges.Choice",
    "tuning.space.Space",
    "tuning.searching.SearchResult",
)
# Classes of many fields, whose signature would be a page long: the reference of the commands describes the fields.
_FIELDS = {
    "TrainConfig": "create, from_yaml, to_yaml, with_defaults",
    "SearchSettings": "most_trials, role",
    "DataOptions": "",
}
# Classes with methods of their own that belong to the interface.
_METHODS = {"LiquidRNN": "trace", "Trace": "mean_flows"}


def render_api() -> str:
    """Returns a section for each group of public names; a name without a group or a docstring is an error."""
    grouped = [name for names in GROUPS.values() for name in names]
    wrong = set(grouped) ^ (set(keras_lnn.__all__) - {"__version__"})
    if wrong or len(grouped) != len(set(grouped)):
        raise ValueError(f"Every public name must stand in one group of the reference. Received: {sorted(wrong)}.")
    lines = []
    for title, names in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += [_directive(f"keras_lnn.{name}", getattr(keras_lnn, name), _FIELDS.get(name)), ""]
    lines += ["## Types", "", "What these functions take and return.", ""]
    for path in TYPES:
        module, _, name = path.rpartition(".")
        lines += [_directive(path, getattr(importlib.import_module(module), name), _FIELDS.get(name)), ""]
    return "\n".join(lines)


def show_internal(app: Sphinx, environment: Any, node: nodes.Element, shown: nodes.Node) -> nodes.Node | None:
    """Shows a name of this project that has no entry here as it is; one that does not exist stays an error.

    Args:
        app: The application.
        environment: Its environment.
        node: The reference.
        shown: What it shows.
    """
    target = node.get("reftarget", "")
    module, _, name = target.rpartition(".")
    if not target.startswith(("keras_lnn.", "tuning.")):
        return None
    try:
        return shown if hasattr(importlib.import_module(module), name) else None
    except ImportError:
        return None


def _directive(path: str, value: Any, members: str | None) -> str:
    if not inspect.getdoc(value):
        raise ValueError(f"Every public name must have a docstring. Received: {path} without.")
    kind = "class" if inspect.isclass(value) else "function"
    fields = "(**fields)" if members is not None else ""
    members = members or _METHODS.get(path.rpartition(".")[2])
    options = [f"   :members: {members}"] if members else []
    return "\n".join(["```{eval-rst}", f".. auto{kind}:: {path}{fields}", *options, "```"])
