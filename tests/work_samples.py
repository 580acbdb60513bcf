"""Jobs that the tests run in separate processes."""

import os
import time
from pathlib import Path
from typing import Any


def tell_variables(order: dict[str, Any]) -> dict[str, str]:
    """The environment of the process."""
    return dict(os.environ)


def misbehave(order: dict[str, Any]) -> dict[str, bool]:
    """Imitates the model with that fault, without training."""
    from trial_models import FAULT_ACTIONS

    time.sleep(order.get("seconds", 0.0))
    if order["fault"] != "none":
        FAULT_ACTIONS[order["fault"]]()
    return {"done": True}


def write_run(order: dict[str, Any]) -> dict[str, str]:
    """Writes what a run writes, in the folder of the order, which has the history of one epoch already."""
    folder = Path(order["run_dir"])
    with open(folder / "history.csv", "a") as history:
        history.write("2,0.75\n")
    (folder / "config.yaml").write_text(f"run_dir: {folder}\n")
    time.sleep(2)  # so that somebody can look at the history meanwhile
    print("written")
    return {"folder": str(folder)}
