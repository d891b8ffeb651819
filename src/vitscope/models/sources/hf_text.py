"""The text side of transformers' contrastive models (CLIP, SigLIP and their kin)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitscope.errors import ModelError
from vitscope.models.opening.loaded import TextTower

_TOKENIZER_FILES = (
    "tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"
)  # fmt: skip


def tokenizer_of(transformers: Any, where: str, trust: bool = False) -> Any | None:
    """The tokenizer published beside a model, None when there is none."""
    folder = Path(where)
    if folder.is_dir() and not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        # transformers would make up one with an empty vocabulary.
        return None
    try:
        return transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=trust)
    except Exception:
        # The picture side works without; whoever needs it gets the error below.
        return None


def text_tower(transformers: Any, model: Any, where: str, trust: bool = False) -> TextTower:
    """Wrap the text side of a dual model; sentences are padded as the model was trained."""
    tokenizer = tokenizer_of(transformers, where, trust)
    # SigLIP never saw an attention mask: sentences are always padded to the full length.
    padding = "max_length" if str(model.config.model_type).startswith("siglip") else True
    length = int(getattr(model.config.text_config, "max_position_embeddings", 64))

    @torch.no_grad()
    def encode(sentences: Sequence[str]) -> Tensor:
        if tokenizer is None:
            raise ModelError(f"there are no tokenizer files beside {where}; add them to explain text targets")
        tokens = tokenizer(
            list(sentences), padding=padding, truncation=True, max_length=length, return_tensors="pt"
        )
        device = next(model.text_model.parameters()).device
        found = model.get_text_features(**{name: value.to(device) for name, value in tokens.items()})
        features = found if isinstance(found, Tensor) else found.pooler_output
        return torch.nn.functional.normalize(features.float(), dim=-1)

    scale = getattr(model, "logit_scale", None)
    bias = getattr(model, "logit_bias", None)
    return TextTower(
        encode=encode,
        logit_scale=float(scale.detach().exp()) if isinstance(scale, Tensor) else 1.0,
        logit_bias=float(bias.detach()) if isinstance(bias, Tensor) else 0.0,
        module=model.text_model,
    )
