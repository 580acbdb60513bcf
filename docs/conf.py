"""Configuration of the documentation: ``uv run sphinx-build -W --keep-going -n docs docs/_build``."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_DOCS = Path(__file__).parent
for _folder in (_DOCS, _DOCS.parent):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

import keras_lnn  # noqa: E402, it may not be installed

project = "keras-lnn"
author = "The keras-lnn authors"
project_copyright = author
version = release = keras_lnn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "extensions.generated",
]
exclude_patterns = ["_build", "images", "results/tables", "extensions"]
source_suffix = {".md": "markdown"}
nitpicky = True
# Only names of this project must be found: the pages are built without a network, so others have no inventory.
nitpick_ignore_regex = [("py:.*", r"(?!keras_lnn\b|tuning\b|custom_metrics\b).*")]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_typehints = "description"  # types stand in the docstrings' annotations only
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "keras-lnn"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_show_sphinx = False
html_copy_source = False
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
