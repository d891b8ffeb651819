"""The Python that gives the numbers on the screen: paths, model, method, options, target, heads that are off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vitscope.app.answers.attention import CLASS
from vitscope.app.exporting.view import View
from vitscope.app.model.asked import PREDICTED
from vitscope.app.model.facts import Facts
from vitscope.app.model.opening import Opening
from vitscope.app.pictures.reference import PictureReference
from vitscope.version import __version__


def script(view: View, reference: PictureReference, opening: Opening, facts: Facts) -> str:
    """A few lines that can be run as they are, where the picture lies.

    What is shown ends as ``maps``: (1, h, w) of an explanation, after the block that is shown; the attention of one
    token on the patches (h, w) where that is shown. ``prediction`` holds the probabilities of the classes."""
    method = view.method or facts.methods["default"]
    lines = [
        f"# vitscope {__version__}; weights {facts.model['weights']}; picture {reference.content}",
        "import vitscope as vs",
        "",
        f"vit = {opening.as_python()}",
        *_picture(reference),
    ]
    off = ""
    if view.off:
        lines.append(f"off = vs.HeadAblation.of(vit.anatomy, {list(view.off)!r})  # (block, head), from 0")
        off = ", ablation=off"
    lines.append("")
    if view.attends:
        lines += _attention(view, facts, off)
    else:
        lines += _explanation(view, method, off)
    lines.append(f"prediction = vit.forward(picture{off})[0].{_probability(facts)}")
    return "\n".join(lines) + "\n"


def _picture(reference: PictureReference) -> list[str]:
    if reference.file is not None:
        return [f"picture = {reference.file!r}"]
    return [f"picture = {reference.key!r}  # where this file lies on your machine"]


def _explanation(view: View, method: str, off: str) -> list[str]:
    options: Mapping[str, Any] = json.loads(view.options)
    said = [repr(method)]
    if view.target != PREDICTED:
        said.append(f"target={int(view.target) if view.target.isdecimal() else view.target!r}")
    said += [f"{name}={value!r}" for name, value in options.items()]
    lines = [f"explanation = vs.explain(vit, picture, {', '.join(said)}{off})"]
    if view.block is None:
        return [*lines, "maps = explanation.maps  # (1, h, w)"]
    first = 'explanation.options.get("start_block") or 0'
    return [*lines, f"maps = explanation.flow[:, {view.block} - ({first})]  # after block {view.block}"]


def _attention(view: View, facts: Facts, off: str) -> list[str]:
    block = facts.model["blocks"] - 1 if view.block is None else view.block
    heads = [head for at, head in view.heads if at == block]
    chosen = f"rows[{heads!r}]" if heads else "rows"
    lines = [
        f"trace = vit.trace(picture, gradient=False{off})",
        f"site = next(site for site in trace.sites if site.info.block == {block})",
        "before = site.keys - trace.layout.patches  # prefix tokens come before the patches",
    ]
    query = view.query if view.query != CLASS else ("class" if "class" in facts.model["prefix"] else "mean")
    if query == "mean":
        row = f"site.attention()[0].mean({1 if view.direction == 'out' else 2})"
    else:
        token = f"before + {query}" if query.isdecimal() else f"trace.layout.prefix.index({query!r})"
        lines.append(f"token = {token}")
        row = "site.row(token)[0]" if view.direction == "out" else "site.attention()[0, :, :, token]"
    return [*lines, f"rows = {row}  # (H, N)", f"maps = trace.layout.to_grid({chosen}.mean(0)[before:])"]


def _probability(facts: Facts) -> str:
    return "sigmoid()" if facts.model["probability"] == "sigmoid" else "softmax(-1)"
