"""Attention flow (Abnar and Zuidema 2020): the maximum flow from the read-out to each patch."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from vitscope.methods.applicability import chained_methods
from vitscope.methods.chain import chain_sites, key_slice, query_slice
from vitscope.methods.registry import register
from vitscope.methods.relevance import Needs, Relevance
from vitscope.models.token_layout import TokenLayout
from vitscope.options.bounds import Range
from vitscope.tracing import AttentionSite, Capture, Trace
from vitscope.tracing.interception.explicit_attention import Matrices

LARGEST_SIDE = 7
CAPACITY = 1_000_000
"""Capacities are attention times this, rounded: the solver counts in whole numbers."""


@register(
    "attention-flow",
    family="attention",
    title="Attention flow",
    citation="Abnar and Zuidema, ACL 2020, arXiv 2005.00928",
    class_specific=False,
    needs=Needs(capture=Capture(outputs=False, inputs=False, matrices=Matrices.MEAN)),
    applies=lambda anatomy: (
        "its flow problem is set up for pictures, not for films" if anatomy.film else chained_methods(anatomy)
    ),
)
def attention_flow(
    trace: Trace,
    *,
    grid: Annotated[int, Range(1, LARGEST_SIDE)] = LARGEST_SIDE,
    residual: Annotated[float, Range(0, 1)] = 0.5,
) -> Relevance:
    """Maximum flow from what the classifier reads, through the blocks, to each input patch.

    Edge capacities are (1 - residual) mean_h A_l + residual I. One flow problem per patch on a graph with L N^2
    edges: that is why the patches are pooled to at most 7 x 7 first (queries averaged, keys summed, so rows still
    sum to one). The map has that pooled grid's resolution: a patch shows the flow of its cell."""
    layout = trace.layout
    small = (min(grid, layout.grid[0]), min(grid, layout.grid[1]))
    pool_queries, pool_keys = poolings(layout, small, trace.logits.device)
    blocks = [
        pool_queries
        @ (
            (1 - residual) * full_matrix(site, layout)
            + residual * torch.eye(layout.tokens, device=trace.logits.device)
        )
        @ pool_keys
        for site in chain_sites(trace)
    ]
    readout = trace.readout() @ pool_keys
    p = layout.prefix_count
    maps = []
    for b in range(trace.batch):
        flows = max_flows([m[b].double().cpu().numpy() for m in blocks], readout[b].double().cpu().numpy())
        maps.append(torch.as_tensor(flows, dtype=torch.float32))
    pooled = torch.stack(maps)
    patches = pooled[:, p:] @ pool_keys[p:, p:].cpu().T
    return Relevance(torch.cat([pooled[:, :p], patches], 1))


def full_matrix(site: AttentionSite, layout: TokenLayout) -> Tensor:
    """mean_h A in token coordinates, (B, N, N); tokens that do not ask keep themselves."""
    full = torch.eye(layout.tokens, device=site.device).repeat(site.batch, 1, 1)
    queries = query_slice(site, layout)
    rows = torch.zeros(site.batch, site.queries, layout.tokens, device=full.device)
    rows[..., key_slice(site, layout)] = site.mean_attention()
    full[:, queries] = rows
    return full


def poolings(layout: TokenLayout, small: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """(U, W): U (n, N) averages the queries of a pooled cell, W (N, n) sums its keys; prefix tokens stay apart."""
    p, P = layout.prefix_count, layout.patches
    cells = (
        adaptive_avg_pool2d(torch.eye(P, device=device).reshape(1, P, *layout.grid), small)[0].flatten(1).T
    )
    average = torch.zeros(p + cells.shape[0], layout.tokens, device=device)
    average[:p, :p] = torch.eye(p, device=device)
    average[p:, p:] = cells
    keys = (average / average.sum(0, keepdim=True).clamp_min(1e-12)).T
    return average, keys


def max_flows(blocks: list[np.ndarray], readout: np.ndarray) -> np.ndarray:
    """Maximum flow from the read-out to each token of the input, (n,), for blocks (n, n), first block first."""
    n, L = len(readout), len(blocks)
    source, rows, columns, capacities = L * n + n, [], [], []
    for layer, matrix in enumerate(blocks):
        upper, lower = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
        rows.append((layer + 1) * n + upper.ravel())
        columns.append(layer * n + lower.ravel())
        capacities.append(matrix.ravel())
    rows.append(np.full(n, source))
    columns.append(L * n + np.arange(n))
    capacities.append(readout)
    whole = np.round(np.concatenate(capacities) * CAPACITY).astype(np.int32)
    kept = whole > 0
    # Every method is imported when one is used; this package takes longer than all of them.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_flow

    graph = coo_array(  # with places of 32 bits, as older scipy's maximum_flow wants them
        (whole[kept], tuple(np.concatenate(each)[kept].astype(np.int32) for each in (rows, columns))),
        shape=(source + 1, source + 1),
    ).tocsr()
    return np.array([maximum_flow(graph, source, sink).flow_value / CAPACITY for sink in range(n)])
