"""Checks of a SavedModel's graph before TensorFlow loads it: only computations are allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_lnn.errors import InputError

GRAPH_FILE = "saved_model.pb"
_LARGEST_FILE = 2**31 - 1
# Values of a constant, which the file may hold as a single one.
_LARGEST_CONSTANT = 2**28
# Operations with a state or an effect that computing needs: variables, calls, loops, checks and random numbers.
_ALLOWED = frozenset(
    [
        *("VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp", "DisableCopyOnRead"),
        *("StatefulPartitionedCall", "While", "If", "Case", "Assert"),
        *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "Multinomial"),
    ]
)
# What TensorFlow counts as without effect though it reads or writes files, or runs Python.
_EFFECTS = re.compile(r"PyFunc|File|Dataset|Iterator|Reader|Debug|Print|Summary|Checkpoint|^ImmutableConst$")
# What saves and restores variables stands in every SavedModel; to load one does not run it.
_SAVING = frozenset(["SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"])


def require_harmless(folder: Path) -> None:
    """Checks the graph of a SavedModel: an operation that reads or writes files or runs Python is an error.

    Args:
        folder: The folder of the SavedModel.

    Raises:
        InputError: If there is such an operation, or no graph that can be read.
    """
    graph = _read_graph(folder)
    functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
    saving = _find_saving(graph)
    called = {name for nodes in functions.values() for node in nodes for name in _called_by(node)}
    called |= {name for node in graph.graph_def.node if node.name not in saving for name in _called_by(node)}
    called |= set(graph.object_graph_def.concrete_functions)
    # They are like all others where something else calls them.
    exempt = set(saving.values()) - called
    for name, nodes in {"": graph.graph_def.node, **functions}.items():
        for node in nodes:
            if node.op in functions or (node.op in _SAVING and name in exempt):
                continue
            reason = _find_harm(node)
            if reason:
                raise InputError(
                    f"An exported model must contain only computations. Received: {folder} with the operation"
                    f" {node.op}, which {reason}. Do not load it; export it again from its run."
                )


def _read_graph(folder: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        path = folder / GRAPH_FILE
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("larger than any graph")
        content = saved_model_pb2.SavedModel.FromString(path.read_bytes())  # ty: ignore[missing-attribute] made at import
        if len(content.meta_graphs) != 1:
            raise ValueError(f"{len(content.meta_graphs)} graphs instead of one")
        # Without its objects TensorFlow would run the restoring that the graph names.
        if not content.meta_graphs[0].object_graph_def.nodes:
            raise ValueError("no objects in its graph")
    except (OSError, ValueError, DecodeError) as error:
        raise InputError(
            f"The SavedModel must be whole. Received: {folder} ({GRAPH_FILE}: {error}). Export it again."
        ) from None
    return content.meta_graphs[0]


def _find_saving(graph: Any) -> dict[str, str]:
    """Returns the nodes that save and restore variables, with the functions that they call."""
    names = {graph.saver_def.save_tensor_name.partition(":")[0], graph.saver_def.restore_op_name}
    return {node.name: node.attr["f"].func.name for node in graph.graph_def.node if node.name in names}


def _called_by(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)


def _find_harm(node: Any) -> str:
    """Returns what is wrong with an operation, in words; empty where it only computes."""
    # TensorFlow has no public name for it.
    from tensorflow.python.framework import op_def_registry

    if node.op == "Const":
        sides = [side.size for side in node.attr["value"].tensor.tensor_shape.dim]
        return "has more values than any model" if math.prod(sides) > _LARGEST_CONSTANT else ""
    known = op_def_registry.get(node.op)
    if known is None:
        return "TensorFlow does not know"
    if _EFFECTS.search(node.op) or node.op in _SAVING or (known.is_stateful and node.op not in _ALLOWED):
        return "can read or write files, or run other code"
    return ""
