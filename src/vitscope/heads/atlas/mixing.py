"""From clustered maps to heads: the mix of patterns of each head and how much it depends on the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.heads.atlas.sampling import MapSample


def head_mixes(sample: MapSample, labels: NDArray[np.int64], names: Sequence[str]) -> pd.DataFrame:
    """One row per (model, block, head): n, pattern (the commonest), purity (its share), mix_entropy (bits),
    content_dependence, and one column share_C per cluster C.

    content_dependence is the variance over all pictures at a fixed query (HeadMeans), not over the sampled ones.
    """
    k = len(names)
    rows = []
    for index, (record, means) in enumerate(zip(sample.models, sample.means, strict=True)):
        dependence = means.content_dependence()
        for stream, (block, head) in enumerate(zip(means.block.tolist(), means.head.tolist(), strict=True)):
            mine = labels[(sample.model == index) & (sample.block == block) & (sample.head == head)]
            share = np.bincount(mine, minlength=k) / max(1, len(mine))
            known = share[share > 0]
            row = {
                "model": record.name,
                "block": block,
                "head": head,
                "n": len(mine),
                "pattern": names[int(share.argmax())],
                "cluster": int(share.argmax()),
                "purity": float(share.max()),
                "mix_entropy": float(-(known * np.log2(known)).sum()) + 0.0,
                "content_dependence": float(dependence[stream]),
            }
            row.update({f"share_{cluster}": float(share[cluster]) for cluster in range(k)})
            rows.append(row)
    return pd.DataFrame(rows)


def cluster_content_dependence(sample: MapSample, labels: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(k,) mean over a cluster's maps of their own head's variance over pictures within the cluster.

    Within one head only: that two heads of a cluster differ is no dependence on content. NaN where no head has two
    maps in the cluster. The unbiased estimate: variance with n - 1.
    """
    keys = np.stack([labels, sample.model, sample.block, sample.head], 1)
    unique, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    total, weight = np.zeros(k), np.zeros(k)
    start = 0
    for key, count in zip(unique, counts, strict=True):
        members = order[start : start + count]
        start += count
        if count < 2:
            continue
        mean = sample.pooled[members].float().mean(0)
        variance = float(1 - mean.square().sum(-1).mean()) * count / (count - 1)
        total[key[0]] += count * variance
        weight[key[0]] += count
    with np.errstate(invalid="ignore"):
        result: NDArray[np.float64] = np.where(weight > 0, total / np.maximum(1, weight), np.nan)
    return result
