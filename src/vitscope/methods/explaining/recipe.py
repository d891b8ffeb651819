"""What an explanation depends on, as one recipe: the model, the method with every option, the target, the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vitscope.storage.recipe import Recipe, digest_of, plain
from vitscope.tracing import ClassIndex, HeadAblation, Target
from vitscope.tracing.calls.calling import Inputs
from vitscope.tracing.recipe import library_versions

PER_PICTURE = "one of each picture"
"""What the target is called when every picture has its own; which is part of what is known of the pictures."""


def explanation_recipe(
    model: Mapping[str, Any],
    method: str,
    options: Mapping[str, Any],
    target: Target,
    clean: bool,
    inputs: Inputs,
    ablation: HeadAblation | None = None,
) -> Recipe:
    """The recipe of explanations like this one, of any pictures.

    Args:
        model: From :func:`vitscope.tracing.recipe.model_identity`, made once for a whole call.
        options: All of the method's, as they are used.
        inputs: One batch as the model takes it; its size is part of the recipe.
        ablation: Heads that are switched off.
    """
    own = target.count is not None
    quantity = target.quantity if isinstance(target, ClassIndex) else type(target).__qualname__
    return Recipe(
        analysis="explain",
        model=model,
        options={
            "method": method,
            "options": options,
            "clean": clean,
            "target": quantity if own else described(target),
            "size": sizes_of(inputs),
            **({} if ablation is None else {"ablation": ablation}),
        },
        target=PER_PICTURE if own else target.describe(),
        truth={"targets": ""} if own else {},
        versions=library_versions(),
    )


def sizes_of(inputs: Inputs) -> dict[str, Any]:
    """The size of one item of what the model takes, by name; "" for pictures alone."""
    shapes = {"": inputs} if not isinstance(inputs, Mapping) else inputs
    return {
        name: list(value.shape[1:]) if isinstance(value, Tensor) else repr(value)
        for name, value in shapes.items()
    }


def own_targets(target: Target, positions: Sequence[int], count: int) -> list[str] | None:
    """A digest of the target of each picture at these positions of ``count``; None when all have the same."""
    if target.count is None:
        return None
    return [digest_of(described(target.of([position], count))) for position in positions]


def described(target: Target) -> Any:
    """Everything that a target holds: two functions of one name are two targets."""
    try:
        return {"kind": type(target).__qualname__, "holds": plain(target)}
    except TypeError:
        return target.describe()
