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
from vitscope.heads.pruning.means import means_of
from vitscope.heads.pruning.output_means import MeanOutputs
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
    """The least important heads by a metric, so many that a share of all heads remains.

    Every block keeps at least one head, so that the pruned model is still a transformer in every block.

    Args:
        table: Scores of the heads.
        metric: A metric of the table.
        keep: The share (0..1] of heads to keep.

    Returns:
        (block, head) pairs, both from 0, least important first.

    Raises:
        HeadsError: There is no such metric, or ``keep`` leaves less than a head per block.

    Example:
        >>> import numpy as np
        >>> import vitscope as vs
        >>> table = vs.heads.HeadTable({"importance": np.float32([[[1, 2], [4, 3]]])}, ("cat.png",))
        >>> vs.heads.heads_to_remove(table, "importance", keep=0.5)
        [(0, 0), (1, 1)]
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
    """The timm attention module of every block, in order; these can be pruned.

    Args:
        vit: The opened model.

    Returns:
        L modules of the user's model, not copies.

    Raises:
        HeadsError: A block whose attention cannot be pruned: no joint qkv projection, or a norm after the attention.

    Example:
        >>> import vitscope as vs
        >>> [module.num_heads for module in vs.heads.attention_modules(vs.open_model("bundled/shapes"))]
        [4, 4, 4, 4, 4, 4]
    """
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
    vit: Vit,
    remove: Sequence[Head],
    *,
    form: PrunedForm = "smaller",
    means: Tensor | MeanOutputs | None = None,
) -> nn.Module:
    """A pruned copy of a timm ViT; the original is not changed.

    Args:
        vit: The opened model.
        remove: (block, head) pairs, both from 0.
        form: "smaller" cuts the heads out; "masked" keeps the shapes and sets their columns of the projection to zero.
        means: (L, H, d) mean outputs that stand in for removed heads, see :func:`mean_outputs`; None for zero.

    Returns:
        The pruned module; its outputs equal those of the ablation.

    Raises:
        HeadsError: A head that does not exist, a model that cannot be pruned, or, with "smaller", a block without
            heads.

    Example:
        >>> import vitscope as vs
        >>> pruned = vs.heads.prune_module(vs.open_model("bundled/shapes"), [(0, 1), (0, 2)])
        >>> pruned.blocks[0].attn.num_heads, pruned.blocks[1].attn.num_heads
        (2, 4)
    """
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
        _fold_means(module, block, heads, None if means is None else means_of(means))
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
