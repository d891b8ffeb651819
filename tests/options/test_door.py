"""The door of the public functions: annotations are held, numpy's numbers are numbers, texts are no lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from typing import Protocol as TypingProtocol

import numpy as np
import pytest
import torch

from vitscope.errors import MethodError, VitscopeError
from vitscope.options.bounds import Block, Folder, Range, ReadLater
from vitscope.options.declared import NO_DEFAULT, option_of
from vitscope.options.door import check_fields, checked, describe, fits
from vitscope.options.kinds import Choice, Nothing, Number, Text, Whole

Own = Annotated[int, ReadLater("a number of one's own")]


class Watcher(TypingProtocol):
    steps: int

    def advance(self, count: int) -> None: ...


class Clock:
    made_by = "vs.clock"
    steps = 0

    def advance(self, count: int) -> None: ...


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
        (Own, [object()], []),
        (float, [], [float("nan"), float("inf"), 10**400]),
        (Annotated[int, Range(1, 4)], [1, 4], [0, 5, 10**400, True, 1.0]),
        (Annotated[float, Range(0, 1, above=True)] | None, [0.1, 1, None], [0, 1.1, float("nan")]),
        (tuple[Annotated[float, Range(0, 1)], int], [(0, 3), [1, 2]], [(2, 2), (float("nan"), 1), {}]),
        (Sequence[Annotated[int, Range(0, 3)]], [[0, 3], []], [[4], [-1], [True]]),
        (Folder | None, ["a", Path("a"), None], ["", 5, b"a"]),
        (Clock, [Clock()], [Clock, None, object()]),
        (Watcher, [Clock()], [object(), None, len]),
        (Sequence[Literal["a", "b"]], [["a"], ("b", "a")], [["c"], "a", [1]]),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value),  # objects print their addresses
)  # fmt: skip
def test_what_fits(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not fits(value, kind)] == []
    assert [value for value in bad if fits(value, kind)] == []
    assert describe(kind)


def test_the_line_says_what_was_expected_and_what_came() -> None:
    @checked(MethodError)
    def work(count: int, names: Sequence[str] | None = None, *more: int, own: Own = 0, **rest: int) -> Any:
        return count, names, more, own, rest

    assert work(2, ["a"], 3, own="mine", other="free") == (2, ["a"], (3,), "mine", {"other": "free"})  # type: ignore[arg-type]
    with pytest.raises(MethodError, match=r"^work\(\) expected count as a whole number, got 'two' \(str\)$"):
        work("two")  # type: ignore[arg-type]
    with pytest.raises(MethodError, match=r"expected more as a whole number, got 'x' \(str\)"):
        work(2, ["a"], 1, "x")  # type: ignore[arg-type]
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


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Clock | None, "a Clock (vs.clock) or None"),
        (Folder | None, "the path of a folder or None"),
        (str | Path | None, "a text, a Path or None"),
        (Annotated[int, Range(1, 65_536)], "a whole number from 1 to 65,536"),
        (Annotated[float, Range(0, 1, above=True)] | None, "a number above 0 to 1 or None"),
        (Sequence[Annotated[int, Range(0, 3)]], "a list of whole numbers from 0 to 3"),
        (Sequence[Literal["a", "b"]], "a list of 'a' or 'b'"),
        (tuple[int, int] | int, "2 values (a whole number, a whole number) or a whole number"),
        (Callable[[], None], "a function"),
        (Own, "a number of one's own"),
        (torch.nn.Module, "a Module"),
        (OSError, "an OSError"),
    ],
)
def test_kinds_in_words(kind: Any, words: str) -> None:
    assert describe(kind) == words


def test_a_function_gets_the_strict_form() -> None:
    @checked(MethodError)
    def work(count: int, share: float, size: tuple[int, int] = (1, 1), on: bool = False) -> Any:
        return count, share, size, on

    found = work(np.int64(2), 1, [3, np.int8(4)], np.bool_(True))  # type: ignore[arg-type]
    assert found == (2, 1.0, (3, 4), True)
    assert [type(each) for each in found] == [int, float, tuple, bool] and type(found[2][1]) is int


def test_blocks_are_bounded_by_the_model() -> None:
    class Model:
        class anatomy:
            blocks = block_sites = ()

    @dataclass
    class Site:
        kind: str = "self"

    @checked(MethodError)
    def work(
        vit: Model, block: Annotated[int, Block()], last: Annotated[int, Block(from_end=True)] = -1
    ) -> int:
        return block

    Model.anatomy.block_sites = (Site(), Site("channel"), Site())  # type: ignore[assignment]
    assert work(Model(), 1, -2) == 1
    for wrong in ((2,), (-1,), (0, -3), (True,)):
        with pytest.raises(MethodError, match=r"expected (block|last) as a block of the model from"):
            work(Model(), *wrong)


def test_the_shell_reads_what_a_function_declares() -> None:
    @dataclass
    class Choices:
        count: Annotated[int, Range(1, 9)] = 3
        word: Literal["mask", "drop"] = "mask"

    def work(share: Annotated[float, Range(0, 1)] | None = None, *, name: str) -> None: ...

    assert option_of(Choices, "count").kinds == (Whole(Range(1, 9)),)
    assert option_of(work, "share").kinds == (Number(Range(0, 1)), Nothing())
    assert option_of(work, "name").kinds == (Text(),)
    assert option_of(Choices, "word").kinds == (Choice(("mask", "drop")),)
    assert option_of(Choices, "word").default == "mask"
    assert option_of(work, "share").read("0.25") == 0.25 and option_of(work, "share").read("none") is None
    assert option_of(work, "name").default is NO_DEFAULT and option_of(work, "name").read("5") == "5"
    for owner in (Choices, work):
        with pytest.raises(KeyError):
            option_of(owner, "nothing")


def test_names_that_only_type_checkers_import_are_known_at_the_door() -> None:
    """``vit: Vit`` in a file that imports Vit under TYPE_CHECKING alone."""
    from vitscope.tracing import Vit
    from vitscope.tracing.recipe import model_identity

    assert describe(Vit | None).startswith("a Vit (vs.open_model)")
    (kind,) = option_of(model_identity, "vit").kinds
    assert kind.describe(None) == "a Vit (vs.open_model)"
