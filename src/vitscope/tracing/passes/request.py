"""What is asked of one pass over a model: what it keeps, what it changes, whether it can be followed back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vitscope.tracing.changes.ablation import Ablation
from vitscope.tracing.changes.factors import TokenFactors
from vitscope.tracing.changes.removal import TokenRemoval
from vitscope.tracing.changes.rules import Rules
from vitscope.tracing.interception.explicit_attention import Matrices
from vitscope.tracing.passes.stages import Stage


@dataclass(frozen=True)
class Capture:
    """What a trace keeps beside the attention sites. Two are joined by ``|``.

    Args:
        streams: What enters and leaves every block.
        norms: The output of each block's first norm.
        embedding: The patch embedding before positions are added.
        image: The gradient on the pixels.
        stages: The last feature map at each resolution (CNNs and hierarchical models).
        outputs: What each attention call gave. With a gradient it is kept in any case; else made again where it is
            asked for.
        inputs: q, k and v of each attention call. Without them what ``matrices`` names is there in their place, and
            nothing else of a call whose matrices were made in the pass.
        matrices: What is made of the attention matrices in the pass, where that costs less than to rebuild them
            afterwards: plain float32 attention over not many tokens, on a CPU. Values agree to float32's rounding.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.tracing import Capture
        >>> trace = vs.open_model("bundled/shapes").trace(
        ...     vs.worlds.world("shapes").sample(2, seed=1).pictures, capture=Capture(streams=True)
        ... )
        >>> len(trace.block_outputs), tuple(trace.block_outputs[0].shape)
        (6, (2, 145, 128))
    """

    streams: bool = False
    norms: bool = False
    embedding: bool = False
    image: bool = False
    stages: bool = False
    outputs: bool = True
    inputs: bool = True
    matrices: Matrices = Matrices.NONE

    def __or__(self, other: Capture) -> Capture:
        return Capture(
            self.streams or other.streams,
            self.norms or other.norms,
            self.embedding or other.embedding,
            self.image or other.image,
            self.stages or other.stages,
            self.outputs or other.outputs,
            self.inputs or other.inputs,
            self.matrices | other.matrices,
        )


@dataclass(frozen=True, eq=False)
class PassRequest:
    """What one forward pass does beside running the model; by default nothing.

    precision: ``float32``, ``bf16`` or ``fp16``. gradient: whether a graph is built. record: whether the attention
    sites are kept. rules: another way back, with ``gradient`` only. embedding_call: which convolution of the forward
    makes the patch embedding, counted from 0. stages: the feature maps to keep. skip: by module path, what that module
    returns in place of running. factors: what patch tokens are multiplied by."""

    precision: str = "float32"
    gradient: bool = False
    record: bool = False
    capture: Capture = Capture()
    rules: Rules | None = None
    ablations: Sequence[Ablation] = ()
    removal: TokenRemoval | None = None
    factors: TokenFactors | None = None
    embedding_call: int | None = None
    stages: Sequence[Stage] = ()
    skip: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether the forward gives something else than the model alone."""
        return bool(self.ablations or self.skip) or self.removal is not None or self.factors is not None
