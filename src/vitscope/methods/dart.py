"""DART, dynamic accumulated residual-token relevance, and GMAR+: constant-gate gradients on the residual stream.

The idea of DAAM, add up what every block sees and keep the flow, carried out on the residual stream. The backward
holds LayerNorm's standard deviation, the attention probabilities and the activations' gates constant and multiplies
each MLP branch's gradient by kappa; forward values stay bit-equal. Derivation and figures: docs/methods/dart.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from vitscope.errors import MethodError
from vitscope.methods.applicability import chained_methods
from vitscope.methods.chain import chain_sites, key_slice, rollout_rows, rows_through, token_sites
from vitscope.methods.fullgrad import STREAMS, stream_methods, stream_relevance
from vitscope.methods.kappa import HIGHEST, resolve_kappa
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.token_layout import TokenLayout
from vitscope.options.bounds import Range, Seed
from vitscope.tracing import AttentionSite, Target, TokenRemoval, Trace, Vit, constant_gate
from vitscope.tracing.calls.calling import Inputs
from vitscope.tracing.take import take_traces
from vitscope.tracing.targets.resolved import ResolvedTarget

MOST_SUBSETS = 1024
"""Each half-token subset is one more forward and backward pass."""
Kappa = Annotated[float, Range(0, HIGHEST)] | Literal["auto"]


def constant_gate_needs(vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
    """A gradient with constant gates and the kappa of the options, which are resolved."""
    return Needs(gradient=True, rules=constant_gate(options["kappa"]), capture=STREAMS)


@register(
    "dart",
    family="residual-stream",
    title="DART",
    citation="vitscope: docs/methods/dart.md",
    class_specific=True,
    signed=True,
    backwards=1,
    has_flow=True,
    accumulates=True,
    needs=constant_gate_needs,
    applies=stream_methods,
    resolve=resolve_kappa,
)
def dart(
    trace: Trace,
    *,
    kappa: Kappa = "auto",
    gate: bool = True,
    centre: bool = False,
    refined: Annotated[int, Range(0, MOST_SUBSETS, step=2)] = 0,
    seed: Seed = 0,
) -> Relevance:
    """M[n] = sum_l (rho_l[n] + gamma_l[n]), signed; the flow's entry b is the sum over blocks up to b.

    rho_l[n] = <X_l[n], g_l[n]> on the block inputs, gamma_l the gate term of ``key_gate``. An attention pooling
    counts as one more block, which joins the last entry of the flow. ``kappa``: factor on the MLP branches; "auto" is
    one half, and 1 where no MLP branch can be told apart. ``gate``: with the gate term. ``centre``: less the mean
    over the patches, so that a patch is positive where it holds more than an equal share; the order of the patches,
    hence SRG, stays, what cuts at zero (grid pointing, mass, pictures) changes. ``refined``: that many random
    half-token subsets in complementary pairs (even; 8 is good), each token's mean over the subsets that hold it;
    costs as many more passes. ``seed``: of the subsets. ``extras``: ``kappa`` (B,) and ``block_relevance`` (B, L),
    sum_n rho_l."""
    used = used_kappa(trace)
    steps = _refine(trace, gate, refined, seed) if refined else block_relevance(trace, gate)
    return accumulated(trace, steps, centre, {"kappa": torch.full((trace.batch,), used)})


def accumulated(trace: Trace, steps: Tensor, centre: bool, extras: Mapping[str, Tensor]) -> Relevance:
    """The map and the flow of what each block adds, ``steps`` (B, L, N); ``centre``: each less its patches' mean."""
    if centre:
        patches = trace.layout.patch_slice
        steps[..., patches] -= steps[..., patches].mean(2, keepdim=True)
    flow = steps.cumsum(1)
    return Relevance(
        flow[:, -1], flow=flow, extras={**extras, "block_relevance": stream_relevance(trace).sum(2)}
    )


