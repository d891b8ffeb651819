"""Write a really smaller, or a masked, timm ViT without its least important heads, and open it again.

Smaller: the rows of qkv and the columns of the projection that belong to removed heads are gone, and the block has
fewer heads. Masked: the model keeps its shape and loads anywhere; removed heads' columns of the projection are zero.
With mean replacement the constant that the head would have written goes into the projection's bias, so both equal
the ablation exactly.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitscope.errors import OutputError
from vitscope.heads.problems import HeadsError
from vitscope.heads.sites import head_grid
from vitscope.heads.table import HeadTable
from vitscope.tracing import Vit

Head = tuple[int, int]
PRUNED_FORMS = ("smaller", "masked")


def heads_to_remove(table: HeadTable, metric: str, keep: float) -> list[Head]:
    """The least important heads by a metric, so many that a share `keep` of all heads stays.

    Every block keeps at least one head, so that the pruned model is still a transformer in every block.
    """
    if not 0 < keep <= 1:
        raise HeadsError(
            f"expected keep to be a share above 0 and at most 1, got {keep:g}; for example --keep 0.7"
        )
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


def attention_modules(vit: Vit) -> list[Any]:
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


def prune_module(
    vit: Vit, remove: Sequence[Head], *, form: str = "smaller", means: Tensor | None = None
) -> nn.Module:
    """A pruned copy of the model; the original is not touched. means: (L, H, d) for mean replacement."""
    if form not in PRUNED_FORMS:
        raise HeadsError(f"expected the form smaller or masked, got {form!r}; choose one of them")
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


def save_pruned(
    module: nn.Module,
    path: str | Path,
    *,
    architecture: str,
    remove: Sequence[Head],
    form: str,
    note: dict[str, Any] | None = None,
) -> Path:
    """Write weights and what was removed to one .safetensors file. A masked one loads as `weights=` of the same timm
    name; a smaller one with `load_pruned`."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise OutputError(f"expected a file ending in .safetensors, got {path.name!r}; rename --out")
    record = {
        "architecture": architecture,
        "removed": [list(head) for head in sorted(set(remove))],
        "form": form,
        **(note or {}),
    }
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path, metadata={"vitscope_pruned": json.dumps(record, default=str)})
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {path} ({error}); choose another folder") from error
    return path


def load_pruned(path: str | Path, **options: Any) -> nn.Module:
    """The pruned timm model of a file that `save_pruned` wrote; an nn.Module for `vs.open_model`.

    options go to timm.create_model (num_classes, img_size …). Raises HeadsError for any other file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["vitscope_pruned"])
        state = load_file(path)
    except (OSError, KeyError, SafetensorError) as error:
        raise HeadsError(
            f"expected a file written by vitscope heads prune at {path}, got {type(error).__name__}; check the path"
        ) from error
    name = str(record["architecture"]).removeprefix("timm/")
    model: Any = timm.create_model(name, pretrained=False, **options)
    if record["form"] == "smaller":
        by_block: dict[int, list[int]] = {}
        for block, head in record["removed"]:
            by_block.setdefault(block, []).append(head)
        for index, heads in by_block.items():
            _shrink(model.blocks[index].attn, heads)
    for index, block in enumerate(model.blocks):
        # Mean replacement gave a bias to projections that had none.
        if f"blocks.{index}.attn.proj.bias" in state and block.attn.proj.bias is None:
            block.attn.proj.bias = nn.Parameter(torch.zeros_like(block.attn.proj.weight[:, 0]))
    model.load_state_dict(state)
    pruned: nn.Module = model.eval()
    return pruned
