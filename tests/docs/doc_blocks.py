"""The blocks of code in README and the documentation, and the commands in them."""

import ast
import dataclasses
import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pydantic

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
if str(DOCS) not in sys.path:
    sys.path.insert(0, str(DOCS))

from extensions.fields import command_class  # noqa: E402, it lies beside the pages

from keras_lnn.cli.parsing import parse_command  # noqa: E402

PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
ONLY_PARSED, CHEAP = "only parsed, ", "cheap"
_BLOCK = re.compile(r"((?:^<!-- [^\n]* -->\n)*)^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"<!-- (test|file): (.*) -->")
# Programs whose options are not ours.
_OTHERS = {("python", "-m", "pip"), ("pytest",), ("sphinx-build",), ("ray", "start"), ("ray", "stop")}


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code.

    Args:
        language: What it is written in.
        text: Its content.
        test: What the comment above it says of its test: options to put in, ``A => B`` to replace, or why it is only
            parsed.
        file: Name of the file that the reader saves it as; empty for what is typed.
    """

    language: str
    text: str
    test: str = ""
    file: str = ""

    @property
    def is_run(self) -> bool:
        """Whether the block is executed by a test."""
        return not self.test.startswith(ONLY_PARSED)

    @property
    def replaced(self) -> str:
        """Returns the text with the replacements of its test."""
        text = self.text
        for old, _, new in (part.partition(" => ") for part in self.test.split("; ") if " => " in part):
            if old not in text:
                raise ValueError(f"A test must replace what is there. Received: {old!r}.")
            text = text.replace(old, new)
        return text

    @property
    def options(self) -> list[tuple[str, str]]:
        """Returns the options that its test gives to each command that has them, with their values."""
        parts = [part for part in self.test.split("; ") if part.startswith("--") and "=>" not in part]
        words = shlex.split(" ".join(parts))
        return list(zip(words[::2], words[1::2], strict=True))


def read_blocks(page: Path) -> list[Block]:
    """Returns the blocks of a page in order."""
    return [
        Block(language, text, **dict(_NOTE.findall(comments)))
        for comments, language, text in _BLOCK.findall(page.read_text(encoding="utf-8"))
    ]


def read_commands(text: str) -> list[list[str]]:
    """Returns the words of each command in shell text, without what only starts it, such as ``uv run``."""
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), ";"]:
            if word not in (";", "&&", "|"):
                words.append(word)
                continue
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words[:2] == ["uv", "run"]:
                words = words[2:] if words[2] != "train.py" else ["python", *words[2:]]
            if words:
                commands.append(words)
            words = []
    return commands


def find_command(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """Returns the command of keras-lnn that words call, and its arguments; None where they call something else."""
    starts = {
        ("keras-lnn",): [],
        ("python", "-m", "keras_lnn"): [],
        ("python", "train.py"): ["train"],
        ("python", "-m", "tuning"): ["tune"],
    }
    for start, name in starts.items():
        if tuple(words[: len(start)]) == start:
            found = [*name, *words[len(start) :]]
            return found[0], found[1:]
    return None


def load_script(path: str) -> ModuleType:
    """Imports a script of the repository without running it."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(words: Sequence[str]) -> pydantic.BaseModel | None:
    """Parses a command as the program itself does, without running it; an unknown program is an error."""
    words = list(words[: words.index(">")] if ">" in words else words)
    found = find_command(words)
    if found is not None:
        return parse_command(command_class(found[0]), found[1], found[0])
    if any(tuple(words[: len(other)]) == other for other in _OTHERS):
        return None
    assert words[0] == "python", words
    source = (ROOT / words[1]).read_text(encoding="utf-8")
    if "parse_command(" in source:
        (command,) = re.findall(r"parse_command\((\w+),", source)
        return parse_command(getattr(load_script(words[1]), command), words[2:], words[1])
    known = {
        argument.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("add_argument", "add"))
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    assert {word.split("=")[0] for word in words[2:] if word.startswith("--")} <= known, words
    return None


def with_options(words: Sequence[str], options: Sequence[tuple[str, str]]) -> list[str]:
    """Returns a command of keras-lnn with the options that it knows in the place of its own."""
    found = find_command(words)
    if found is None:
        return list(words)
    fields = {f"--{name.replace('_', '-')}" for name in command_class(found[0]).model_fields}
    words = list(words)
    complete = "--resume" not in words and "--config" not in words
    for option, value in options:
        if option in fields and complete:
            while option in words:
                place = words.index(option)
                del words[place : place + 2]
            words += [option, value]
    return words
