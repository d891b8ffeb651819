"""Which cheap score tells what removing a head would do? Scores and exact removal of every head, per picture.

    python benchmarks/head_scores.py --out benchmarks/results/head_scores.npz --device cuda --batch-size 100
    python benchmarks/head_scores.py --pictures 40 --models deit --out /tmp/tried.npz

The model is written out here on timm's own layers, with a gate on every head, so that gradients by the gates, states
after a block and removals are plain autograd. ``head_scores_study.py`` reads the file. By name, ``:logit``, ``:logp``
and ``:prob`` say which quantity of the predicted class was differentiated.

    first           d/dgate at 1: one forward, one backward
    joint@a         the same with every gate at a; gauss2, gauss3: mean over the path of all gates from 0 to 1
    groups3@a       heads in three drawn groups; each group's own derivative with its gates at a (3 forwards, backwards)
    after1, after2  the exact change of the state behind the block (behind the next one), times the gradient there
    ...fisher       sum over the five likeliest classes of p * (change of log p)^2; ...js: the divergence told
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from leaderboard_boards import everything
from splits import MODELS, TITLES, Folder, Photograph, open_real, photographs
from torch import Tensor
from torch.nn import functional as F

import vitscope as vs

QUANTITIES = ("logit", "logp", "prob")
CLASSES = 5
ORDERED = [
    *("exact/js", "exact/prob", "score/first:logit", "score/first:logp", "score/first:fisher"),
    *("score/after1:logp", "score/after1:fisher", "score/groups3@0.75:logp", "score/groups3@0.5:logp"),
    *("score/joint@0.75:logp", "score/gmar_norm", "score/gradient_attention", "score/daam_mass"),
    "score/gmar_plus_share",
]
"""By what heads are removed cumulatively: the least first, by the mean over the development pictures."""
GROUPS = {3: (0.75, 0.5, 0.25), 2: (0.75, 0.5), 6: (0.75, 0.5)}
SHORT = {3: (0.75, 0.5)}
"""What ``--short`` measures of the groups: a third of the time, for a processor."""
State = tuple[Tensor, Tensor, Tensor]
"""What enters a block, what its heads give (B, H, N, d), what leaves it."""


class Gated:
    """A timm ViT with a factor on the output of every head."""

    def __init__(self, vit: vs.Vit) -> None:
        self.model: Any = vit.model
        self.blocks = list(self.model.blocks)
        self.L, self.H = len(self.blocks), int(self.blocks[0].attn.num_heads)

    def embed(self, x: Tensor) -> Tensor:
        return self.model.norm_pre(self.model.patch_drop(self.model._pos_embed(self.model.patch_embed(x))))

    def heads(self, block: int, x: Tensor) -> Tensor:
        own = self.blocks[block]
        q, k, v = own.attn.qkv(own.norm1(x)).unflatten(-1, (3, self.H, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, k, v)

    def leave(self, block: int, x: Tensor, heads: Tensor) -> Tensor:
        own = self.blocks[block]
        y = x + own.attn.proj(heads.transpose(1, 2).flatten(2))
        return y + own.mlp(own.norm2(y))

    def tail(self, block: int, x: Tensor) -> Tensor:
        """Logits from what enters a block."""
        for index in range(block, self.L):
            x = self.leave(index, x, self.heads(index, x))
        return self.model.head(self.model.norm(x)[:, 0])

    def run(self, x: Tensor, gates: Tensor) -> tuple[Tensor, list[State]]:
        """Logits and the states; gates (B, L, H)."""
        x, states = self.embed(x), []
        for block in range(self.L):
            heads = self.heads(block, x)
            z = self.leave(block, x, heads * gates[:, block, :, None, None])
            states.append((x, heads, z))
            x = z
        return self.model.head(self.model.norm(x)[:, 0]), states


def quantity(logits: Tensor, classes: Tensor, name: str) -> Tensor:
    if name == "logit":
        return logits.gather(1, classes[:, None])[:, 0]
    log = logits.log_softmax(-1).gather(1, classes[:, None])[:, 0]
    return log if name == "logp" else log.exp()


def js_bits(p: Tensor, q: Tensor) -> Tensor:
    p, q = p.double(), q.double()
    mean = (p + q) / 2

    def part(a: Tensor) -> Tensor:
        return torch.where(a > 0, a * (a.clamp_min(1e-300) / mean.clamp_min(1e-300)).log(), 0.0).sum(-1)

    return (part(p) + part(q)) / 2 / math.log(2)


def exact(gated: Gated, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Clean logits (B, C), and what the removal of each head changes, (B, L, H) each."""
    ones = torch.ones(len(x), gated.L, gated.H, device=x.device)
    clean, states = gated.run(x, ones)
    classes, p = clean.argmax(1), clean.softmax(-1)
    found: dict[str, list[Tensor]] = {name: [] for name in (*QUANTITIES, "js", "flip")}
    for block, (enters, heads, _) in enumerate(states):
        for head in range(gated.H):
            without = heads.clone()
            without[:, head] = 0
            logits = gated.tail(block + 1, gated.leave(block, enters, without))
            for name in QUANTITIES:
                found[name].append(quantity(clean, classes, name) - quantity(logits, classes, name))
            found["js"].append(js_bits(p, logits.softmax(-1)))
            found["flip"].append((logits.argmax(1) != classes).float())
    return clean, {name: torch.stack(v, 1).unflatten(1, (gated.L, gated.H)) for name, v in found.items()}


