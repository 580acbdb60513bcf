"""Configuration files in YAML, written by users and read within limits."""

from pathlib import Path
from typing import Any

import yaml

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import require_file

# Limits of the characters of a file, and of its values after aliases are expanded.
_LONGEST_YAML, _MOST_NODES = 2**20, 100_000


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Returns the mapping in a YAML file, empty for an empty file."""
    require_file(path, "The configuration")
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(_LONGEST_YAML + 1)
        if len(text) > _LONGEST_YAML:
            raise ValueError(f"more than {_LONGEST_YAML:,} characters")
        content = _parse_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(
            f"The configuration must be a YAML file that can be read. Received: {path} ({reason})."
        ) from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        place = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "characters that YAML does not allow"
        raise InputError(f"The configuration must be YAML. Received: {path}{place}: {problem}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"The configuration must be YAML. Received: {path} ({error}).") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(
            f"The configuration must consist of lines 'field: value'. Received: {path} with other content."
        )
    return content


def _parse_yaml(text: str) -> Any:
    """Parses YAML and limits its expanded size: through aliases nine lines can represent billions of values."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_nodes(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count_nodes(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Returns the number of values in a part of a document, counting each alias as often as it is used."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise ValueError("an alias that contains itself")
        return count
    known[id(node)] = None
    parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    count = 1 + (sum(_count_nodes(part, known) for part in parts) if not isinstance(node, yaml.ScalarNode) else 0)
    if count > _MOST_NODES:
        raise ValueError(f"aliases that expand to more than {_MOST_NODES:,} values")
    known[id(node)] = count
    return count
