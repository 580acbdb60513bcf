"""The tables of results, from CSV files whose first lines say how they were made."""

import csv
from pathlib import Path
from typing import NamedTuple

from extensions.markdown import prose, table

FOLDER = Path(__file__).parents[1] / "results" / "tables"
# What the first lines of every table must say.
REQUIRED = ("title", "command", "protocol", "seeds", "hardware")
_NO_SEEDS = "does not apply"
_PARTS = ("SD", "low", "high", "within")
_NOTES = ("intervals", "spread", "published", "collapsed")


class ResultTable(NamedTuple):
    """The content of one file: what its first lines say, its columns, and its rows by the name of the column."""

    facts: dict[str, str]
    columns: list[str]
    rows: list[dict[str, str]]


def table_names() -> list[str]:
    """Returns the names of all tables."""
    return sorted(file.stem for file in FOLDER.glob("*.csv"))


def read_table(name: str) -> ResultTable:
    """Returns the content of a table; one that does not say how it was made is an error."""
    lines = (FOLDER / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    comments = [line.removeprefix("# ").partition(": ") for line in lines if line.startswith("# ")]
    facts = {key: value for key, _, value in comments}
    missing = [key for key in REQUIRED if not facts.get(key)]
    if missing:
        raise ValueError(f"{name}.csv must say its {', '.join(missing)}. Received: a table that does not.")
    reader = csv.DictReader(line for line in lines if not line.startswith("# "))
    rows = list(reader)
    return ResultTable(facts, list(reader.fieldnames or ()), rows)


def render_table(name: str) -> str:
    """Returns a table with its intervals, and below it how it was made.

    Args:
        name: Of the file, without ending.
    """
    found = read_table(name)
    shown = [column for column in found.columns if not _part_of(column, found.columns)]
    rows = [[_show(row, column) for column in shown] for row in found.rows]
    facts = [f"protocol: {prose(found.facts['protocol'])}"]
    if found.facts["seeds"] != _NO_SEEDS:
        facts.append(f"seeds: {prose(found.facts['seeds'])}")
    facts += [f"{key}: {prose(found.facts[key])}" for key in _NOTES if key in found.facts]
    facts.append(f"hardware: {prose(found.facts['hardware'])}")
    head = [prose(column) if place else "" for place, column in enumerate(shown)]
    return "\n".join(
        [
            f"**{prose(found.facts['title'])}**",
            "",
            "::::{container} results",
            table(head, rows),
            "::::",
            "",
            *([prose(found.facts["findings"]), ""] if "findings" in found.facts else []),
            _sentence(facts),
            "",
            "```bash",
            found.facts["command"],
            "```",
            "",
        ]
    )


def find_value(text: str) -> str:
    """Returns one number, with its interval where it has one.

    Args:
        text: ``table | first cell of the row | column``, such as ``breastmnist-seeds | cnn, mean of 5 seeds | AUC``.
    """
    name, first, column = (part.strip() for part in text.split("|"))
    found = read_table(name)
    rows = [row for row in found.rows if row[found.columns[0]] == first]
    if len(rows) != 1 or column not in found.columns or not rows[0][column]:
        raise ValueError(f"There must be one value for {text!r}. Received: {len(rows)} rows.")
    return _show(rows[0], column, spread=False)


def _sentence(facts: list[str]) -> str:
    text = "; ".join(facts)
    return f"{text[0].upper()}{text[1:]}."


def _part_of(column: str, columns: list[str]) -> str:
    """Returns the column in whose cells a column is shown, such as that of the value for an end of its interval."""
    for part in _PARTS:
        base = column.removesuffix(f" {part}")
        if base != column and base in columns:
            return base
    return ""


def _show(row: dict[str, str], column: str, spread: bool = True) -> str:
    value = row[column] or ""
    parts = {part: row.get(f"{column} {part}") or "" for part in _PARTS}
    if value.isdigit() and len(value) > 3:
        value = f"{int(value):,}"
    if spread and parts["SD"]:
        value += f" (SD {parts['SD']})"
    if parts["low"]:
        value += f", {parts['low']} to {parts['high']}" if "(" in value else f" ({parts['low']} to {parts['high']})"
    if spread and parts["within"]:
        value += f", {'within' if parts['within'] == 'yes' else 'not within'}"
    return prose(value) if value else ""
