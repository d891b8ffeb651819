"""``open_model``: the one door to a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from vitscope.errors import ModelError
from vitscope.models.load import NamedModel, load_model
from vitscope.options.bounds import Precision
from vitscope.options.door import checked
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.calls.outputs import parse_path
from vitscope.tracing.probing.overrides import Overrides
from vitscope.tracing.vit import Vit


@checked(ModelError)
@unaffected
def open_model(
    model: NamedModel,
    *,
    weights: str | os.PathLike[str] | Mapping[str, Tensor] | None = None,
    image_size: int | tuple[int, int] | None = None,
    preprocess: Any = None,
    class_names: Sequence[str] | Mapping[int, str] | str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "float32",
    blocks: Sequence[str] | None = None,
    grid: tuple[int, int] | None = None,
    prefix: Sequence[str] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    output: str | int | None = None,
    probability: Literal["softmax", "sigmoid"] | None = None,
    **options: Any,
) -> Vit:
    """Open a vision transformer by name or instance.

    Args:
        model: ``timm/NAME``, ``hf/FOLDER-OR-ID``, ``torchvision/NAME``, ``open_clip/NAME``, ``bundled/shapes``, the
            path of a folder or file with a fine-tuned checkpoint that says which model it is,
            ``package.module:function`` of your own that makes one (called with the options), or any ``nn.Module``,
            which is never changed.
        weights: A safetensors or plain tensor file, or a state dict; then nothing is fetched. Where only the head
            differs, the model is built for the number of classes of the weights.
        image_size: Input size in pixels, one side or (H, W), where the model allows another than its own.
        preprocess: A Preprocessor, or the transform that the model was trained with; None takes the model's own.
        class_names: One name per class, a mapping from numbers, or a file of them; None takes the model's own.
        device: Where the model is put; None leaves a module where it is, and takes the CPU for a name.
        precision: ``float32`` (whole, also where TF32 is allowed), ``bf16`` or ``fp16`` (autocast; rebuilt attention
            stays float32).
        blocks: Module paths of the blocks. This and the next four override what the probe would find.
        grid: The patch grid (h, w).
        prefix: The names of the tokens before the patches, such as ``class``.
        pooling: What the classifier reads, such as ``class`` or ``mean``.
        classes: Number of classes, 0 for an embedding.
        output: Which part of what the model returns are its logits, a key (``"head.cls"``) or a position.
        probability: Whether its logits are classes that exclude each other (``softmax``) or labels of their own
            (``sigmoid``). Without it the model's configuration says so; one logit means sigmoid, several softmax.
        **options: For the source's own constructor, such as ``num_classes``.

    Returns:
        The opened model. Its anatomy is learned when it is first needed.

    Raises:
        ModelError: There is no such model, or it cannot be looked at.
        WeightsError: The weights do not belong to the model.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> vit
        Vit('bundled/shapes', vit, float32 on cpu)
        >>> vit.anatomy.layout.describe()
        'class + 12x12 patches = 145 tokens'
    """
    loaded = load_model(
        model,
        weights=weights,
        image_size=image_size,
        preprocess=preprocess,
        class_names=class_names,
        device=device,
        **options,
    )
    overrides = Overrides(
        blocks=None if blocks is None else tuple(blocks),
        grid=None if grid is None else (grid[0], grid[1]),
        prefix=None if prefix is None else tuple(prefix),
        pooling=pooling,
        classes=classes,
        output=None if output is None else parse_path(output),
        probability=probability,
    )
    vit = Vit(loaded, device=device, precision=precision, overrides=overrides)
    if pooling is not None and not set(pooling.split("+")) <= {"class", "distillation", "mean", "attention"}:
        vit.anatomy_for(
            vit.image_size
        )  # a name of prefix tokens: refused now where there are none of that name
    return vit
