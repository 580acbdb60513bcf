"""Commands that go on with a run, ready to be pasted into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

from keras_lnn.config import TrainConfig
from keras_lnn.files.atomic import as_text
from keras_lnn.runs.folder import RunFolder


def list_commands(folder: RunFolder, config: TrainConfig, samples: str = "images") -> list[tuple[str, str]]:
    """Returns what each command does, and the command.

    Args:
        folder: The run.
        config: Its configuration.
        samples: What its samples are, in the plural.
    """
    run = quote_path(folder.path)
    longer = quote_path(folder.path.with_name(f"{folder.name}-longer"))
    epochs = 2 * (config.epochs or 1)
    further = [f"--epochs {epochs}"]
    # What has stopped the run would stop it again.
    further += [f"--stop-after {epochs}"] if config.stop_after else []
    further += ["--early-stopping 0"] if config.early_stopping else []
    train_on = f"--config {quote_path(folder.config)} --start-from {run} --run-dir {longer} {' '.join(further)}"
    return [
        (f"Predict {samples} of your own", f"keras-lnn predict {run} my_{samples}/"),
        (f"Measure it again, or with --data on other {samples}", f"keras-lnn evaluate {run}"),
        ("See where it looks", f"keras-lnn explain {run}"),
        ("Fill in the reporting checklists CLAIM 2024 and TRIPOD+AI", f"keras-lnn checklist {run}"),
        ("Export the model for use without this package", f"keras-lnn export {run} --format saved_model"),
        (f"Compare it with another run on the same {samples}", f"keras-lnn compare {run} runs/ANOTHER-RUN"),
        ("Train on for as many epochs again, in a new folder", f"keras-lnn train {train_on}"),
        (
            "Resume it if it is interrupted; of a complete run this makes only this page anew",
            f"keras-lnn train --resume {run}",
        ),
    ]


def quote_path(path: Path) -> str:
    """Returns a path as a shell reads it."""
    text = as_text(path)
    # A name that begins with a dash would be read as an option.
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
