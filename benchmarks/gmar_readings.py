"""Which reading of GMAR lies far above rollout? Pointing in boxes and SRG of several, on two real models.

    python benchmarks/gmar_readings.py [--models augreg] [--pictures 60] [--metrics pointing mass auroc] [--device cuda]

An independent study of ViT-B reports a pointing accuracy of 77 for GMAR against 43 for rollout; in this library the two
are equal. The paper leaves open where the gradient is taken (behind the softmax, or before it), over what the weights
are normalised, whether only its positive part counts, whether it stands inside the product, and what happens to the
rows. Each reading below is written out with whole matrices. Figures per picture are kept in
benchmarks/results/gmar_readings.json; the table that is printed stands in docs/methods/gmar.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from dart_second_model import case_of, set_of, written
from dart_srg import half_width
from leaderboard_boards import mixed
from splits import MODELS, ROOT, open_real, photographs
from torch import Tensor

import vitscope as vs
from vitscope.evaluation import get_metric
from vitscope.evaluation.board.paired_test import paired_p
from vitscope.evaluation.board.statistics import holm
from vitscope.evaluation.case import Subject
from vitscope.storage import files

PROTOCOL = vs.Protocol(removal="drop", steps=10, target="label")
METRICS = ("pointing", "mass", "auroc", "srg")


class Pass:
    """A (L, B, H, N, N) of one batch, the gradient G behind the softmax and the one before it."""

    def __init__(self, trace: vs.Trace) -> None:
        self.A = torch.stack([site.attention() for site in trace.sites])
        self.G = torch.stack([site.attention_gradient() for site in trace.sites])

    @property
    def before(self) -> Tensor:
        """The gradient of the softmax's input: A (G - rowsum(G A))."""
        return self.A * (self.G - (self.G * self.A).sum(-1, keepdim=True))


def weights(gradient: Tensor, over: str = "block", order: int = 1) -> Tensor:
    """s_lh / sum of s over the block's heads or over all heads (times L), (L, B, H, 1, 1)."""
    s = gradient.abs().pow(order).sum((-2, -1)).pow(1 / order)
    total = s.sum(2, keepdim=True) if over == "block" else s.sum((0, 2), keepdim=True) / len(s)
    return (s / total.clamp_min(1e-30))[..., None, None]


def rollout(matrices: Tensor, rows: bool = True, reverse: bool = False, identity: float = 1.0) -> Tensor:
    """The class token's row over the patches of the product of M + identity, (B, P); matrices (L, B, N, N)."""
    eye = identity * torch.eye(matrices.shape[-1], device=matrices.device)
    R = torch.eye(matrices.shape[-1], device=matrices.device).expand_as(matrices[0])
    for M in matrices:
        M = M + eye
        M = M / M.sum(-1, keepdim=True).clamp_min(1e-30) if rows else M
        R = R @ M if reverse else M @ R
    return R[:, 0, 1:]


def printed(matrices: Tensor) -> Tensor:
    """R <- R M + I from the first block, as printed."""
    eye = torch.eye(matrices.shape[-1], device=matrices.device)
    R = eye.expand_as(matrices[0])
    for M in matrices:
        R = R @ M + eye
    return R[:, 0, 1:]


