"""Register and sink diagnostics: when a picture's tokens do other work than showing their place, and cleaning for it.

High-norm patches (Darcet et al. 2023, arXiv 2309.16588): large models recycle patches of dull background as scratch
memory. Their output norm in the last block is an outlier, attention goes to them, and maps show them as bright dots.
Here a patch is an outlier when its norm exceeds median + 4 * 1.4826 * MAD over the picture's patches (four standard
deviations of a normal distribution, but not moved by the outliers themselves); the MAD counts as at least 1 % of the
median, so that patches of nearly equal norm have none.

Sinks (Xiao et al. 2023, arXiv 2309.17453): one token that most queries look at. The sink mass of a block is the
largest column of the mean, over heads and patch queries, of its attention: 1 / N when attention is uniform, 1 when
all goes to one token (which may be the class token or a register). It is read off at most ``QUERIES`` evenly spaced
patch queries of the last ``BLOCKS`` blocks: a rollout on DeiT-Tiny was measured at 1.22 forwards with and without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vitscope.errors import MethodError
from vitscope.methods.explaining.explanation import Explanation
from vitscope.models.anatomy import Anatomy, BlockInfo
from vitscope.models.token_layout import TokenLayout
from vitscope.tracing import Trace
from vitscope.tracing.calls.blocks import first_tensor
from vitscope.tracing.calls.scope import own

FAMILIES = frozenset(("attention", "attention-gradient", "flow", "cam", "residual-stream", "lrp"))
"""Families of methods whose maps outlier patches and sinks bend; their metadata holds the diagnostics."""

DEVIATIONS = 4.0
NORMAL_MAD = 1.4826
SMALLEST_MAD = 0.01
QUERIES = 16
BLOCKS = 3


@dataclass
class Diagnosis:
    """What one trace shows. ``norms`` (B, P): output norm of each patch in the last block, None when not seen."""

    norms: Tensor | None = None
    sinks: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By block: sink mass (B,) and its token (B,)."""

    @property
    def outliers(self) -> Tensor | None:
        """Which patches have an outlying norm, (B, P) bool."""
        return None if self.norms is None else outlier_patches(self.norms)

    def records(self, maps: Tensor) -> list[dict[str, Any]]:
        """One record per picture for ``metadata["diagnostics"]`` of these maps; plain numbers.

        ``outlier_share``: share of the patches that are outliers, None when the stream is not seen between blocks;
        ``outlier_relevance``: share of the absolute relevance that lies on them, None also where the map has none or
        is not on the patches; ``sink_mass`` and ``sink_token``: by block, the token counted with the prefix."""
        outliers, batch = self.outliers, len(maps)
        share = None if outliers is None else outliers.float().mean(1).tolist()
        relevance = [None] * batch if outliers is None else relevance_on(maps, outliers)
        return [
            {
                "outlier_share": None if share is None else share[b],
                "outlier_relevance": relevance[b],
                "sink_mass": {str(block): float(mass[b]) for block, (mass, _) in self.sinks.items()},
                "sink_token": {str(block): int(token[b]) for block, (_, token) in self.sinks.items()},
            }
            for b in range(batch)
        ]


def outlier_patches(norms: Tensor) -> Tensor:
    """norms (B, P) > median + 4 * 1.4826 * MAD of the same picture, as a mask (B, P)."""
    median = norms.median(1, keepdim=True).values
    spread = (norms - median).abs().median(1, keepdim=True).values
    return norms > median + DEVIATIONS * NORMAL_MAD * torch.maximum(spread, SMALLEST_MAD * median)


def relevance_on(maps: Tensor, patches: Tensor) -> list[float | None]:
    """Each map's share of absolute relevance on some patches (B, P); None for a map of zeros or on another grid."""
    size = maps.flatten(1).abs().double()
    if size.shape != patches.shape:
        return [None] * len(maps)
    on, whole = (size * patches.to(size.device)).sum(1), size.sum(1)
    return [float(part / all_) if all_ > 0 else None for part, all_ in zip(on, whole, strict=True)]


def _watched(anatomy: Anatomy) -> BlockInfo | None:
    """The last block that returns patches and is all that later blocks see."""
    if anatomy.layout is None:
        return None
    fits = [b for b in anatomy.blocks if b.tokens >= anatomy.layout.patches and b.kind != "class"]
    return fits[-1] if fits and fits[-1].whole else None


