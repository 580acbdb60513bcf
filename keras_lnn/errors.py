"""Mistakes that a user can mend: one sentence that says the rule, what was received and the remedy."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A bad input: the command line prints its message as one line and exits with status 2."""


class EnvironmentFault(InputError):
    """A file cannot be read for a reason outside of it: a package or a decoder is missing."""


def suggest(name: str, choices: Iterable[str], count: int = 3) -> str:
    """Names the choices nearest to a mistyped name, or all of them where none is near.

    Args:
        name: What was received.
        choices: What is allowed.
        count: How many near choices are named at most.

    Returns:
        The end of an error message, such as ``"Did you mean lnn?"``.
    """
    choices = sorted(choices)
    near = difflib.get_close_matches(name, choices, n=count, cutoff=0.55)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Choose from {', '.join(choices)}." if choices else ""
