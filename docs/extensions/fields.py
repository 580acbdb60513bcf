"""The reference of the commands, from the typed classes that the command line itself is made of."""

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pydantic

from extensions.markdown import code, prose, table
from keras_lnn.cli.main import COMMANDS
from keras_lnn.config import TrainConfig
from keras_lnn.fields.roles import Role, fields_with
from keras_lnn.fields.values import OneOf

_HEAD = ("option", "value", "default", "what it does")
_DEFAULT = re.compile(r" ?\(default: (.*)\)$", re.DOTALL)
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "yes or no",
    "object": "NAME=VALUE,...",
}


def command_class(name: str) -> type[pydantic.BaseModel]:
    """Returns the class whose fields are the options of a command."""
    module = importlib.import_module(f"keras_lnn.cli.{COMMANDS[name].module}")
    (found,) = (
        value
        for label, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and label.endswith("Command")
    )
    return found


def render_commands() -> str:
    """Returns one section for each command, with its options."""
    return "\n".join(_render_command(name) for name in COMMANDS)


def _render_command(name: str) -> str:
    command = command_class(name)
    summary = inspect.getdoc(command) or ""
    shared = TrainConfig.model_fields if name == "tune" else {}
    own = {field: value for field, value in command.model_fields.items() if field not in shared}
    arguments = [field for field in own if _is_positional(own[field])]
    usage = " ".join(["keras-lnn", name, *(field.upper() for field in arguments), "[OPTIONS]"])
    lines = [f"(command-{name})=", f"## {name}", "", prose(summary), "", "```text", usage, "```", ""]
    for title, fields in _group(own, by_role=name == "train"):
        lines += [f"### {title}\n" if title else "", _render_options(command, fields)]
    if shared:
        decided = [code(_option(field)) for field in fields_with(TrainConfig, Role.PART, Role.OUTPUT)]
        lines += [
            "Every option of [train](#command-train) can be given as well and holds for all trials, except those that a"
            f" search decides itself: {', '.join(decided)}.",
            "",
        ]
    return "\n".join(lines)


def _group(fields: dict[str, Any], by_role: bool) -> Iterator[tuple[str, list[str]]]:
    """Gives the fields under headings: what each is for, where a configuration says so."""
    if not by_role:
        yield "", list(fields)
        return
    titles = {role: role.value[0].upper() + role.value[1:] for role in Role}
    for role, title in titles.items():
        yield title.split(";")[0], [name for name, field in fields.items() if role in field.metadata]
    yield "This call only", [name for name, field in fields.items() if not any(m in titles for m in field.metadata)]


def _is_positional(field: Any) -> bool:
    return any("Positional" in getattr(mark, "__name__", type(mark).__name__) for mark in field.metadata)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _render_options(command: type[pydantic.BaseModel], names: list[str]) -> str:
    schema = command.model_json_schema(by_alias=True)["properties"]
    rows = []
    for name in names:
        field = command.model_fields[name]
        if not field.description:
            raise ValueError(f"Every option must have a description. Received: {command.__name__}.{name} without.")
        shown = field.alias or name
        description, default = _split_default(field.description)
        is_flag = field.annotation is bool
        option = code(shown.upper()) if _is_positional(field) else code(_option(shown))
        if is_flag and field.default:
            option += f", {code('--no-' + _option(shown)[2:])}"
        value = "flag" if is_flag else _describe_value(schema[shown], field)
        rows.append((option, value, default or _describe_default(field), prose(description)))
    return table(_HEAD, rows)


def _split_default(description: str) -> tuple[str, str]:
    """Returns a description without what it says of the default, and that."""
    found = _DEFAULT.search(description)
    return (description, "") if found is None else (description[: found.start()], prose(found.group(1)))


def _describe_default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return "on" if value else "off"
    return code(value) if value not in (None, (), {}, []) else "none"


def _describe_value(schema: dict[str, Any], field: Any) -> str:
    """Returns what a value of an option may be, from the schema of its type."""
    for mark in field.metadata:
        if isinstance(mark, OneOf):
            return ", ".join(code(name) for name in mark.list_names())
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    return ", ".join(dict.fromkeys(_describe_kind(kind) for kind in kinds))


def _describe_kind(kind: dict[str, Any]) -> str:
    if "enum" in kind:
        return ", ".join(code(choice) for choice in kind["enum"])
    if "const" in kind:
        return code(kind["const"])
    if kind.get("format") == "path":
        return "path"
    if kind.get("type") == "array":
        inner = _describe_kind(kind.get("items", {}))
        return "paths" if inner == "path" else "a,b,c"
    text = _TYPES[kind["type"]]
    low, high = kind.get("minimum"), kind.get("maximum")
    if low is not None and high is not None:
        return f"{text}, {low:,} to {high:,}"
    if low is not None:
        return f"{text}, {low:,} or more"
    above, below = kind.get("exclusiveMinimum"), kind.get("exclusiveMaximum")
    return f"{text}, more than {above:,}" if above is not None else f"{text}, less than {below:,}" if below else text
