"""A model and the list of methods in a notebook: what is inside, and what can explain it."""

from __future__ import annotations

from typing import Any

from vitscope.methods.method_list import COLUMNS, MethodList
from vitscope.models import Anatomy
from vitscope.rendering.pages.templating import fill
from vitscope.tracing import Vit


def vit_html(vit: Vit) -> str:
    """An opened model: where it runs, and its anatomy."""
    facts = {"runs": f"{vit.precision} on {vit.device}", "weights": vit.fingerprint, **_facts(vit.anatomy)}
    names = vit.class_names or []
    if names:
        facts["class names"] = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return _table(vit.source, facts, vit.anatomy)


def anatomy_html(anatomy: Anatomy) -> str:
    """What a probe learned about a model."""
    return _table(anatomy.source, _facts(anatomy), anatomy)


def methods_html(found: MethodList) -> str:
    """Every method of the list, a row each."""
    return fill(
        "vitscope.reports", "notebook.html", title=f"{len(found)} methods", columns=list(COLUMNS),
        rows=found.rows(), more=0, source=None, width=0, alt="",
    )  # fmt: skip


def _facts(anatomy: Anatomy) -> dict[str, Any]:
    size = anatomy.image_size
    return {
        "family": anatomy.family,
        "parameters": f"{anatomy.parameters:,}",
        "input": f"{size[0]} × {size[1]} pixels" if size else "no picture of a fixed size",
        "tokens": anatomy.layout.describe() if anatomy.layout else "on no single grid",
        "blocks": f"{len(anatomy.blocks)}, of {anatomy.heads} heads, width {anatomy.width}",
        "pooling": anatomy.pooling,
        "classes": anatomy.classes if anatomy.classes is not None else "none",
    }


def _table(source: str, facts: dict[str, Any], anatomy: Anatomy) -> str:
    rows = [[name, str(value)] for name, value in facts.items()]
    rows += [["note", note] for note in anatomy.notes]
    return fill(
        "vitscope.reports", "notebook.html", title=source, columns=["", ""], rows=rows, more=0, source=None,
        width=0, alt="",
    )  # fmt: skip
