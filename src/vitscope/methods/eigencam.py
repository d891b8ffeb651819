"""Eigen-CAM: what the tokens of one block have most in common, and its cousin on tokens times gradient."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from vitscope.methods.applicability import token_methods
from vitscope.methods.gradcam import NEEDS, AnyBlock, as_relevance, patch_tokens, places
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.options.bounds import Block
from vitscope.tracing import Capture, Trace


def principal_projection(tokens: Tensor) -> Tensor:
    """The tokens (B, P, D), less their mean, projected on their first principal component: (B, P).

    A component has no sign of its own: the patch that lies farthest from the mean is positive."""
    centred = tokens.double() - tokens.double().mean(1, keepdim=True)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    projected = left[:, :, 0] * sizes[:, :1]
    farthest = projected.gather(1, projected.abs().argmax(1, keepdim=True))
    return torch.where(farthest < 0, -projected, projected).float()


@register(
    "eigencam",
    family="cam",
    title="Eigen-CAM on tokens",
    citation="Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299",
    class_specific=False,
    needs=Needs(capture=Capture(norms=True), precision="float32"),
    applies=token_methods,
)
def eigencam(
    trace: Trace,
    *,
    block: Annotated[int, Block(attending=False, from_end=True)] = -1,
    relu: bool = True,
) -> Relevance:
    """relu((X - mean X) v) over a block's first-norm tokens X, v the first principal component of the patches.

    The same for every class. The sign is the one in which the patch that lies farthest from the mean is positive."""
    return as_relevance(principal_projection(patch_tokens(trace.norm_tokens[block], trace)), trace, relu)


@register(
    "eigen-gradcam",
    family="cam",
    title="Eigen-Grad-CAM on tokens",
    citation="Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299, on tokens times gradient (grad-cam's variant)",
    class_specific=True,
    backwards=1,
    needs=NEEDS,
    applies=token_methods,
)
def eigen_gradcam(trace: Trace, *, block: AnyBlock | None = None, relu: bool = True) -> Relevance:
    """Eigen-CAM of X times g, gradient and tokens multiplied element by element."""
    cam = torch.zeros(trace.batch, trace.layout.patches, device=trace.logits.device)
    for index, taken in places(trace, block):
        tokens, gradient = (
            patch_tokens(each[index], trace) for each in (trace.norm_tokens, trace.norm_gradients)
        )
        cam = torch.where(taken[:, None], principal_projection(tokens * gradient), cam)
    return as_relevance(cam, trace, relu)
