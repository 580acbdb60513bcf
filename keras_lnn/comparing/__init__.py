"""The comparison of trained models on the same test samples: which differences the data show, and which they do not.

``load_runs`` reads runs, ``compare`` computes everything once, and ``write_comparison`` writes the page, the tables
and the figures.
"""

import importlib
from typing import Any

_PUBLIC = {
    "load_runs": "runs",
    "compare": "comparison",
    "Comparison": "comparison",
    "write_comparison": "writing",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
