"""Sphinx configuration."""

from importlib.metadata import version as installed

project = "aiclient"
author = "The aiclient authors"
copyright = author
release = version = installed("aiclient")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"aiclient {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
myst_enable_extensions = ["colon_fence"]
# No intersphinx: a build must not need the network. So references to other projects stay open.
nitpick_ignore_regex = [
    (r"py:.*", r"(httpx2?|httpcore2?|anyio|attrs?|opentelemetry|trio|ssl|collections|typing)\..*"),
]
