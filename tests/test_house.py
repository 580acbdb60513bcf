"""The rooms of the house: imports point one way, and the root holds few modules."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_lnn"
# Each room may import those above it; rooms on one line do not import each other.
ROOMS = (
    ("errors", "source_names", "backend"),
    ("saved.formats",),
    ("files", "fields"),
    ("statistics", "losses", "layers"),
    ("data.options", "data.checking", "data.disk"),
    ("data.arrays",),
    ("tasks.decisions", "tasks.thresholds", "runs.epoch_shares"),
    ("plots", "evaluation"),
    # The predictions of all folds are pooled for a cross-validation and for a study with folds.
    ("folds.pooling",),
    ("tasks",),
    # The configuration and the registry ask the tasks what there is to choose from.
    ("config", "registry"),
    ("data.augment",),
    ("data.decode",),
    ("data.rest", "data.phantoms"),
    ("data.sources",),
    ("data",),
    ("models", "runs"),
    ("saved",),
    ("explaining",),
    ("pages",),
    ("starting",),
    ("terminal",),
    ("hosts",),
    ("training", "comparing"),
    ("trained",),
    ("processes",),
    ("benchmarking",),
    ("studies", "tuning"),
    ("folds", "ensembles"),
    ("checklists", "serving"),
    ("cli",),
)
ORDER = {name: place for place, names in enumerate(ROOMS) for name in names}
# The registry finds the models of the package by importing them when the first one is asked for.
EXCEPTIONS = {("keras_lnn.registry", "keras_lnn.models")}


def list_modules() -> dict[str, Path]:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "tuning").glob("*.py")]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


MODULES = list_modules()


def find_imports(name: str) -> set[str]:
    """Returns the modules of the repository that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {found_name for found_name in found if found_name in MODULES}


def room_of(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "tuning":
        return "cli" if parts[-1] == "__main__" else "tuning"
    if len(parts) == 1:
        return "keras_lnn"
    inner = ".".join(parts[1:3])
    if inner in ORDER:
        return inner
    return "data.rest" if parts[1] == "data" and len(parts) > 2 else parts[1]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name):
    room = room_of(name)
    if room in ("keras_lnn", "__main__"):
        return
    wrong = {
        other
        for other in find_imports(name)
        if room_of(other) not in (room, "keras_lnn") and ORDER[room_of(other)] >= ORDER[room]
    }
    assert {(name, other) for other in wrong} - EXCEPTIONS == set()


@pytest.mark.parametrize("name", sorted(name for name in MODULES if room_of(name) != "tasks"))
def test_only_the_tasks_package_depends_on_the_kind_of_task(name):
    source = MODULES[name].read_text(encoding="utf-8")
    assert re.findall(r'has_masks|answers [!=]= "|"dice" (?:not )?in |isinstance\([^)]*Task\)', source) == []


def test_no_modules_import_each_other_in_a_circle():
    # The package itself holds its version, and public names that are loaded when they are first used.
    open_names, done, circles = [], set(), []

    def visit(name: str) -> None:
        if name in open_names:
            circles.append(open_names[open_names.index(name) :])
        elif name not in done:
            open_names.append(name)
            for other in sorted(find_imports(name)):
                if (name, other) not in EXCEPTIONS and other != "keras_lnn":
                    visit(other)
            done.add(open_names.pop())

    for name in sorted(MODULES):
        visit(name)
    assert circles == []


def test_the_root_has_few_modules_and_each_package_a_docstring():
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    for room in {module.parent for module in PACKAGE.rglob("*.py")}:
        init = room / "__init__.py"
        assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), init
