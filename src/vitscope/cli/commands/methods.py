"""``vitscope methods``: the table of everything that can make a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.options import JsonOptions

if TYPE_CHECKING:
    from vitscope.methods import MethodInfo

EXAMPLE = "vitscope methods --json; vitscope methods gmar lists its options and what they accept"


def methods(
    told: JsonOptions,
    name: Annotated[
        str | None, typer.Argument(help="One method, to see its options.", show_default=False)
    ] = None,
) -> None:
    """List the methods: family, class-specific or not, signed or not, cost in forward and backward passes, paper."""
    from vitscope.methods import get_method
    from vitscope.methods import methods as registered

    if name is not None:
        _one(get_method(name), told.json)
        return
    records = [_record(info) for info in registered()]
    if told.json:
        console.emit_json(records)
        return
    console.table(
        ["method", "family", "class", "signed", "cost", "what it is", "paper"],
        [
            [
                record["name"],
                record["family"],
                "yes" if record["class_specific"] else "no",
                "yes" if record["signed"] else "no",
                f"{record['forwards']}F + {record['backwards']}B"
                if record["backwards"]
                else f"{record['forwards']}F",
                record["title"],
                record["citation"],
            ]
            for record in records
        ],
    )
    console.say()
    console.say("class: the map depends on the class asked for · F a forward pass · B a backward pass")


def _one(info: MethodInfo, json: bool) -> None:
    """One method with what each of its options accepts."""
    if json:
        console.emit_json(_record(info))
        return
    console.say(f"{info.name}: {info.summary}")
    if info.declared:
        rows = [[option.name, option.accepts(), str(option.default)] for option in info.declared.values()]
        console.table(["option", "accepts", "default"], rows)


def _record(info: MethodInfo) -> dict[str, Any]:
    record = {
        "name": info.name,
        "family": info.family,
        "title": info.title,
        "citation": info.citation,
        "class_specific": info.class_specific,
        "signed": info.signed,
        "forwards": info.forwards,
        "backwards": info.backwards,
    }
    return {**record, "options": {name: option.record() for name, option in info.declared.items()}}
