"""What annotations declare: the options of a function as lists of methods and the shell tell them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest

import vitscope as vs
from vitscope.options.bounds import Block, Head, Patch, Range
from vitscope.options.declared import declared_options
from vitscope.options.kinds import Refused


def test_a_method_of_ones_own_declares_as_the_package_does():
    def own(
        trace: vs.Trace,
        *,
        sharpness: Annotated[float, Range(0, 4)] = 1.0,
        block: Annotated[int, Block(from_end=True)] = -1,
        head: Annotated[int, Head()] | None = None,
        patch: Annotated[int, Patch()] = 0,
        mode: Literal["soft", "hard"] = "soft",
        plain=3,
        rate: float = 1.0,
        anything: Path | None = None,
    ) -> vs.Relevance:
        raise NotImplementedError

    found = declared_options(own)
    assert {name: option.accepts() for name, option in found.items()} == {
        "sharpness": "a number from 0 to 4",
        "block": "a block of the model, from 0, negative from the end",
        "head": "a head of the model, from 0 or None",
        "patch": "a patch of the picture, row by row, from 0",
        "mode": "'soft' or 'hard'",
        "plain": "a whole number",
        "rate": "a finite number",
        "anything": "a Path or None",
    }
    assert found["rate"].check(-3) == -3.0 and found["anything"].check(Path("x")) == Path("x")
    for value in (float("inf"), float("nan"), 10**400, "1"):
        with pytest.raises(Refused):
            found["rate"].check(value)