def slopes(gated: Gated, x: Tensor, classes: Tensor, gates: Tensor) -> dict[str, Tensor]:
    """d/dgate of every quantity at these gates, (B, L, H)."""
    gates = gates.clone().requires_grad_()
    with torch.enable_grad():
        logits, _ = gated.run(x, gates)
        return {
            name: torch.autograd.grad(quantity(logits, classes, name).sum(), gates, retain_graph=True)[0]
            for name in QUANTITIES
        }


def told(changes: dict[Any, Tensor], p: Tensor) -> dict[str, Tensor]:
    """What predicted drops, of the logit and of log p of the likeliest classes (by rank), say; p (B, CLASSES)."""
    shares = p[:, :, None, None]
    logs = torch.stack([changes[rank] for rank in range(CLASSES)], 1)  # (B, 5, L, H)
    rest = (1 - shares.sum(1, keepdim=True)).clamp_min(1e-6).expand_as(logs[:, :1])
    before = torch.cat([shares.expand_as(logs), rest], 1)
    after = torch.cat([shares * (-logs).clamp(-20, 20).exp(), rest], 1)
    after = after / after.sum(1, keepdim=True)
    return {
        "logit": changes["logit"],
        "logp": changes[0],
        "fisher": (shares * logs.square()).sum(1),
        "js": js_bits(before.movedim(1, -1), after.movedim(1, -1)).float(),
        "probtold": (before - after)[:, 0],
    }


def behind_blocks(gated: Gated, x: Tensor, classes: Tensor, depths: tuple[int, ...]) -> dict[str, Tensor]:
    """The scores ``first`` (over five classes) and ``after1``, ``after2``."""
    gates = torch.ones(len(x), gated.L, gated.H, device=x.device, requires_grad=True)
    with torch.enable_grad():
        logits, states = gated.run(x, gates)
        logs = logits.log_softmax(-1)
        top = logits.topk(CLASSES, -1).indices
        leaving = [z for *_, z in states]
        aims: dict[Any, Tensor] = {"logit": quantity(logits, classes, "logit").sum()}
        aims |= {rank: logs.gather(1, top[:, rank : rank + 1]).sum() for rank in range(CLASSES)}
        slope = {
            name: torch.autograd.grad(aim, [*leaving, gates], retain_graph=True) for name, aim in aims.items()
        }
    p = logs.gather(1, top).exp().detach()
    found = {f"first:{k}": v for k, v in told({n: s[-1] for n, s in slope.items()}, p).items()}
    for depth in depths:
        changes = {name: torch.zeros_like(gates) for name in aims}
        for block in range(gated.L):
            enters, heads, _ = states[block]
            last = min(block + depth - 1, gated.L - 1)
            for head in range(gated.H):
                without = heads.clone()
                without[:, head] = 0
                z = gated.leave(block, enters, without)
                for later in range(block + 1, last + 1):
                    z = gated.leave(later, z, gated.heads(later, z))
                moved = states[last][2] - z
                for name, of in slope.items():
                    changes[name].data[:, block, head] = (moved * of[last]).sum((1, 2))
        found |= {f"after{depth}:{k}": v for k, v in told(changes, p).items()}
    return found


def cheap(
    gated: Gated, x: Tensor, classes: Tensor, generator: torch.Generator, short: bool
) -> dict[str, Tensor]:
    """Every score, (B, L, H) each."""
    ones = torch.ones(len(x), gated.L, gated.H, device=x.device)
    found = {f"first:{name}": v for name, v in slopes(gated, x, classes, ones).items()}
    for at in (0.9, 0.75) if short else (0.9, 0.75, 0.5):
        found |= {f"joint@{at}:{name}": v for name, v in slopes(gated, x, classes, at * ones).items()}
    for count in () if short else (2, 3):
        points, weights = np.polynomial.legendre.leggauss(count)
        parts = [
            (float(w) / 2, slopes(gated, x, classes, (float(t) + 1) / 2 * ones))
            for t, w in zip(points, weights, strict=True)
        ]
        found |= {f"gauss{count}:{n}": sum(w * part[n] for w, part in parts) for n in QUANTITIES}
    for count, places in (SHORT if short else GROUPS).items():
        drawn = torch.rand(len(x), gated.L * gated.H, generator=generator).argsort(1).argsort(1) % count
        group = drawn.view(-1, gated.L, gated.H).to(x.device)
        for at in places:
            total = {name: torch.zeros_like(ones) for name in QUANTITIES}
            for each in range(count):
                own = group == each
                for name, v in slopes(gated, x, classes, torch.where(own, at, ones)).items():
                    total[name] += v * own
            found |= {f"groups{count}@{at}:{name}": v for name, v in total.items()}
    return found | behind_blocks(gated, x, classes, (1,) if short else (1, 2))


