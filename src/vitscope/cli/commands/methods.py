"""``vitscope methods``: the table of everything that can make a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.options import JsonOptions

if TYPE_CHECKING:
    from vitscope.methods import MethodInfo

EXAMPLE = "vitscope methods --json; vitscope methods gmar tells its formula, cost, paper and options"
PASSES = "F a forward pass · B a backward pass, of one picture when nothing is shared"


def methods(
    told: JsonOptions,
    name: Annotated[
        str | None,
        typer.Argument(help="One method, to see its formula, cost, paper and options.", show_default=False),
    ] = None,
) -> None:
    """List the methods: family, class-specific or not, signed or not, cost in forward and backward passes, paper."""
    from vitscope.methods import get_method
    from vitscope.methods import methods as registered
    from vitscope.methods.plug_ins import failed_plug_ins

    if name is not None:
        _one(get_method(name), told.json)
        return
    found = registered()
    for reason in failed_plug_ins().values():
        console.note(reason)
    records = [_record(info) for info in found]
    if told.json:
        console.emit_json(records)
        return
    console.table(
        ["method", "family", "class", "signed", "cost", "what it is", "question", "paper"],
        [
            [
                record["name"],
                record["family"],
                "yes" if record["class_specific"] else "no",
                "yes" if record["signed"] else "no",
                record["cost"],
                record["title"],
                record["question"],
                record["citation"],
            ]
            for record in records
        ],
    )
    console.say()
    console.say(f"class: the map depends on the class asked for · {PASSES}")


def _one(info: MethodInfo, json: bool) -> None:
    """One method: what it is, its formula, cost and paper, and what each of its options accepts."""
    if json:
        console.emit_json(_record(info))
        return
    console.say(f"{info.name}: {info.title}")
    console.say()
    for line in info.formula.replace("``", "").splitlines():
        console.say(line)
    console.say()
    about = (
        "the map depends on the class asked for" if info.class_specific else "the same map for every class"
    )
    values = "values below 0 count against the class" if info.signed else "values are 0 or more"
    facts = {
        "family": info.family,
        "answers": info.question or "nobody has said it",
        "class": about,
        "sign": values,
        "flow": "one map per block" if info.has_flow else "none",
        "cost": f"{info.cost} ({PASSES})",
        "paper": info.citation or "none",
    }
    for name, value in facts.items():
        console.say(f"{name:<8}{value}")
    console.say()
    if not info.declared:
        console.say("It has no options.")
        return
    rows = [[option.name, option.accepts(), str(option.default)] for option in info.declared.values()]
    console.table(["option (-o)", "accepts", "default"], rows)


def _record(info: MethodInfo) -> dict[str, Any]:
    record = {
        "name": info.name,
        "family": info.family,
        "title": info.title,
        "question": info.question,
        "citation": info.citation,
        "class_specific": info.class_specific,
        "signed": info.signed,
        "has_flow": info.has_flow,
        "summary": info.summary,
        "formula": info.formula,
        "cost": info.cost,
        "forwards": info.forwards,
        "backwards": info.backwards,
    }
    return {**record, "options": {name: option.record() for name, option in info.declared.items()}}