READINGS: dict[str, Callable[[Pass], Tensor]] = {
    "rollout": lambda p: rollout(p.A.mean(2)),
    "weights by G behind the softmax (`gmar`)": lambda p: rollout((weights(p.G) * p.A).sum(2)),
    "L2": lambda p: rollout((weights(p.G, order=2) * p.A).sum(2)),
    "gradient before the softmax": lambda p: rollout((weights(p.before) * p.A).sum(2)),
    "positive part": lambda p: rollout((weights(p.G.clamp_min(0)) * p.A).sum(2)),
    "weights over all blocks": lambda p: rollout((weights(p.G, "all") * p.A).sum(2)),
    "weights over all blocks, rows not normalised": lambda p: rollout(
        (weights(p.G, "all") * p.A).sum(2), False
    ),
    "rows not normalised": lambda p: rollout((weights(p.G) * p.A).sum(2), False),
    "no identity": lambda p: rollout((weights(p.G) * p.A).sum(2), identity=0.0),
    "later block on the right": lambda p: rollout((weights(p.G) * p.A).sum(2), reverse=True),
    "as printed (`gmar-paper`)": lambda p: printed((weights(p.G) * p.A).sum(2)),
    "relu(G) A inside": lambda p: rollout((weights(p.G) * p.G.clamp_min(0) * p.A).sum(2)),
    "relu(G) A inside, rows not normalised": lambda p: rollout(
        (weights(p.G) * p.G.clamp_min(0) * p.A).sum(2), False
    ),
    "|G| A inside, rows not normalised": lambda p: rollout((weights(p.G) * p.G.abs() * p.A).sum(2), False),
    "relu(G) A of the last block alone": lambda p: (weights(p.G) * p.G.clamp_min(0) * p.A)[-1].sum(1)[
        :, 0, 1:
    ],
    "weighted A of the last block alone": lambda p: (weights(p.G) * p.A)[-1].sum(1)[:, 0, 1:],
    "relu before the softmax inside, rows not normalised": lambda p: rollout(
        (weights(p.before) * p.before.clamp_min(0)).sum(2), False
    ),
}
BESIDE = ("gae", "gmar-official", "dart", "centre-gaussian")


def measured(
    vit: vs.Vit, batch: int, pictures: int | None, metrics: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """{metric: {reading: values}} over the boxed photographs, in a drawn order."""
    found: dict[str, dict[str, list[float]]] = {metric: {} for metric in metrics}
    data = set_of(mixed("all", photographs("boxed-val"))[:pictures])
    for part in data.batches(vit, batch):
        case = case_of(vit, part, PROTOCOL, 4 * batch)
        target = case.classes.tolist()
        seen = Pass(vit.trace(part.images, target))
        maps = {name: read(seen) for name, read in READINGS.items()}
        made = vs.explain(vit, part.images, list(BESIDE), target, batch_size=batch, keep_pictures=False)
        maps.update({f"`{name}`": e.maps.flatten(1).to(seen.A.device) for name, e in made.items()})
        for name, values in maps.items():
            subject = Subject(case, name, values.unflatten(1, vit.anatomy.layout.grid))
            for metric in metrics:
                scores = get_metric(metric).function(subject).double().cpu()
                found[metric].setdefault(name, []).extend(round(x, 4) for x in scores.tolist())
    return found


def table(values: dict[str, dict[str, list[float]]]) -> list[str]:
    """Means, and the paired difference to rollout in bold where Holm's p over the readings is below .05."""
    lines = ["| reading | " + " | ".join(values) + " |", "| --- " * (1 + len(values)) + "|"]
    cells: dict[str, list[str]] = {}
    for rows in values.values():
        tensors = {name: torch.tensor(v, dtype=torch.float64) for name, v in rows.items()}
        known = torch.stack(list(tensors.values())).isfinite().all(0)  # a crop may leave nothing of the boxes
        tensors = {name: v[known] for name, v in tensors.items()}
        others = [name for name in tensors if name != "rollout"]
        p = dict(zip(others, holm([paired_p(tensors[n], tensors["rollout"]) for n in others]), strict=True))
        for name, v in tensors.items():
            text = f"{v.mean():.3f} ± {half_width(v):.3f}"
            cells.setdefault(name, []).append(f"**{text}**" if p.get(name, 1) < 0.05 else text)
    return lines + [f"| {name} | " + " | ".join(row) + " |" for name, row in cells.items()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, help="the first so many; all by default")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "gmar_readings.json"))
    given = parser.parse_args()
    out = Path(given.out)
    document = json.loads(out.read_text()) if out.exists() else {}
    for model in given.models:
        vit = open_real(model, device=given.device)
        document[model] = measured(vit, given.batch, given.pictures, given.metrics)
        files.write(out, written(document))
        print(f"\n{model}\n" + "\n".join(table(document[model])), flush=True)


if __name__ == "__main__":
    main()
