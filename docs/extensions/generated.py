"""Replaces ``<!-- generated: NAME -->`` by generated Markdown, and ``{value}`` roles by numbers of the tables."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from extensions.api import render_api, show_internal
from extensions.fields import render_commands
from extensions.registries import render_augmentation, render_data, render_losses, render_models, render_studies
from extensions.tables import find_value, render_table

_MARK = re.compile(r"^<!-- generated: ([\w-]+)(?: ([\w-]+))? -->$", re.MULTILINE)
_MAKERS = {
    "api": render_api,
    "augmentation": render_augmentation,
    "commands": render_commands,
    "data": render_data,
    "losses": render_losses,
    "models": render_models,
    "results": render_table,
    "studies": render_studies,
}


def fill_in(text: str) -> str:
    """Returns a page with all that is generated for it."""
    return _MARK.sub(lambda mark: _MAKERS[mark[1]](*filter(None, [mark[2]])), text)


def _read_source(app: Sphinx, page: str, content: list[str]) -> None:
    content[0] = fill_in(content[0])


def _value(
    name: str, rawtext: str, text: str, line: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    return [nodes.Text(find_value(text).replace("\\", ""))], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.connect("source-read", _read_source)
    app.connect("missing-reference", show_internal)
    app.add_role("value", _value)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
