"""Reporting guidelines as data: their items, and the facts of a run that answer each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from keras_lnn.files.yaml_files import read_yaml

_FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Item:
    """One item of a guideline.

    Args:
        number: Its number in the guideline.
        section: The part of a paper that it belongs to.
        text: What it asks for, in our own words.
        facts: Names in ``FACTS`` of ``checklists/facts.py`` of what a run knows of it.
        person: What a person has to write, in one sentence; empty if the facts of a run are enough.
    """

    number: str
    section: str
    text: str
    facts: tuple[str, ...] = ()
    person: str = ""


@dataclasses.dataclass(frozen=True)
class Guideline:
    """A reporting guideline.

    Args:
        title: Its name.
        about: What it is for.
        source: Where it was published.
        items: Its items, in order.
    """

    title: str
    about: str
    source: str
    items: tuple[Item, ...]


def list_guidelines() -> list[str]:
    """Returns the names of the guidelines, which are those of the YAML files beside this module."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read_guideline(name: str) -> Guideline:
    """Returns a guideline by its name."""
    content = read_yaml(_FOLDER / f"{name}.yaml")
    items = tuple(Item(**item | {"facts": tuple(item.get("facts", ()))}) for item in content.pop("items"))
    return Guideline(**content, items=items)