def _norms(tokens: Tensor | None, block: BlockInfo, layout: TokenLayout) -> Tensor | None:
    """The norm of each patch (B, P) in what a block returned, None where it returned something else."""
    if tokens is None or tokens.dim() not in (3, 4):
        return None
    with torch.no_grad():
        norms: Tensor = torch.linalg.vector_norm(block.as_sequence(tokens.detach()).float(), dim=-1)
    if norms.shape[1] == layout.tokens:
        return norms[:, layout.patch_slice]
    return norms if norms.shape[1] == layout.patches else None


def norms_of(trace: Trace) -> Tensor | None:
    """What ``watch_norms`` sees, read off a trace of a pass that ran before; it kept the streams."""
    block, seen = _watched(trace.anatomy), trace.raw_blocks()
    if block is None or seen is None:
        return None
    return _norms(first_tensor(seen[0][block.index]), block, trace.layout)


def wants_stream(anatomy: Anatomy) -> bool:
    """Whether there are norms to see, which a pass that ran before shows in its streams."""
    return _watched(anatomy) is not None


@contextmanager
def watch_norms(model: nn.Module, anatomy: Anatomy, wanted: bool = True) -> Iterator[Diagnosis]:
    """Fill a Diagnosis with patch norms while a forward runs; one hook, gone afterwards.

    To be entered under ``exclusive``, so that no other thread's forward is taken for this one."""
    found = Diagnosis()
    block = _watched(anatomy) if wanted else None
    if block is None:
        yield found
        return
    layout = anatomy.layout
    assert layout is not None

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        norms = _norms(first_tensor(output), block, layout)
        found.norms = found.norms if norms is None else norms

    handle = model.get_submodule(block.path).register_forward_hook(own(after))
    try:
        yield found
    finally:
        handle.remove()


def sink_masses(trace: Trace) -> dict[int, tuple[Tensor, Tensor]]:
    """Sink mass (B,) and its token (B,) for the last blocks with patch queries, by block."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    layout = trace.layout
    whole = (layout.tokens, layout.patches)
    seen = [s for s in trace.sites if s.info.kind == "self" and s.queries in whole and s.keys in whole]
    stride = -(-layout.patches // QUERIES)
    for site in seen[-BLOCKS:]:
        queries = slice(site.queries - layout.patches, site.queries, stride)
        mass, token = site.mean_attention(queries).mean(1).max(1)
        assert site.info.block is not None
        found[site.info.block] = (mass.cpu(), (token + layout.tokens - site.keys).cpu())
    return found


def clean(explanation: Explanation, outliers: Tensor | None) -> Explanation:
    """The explanation with every outlier patch's value replaced by the median of its neighbours, flow included.

    The median is over those of the eight neighbours that are no outliers themselves (over all when there are none).
    ``extras["cleaned"]`` (B, h, w) is 1 where a value was replaced. Raises MethodError when patches are not seen."""
    layout = explanation.layout
    if layout is not None and layout.frames is not None:
        raise MethodError("maps of films are not cleaned, only those of pictures; explain without clean")
    if outliers is None or layout is None or explanation.maps.shape[-2:] != torch.Size(layout.grid):
        raise MethodError(
            f"'{explanation.method}' cannot be cleaned on this model: its map has no patch tokens whose norms are seen "
            "after the last block; explain without clean"
        )
    mask = outliers.cpu().reshape(-1, *layout.grid)
    flow = explanation.flow
    return replace(
        explanation,
        maps=fill_outliers(explanation.maps, mask, layout),
        flow=None if flow is None else fill_outliers(flow, mask[:, None].expand_as(flow), layout),
        extras={**explanation.extras, "cleaned": mask.float()},
        metadata={**explanation.metadata, "clean": True},
    )


def fill_outliers(values: Tensor, mask: Tensor, layout: TokenLayout) -> Tensor:
    """values (..., h, w) with masked entries replaced by the median of their unmasked neighbours."""
    h, w = layout.grid
    around = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]

    def neighbours(padded: Tensor) -> Tensor:
        return torch.stack([padded[..., y : y + h, x : x + w] for y, x in around])

    everyone = neighbours(pad(values, (1, 1, 1, 1), value=float("nan")))
    good = neighbours(pad(values.masked_fill(mask, float("nan")), (1, 1, 1, 1), value=float("nan")))
    median = good.nanquantile(0.5, dim=0)
    median = torch.where(median.isnan(), everyone.nanquantile(0.5, dim=0), median)
    return torch.where(mask & ~median.isnan(), median, values)
