"""The list of methods as one looks at it: a table in a terminal and in a notebook."""

from __future__ import annotations

from vitscope.methods.method_info import MethodInfo
from vitscope.shown import drawn_by

COLUMNS = ("method", "family", "class", "signed", "cost", "what it is", "question")
_GAP = "  "


class MethodList(list[MethodInfo]):
    """What is known of some methods; a list that prints as a table.

    Example:
        >>> import vitscope as vs
        >>> print(str(vs.methods()).splitlines()[0].split())
        ['method', 'family', 'class', 'signed', 'cost', 'what', 'it', 'is', 'question']
    """

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table, a row per method, in the order of ``COLUMNS``."""
        return [
            (
                info.name,
                info.family,
                "yes" if info.class_specific else "no",
                "yes" if info.signed else "no",
                info.cost,
                info.title,
                info.question,
            )
            for info in self
        ]

    def __repr__(self) -> str:
        table = [COLUMNS, *self.rows()]
        widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
        lines = (
            _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table
        )
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        return str(drawn_by("models", "methods_html")(self))
