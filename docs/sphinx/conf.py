"""Settings of Sphinx for the documentation; scripts/build_docs.py builds it."""

from __future__ import annotations

import inspect
from typing import Any

from vitscope.version import __version__

project = "vitscope"
author = "the vitscope developers"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
exclude_patterns = ["examples/*.py", "scripts/**", "benchmarks/**"]
source_suffix = {".md": "markdown"}

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
suppress_warnings = ["myst.header", "ref.python"]
"""Sections may begin at any depth; signatures name types as the source does, so a name may be that of two."""

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures are shown as they are written, see as_written
add_module_names = False
napoleon_numpy_docstring = False
maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"vitscope {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "native"


CONTENTS = {
    "Tutorials": [
        "docs/tutorials/first-map",
        "docs/tutorials/flow",
        "docs/tutorials/which-heads",
        "docs/tutorials/heads-in-the-app",
        "docs/tutorials/trust",
        "docs/own-model",
        "docs/tutorial-study",
        "docs/tutorials/app",
    ],
    "How to": [
        "docs/README",
        "docs/python",
        "docs/shell",
        "docs/what-to-expect",
        "docs/from-grad-cam-and-captum",
        "docs/maps-as-data",
        "docs/two-models",
        "docs/data-loader",
        "docs/pictures",
        "docs/reports",
        "docs/app",
        "docs/app-screens",
        "docs/site",
        "docs/notebook",
        "docs/films",
        "docs/text-encoders",
        "docs/progress",
        "docs/troubleshooting",
        "examples/README",
    ],
    "Methods": [
        "docs/methods/dart",
        "docs/methods/gmar",
        "docs/methods/daam",
        "docs/methods/attention",
        "docs/methods/gradients",
        "docs/methods/cam",
        "docs/methods/lrp",
        "docs/methods/libra",
        "docs/methods/pixels",
        "docs/methods/black-box",
        "docs/methods/controls",
        "docs/methods/cost",
    ],
    "Heads, evaluation, studies": [
        "docs/heads",
        "docs/metrics",
        "docs/leaderboard/README",
        "docs/studies",
        "docs/scale",
    ],
    "Reference": [
        "reference/README",
        "docs/supported",
        "docs/files",
        "docs/parity",
        "docs/peers",
        "docs/dependencies",
        "docs/performance",
        "docs/architecture",
        "CHANGELOG",
        "CONTRIBUTING",
    ],
}
"""The navigation. A page that is missing here is a warning, so an error."""


def with_contents(app: Any, name: str, source: list[str]) -> None:
    """Add the navigation to the first page, which is read as it is in the repository."""
    if name == root_doc:
        for caption, pages in CONTENTS.items():
            lines = [f"```{{toctree}}\n:hidden:\n:caption: {caption}\n", *pages, "```"]
            source[0] += "\n" + "\n".join(lines) + "\n"


def without_substitutions(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Bars of docstrings, as in |G|, are absolute values."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def as_written(
    app: Any, what: str, name: str, found: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """A signature with the names of types that stand in the source, not with all that they stand for."""
    if signature is None or not callable(found):
        return None
    try:
        known = inspect.signature(found)
    except (TypeError, ValueError):
        return None
    parts, kinds = [], [each.kind for each in known.parameters.values()]
    for index, each in enumerate(known.parameters.values()):
        if index == 0 and each.name in ("self", "cls"):
            continue
        if each.kind is each.KEYWORD_ONLY and (index == 0 or kinds[index - 1] is not each.KEYWORD_ONLY):
            parts.append("*")
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        text = stars + each.name
        if each.annotation is not each.empty:
            text += f": {each.annotation if isinstance(each.annotation, str) else each.annotation.__name__}"
        if each.default is not each.empty:
            default = repr(each.default)
            text += f" = {default if default[0] != '<' else '...'}"
        parts.append(text)
    gives = known.return_annotation
    return f"({', '.join(parts)})", gives if isinstance(gives, str) and gives != "None" else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", with_contents)
    app.connect("autodoc-process-signature", as_written)
    app.connect("autodoc-process-docstring", without_substitutions)
