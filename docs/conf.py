"""Sphinx: Markdown pages by MyST, the API reference from docstrings."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "seriesio"
author = "The seriesio contributors"
project_copyright = "2026, the seriesio contributors"
release = version = installed("seriesio")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True  # fields are described once, in the docstring of their class
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"seriesio {release}"
