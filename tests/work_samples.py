"""Jobs that the tests run in separate processes."""

import os
import time
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
