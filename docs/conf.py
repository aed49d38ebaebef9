"""Settings of Sphinx: `make docs` builds the site in docs/_build/html."""

from __future__ import annotations

from importlib import metadata

project = "Continual study"
author = "the authors of Continual study"
release = metadata.version("continual-study")

extensions = ["myst_parser", "docs.reference"]  # the second: docs/reference.py
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True  # every reference has a target

myst_heading_anchors = 3  # links to headings, as on GitHub: page.md#a-heading

smartquotes = False  # quotes and dashes as they are typed, for copying

html_theme = "furo"
html_title = project
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
