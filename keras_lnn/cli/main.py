"""The entry point ``keras-lnn COMMAND ...``, the same as ``python -m keras_lnn COMMAND ...``."""

import importlib
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.errors import InputError, suggest


class Entry(NamedTuple):
    """The module of a command and its description; the module has ``NameCommand`` and ``run_name``, or a ``main``."""

    module: str
    description: str


COMMANDS = {
    "train": Entry("train", "train a model on medical images, choose an epoch on validation, test and export it"),
    "tune": Entry("tune", "search for hyperparameters, with each trial in its own process"),
    "evaluate": Entry("evaluate", "measure a trained model, with 95% intervals"),
    "compare": Entry("compare", "compare trained models on the same test samples, with tests and pictures"),
    "study": Entry("study", "run a study: several models, data sets and seeds, with tables and pictures"),
    "ensemble": Entry("ensemble", "join runs into one model that predicts the mean of their probabilities"),
    "predict": Entry("predict", "predict probabilities or masks for image files and folders"),
    "serve": Entry("serve", "serve a model as a local web page to try it, and to programs over HTTP"),
    "explain": Entry("explain", "draw where a model looks and what its liquid neurons do, on one page"),
    "checklist": Entry("checklist", "fill in the reporting checklists CLAIM 2024 and TRIPOD+AI from a run"),
    "export": Entry("export", "export a trained model to a folder, with its model card"),
    "benchmark": Entry("benchmark", "measure a model in each export format and precision: speed, memory, quality"),
    "import": Entry("import_weights", "load weights learned in PyTorch into the Keras model"),
    "list": Entry("list", "list the models, the data sets, or the runs with their results"),
}


def main(arguments: Sequence[str], program: str = "keras-lnn") -> int:
    """Runs one command and returns its exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print(f"usage: {program} COMMAND ... (--help after a command shows its options)\n")
        print("\n".join(f"  {name.ljust(width)}  {entry.description}" for name, entry in COMMANDS.items()))
        return 0
    if arguments[0] == "--version":
        from keras_lnn import __version__

        print(f"keras-lnn {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise InputError(f"There is no command {name!r}. {suggest(name, COMMANDS)}")
    module = importlib.import_module(f"keras_lnn.cli.{COMMANDS[name].module}")
    if hasattr(module, "main"):
        return module.main(rest, f"{program} {name}")
    command = parse_command(getattr(module, f"{name.capitalize()}Command"), rest, f"{program} {name}")
    getattr(module, f"run_{name}")(command)
    return 0


def run() -> NoReturn:
    """Runs the console script."""
    run_main(main)
