"""The other commands: python -m keras_lnn list | evaluate | compare | predict | export | import."""

import importlib
from collections.abc import Sequence

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.errors import InputError, suggest

# Each is a class of options and a function, named alike, in keras_lnn.cli.commands or a package of its own.
COMMANDS = {
    "list": "what there is: models or data sets",
    "evaluate": "metrics of a trained model with 95% intervals",
    "compare": "trained models on the same test samples, as a page with tests and pictures",
    "study": "a published experiment: networks, data sets and seeds, with tables and pictures",
    "predict": "probabilities for image files and folders",
    "export": "a trained model as SavedModel or .keras, with its card",
    "import": "weights learned in PyTorch into the Keras model",
}
_PACKAGES = {"compare": "keras_lnn.cli.compare", "study": "keras_lnn.cli.study"}


def main(arguments: Sequence[str]) -> int:
    """Runs one command."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print("usage: python -m keras_lnn COMMAND ... (--help behind a command tells its options)\n")
        print("\n".join(f"  {name.ljust(width)}  {what}" for name, what in COMMANDS.items()))
        print("\nTraining: python train.py --help")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise InputError(f"There is no command {name!r}. {suggest(name, COMMANDS)}")
    module = importlib.import_module(_PACKAGES.get(name, "keras_lnn.cli.commands"))
    command = parse_command(getattr(module, f"{name.capitalize()}Command"), rest, f"python -m keras_lnn {name}")
    getattr(module, f"run_{name}")(command)
    return 0


if __name__ == "__main__":
    run_main(main)
