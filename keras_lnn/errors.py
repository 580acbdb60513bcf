"""Errors that a user can correct: one sentence with the rule, the value received and the remedy."""

import difflib
import reprlib
from collections.abc import Iterable

# Shows a few levels of nested values, and only a part of long ones.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 4, 10, 10, 10
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 300
# A longer name resembles no existing one, and takes long to compare.
_LONGEST_NAME = 100


class InputError(ValueError):
    """An error in a user's input: the command line prints its message as one line and exits with status 2."""


class FullDiskError(InputError):
    """An error for a disk without the room that is needed."""


class EnvironmentFault(InputError):
    """An error for a file that cannot be read for a reason outside of it: a package or a decoder is missing."""


def show_value(value: object, longest: int = 200) -> str:
    """Returns a received value as shown in a message: on one line, and truncated if it is long.

    Args:
        value: The received value.
        longest: The maximum number of characters.
    """
    try:
        shown = _SHORT.repr(value)
    except ValueError:  # raised for a number with thousands of digits
        shown = "a number with too many digits"
    return shown if len(shown) <= longest else f"{shown[:longest]}..."


def suggest(name: str, choices: Iterable[str], count: int = 3) -> str:
    """Returns a sentence with the choices nearest to a mistyped name, or with all of them if none is near.

    Args:
        name: The received name.
        choices: The allowed names.
        count: Maximum number of near choices in the sentence.

    Returns:
        The end of an error message, such as ``"Did you mean lnn?"``.
    """
    choices = sorted(choices)
    name = name[:_LONGEST_NAME]
    near = difflib.get_close_matches(name, choices, n=count, cutoff=0.55)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Choose from {', '.join(choices)}." if choices else ""
