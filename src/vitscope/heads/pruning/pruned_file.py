"""A pruned timm ViT as a file: its weights, and what was removed from which architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitscope.errors import OutputError, StorageError
from vitscope.heads.errors import HeadsError
from vitscope.heads.pruning.prune_model import Head, PrunedForm, shrink
from vitscope.models.quick_imports import without_compiler
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.storage import tensors
from vitscope.storage.notes import decoding

KIND = "pruned model"


@checked(HeadsError)
def save_pruned(
    module: nn.Module,
    path: FilePath,
    *,
    architecture: str,
    remove: Sequence[Head],
    form: PrunedForm,
    note: dict[str, Any] | None = None,
) -> Path:
    """Write the weights of a pruned model, with what was removed, to one .safetensors file.

    A masked model loads as ``weights=`` of the same timm name; a smaller one with :func:`load_pruned`.

    Args:
        module: The pruned model, from :func:`prune_module`.
        path: A file that ends in .safetensors.
        architecture: The timm name that it was made from.
        remove: The (block, head) pairs that were removed.
        form: "smaller" or "masked", as it was pruned.
        note: Further plain JSON values to keep.

    Returns:
        The path of the file.

    Raises:
        OutputError: Another ending, or a file that cannot be written.

    Example:
        >>> import vitscope as vs
        >>> gone = [(0, 1)]
        >>> pruned = vs.heads.prune_module(vs.open_model("bundled/shapes"), gone)
        >>> name = "vit_tiny_patch16_224"
        >>> vs.heads.save_pruned(pruned, "pruned.safetensors", architecture=name, remove=gone, form="smaller").name
        'pruned.safetensors'
    """
    path = Path(path)
    if path.suffix != tensors.ENDING:
        raise OutputError(f"expected a file ending in .safetensors, got {path.name!r}; rename --out")
    record = {
        "architecture": architecture,
        "removed": [list(head) for head in sorted(set(remove))],
        "form": form,
        **(note or {}),
    }
    return tensors.save(path, KIND, module.state_dict(), record)


@checked(HeadsError)
def load_pruned(path: FilePath, **options: Any) -> nn.Module:
    """Load a pruned timm model that :func:`save_pruned` wrote, ready for :func:`vitscope.open_model`.

    Only this file is read, nothing is downloaded, and sizes are compared before memory is taken.

    Args:
        path: The file.
        options: Arguments of ``timm.create_model`` that the model was made with (num_classes, img_size …).

    Returns:
        The model in evaluation mode.

    Raises:
        StorageError: The file is damaged, of another kind, or names no model that timm has.
        HeadsError: The model has other shapes with these options.

    Example:
        >>> import timm
        >>> import vitscope as vs
        >>> small = {"embed_dim": 24, "depth": 2, "num_heads": 3, "img_size": 32, "num_classes": 5}
        >>> vit = vs.open_model(timm.create_model("vit_tiny_patch16_224", **small).eval())
        >>> pruned = vs.heads.prune_module(vit, [(0, 1)])
        >>> file = vs.heads.save_pruned(
        ...     pruned, "small.safetensors", architecture="vit_tiny_patch16_224", remove=[(0, 1)], form="smaller"
        ... )
        >>> [block.attn.num_heads for block in vs.heads.load_pruned(file, **small).blocks]
        [2, 3]
    """
    state, record = tensors.load(path, KIND)
    with without_compiler():
        import timm
    with decoding(path, KIND):
        name = str(record["architecture"]).removeprefix("timm/")
        # timm opens more than its own models: hf-hub:… asks a server, local-dir:… reads a folder.
        if not timm.is_model(name):
            raise StorageError(
                f"{path} was made from {name[:80]!r}, which is no model that timm lists; prune the model again"
            )
        gone: dict[int, list[int]] = {}
        if record["form"] == "smaller":
            for block, head in record["removed"]:
                gone.setdefault(int(block), []).append(int(head))
    with torch.device("meta"):
        expected = _build(path, name, gone, state, options).state_dict()
    wrong = [key for key in {*expected, *state} if key not in expected or key not in state]
    wrong += [key for key in expected if key in state and expected[key].shape != state[key].shape]
    if wrong:
        first = min(wrong)
        found, wanted = (_shape(group.get(first)) for group in (state, expected))
        raise HeadsError(
            f"{path} does not fit {name} ({first} is {found}, the model has {wanted}); "
            "give load_pruned the num_classes and img_size that the model was made with"
        )
    model = _build(path, name, gone, state, options)
    model.load_state_dict(state)
    return model.eval()


def _build(
    path: FilePath, name: str, gone: dict[int, list[int]], state: dict[str, Tensor], options: dict[str, Any]
) -> nn.Module:
    """A timm model of random weights with the shapes that pruning leaves."""
    with without_compiler():
        import timm
    try:
        model: Any = timm.create_model(name, **{**options, "pretrained": False})
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise HeadsError(f"timm cannot make {name} with these options ({error}); give others") from None
    with decoding(path, KIND):
        for index, heads in gone.items():
            shrink(model.blocks[index].attn, heads)
        for index, block in enumerate(getattr(model, "blocks", ())):
            # Mean replacement gave a bias to projections that had none.
            if f"blocks.{index}.attn.proj.bias" in state and block.attn.proj.bias is None:
                block.attn.proj.bias = nn.Parameter(torch.zeros_like(block.attn.proj.weight[:, 0]))
    built: nn.Module = model
    return built


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else " x ".join(map(str, tensor.shape)) or "one number"
