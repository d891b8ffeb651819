"""Share the passes over one batch among all that look at it: one forward and one backward serve every reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from vitscope.errors import TraceError
from vitscope.options.bounds import Precision
from vitscope.options.door import checked
from vitscope.pictures import Images
from vitscope.tracing.changes.rules import Rules
from vitscope.tracing.passes.request import Capture
from vitscope.tracing.shared_passes import Ahead, SharedPasses
from vitscope.tracing.targets.parsing import TargetLike, parse_target
from vitscope.tracing.vit import Vit


@dataclass(frozen=True)
class Foreseen:
    """A trace that will be asked for, so that the first pass over a batch keeps what all its readers need.

    Args:
        target: What it explains, as ``Vit.trace`` takes it.
        gradient: Whether it needs the backward.
        rules: Its way back.
        capture: What it keeps beside the attention sites.
        precision: What it runs in; None is the model's own.

    Example:
        >>> import vitscope as vs
    >>> from vitscope.tracing import Foreseen, sharing_traces
        >>> vit = vs.open_model("bundled/shapes")
        >>> images = vit.images(vs.worlds.world("shapes").sample(2, seed=1).pictures)
        >>> with sharing_traces(vit, images, [Foreseen("top1")]):
        ...     logits, trace = vit.forward(images), vit.trace(images)  # one forward and one backward together
        >>> trace.logits.equal(logits)
        True
    """

    target: TargetLike = None
    gradient: bool = True
    rules: Rules | None = None
    capture: Capture = field(default_factory=Capture)
    precision: Precision | None = None


@checked(TraceError)
@contextmanager
def sharing_traces(vit: Vit, images: Tensor, foreseen: Iterable[Foreseen] = ()) -> Iterator[None]:
    """Run each pass over one batch once, for all that look at it while the block runs.

    A trace or a forward of exactly this tensor, with no ablation and no removal, is read off a pass that was run
    before where that pass kept at least as much, with the same rules, precision and target (or a target that comes to
    the same classes). Every reader gets a trace of its own. Other pictures, other threads, and pictures or weights
    that were written into meanwhile are run as ever. At most four passes are kept, until the block ends.

    Args:
        vit: The opened model.
        images: A ready batch (B, 3, H, W), as ``vit.images`` gives it.
        foreseen: What will be asked for, so that the first pass keeps it; without, order what is asked from the
            largest to the smallest.

    Yields:
        Nothing; the block's traces and forwards share.

    Raises:
        TargetError: A foreseen target that is not understood.

    Example:
        >>> import vitscope as vs
        >>> from vitscope.tracing import sharing_traces
        >>> vit = vs.open_model("bundled/shapes")
        >>> images = vit.images(vs.worlds.world("shapes").sample(2, seed=1).pictures)
        >>> with sharing_traces(vit, images):
        ...     trace = vit.trace(images)
        ...     logits = vit.forward(images)  # no second forward
        >>> trace.logits.equal(logits)
        True
    """
    ahead = [
        Ahead(
            parse_target(each.target).bind(vit),
            each.gradient,
            each.rules,
            each.capture,
            each.precision or vit.precision,
        )
        for each in foreseen
    ]
    before = vit.shared
    vit.shared = SharedPasses(images, vit.model, ahead, lambda: vit.stages_for(images))
    try:
        yield
    finally:
        vit.shared = before


def shares(vit: Vit, images: Images) -> bool:
    """Whether passes over exactly these pictures are shared now."""
    return vit.shared is not None and isinstance(images, Tensor) and vit.shared.serves(images)
