"""The door of the public functions: annotations are held, numpy's numbers are numbers, texts are no lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch

from vitscope.errors import MethodError, VitscopeError
from vitscope.options.door import check_fields, checked, describe, fits


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, [0, -3, np.int64(2)], [1.0, True, np.bool_(True), "1", None, np.float32(1), torch.tensor(1)]),
        (float, [0, 1.5, np.float32(2), np.int8(3)], [True, "1.0", 1j, None]),
        (bool, [True, np.bool_(False)], [0, 1, "yes", None]),
        (str, ["", "abc"], [b"abc", 1, None]),
        (int | None, [None, 1], ["1"]),
        (Literal["a", "b"], ["a"], ["c", 1, None]),
        (Sequence[int], [[1, 2], (1,), [], range(3), np.array([1])], ["12", b"1", [1, "2"], {1: 2}, 5, np.array(1)]),
        (Sequence[str], [["a"], np.array(["a"])], ["a", [1], np.array([1.0]), torch.ones(2)]),
        (tuple[int, int], [(1, 2), [3, 4]], [(1,), (1, 2, 3), (1, "2"), 5, "12"]),
        (Sequence[Sequence[tuple[float, float]]], [[[(1, 2)], []]], [[(1, 2)], [["12"]]]),
        (Mapping[str, Mapping[str, Any]], [{}, {"a": {"b": object()}}], [{"a": 1}, {1: {}}, [], "a"]),
        (Callable[[int], int], [len, lambda x: x], [1, "len"]),
        (torch.Tensor, [torch.ones(1)], [np.ones(1), [1.0]]),
        (Any, [object()], []),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value),  # objects print their addresses
)  # fmt: skip
def test_what_fits(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not fits(value, kind)] == []
    assert [value for value in bad if fits(value, kind)] == []
    assert describe(kind)


def test_the_line_says_what_was_expected_and_what_came() -> None:
    @checked(MethodError, but=("own",))
    def work(count: int, names: Sequence[str] | None = None, *more: int, own: int = 0, **rest: int) -> Any:
        return count, names, more, own, rest

    assert work(2, ["a"], "x", own="mine", other="free") == (2, ["a"], ("x",), "mine", {"other": "free"})  # type: ignore[arg-type]
    with pytest.raises(MethodError, match=r"^work\(\) expected count as a whole number, got 'two' \(str\)$"):
        work("two")  # type: ignore[arg-type]
    with pytest.raises(MethodError, match=r"names as a list of texts or None, got 'ab' \(str\)"):
        work(2, "ab")
    with pytest.raises(MethodError, match=r"got Tensor torch.float32 \(2, 3\)"):
        work(torch.ones(2, 3))  # type: ignore[arg-type]
    with pytest.raises(MethodError) as caught:
        work([0] * 1000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        checked(MethodError)(lambda x=0: x)(y=1)


def test_fields_of_a_record() -> None:
    import vitscope as vs

    check_fields(vs.Protocol(mean_colour=[0, 0.5, 1]), VitscopeError)  # type: ignore[arg-type]
    for wrong in ({"steps": 2.5}, {"seed": "1"}, {"mean_colour": (1, 2)}, {"target": None}, {"steps": True}):
        with pytest.raises(VitscopeError, match="Protocol expected"):
            vs.Protocol(**wrong)  # type: ignore[arg-type]
