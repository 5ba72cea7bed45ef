"""Sphinx configuration."""

import re
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
html_static_path = ["_static"]

html_theme = "furo"
html_title = f"aiclient {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# No intersphinx: a build must not need the network. So references to other projects stay open.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(httpx2?|httpcore2?|anyio|attrs?|opentelemetry|trio|ssl|collections|typing|random|os)\..*",
    ),
    # Shown in a signature, and not for users to make: the text says what they can do with it.
    (r"py:class", r"(aiclient\..*\.)?(BreakerState|Classify|RequestLog|TLS)"),
    (r"py:class", r"(aiclient\..*\.)?(Fault|Setting|Speed)Options"),
]


CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(\w?)")


def literal(match):
    code, follows = match.groups()
    return f"``{code}``" + (f"\\ {follows}" if follows else "")


def as_restructured_text(app, what, name, obj, options, lines):
    """Our docstrings are plain text with `code` in it: make that a literal."""
    lines[:] = [CODE.sub(literal, line) for line in lines]
    # Napoleon takes what stands before a colon in a property's first line for its type.
    if what == "property":
        lines[:0] = ["..", ""]


def setup(app):
    app.connect("autodoc-process-docstring", as_restructured_text, priority=400)
