"""Open the model that a command was asked to use, and name its classes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from vitscope.cli.shared.console import busy
from vitscope.cli.shared.values import (
    check_precision,
    choose_device,
    parse_image_size,
    parse_model_options,
    whole_number,
)

if TYPE_CHECKING:
    from vitscope.cli.shared.options import ModelOptions
    from vitscope.tracing import Vit


def opening(options: ModelOptions) -> dict[str, Any]:
    """The arguments of ``vs.open_model`` that a command line asks for. Raises a usage error for what it cannot be."""
    size, where = parse_image_size(options.image_size), choose_device(options.device)
    precision = check_precision(options.precision)
    if not options.model.strip():
        raise typer.BadParameter("--model must name a model, for example timm/deit_tiny_patch16_224")
    if options.random_weights and options.weights is not None:
        raise typer.BadParameter("--weights and --random-weights exclude each other")
    extra = parse_model_options(options.model_option)
    if options.random_weights:
        if "pretrained" in extra:
            raise typer.BadParameter("--random-weights and -M pretrained= say the same; give one of them")
        extra["pretrained"] = False
    if options.class_names is not None:
        extra["class_names"] = options.class_names
    find_modules_here(options.model)
    return {
        "weights": options.weights, "image_size": size, "device": where, "precision": precision, **extra
    }  # fmt: skip


def find_modules_here(model: str | None) -> None:
    """Let ``package.module:function`` be looked for in the current folder, as python -m would."""
    if model is not None and ":" in model and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def open_vit(options: ModelOptions) -> Vit:
    """The model that a command was asked to use, opened as it was asked, with a sign of life while weights are read."""
    arguments = opening(options)
    with busy(f"opening {options.model} ..."):
        import torch

        import vitscope as vs

        # Random weights are the same in every run, so that what one command wrote fits the next.
        with torch.random.fork_rng(enabled=options.random_weights):
            if options.random_weights:
                torch.manual_seed(0)
            return vs.open_model(options.model, **arguments)


def resolve_target(text: str, class_names: list[str] | None) -> Any:
    """A target as the tracing room reads it, with a class's name already looked up among the model's."""
    from vitscope.tracing import by_number, parse_target

    return by_number(parse_target(_bounded(text)), class_names)


def _bounded(text: str) -> str:
    """The text itself; a usage error for a number that is longer than any class has."""
    text = text.strip()
    return str(whole_number(text, "--target")) if text.isascii() and text.isdecimal() else text
