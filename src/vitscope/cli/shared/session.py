"""Open the model that a command was asked to use, and name its classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vitscope.cli.shared.console import busy
from vitscope.cli.shared.values import (
    check_precision,
    choose_device,
    parse_image_size,
    parse_model_options,
    parse_target,
)

if TYPE_CHECKING:
    from vitscope.tracing import Vit


def open_vit(
    model: str,
    weights: Path | None,
    image_size: str | None,
    device: str,
    precision: str,
    random_weights: bool = False,
    class_names: str | None = None,
    model_options: list[str] | None = None,
) -> Vit:
    """``vs.open_model`` with a command's options, and a sign of life while weights are read."""
    size, where, how = parse_image_size(image_size), choose_device(device), check_precision(precision)
    if not model.strip():
        raise typer.BadParameter("--model must name a model, for example timm/deit_tiny_patch16_224")
    if random_weights and weights is not None:
        raise typer.BadParameter("--weights and --random-weights exclude each other")
    extra = parse_model_options(model_options)
    if random_weights:
        if "pretrained" in extra:
            raise typer.BadParameter("--random-weights and -M pretrained= say the same; give one of them")
        extra["pretrained"] = False
    if class_names is not None:
        extra["class_names"] = class_names
    with busy(f"opening {model} ..."):
        import torch

        import vitscope as vs

        # Random weights are the same in every run, so that what one command wrote fits the next.
        with torch.random.fork_rng(enabled=random_weights):
            if random_weights:
                torch.manual_seed(0)
            return vs.open_model(
                model, weights=weights, image_size=size, device=where, precision=how, **extra
            )


def resolve_target(text: str, class_names: list[str] | None) -> Any:
    """A target as the tracing room reads it, with a class's name already looked up among the model's."""
    target = parse_target(text)
    if isinstance(target, int):
        return target
    from vitscope.tracing import by_number
    from vitscope.tracing import parse_target as read

    return by_number(read(target), class_names)
