"""Explain a part of the pictures of a command: what ``explain`` and ``flow`` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vitscope.errors import AnswerError, PictureError

if TYPE_CHECKING:
    from PIL import Image

    from vitscope.methods import Explanation
    from vitscope.pictures import PictureSource
    from vitscope.tracing import Target, Vit


@dataclass(frozen=True)
class ExplainedPicture:
    """One picture's explanation by every method, each with a batch axis of one.

    key: its name among all pictures. id: the hash of its content. place: where it was read. shown: what the model saw.
    """

    key: str
    id: str
    place: str
    shown: Image.Image
    single: dict[str, Explanation]


def target_of(words: str, vit: Vit, source: PictureSource) -> Target:
    """What is to be explained. Raises TargetError, also for a target that was made for another number of pictures."""
    from vitscope.cli.shared.session import resolve_target

    target: Target = resolve_target(words, vit.class_names)
    if target.count not in (None, len(source)):
        target.of(range(len(source)), len(source))
    return target


def explain_part(
    vit: Vit,
    part: PictureSource,
    start: int,
    total: int,
    target: Target,
    methods: Mapping[str, Mapping[str, Any]],
    clean: bool = False,
) -> list[ExplainedPicture]:
    """Every method on the pictures ``start`` and following of ``total``; those that cannot be read are left out."""
    if total > 1:
        try:
            return _explain(vit, part, start, total, target, methods, clean)
        except AnswerError as error:
            if start == 0 and len(error.pictures) == len(part) - len(part.skipped):
                raise  # it is the model's fault, and no other picture would do better
            # Which of them it is shows one by one; the others are explained.
            return [
                each
                for index in range(len(part))
                for each in _explain_or_skip(vit, part, index, start, total, target, methods, clean)
            ]
    return _explain(vit, part, start, total, target, methods, clean)


def _explain_or_skip(
    vit: Vit,
    part: PictureSource,
    index: int,
    start: int,
    total: int,
    target: Target,
    methods: Mapping[str, Mapping[str, Any]],
    clean: bool,
) -> list[ExplainedPicture]:
    """One picture of a part; it is skipped where the model's answer to it is no number."""
    alone = part.part(index, index + 1)
    try:
        return _explain(vit, alone, start + index, total, target, methods, clean)
    except AnswerError as error:
        alone.skipped[part.keys[index]] = f"{part.items[index]}: {error.of_one}"
        return []
    finally:
        part.skipped.update(alone.skipped)


def _explain(
    vit: Vit,
    part: PictureSource,
    start: int,
    total: int,
    target: Target,
    methods: Mapping[str, Mapping[str, Any]],
    clean: bool,
) -> list[ExplainedPicture]:
    import vitscope as vs

    mine = target if target.count is None else target.of(range(start, start + len(part)), total)
    try:
        found = vs.explain(vit, part, method=methods, target=mine, batch_size=len(part), clean=clean)
    except PictureError:
        if len(part.skipped) == len(part):
            return []
        raise
    from PIL import Image as Pictures

    places = dict(zip(part.keys, part.items, strict=True))
    explained = []
    first = next(iter(found.values()))
    for index, (key, content) in enumerate(zip(first.metadata["keys"], first.metadata["ids"], strict=True)):
        assert first.pictures is not None  # it is how explain() was asked
        shown = Pictures.fromarray(first.pictures[index].numpy())
        single = {name: replace(each[index], pictures=None) for name, each in found.items()}
        explained.append(ExplainedPicture(key, content, str(places[key]), shown, single))
    return explained
