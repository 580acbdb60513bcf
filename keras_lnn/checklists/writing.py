"""Checklists as Markdown: the items of guidelines with what a run answers and what a person must write."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from keras_lnn.checklists.described_run import DescribedRun
from keras_lnn.checklists.facts import FACTS
from keras_lnn.checklists.guidelines import Guideline, Item, list_guidelines, read_guideline
from keras_lnn.files.atomic import as_text, writing_to
from keras_lnn.files.written import WrittenFiles
from keras_lnn.pages.rendering import Link, Table
from keras_lnn.saved.card import escape_markdown

CHECKLIST_FILE = "checklist.md"
NOT_RECORDED = "not recorded"
# Of items that a run answers if it has recorded everything.
_ADD = "Add what the run has not recorded."
_OTHER_FILE = "Choose another --output, or move it away."


def write_checklist(run: Path, output: Path | None = None, guidelines: Sequence[str] = ()) -> Path:
    """Writes the checklists of a complete run, and returns their path.

    Args:
        run: The run's folder.
        output: The file to write; None for ``checklist.md`` in the run's folder.
        guidelines: Names of guidelines; all of them if it is empty.

    Raises:
        InputError: If it is no complete run, or if a file that was changed since it was written is in the way.
    """
    path = output or run / CHECKLIST_FILE
    text = checklist(DescribedRun.read(run), [read_guideline(name) for name in guidelines or list_guidelines()])
    with writing_to(path.parent):
        files = WrittenFiles(path.parent, _OTHER_FILE)
        files.require_free([path])
        files.write_text(path, text)
    return path


def checklist(run: DescribedRun, guidelines: Sequence[Guideline]) -> str:
    """Returns the checklists of a run as Markdown.

    Args:
        run: The run.
        guidelines: The guidelines, in order.
    """
    facts = {name: list(find(run)) for name, find in FACTS.items()}
    used = dict.fromkeys(name for guideline in guidelines for item in guideline.items for name in item.facts)
    tables = [entry for name in used for entry in facts[name] if isinstance(entry, Table)]
    lines = [
        f"# Reporting checklist of {escape_markdown(as_text(run.folder.name))}",
        "",
        "Filled in by keras-lnn from what the run has recorded. Item texts say in other words what each guideline asks"
        " for, and their numbers were compared with transcriptions of the guidelines, not with the papers: read the"
        " guideline itself before you submit. Open boxes are what a person must write; what the run does"
        f" not hold is marked *{NOT_RECORDED}*.",
        "",
    ]
    for guideline in guidelines:
        lines += _write_guideline(guideline, facts, tables)
    if tables:
        lines += ["## Tables", ""]
    for number, table in enumerate(tables, start=1):
        lines += [f"**Table {number}.** {escape_markdown(table.caption)}", "", *_write_table(table), ""]
    return "\n".join(lines)


def _write_guideline(guideline: Guideline, facts: dict[str, list[str | Table]], tables: list[Table]) -> list[str]:
    left = [item for item in guideline.items if _find_task(item, facts)]
    alone = sum(not any(facts[name] for name in item.facts) for item in left)
    lines = [
        f"## {guideline.title}",
        "",
        f"{guideline.about}. {guideline.source}",
        "",
        f"Of {len(guideline.items)} items and parts of items, the run answers {len(guideline.items) - len(left)}. It"
        f" gives facts for {len(left) - alone} more that a person completes, and a person must write {alone} alone.",
        "",
    ]
    for section, items in itertools.groupby(guideline.items, lambda item: item.section):
        lines += [f"### {section}", ""]
        for item in items:
            lines += [*_write_item(item, facts, tables), ""]
    return lines


def _write_item(item: Item, facts: dict[str, list[str | Table]], tables: list[Table]) -> list[str]:
    lines = [f"**{item.number}.** {item.text}", ""]
    for name in item.facts:
        for entry in facts[name]:
            if isinstance(entry, Table):
                lines.append(f"- See table {tables.index(entry) + 1}: {escape_markdown(entry.caption)}")
            else:
                lines.append(f"- {escape_markdown(as_text(entry))}")
        if not facts[name]:
            lines.append(f"- {name.replace('_', ' ').capitalize()}: *{NOT_RECORDED}*")
    task = _find_task(item, facts)
    return lines + ([f"- [ ] **To write:** {task}"] if task else [])


def _find_task(item: Item, facts: dict[str, list[str | Table]]) -> str:
    """Returns what a person must write for an item; empty if the run answers it."""
    return item.person or ("" if all(facts[name] for name in item.facts) else _ADD)


def _write_table(table: Table) -> list[str]:
    head = [cell or " " for cell in table.head]
    rule = ["---"] * len(head)
    return [_write_row(head), f"| {' | '.join(rule)} |", *map(_write_row, table.rows)]


def _write_row(cells: Sequence[str | Link]) -> str:
    return f"| {' | '.join(map(_write_cell, cells))} |"


def _write_cell(cell: str | Link) -> str:
    """Returns a cell on one line; what stands below its first line is in brackets."""
    text, _, below = (cell.text if isinstance(cell, Link) else str(cell)).partition("\n")
    return escape_markdown(as_text(f"{text} ({below})" if below else text))
