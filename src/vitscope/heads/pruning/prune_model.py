"""Write a really smaller, or a masked, timm ViT without its least important heads, and open it again.

Smaller: the rows of qkv and the columns of the projection that belong to removed heads are gone, and the block has
fewer heads. Masked: the model keeps its shape and loads anywhere; removed heads' columns of the projection are zero.
With mean replacement the constant that the head would have written goes into the projection's bias, so both equal
the ablation exactly.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from vitscope.errors import OutputError, StorageError
from vitscope.heads.errors import HeadsError
from vitscope.heads.spatial_sites import head_grid
from vitscope.heads.table import HeadTable
from vitscope.options.bounds import FilePath, PositiveShare
from vitscope.options.door import checked
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.tracing import Vit

KIND = "pruned model"
Head = tuple[int, int]
PrunedForm = Literal["smaller", "masked"]
"""Whether removed heads are cut out, or kept with their columns of the projection at zero."""


@checked(HeadsError)
def heads_to_remove(table: HeadTable, metric: str, keep: PositiveShare) -> list[Head]:
    """The least important heads by a metric, so many that a share `keep` of all heads stays.

    Every block keeps at least one head, so that the pruned model is still a transformer in every block.
    """
    order = table.order(metric, most_important_first=False)
    L, H = table.shape
    wanted = round((1 - keep) * len(order))
    left = {block: sum(1 for b, _ in order if b == block) for block in range(L)}
    removed: list[Head] = []
    for block, head in order:
        if len(removed) == wanted:
            break
        if left[block] > 1:
            left[block] -= 1
            removed.append((block, head))
    if len(removed) < wanted:
        raise HeadsError(
            f"expected to keep at least one head per block ({L} of {L * H}), got keep={keep:g}; "
            f"use --keep {L / max(1, len(order)):.2f} or more"
        )
    return removed


@checked(HeadsError)
def attention_modules(vit: Vit) -> list[nn.Module]:
    """The timm attention module of every block, in order. Raises HeadsError where surgery is not known."""
    found = []
    for info in vit.anatomy.blocks:
        block = vit.model.get_submodule(info.path)
        module: Any = getattr(block, "attn", None)
        needed = ("qkv", "proj", "num_heads", "head_dim", "attn_dim")
        plain = module is not None and all(hasattr(module, name) for name in needed)
        if not plain or not isinstance(module.qkv, nn.Linear) or getattr(module, "gate", None) is not None:
            raise HeadsError(
                f"expected a timm ViT with a joint qkv projection, got {type(block).__name__} at {info.path} of "
                f"{vit.source}; use importance and cumulative pruning, which mask heads on any model"
            )
        if not isinstance(module.norm, nn.Identity):
            raise HeadsError(
                f"expected no norm after the attention, got one at {info.path}; it mixes the heads"
            )
        found.append(module)
    return found


@checked(HeadsError)
def prune_module(
    vit: Vit, remove: Sequence[Head], *, form: PrunedForm = "smaller", means: Tensor | None = None
) -> nn.Module:
    """A pruned copy of the model; the original is not touched. means: (L, H, d) for mean replacement."""
    L, H = head_grid(vit.anatomy)
    gone: dict[int, list[int]] = {}
    for block, head in sorted(set(remove)):
        if not (0 <= block < L and 0 <= head < H):
            raise HeadsError(f"expected heads within {L} x {H}, got ({block}, {head}); count from 0")
        gone.setdefault(block, []).append(head)
    attention_modules(vit)
    model = copy.deepcopy(vit.model)
    for block, heads in gone.items():
        module: Any = model.get_submodule(vit.anatomy.blocks[block].path).attn
        _fold_means(module, block, heads, means)
        if form == "masked":
            _mask(module, heads)
        else:
            _shrink(module, heads)
    return model


def _columns(heads: Sequence[int], width: int) -> Tensor:
    return torch.cat([torch.arange(h * width, (h + 1) * width) for h in heads])


@torch.no_grad()
def _fold_means(module: Any, block: int, heads: Sequence[int], means: Tensor | None) -> None:
    if means is None:
        return
    if means.dim() != 3:
        raise HeadsError(
            "expected means (L, H, d) over all queries, got one per query; a bias has no position"
        )
    if module.proj.bias is None:
        module.proj.bias = nn.Parameter(torch.zeros_like(module.proj.weight[:, 0]))
    weight = module.proj.weight[:, _columns(heads, module.head_dim).to(module.proj.weight.device)]
    module.proj.bias += weight @ means[block, list(heads)].reshape(-1).to(weight)


@torch.no_grad()
def _mask(module: Any, heads: Sequence[int]) -> None:
    module.proj.weight[:, _columns(heads, module.head_dim)] = 0


@torch.no_grad()
def _shrink(module: Any, heads: Sequence[int]) -> None:
    kept = [h for h in range(module.num_heads) if h not in heads]
    if not kept:
        raise HeadsError("expected at least one head to stay in every block, got none; use form masked")
    columns = _columns(kept, module.head_dim)
    rows = torch.cat([columns + part * module.attn_dim for part in range(3)])
    module.qkv = _linear(module.qkv.weight[rows], None if module.qkv.bias is None else module.qkv.bias[rows])
    module.proj = _linear(module.proj.weight[:, columns], module.proj.bias)
    module.num_heads = len(kept)
    module.attn_dim = len(kept) * module.head_dim


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(
        weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device, dtype=weight.dtype
    )
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


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
    """Write weights and what was removed to one .safetensors file. A masked one loads as `weights=` of the same timm
    name; a smaller one with `load_pruned`."""
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
    """The pruned timm model of a file that `save_pruned` wrote; an nn.Module for `vs.open_model`.

    options go to timm.create_model (num_classes, img_size …). Nothing is fetched or read but this file, and sizes are
    compared before memory is taken.

    Raises StorageError for a damaged file, one of another kind, or one that names no model of timm's; HeadsError for
    options with which the model has other shapes.
    """
    state, record = tensors.load(path, KIND)
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
    try:
        model: Any = timm.create_model(name, **{**options, "pretrained": False})
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise HeadsError(f"timm cannot make {name} with these options ({error}); give others") from None
    with decoding(path, KIND):
        for index, heads in gone.items():
            _shrink(model.blocks[index].attn, heads)
        for index, block in enumerate(getattr(model, "blocks", ())):
            # Mean replacement gave a bias to projections that had none.
            if f"blocks.{index}.attn.proj.bias" in state and block.attn.proj.bias is None:
                block.attn.proj.bias = nn.Parameter(torch.zeros_like(block.attn.proj.weight[:, 0]))
    built: nn.Module = model
    return built


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else " x ".join(map(str, tensor.shape)) or "one number"
