"""Mistakes that a user can mend: one sentence that says the rule, what was received and the remedy."""

import difflib
import reprlib
from collections.abc import Iterable

# Looks a few levels into what is nested, and not at all of what is long.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 4, 10, 10, 10
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 300
# A longer one is like no name that there is, and takes long to compare.
_LONGEST_NAME = 100


class InputError(ValueError):
    """A bad input: the command line prints its message as one line and exits with status 2."""


class EnvironmentFault(InputError):
    """A file cannot be read for a reason outside of it: a package or a decoder is missing."""


def show_value(value: object, longest: int = 200) -> str:
    """Returns a received value as a message shows it: cut off where it is long, on one line.

    Args:
        value: What was received.
        longest: The most letters that are shown.
    """
    try:
        shown = _SHORT.repr(value)
    except ValueError:  # of a number with thousands of digits
        shown = "a number with too many digits"
    return shown if len(shown) <= longest else f"{shown[:longest]}..."


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
    name = name[:_LONGEST_NAME]
    near = difflib.get_close_matches(name, choices, n=count, cutoff=0.55)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Choose from {', '.join(choices)}." if choices else ""
