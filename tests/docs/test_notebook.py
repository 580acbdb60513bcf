"""The notebook in ``examples/``: it parses, imports what there is, holds no outputs, and runs."""

import ast
import importlib

import nbformat
import pytest
from doc_blocks import ROOT

NOTEBOOK = ROOT / "examples" / "api.ipynb"
CODE = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


def test_the_notebook_has_ten_cells_without_outputs():
    assert len(CODE) == 10
    for cell in CODE:
        assert cell.outputs == []
        assert cell.execution_count is None


@pytest.mark.parametrize("place", range(len(CODE)))
def test_the_imports_of_the_notebook_exist(place):
    for node in ast.walk(ast.parse(CODE[place].source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert {alias.name for alias in node.names} <= set(dir(module)), node.module


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    import nbclient

    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("EPOCHS = 5", "EPOCHS = 1")
    nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "comparison.html" in str(notebook.cells[-1].outputs)