@register(
    "gmar-plus",
    family="attention-gradient",
    title="GMAR+",
    citation="vitscope: docs/methods/dart.md; after Jo, Jang and Park, GMAR, 2025, arXiv 2504.19414",
    class_specific=True,
    backwards=1,
    has_flow=True,
    needs=constant_gate_needs,
    applies=chained_methods,
    resolve=resolve_kappa,
)
def gmar_plus(trace: Trace, *, kappa: Kappa = "auto") -> Relevance:
    """R <- R + relu(sum_h G_h A_h) R with constant-gate gradients, no row normalisation; the read-out row.

    GMAR's idea, heads weighted by their gradient, but per entry and signed: a row-normalised rollout cannot carry
    the class. ``kappa`` as in DART. ``extras["head_weights"]`` (B, L, H): each head's share of its block's
    sum relu(G_h A_h), to set beside GMAR's weights; ``extras["head_strength"]``: the sums themselves."""
    used = used_kappa(trace)
    sites, layout = chain_sites(trace), trace.layout
    H = max(site.heads for site in sites)
    strength = torch.zeros(trace.batch, len(sites), H, device=trace.logits.device)

    def advance(rows: Tensor, index: int) -> Tensor:
        site = sites[index]

        def matrix(queries: slice) -> Tensor:
            weighted = site.attention(queries) * site.attention_gradient(queries)
            strength[:, index, : site.heads] += weighted.clamp_min(0).sum((2, 3))
            return weighted.sum(1).clamp_min(0)

        return rows + rows_through(rows, site, layout, matrix)

    flow = rollout_rows(trace, sites, advance)
    share = strength / strength.sum(2, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    extras = {"head_weights": share, "head_strength": strength, "kappa": torch.full((trace.batch,), used)}
    return Relevance(flow[:, -1], flow=flow, extras=extras)


def used_kappa(trace: Trace) -> float:
    """kappa of the backward that made this trace. Raises MethodError for another kind of backward."""
    rules = trace.rules
    if rules is None or rules != constant_gate(
        rules.mlp_scale, share=rules.share, ordinary_too=rules.ordinary_too
    ):
        raise MethodError(
            "DART needs a trace taken with rules=constant_gate(kappa); vs.explain takes one itself"
        )
    return rules.mlp_scale


def block_relevance(trace: Trace, gate: bool = True) -> Tensor:
    """rho_l[n] + gamma_l[n], (B, L, N) float32; an attention pooling's part is in the last block's."""
    steps = stream_accounts(trace)
    return steps + key_gates(trace) if gate else steps


def stream_accounts(trace: Trace) -> Tensor:
    """rho_l[n], (B, L, N) float32; an attention pooling is one more account, which joins the last block's."""
    steps = stream_relevance(trace)
    if trace.pool is not None:
        steps[:, -1] += (trace.block_outputs[-1].float() * trace.block_output_gradients[-1].float()).sum(-1)
    return steps


def key_gates(trace: Trace) -> Tensor:
    """gamma_l[n] by the gradient of the trace, (B, L, N) float32; an attention pooling's is in the last block's."""
    layout = trace.layout
    steps = torch.zeros(trace.batch, len(trace.anatomy.blocks), layout.tokens, device=trace.logits.device)
    for site in [*token_sites(trace), *([] if trace.pool is None else [trace.pool])]:
        block = -1 if site.info.block is None else site.info.block
        steps[:, block] += _spread(key_gate(site), site, layout)
    return steps


def key_gate(site: AttentionSite) -> Tensor:
    """gamma[n] = sum_h ( <V_n, dV_n> - sum_m A[m, n] <T_m, dT_m> ), (B, Nk) float32.

    The exact derivative, under the same constants, for scaling token n as a key with the softmax renormalised, so
    sum_n gamma[n] = 0. Appending c_m = <T_m, dT_m> as a column to dT gives both terms from one product with A. Zero
    where heads are mixed after the softmax (talking heads), since rows then are no distribution over tokens."""
    gradient = site.output_gradient
    if gradient is None:
        raise MethodError("DART needs a trace with gradient=True")
    dT = gradient.float()
    both = torch.cat([dT, (site.output.float() * dT).sum(-1, keepdim=True)], -1)
    sums = dT.new_zeros(*site.v.shape[:3], both.shape[-1])
    normalised = torch.ones(site.batch, dtype=torch.bool, device=dT.device)
    for queries in site.chunks():
        part = both[:, :, queries]
        if not bool(part.any()):  # in the last block only the class token's row has a gradient
            continue
        asking = part.ne(0).any(-1).any(0).any(0).nonzero()[:, 0] + queries.start
        rows = slice(int(asking[0]), int(asking[-1]) + 1)
        A = site.attention(rows)
        if site.eager is not None:
            off = (A.sum(-1) - 1).abs() * both[:, :, rows].ne(0).any(
                -1
            )  # in the rows that this picture asks with
            normalised = normalised & (off.amax((1, 2)) < 1e-2)
        sums += A.transpose(-2, -1) @ both[:, :, rows]
    gamma = ((site.v.float() * sums[..., :-1]).sum(-1) - sums[..., -1]).sum(1)
    return torch.where(normalised[:, None], gamma, torch.zeros_like(gamma))


@dataclass(frozen=True)
class Held(Target):
    """The target of another pass, with the classes that it was resolved to there."""

    resolved: ResolvedTarget
    needs_classifier = False

    def resolve(self, logits: Tensor) -> ResolvedTarget:
        return self.resolved

    def describe(self) -> str:
        return self.resolved.name


def half_subsets(patches: int, count: int, seed: int) -> Tensor:
    """``count`` random halves of the patches in complementary pairs, (count, P) bool; the same for every picture."""
    generator = torch.Generator().manual_seed(seed)
    halves = []
    for _ in range(count // 2):
        keep = torch.zeros(patches, dtype=torch.bool)
        keep[torch.randperm(patches, generator=generator)[: (patches + 1) // 2]] = True
        halves += [keep, ~keep]
    return torch.stack(halves)


def _refine(trace: Trace, gate: bool, count: int, seed: int) -> Tensor:
    layout, resolved = trace.layout, trace.resolved
    assert resolved is not None
    if layout.patches < 2:
        raise MethodError("refined needs at least two patches")
    total = torch.zeros(trace.batch, len(trace.anatomy.blocks), layout.tokens, device=trace.logits.device)
    held = torch.zeros(layout.tokens, device=total.device)
    for keep in half_subsets(layout.patches, count, seed):
        request = replace(
            trace.request,
            precision=trace.model.precision,
            gradient=True,
            removal=TokenRemoval(keep[None]),
        )
        part = take_traces(trace.model, trace.inputs, [Held(resolved)], request)[0]
        tokens = torch.cat([torch.ones(layout.prefix_count, dtype=torch.bool), keep]).to(total.device)
        total += block_relevance(part, gate) * tokens
        held += tokens
    return total / held


def _spread(values: Tensor, site: AttentionSite, layout: TokenLayout) -> Tensor:
    """Values per key (B, Nk) in token coordinates (B, N)."""
    full = values.new_zeros(values.shape[0], layout.tokens)
    full[:, key_slice(site, layout)] = values
    return full
