"""Names of models, read from the source of the module that registers them instead of importing it with Keras."""

import ast
from collections.abc import Callable, Iterable, Iterator

_REGISTRY = "keras_lnn.registry"
_MODELS = "keras_lnn.models"
_BUILDER, _TABLE = f"{_REGISTRY}.register_model", f"{_REGISTRY}.register_networks"


def public_name(function_name: str) -> str:
    """Returns the name of a model for the name of its builder function."""
    return function_name.replace("_", "-")


def names_in_source(source: str, names_of_table: Callable[[str], Iterable[str]]) -> list[str] | None:
    """Returns the names under which a module of ``keras_lnn.models`` registers its networks.

    Decorators are recognised under any name by which they or their module are imported. Other uses of them in a module,
    such as a call in a loop, can only be resolved by running it.

    Args:
        source: The module's source.
        names_of_table: Returns the names in a YAML file of networks.

    Returns:
        The names, or None if the module has to be imported to know them.
    """
    tree = ast.parse(source)
    origins = dict(_imported(tree))
    names: list[str] = []
    read: set[ast.AST] = set()
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            function = decorator.func if isinstance(decorator, ast.Call) else decorator
            origin = _origin(function, origins)
            if origin == _BUILDER:
                names.append(public_name(node.name))
            elif origin == _TABLE:
                table = _table(decorator)
                if table is None:
                    return None
                names.extend(names_of_table(table))
            elif origin is not None and origin.startswith(f"{_MODELS}."):
                return None  # another module's decorator may register
            read.add(function)
    return names if read.issuperset(_uses(tree, origins)) else None


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields each name bound by an import, and what it refers to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                package = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (package, package)
        elif isinstance(node, ast.ImportFrom):
            package = {0: "", 1: _MODELS, 2: "keras_lnn"}.get(node.level, "")
            module = ".".join(filter(None, (package, node.module)))
            for alias in node.names:
                for name in ("register_model", "register_networks") if alias.name == "*" else (alias.name,):
                    yield alias.asname or name, f"{module}.{name}"


def _origin(node: ast.AST, origins: dict[str, str]) -> str | None:
    """Returns the full name of what an expression refers to, or None if no import defines it."""
    if isinstance(node, ast.Name):
        found = origins.get(node.id)
    elif isinstance(node, ast.Attribute):
        base = _origin(node.value, origins)
        found = base and f"{base}.{node.attr}"
    else:
        return None
    # The package also exports the decorator.
    return _BUILDER if found == "keras_lnn.register_model" else found


def _uses(tree: ast.Module, origins: dict[str, str]) -> Iterator[ast.AST]:
    """Yields every expression that refers to one of the decorators, or to their module as a whole."""
    owners = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        origin = _origin(node, origins)
        if origin in (_BUILDER, _TABLE) or (origin == _REGISTRY and node not in owners):
            yield node


def _table(decorator: ast.expr) -> str | None:
    """Returns the file name in a call of ``register_networks``, or None if it is not a constant."""
    if not isinstance(decorator, ast.Call):
        return None
    given = [*decorator.args[:1], *(keyword.value for keyword in decorator.keywords if keyword.arg == "table")]
    named = given[0].value if given and isinstance(given[0], ast.Constant) else None
    return named if isinstance(named, str) else None