def library_scores(vit: vs.Vit, paths: list[Path], batch_size: int) -> dict[str, np.ndarray]:
    """The scores of ``vs.heads.head_scores`` and the shares of gmar-plus, for all pictures."""
    table = vs.heads.head_scores(vit, paths, batch_size=batch_size)
    plus = vs.explain(vit, paths, "gmar-plus", keep_pictures=False, batch_size=batch_size)
    found = {name: np.asarray(table[name]) for name in table.metrics if name != "first_order"}
    return found | {"gmar_plus_share": plus.extras["head_weights"].numpy()}


def cumulative(
    gated: Gated, batches: list[Tensor], orders: dict[str, np.ndarray], steps: int
) -> dict[str, np.ndarray]:
    """By order: the share of unchanged predictions and the mean probability kept, while heads go, (2, steps + 1)."""
    total = gated.L * gated.H
    counts = [round(total * step / steps) for step in range(steps + 1)]
    found = {}
    for name, order in orders.items():
        sums = np.zeros((2, len(counts)))
        for x in batches:
            clean = gated.run(x, torch.ones(1, gated.L, gated.H, device=x.device))[0]
            classes = clean.argmax(1)
            for place, count in enumerate(counts):
                gates = torch.ones(total)
                gates[order[:count].copy()] = 0
                logits = gated.run(x, gates.view(1, gated.L, gated.H).to(x.device))[0]
                sums[0, place] += float((logits.argmax(1) == classes).sum())
                sums[1, place] += float(quantity(logits, classes, "prob").sum())
        found[name] = sums / sum(len(x) for x in batches)
    return found


def _development() -> set[str]:
    folders: tuple[Folder, ...] = ("sample", "boxed-val")
    return {each.path.name for folder in folders for each in photographs(folder, "development")}


def a_third_develops(pictures: int) -> list[Photograph]:
    """So many photographs, a third of them for choosing orders."""
    choosing = everything(["development"])[: -(-pictures // 3)]
    return everything(["confirmation"])[: pictures - len(choosing)] + choosing


@torch.no_grad()
def measure(name: str, given: argparse.Namespace) -> dict[str, np.ndarray]:
    """Everything of one model, by names that begin with the model's."""
    vit = open_real(name, device=given.device)
    for parameter in vit.model.parameters():
        parameter.requires_grad_(False)
    gated, chosen = Gated(vit), a_third_develops(given.pictures)
    generator = torch.Generator().manual_seed(0)
    parts: dict[str, list[Tensor]] = {}
    batches, start = [], time.monotonic()
    for first in range(0, len(chosen), given.batch_size):
        x = vit.images([each.path for each in chosen[first : first + given.batch_size]]).to(given.device)
        batches.append(x)
        clean, truth = exact(gated, x)
        classes = clean.argmax(1)
        rows = {f"exact/{key}": v for key, v in truth.items()}
        rows |= {f"score/{key}": v for key, v in cheap(gated, x, classes, generator, given.short).items()}
        rows["class"] = classes
        for key, value in rows.items():
            parts.setdefault(key, []).append(value.detach().float().cpu())
        print(f"{TITLES[name]}: {first + len(x)} pictures, {time.monotonic() - start:.0f} s", flush=True)
    found = {key: torch.cat(values).numpy() for key, values in parts.items()}
    found |= {
        f"score/{key}": v
        for key, v in library_scores(vit, [c.path for c in chosen], given.batch_size).items()
    }
    if given.curves:
        choosing = np.array([each.path.name in _development() for each in chosen])
        orders = {
            key: np.argsort(np.abs(found[key][choosing]).mean(0).ravel(), kind="stable") for key in ORDERED
        }
        signed = (key for key in ORDERED if not key.endswith((":fisher", "js")))
        orders |= {
            f"{key} signed": np.argsort(found[key][choosing].mean(0).ravel(), kind="stable") for key in signed
        }
        random = np.random.default_rng(0)
        orders |= {f"random {draw}": random.permutation(gated.L * gated.H) for draw in range(5)}
        kept = torch.from_numpy(~choosing)
        others = [x[own.to(x.device)] for x, own in zip(batches, kept.split(given.batch_size), strict=True)]
        curves = cumulative(gated, [x for x in others if len(x)], orders, 12)
        found |= {f"curve/{key}": v for key, v in curves.items()}
    print(f"{TITLES[name]}: done, {time.monotonic() - start:.0f} s", flush=True)
    return {
        f"{name}/{key}": value for key, value in {**found, "keys": np.array([c.key for c in chosen])}.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--curves", action="store_true", help="cumulative pruning by every score")
    parser.add_argument("--short", action="store_true", help="leave out what did worst")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found: dict[str, np.ndarray] = {}
    for name in given.models:
        found |= measure(name, given)
        np.savez_compressed(given.out, **found)


if __name__ == "__main__":
    main()
