"""``vitscope methods``: the table of everything that can make a map."""

from __future__ import annotations

from typing import Any

from vitscope.cli import console, options

EPILOG = "Example: vitscope methods --json"


def methods(json: options.Json = False) -> None:
    """List the methods: family, class-specific or not, signed or not, cost in forward and backward passes, paper."""
    from vitscope.methods import methods as registered

    records = [_record(info) for info in registered()]
    if json:
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
    console.out().print(
        "\nclass: the map depends on the class asked for · F a forward pass · B a backward pass"
    )


def _record(info: Any) -> dict[str, Any]:
    names = (
        "name",
        "family",
        "title",
        "citation",
        "class_specific",
        "signed",
        "forwards",
        "backwards",
        "options",
    )
    return {name: getattr(info, name) for name in names if hasattr(info, name)}
