"""``open_clip/NAME`` or ``open_clip/NAME@TAG``: the picture tower of an open_clip model, its text tower in extras."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import ModelError
from vitscope.interruption import held, released
from vitscope.models.opening.loaded import LoadedModel, TextTower
from vitscope.models.opening.optional import require
from vitscope.models.opening.weight_files import StateDict
from vitscope.models.opening.weights import load_weights
from vitscope.models.preparing.published import from_open_clip
from vitscope.models.sources.registry import Request, not_built, not_fetched, register_source, unknown_name
from vitscope.storage.paths import typed_path


def _names() -> Iterable[str]:
    open_clip = require("open_clip", "open_clip", "open_clip models", distribution="open_clip_torch")
    names: list[str] = open_clip.list_models()
    return names


@register_source("open_clip", "open_clip", _names)
def load(request: Request) -> LoadedModel:
    """Open a contrastive model; the module is ``model.visual``: pixels (B, 3, H, W) to embeddings (B, D).

    NAME is one of open_clip's configurations, a local folder with ``open_clip_config.json`` or ``hf-hub:...``; the TAG
    (or ``pretrained="TAG"``) names published weights. ``weights`` are those of the whole model, or of the picture
    tower alone.
    """
    open_clip = require("open_clip", "open_clip", f"open_clip/{request.name}", distribution="open_clip_torch")
    name, _, tag = request.name.partition("@")
    if not tag and isinstance(request.pretrained, str):
        tag = request.pretrained
    folder = typed_path(name, ModelError)
    if folder.is_dir():
        name = f"local-dir:{folder}"
    published = name.startswith(("hf-hub:", "local-dir:"))
    if not published and name not in open_clip.list_models():
        raise unknown_name("open_clip", name, _names())
    if request.wants_hub and not published:
        _require_tag(open_clip, name, tag)
    options = dict(request.options)
    if request.image_size is not None:
        height, width = request.image_size
        options["force_image_size"] = height if height == width else (height, width)
    with held(), quiet(), released():
        try:
            model = open_clip.create_model(
                name,
                pretrained=tag if request.wants_hub and not published else None,
                load_weights=request.wants_hub,
                require_pretrained=request.wants_hub,
                pretrained_text=False,
                **options,
            )
        except Exception as error:
            raise (not_fetched if request.wants_hub else not_built)(
                "open_clip", request.name, error
            ) from error
        tokenizer = _tokenizer(open_clip, name)
    if request.weights is not None:
        load_weights(model, request.weights, model=f"open_clip/{name}", adapt=_converted(open_clip))
    size = _size(model.visual) or request.image_size
    return LoadedModel(
        module=model.visual,
        source=f"open_clip/{request.name}",
        family="open_clip",
        preprocessor=from_open_clip(model.visual.preprocess_cfg),
        extras={"text": _text_tower(model, tokenizer, name)},
        image_size=size,
        output="embedding",
        weights=request.weights_label,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """open_clip reports every step to the root logger; kept below warnings for a while, then put back."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        root.setLevel(level)


def _require_tag(open_clip: Any, name: str, tag: str) -> None:
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        listed = ", ".join(tags[:6]) + (", ..." if len(tags) > 6 else "") if tags else "none published"
        said = f"has no weights {tag!r}" if tag else "needs the tag of its weights"
        raise ModelError(
            f"open_clip/{name} {said} ({listed}); write open_clip/{name}@TAG, give weights= or take random ones "
            "(pretrained=False)"
        )


def _tokenizer(open_clip: Any, name: str) -> Any | None:
    try:
        return open_clip.get_tokenizer(name)
    except Exception:
        # Some tokenizers live on the hub; the picture side works without.
        return None


def _converted(open_clip: Any) -> Any:
    from open_clip.model import resize_pos_embed

    def convert(state: StateDict, model: Any) -> StateDict:
        if not any(key.startswith("visual.") for key in state):
            # Weights of the picture tower alone: the text side keeps what it has.
            whole = dict(model.state_dict())
            whole.update({f"visual.{key}": value for key, value in state.items()})
            state = whole
        resize_pos_embed(state, model)
        return state

    return convert


def _text_tower(model: Any, tokenizer: Any | None, name: str) -> TextTower:
    @torch.no_grad()
    def encode(sentences: Sequence[str]) -> Tensor:
        if tokenizer is None:
            raise ModelError(
                f"the tokenizer of open_clip/{name} could not be opened; install its files to use text targets"
            )
        device = next(model.parameters()).device
        features: Tensor = model.encode_text(tokenizer(list(sentences)).to(device), normalize=True)
        return features.float()

    bias = getattr(model, "logit_bias", None)
    return TextTower(
        encode=encode,
        logit_scale=float(model.logit_scale.detach().exp()),
        logit_bias=float(bias.detach()) if isinstance(bias, Tensor) else 0.0,
        module=model,
    )


def _size(visual: Any) -> tuple[int, int] | None:
    size = getattr(visual, "image_size", None)
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) else None
