"""Find the scores in whatever a model returns: tensors, records, nested mappings, objects of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.errors import ModelError, TargetError

Path = tuple[str | int, ...]
"""The way to one tensor of an output: keys, attributes and positions."""

NAMES = ("logits", "image_embeds", "pooler_output", "last_hidden_state")
"""What libraries call the scores, else the picture's feature, best first."""


@dataclass(frozen=True)
class Chosen:
    """Which tensor of the output the scores are. path: None when none can be told. notes: what is worth saying."""

    path: Path | None
    notes: tuple[str, ...] = ()


def leaves(output: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in an output, with the way to it."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from leaves(value, (*path, key))
    elif isinstance(output, (tuple, list)):
        named = getattr(output, "_fields", range(len(output)))
        for key, value in zip(named, output, strict=True):
            yield from leaves(value, (*path, key))
    elif not isinstance(output, (nn.Module, type)) and hasattr(output, "__dict__"):
        for key, value in vars(output).items():
            if isinstance(value, (Tensor, Mapping, tuple, list)) or hasattr(value, "__dict__"):
                yield from leaves(value, (*path, key))


def at(output: Any, path: Path) -> Any:
    """The part of an output that a path leads to. Raises TargetError when the output has no such part."""
    found = output
    for key in path:
        try:
            found = found[key] if isinstance(found, Mapping) or isinstance(key, int) else getattr(found, key)
        except (KeyError, IndexError, AttributeError, TypeError):
            here = ", ".join(describe(way) for way, _ in leaves(output)) or type(output).__name__
            raise TargetError(f"the output has no part {describe(path)!r}; it has {here}") from None
    return found


def describe(path: Path) -> str:
    """A path as ``output=`` takes it: ``head.cls``, ``1``."""
    return ".".join(map(str, path)) or "the output itself"


def parse_path(text: str | int) -> Path:
    """``"head.cls"`` or 1 as a path; whole numbers are positions."""
    if (
        isinstance(text, bool)
        or not isinstance(text, (str, int))
        or (isinstance(text, str) and not text.strip())
    ):
        raise ModelError(f"output= takes a key such as 'logits' or 'head.cls', or a position; got {text!r}")
    parts = str(text).strip().split(".")
    return tuple(int(part) if part.lstrip("-").isdecimal() else part for part in parts)


def choose(output: Any, batch: int, classes: int | None, asked: Path | None) -> Chosen:
    """The tensor with the scores of each picture.

    asked: what the user named. classes: how many scores there must be, where that is known. Else a tensor itself, one
    of the usual names, a tensor of the right width, the only tensor, or the first of several, which a note says.
    Scores per query of a detector, (B, queries, C), are no scores of the picture and are not taken."""
    if asked is not None:
        tensor = at(output, asked)
        if not isinstance(tensor, Tensor):
            inside = ", ".join(describe((*asked, *way)) for way, _ in leaves(tensor)) or type(tensor).__name__
            raise ModelError(f"output={describe(asked)!r} is no tensor; name one of: {inside}")
        if tensor.dim() == 0 or tensor.shape[0] != batch:
            raise ModelError(
                f"output={describe(asked)!r} is {tuple(tensor.shape)}, expected one row for each of {batch} pictures"
            )
        return Chosen(asked, _remarks(asked, tensor, asked=True))
    found = [(path, tensor) for path, tensor in leaves(output) if _holds_pictures(tensor, batch)]
    if not found:
        return Chosen(
            None, (f"the output {type(output).__name__} has no scores per picture; pass target=callable",)
        )
    named = [(p, t) for name in NAMES for p, t in found if p and p[-1] == name and len(p) == 1]
    if isinstance(output, Tensor):
        path, tensor = found[0]
    elif named:
        path, tensor = named[0]
    else:
        fitting = [(p, t) for p, t in found if classes and t.dim() == 2 and t.shape[1] == classes]
        path, tensor = (fitting or found)[0]
        if len(found) > 1 and not fitting:
            others = ", ".join(describe(p) for p, _ in found[:6])
            notes = (f"of several outputs ({others}) {describe(path)!r} is taken; name another with output=",)
            return Chosen(path if _is_scores(path, tensor) else None, (*notes, *_remarks(path, tensor)))
    return Chosen(path if _is_scores(path, tensor) else None, _remarks(path, tensor))


def scores_of(output: Any, path: Path | None, batch: int) -> Tensor:
    """The scores or the feature of each picture, (B, C); (B, 0) where the model has none that can be told.

    One number per picture is (B, 1); of tokens (B, N, D) the first is the feature; of maps (B, C, h, w) it is the mean
    over their places."""
    if path is None:
        first = next((tensor for _, tensor in leaves(output)), None)
        return torch.empty(batch, 0) if first is None else first.new_empty(batch, 0, dtype=torch.float32)
    found = at(output, path)
    if not isinstance(found, Tensor):
        raise TargetError(f"the output's part {describe(path)!r} is no tensor any more; pass target=callable")
    if found.dim() == 1:
        return found[:, None]
    if found.dim() == 2:
        return found
    return found[:, 0] if found.dim() == 3 else found.flatten(2).mean(-1)


def _holds_pictures(tensor: Tensor, batch: int) -> bool:
    return tensor.is_floating_point() and 1 <= tensor.dim() <= 4 and tensor.shape[0] == batch


def _is_scores(path: Path, tensor: Tensor) -> bool:
    """False for (B, queries, C) that is called logits: those are the scores of each query."""
    return not (tensor.dim() == 3 and path and path[-1] == "logits")


def _remarks(path: Path, tensor: Tensor, asked: bool = False) -> tuple[str, ...]:
    where = f"the output {describe(path)!r}" if path else "the output"
    if tensor.dim() == 4:
        return (
            f"{where} is a map of {tensor.shape[2]}x{tensor.shape[3]}; a class's score is its mean over the map",
        )
    if tensor.dim() == 3 and not _is_scores(path, tensor):
        return (
            f"{where} has scores for each of {tensor.shape[1]} queries or tokens, none for the picture; pass "
            "target=callable(output) -> (B,)",
        )
    if tensor.dim() == 3 and asked:
        return (f"{where} has {tensor.shape[1]} tokens; the first one is taken",)
    return ()
