"""Variants of DART on grid pointing, on SRG and on the planted worlds, paired with Grad-CAM and with DART itself.

    python benchmarks/dart_variants.py develop            # every variant: every third sample photograph, worlds seed 0
    python benchmarks/dart_variants.py confirm NAME ...   # the chosen ones, once: the other photographs, worlds seed 1

One trace per (target, rules, removal) and picture serves all variants. Figures go to
benchmarks/results/dart_variants.json; what each variant is and what came out: docs/methods/dart.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from dart_srg import curve_areas, end_points, half_width
from splits import ROOT, open_real, photographs
from torch import Tensor, nn

import vitscope as vs
from vitscope.evaluation import EvaluationSet, world_set
from vitscope.evaluation.board.statistics import holm
from vitscope.evaluation.rank_statistics import auroc
from vitscope.evaluation.running.mosaics import mosaics_of
from vitscope.methods.chain import chain_sites
from vitscope.methods.dart import half_subsets, key_gate
from vitscope.methods.fullgrad import stream_relevance
from vitscope.tracing import Capture, Custom, Rules, TokenRemoval, Trace, constant_gate

WORLDS = ("shapes", "conjunction", "redundancy", "position", "clever-hans")
KEPT = Capture(streams=True)
STEPS = 10


class Case:
    """One batch: what its traces hold, read by any number of variants."""

    def __init__(self, vit: vs.Vit, images: Tensor, classes: Tensor, kappa: float) -> None:
        self.vit, self.images, self.classes, self.kappa = vit, images, classes, kappa
        self._once = cache(self._blocks)
        self.empty = cache(self._empty)
        self.made: dict[Any, Tensor] = {}

    def target(self, name: str) -> Custom:
        """The explained score as a function of the logits."""

        def score(output: Tensor) -> Tensor:
            y = output.float()
            own = y.gather(1, self.classes[:, None])[:, 0]
            if name == "logit":
                return own
            if name == "centred":
                return own - y.mean(1)
            if name == "expected":  # less the logit expected under the model's own probabilities
                return own - (y.softmax(1).detach() * y).sum(1)
            if name == "log-probability":
                return y.log_softmax(1).gather(1, self.classes[:, None])[:, 0]
            others = y.scatter(1, self.classes[:, None], float("-inf"))
            if name.startswith("rival"):
                return others.topk(int(name.split()[1])).values[:, -1]
            if name == "log-odds":
                return own - others.logsumexp(1)
            if name == "runner-up":
                return own - others.max(1).values
            raise ValueError(name)

        return Custom(score, name)

    def _trace(self, target: str, rules: str, keep: Tensor | None = None) -> Trace:
        removal = None if keep is None else TokenRemoval(keep[None])
        with bias_rule(self.vit.model, rules == "per-neuron"):
            return self.vit.trace(
                self.images, self.target(target), rules=self.rules(rules), capture=KEPT, removal=removal
            )

    def rules(self, name: str) -> Rules | None:
        if name == "plain":
            return None
        return constant_gate(1.0 if name in ("kappa=1", "per-neuron") else self.kappa)

    def blocks(self, target: str = "logit", rules: str = "constant-gate") -> dict[str, Tensor]:
        """What ``_blocks`` finds, computed once per target and rules."""
        return self._once(target, rules)

    def _blocks(self, target: str, rules: str, keep: Tensor | None = None) -> dict[str, Tensor]:
        """(B, L, P) each, over the patches: rho, gamma, and rho with another token as origin or another gradient."""
        trace = self._trace(target, rules, keep)
        layout, patches = trace.layout, trace.layout.patch_slice
        gamma = torch.zeros(trace.batch, len(trace.anatomy.blocks), layout.tokens)
        for site in chain_sites(trace):
            gamma[:, site.info.block] = key_gate(site)
        found: dict[str, list[Tensor]] = {
            "rho-empty-origin": [],
            "rho-mean-origin": [],
            "rho-mean-gradient": [],
        }
        empty = self.empty().block_inputs
        for X, g, E in zip(trace.block_inputs, trace.block_input_gradients, empty, strict=True):
            X, g, E = X[:, patches].float(), g[:, patches].float(), E[:, patches].float()
            found["rho-empty-origin"].append(((X - E) * g).sum(-1))
            found["rho-mean-origin"].append(((X - X.mean(1, keepdim=True)) * g).sum(-1))
            found["rho-mean-gradient"].append((X * g.mean(1, keepdim=True)).sum(-1))
        named = {name: torch.stack(rows, 1) for name, rows in found.items()}
        return {"rho": stream_relevance(trace)[..., patches], "gamma": gamma[..., patches], **named}

    def _empty(self) -> Trace:
        """The streams of a picture of the mean colour, (1, N, D) each."""
        blank = torch.zeros_like(self.images[:1])
        return self.vit.trace(blank, gradient=False, rules=None, capture=KEPT)

    def steps(self, target: str = "logit", rules: str = "constant-gate") -> Tensor:
        """rho + gamma, (B, L, P): DART before its sum over blocks."""
        found = self.blocks(target, rules)
        return found["rho"] + found["gamma"]


@contextmanager
def bias_rule(model: nn.Module, on: bool) -> Iterator[None]:
    """Per-neuron bias rule: of a hidden unit u = a + b, the input gets a's share u/a, clamped to 0…1."""
    handles = []
    if on:
        for block in model.blocks:
            linear, norm = block.mlp.fc1, block.norm2

            def share(module: nn.Module, given: Any, u: Tensor, offset: Any = (linear, norm)) -> Tensor:
                linear, norm = offset
                b = linear.bias.detach() + linear.weight.detach() @ norm.bias.detach()
                a = u.detach() - b
                factor = torch.where(a == 0, 0.0, u.detach() / torch.where(a == 0, 1.0, a)).clamp(0, 1)
                return u.detach() + (u - u.detach()) * factor

            handles.append(linear.register_forward_hook(share))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def registry(name: str, **options: Any) -> Callable[[Case], Tensor]:
    """A method of the registry, computed once per batch."""

    def run(case: Case) -> Tensor:
        key = (name, *options.items())
        if key not in case.made:
            made = vs.explain(
                case.vit, case.images, name, case.classes, keep_pictures=False, batch_size=64, **options
            )
            case.made[key] = made.maps.flatten(1)
        return case.made[key]

    return run


def last(count: int, **chosen: str) -> Callable[[Case], Tensor]:
    """Only the last ``count`` blocks."""
    return lambda case: case.steps(**chosen)[:, -count:].sum(1)


def aimed(**chosen: str) -> Callable[[Case], Tensor]:
    """DART on another target or with other rules."""
    return lambda case: case.steps(**chosen).sum(1)


def part(name: str, **chosen: str) -> Callable[[Case], Tensor]:
    """One of the terms alone, over all blocks."""
    return lambda case: case.blocks(**chosen)[name].sum(1)


def exchanged(name: str, **chosen: str) -> Callable[[Case], Tensor]:
    """The gate term with another rho."""
    return lambda case: (case.blocks(**chosen)[name] + case.blocks(**chosen)["gamma"]).sum(1)


def centred(variant: Callable[[Case], Tensor]) -> Callable[[Case], Tensor]:
    """Less the mean over the patches: more or less than an equal share."""

    def run(case: Case) -> Tensor:
        M = variant(case)
        return M - M.mean(1, keepdim=True)

    return run


def rivals(count: int) -> Callable[[Case], Tensor]:
    """Less what the strongest of ``count`` other likely classes gets of the same patch; as many more backwards."""

    def run(case: Case) -> Tensor:
        theirs = [centred(aimed(target=f"rival {k + 1}"))(case) for k in range(count)]
        return centred(aimed())(case) - torch.stack(theirs).max(0).values

    return run


def gate_weight(weight: float) -> Callable[[Case], Tensor]:
    return lambda case: (case.blocks()["rho"] + weight * case.blocks()["gamma"]).sum(1)


def refined(count: int, target: str = "logit") -> Callable[[Case], Tensor]:
    """Each token's mean over the half-token subsets that hold it."""

    def run(case: Case) -> Tensor:
        P = case.vit.anatomy_for(tuple(case.images.shape[-2:])).layout.patches
        total, held = torch.zeros(len(case.images), P), torch.zeros(P)
        for keep in half_subsets(P, count, 0):
            found = case._blocks(target, "constant-gate", keep)
            total += (found["rho"] + found["gamma"]).sum(1) * keep
            held += keep
        return total / held

    return run


VARIANTS: dict[str, Callable[[Case], Tensor]] = {
    "dart": aimed(),
    "gradcam": lambda case: registry("gradcam", relu=False)(case).clamp_min(0),
    "gae": registry("gae"),
    "libra-fullgrad": registry("libra-fullgrad"),
    "gradcam libra": registry("gradcam", libra=True),
    **{
        f"target {t}": aimed(target=t)
        for t in ("centred", "expected", "log-probability", "log-odds", "runner-up")
    },
    "rho only": part("rho"),
    "gamma only": part("gamma"),
    "gamma only, plain gradient": part("gamma", rules="plain"),
    "gamma x 2": gate_weight(2),
    "gamma x 4": gate_weight(4),
    "mean origin": exchanged("rho-mean-origin"),
    "mean origin, no gate": part("rho-mean-origin"),
    "mean gradient": exchanged("rho-mean-gradient"),
    "absolute": lambda case: aimed()(case).abs(),
    "absolute per block": lambda case: case.steps().abs().sum(1),
    "positive per block": lambda case: case.steps().clamp_min(0).sum(1),
    "empty origin": exchanged("rho-empty-origin"),
    "centred": centred(aimed()),
    "gradcam centred": centred(registry("gradcam", relu=False)),
    "libra-fullgrad centred": centred(registry("libra-fullgrad")),
    "gae centred": centred(registry("gae")),
    "centred, log-odds": centred(aimed(target="log-odds")),
    "centred, kappa=1": centred(aimed(rules="kappa=1")),
    "centred, per-neuron": centred(aimed(rules="per-neuron")),
    "centred, mean origin": centred(exchanged("rho-mean-origin")),
    "centred, empty origin": centred(exchanged("rho-empty-origin")),
    "centred, gamma x 4": centred(gate_weight(4)),
    **{f"centred, last {n} blocks": centred(last(n)) for n in (1, 2, 4)},
    "centred, log-odds, last 2 blocks": centred(last(2, target="log-odds")),
    "3 rivals": rivals(3),
    **{f"last {n} blocks": last(n) for n in (1, 2, 4, 6)},
    "kappa=1": aimed(rules="kappa=1"),
    "per-neuron": aimed(rules="per-neuron"),
    "refined 8": refined(8),
}


def grid_pointing(maps: Tensor, masks: Tensor) -> Tensor:
    """As vitscope.evaluation.metrics.grid_pointing; maps (B, P), masks (B, H, W)."""
    share = patch_share(masks, maps.shape[1])
    positive = maps.clamp_min(0).double()
    return (positive * share).sum(1) / positive.sum(1)


def patch_share(masks: Tensor, patches: int) -> Tensor:
    side = round(patches**0.5)
    return nn.functional.interpolate(masks[:, None].float(), (side, side), mode="area").flatten(1).double()


def localisation(maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Mass, rank accuracy and AUROC at the size of the picture, bilinear, as the evaluation room has them."""
    side = round(maps.shape[1] ** 0.5)
    size = masks.shape[-2:]
    large = nn.functional.interpolate(
        maps.unflatten(1, (1, side, side)), size, mode="bilinear", align_corners=False
    ).flatten(1)
    inside = masks.flatten(1)
    positive = large.clamp_min(0).double()
    count = inside.sum(1)
    top = inside.gather(1, large.argsort(dim=1, descending=True)).double()
    hits = (top * (torch.arange(inside.shape[1]) < count[:, None])).sum(1) / count
    return {"mass": (positive * inside).sum(1) / positive.sum(1), "rank": hits, "auroc": auroc(large, inside)}


def mosaic_scores(
    vit: vs.Vit, images: Tensor, maps: Tensor, classes: Tensor, masks: Tensor
) -> dict[str, Tensor]:
    return {"grid-pointing": grid_pointing(maps, masks)}


def world_scores(
    vit: vs.Vit, images: Tensor, maps: Tensor, classes: Tensor, masks: Tensor
) -> dict[str, Tensor]:
    return localisation(maps, masks)


def srg_scores(
    vit: vs.Vit, images: Tensor, maps: Tensor, classes: Tensor, masks: Tensor
) -> dict[str, Tensor]:
    areas = curve_areas(
        vit, images, maps, classes, end_points(vit, images, classes, maps.shape[1], "drop"), STEPS
    )
    return {"srg": areas[:, 0] - areas[:, 1]}


def sample(vit: vs.Vit, confirm: bool) -> tuple[Tensor, list[int], list[str]]:
    """The photographs ready for the model, their labels and names: those of development, or all the others."""
    chosen = photographs("sample", "confirmation" if confirm else "development")
    return (
        vit.images([each.path for each in chosen]),
        [e.label for e in chosen],
        [e.path.name for e in chosen],
    )


Score = Callable[[vs.Vit, Tensor, Tensor, Tensor, Tensor], dict[str, Tensor]]
"""(vit, images, maps (B, P), classes, masks) -> {metric: (B,)}."""


def measure(
    vit: vs.Vit, batches: Iterator[tuple[Any, ...]], names: list[str], kappa: float, score: Score
) -> Iterator[dict[str, dict[str, Tensor]]]:
    """{metric: {variant: (n,)}} of the batches (images, classes, masks) so far, after each."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    for images, classes, masks in batches:
        case = Case(vit, images, classes, kappa)
        for name in names:
            for metric, values in score(vit, images, VARIANTS[name](case), classes, masks).items():
                found.setdefault(metric, {}).setdefault(name, []).append(values)
        yield {m: {name: torch.cat(v) for name, v in rows.items()} for m, rows in found.items()}


def mosaic_batches(
    vit: vs.Vit, images: Tensor, labels: list[int], keys: list[str], seeds: range
) -> Iterator[Any]:
    """One batch of mosaics at a time; mosaic i of every seed shows photograph i in the cell asked for."""
    for seed in seeds:
        mosaics = mosaics_of(vit, EvaluationSet(images, keys, labels), seed)
        for batch in mosaics.batches(vit, 17):
            yield batch.images, batch.labels, batch.masks


def table(values: dict[str, Tensor], groups: int, against: tuple[str, ...]) -> dict[str, Any]:
    """Means and paired differences with 95 % intervals; the i-th of every ``groups`` values belong together.

    A variant's p is of the paired t statistic, normal approximation, Holm over the variants."""
    grouped = {name: v.double().view(-1, groups).nanmean(0) for name, v in values.items()}
    defined = {name: v[v.isfinite()] for name, v in grouped.items()}  # a map of zeros has no share in a mask
    rows: dict[str, Any] = {
        name: {"mean": round(float(v.mean()), 4), "half_width_95": round(half_width(v), 4), "n": len(v)}
        for name, v in defined.items()
    }
    for reference in against:
        others = [name for name in grouped if name != reference]
        differences = [grouped[name] - grouped[reference] for name in others]
        differences = [d[d.isfinite()] for d in differences]
        p = [two_sided(d) for d in differences]
        for name, d, corrected in zip(others, differences, holm(p), strict=True):
            rows[name][f"minus {reference}"] = [
                round(float(d.mean()), 4),
                round(half_width(d), 4),
                round(corrected, 5),
            ]
    return {"n": groups, "values_per_group": len(next(iter(values.values()))) // groups, "variants": rows}


def two_sided(d: Tensor) -> float:
    z = abs(float(d.mean() / (d.std() / len(d) ** 0.5).clamp_min(1e-12)))
    return float(torch.special.erfc(torch.tensor(z / 2**0.5, dtype=torch.float64)))


def show(title: str, found: dict[str, Any]) -> None:
    print(f"\n{title}, n = {found['n']} x {found['values_per_group']}")
    for name, row in sorted(found["variants"].items(), key=lambda item: -item[1]["mean"]):
        tail = "  ".join(
            f"{key} {d[0]:+.3f} ± {d[1]:.3f} (p {d[2]:.3f})"
            for key, d in row.items()
            if key.startswith("minus")
        )
        print(f"  {name:28s} {row['mean']:7.3f} ± {row['half_width_95']:.3f}  {tail}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["develop", "confirm"])
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--parts", default="mosaics,srg,worlds")
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--count", type=int, default=100, help="pictures per world")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "dart_variants.json"))
    given = parser.parse_args()
    names = list(dict.fromkeys(["dart", "gradcam", *(given.variants or VARIANTS)]))
    confirm, parts = given.stage == "confirm", given.parts.split(",")
    out = Path(given.out)
    document = json.loads(out.read_text()) if out.exists() else {}
    kept = document.setdefault(given.stage, {})

    def keep(title: str, values: Iterator[dict[str, dict[str, Tensor]]], groups: int) -> None:
        for so_far in values:  # written after each batch, so that a run cut short leaves what it has
            for metric, found in so_far.items():
                count = len(found["dart"])
                if count < groups or count % groups == 0:
                    name = metric if title == metric else f"{title} {metric}"
                    kept[name] = table(found, min(groups, count), ("gradcam", "dart"))
            out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        for metric in so_far:
            name = metric if title == metric else f"{title} {metric}"
            show(name, kept[name])

    if {"mosaics", "srg"} & set(parts):
        vit = open_real("deit")
        images, labels, keys = sample(vit, confirm)
        kappa = vs.calibrate(vit, images).kappa
        print("kappa", kappa)
        if "mosaics" in parts:
            batches = mosaic_batches(vit, images, labels, keys, range(2))
            keep("grid-pointing", measure(vit, batches, names, kappa, mosaic_scores), len(images))
        if "srg" in parts:
            classes = vit.predict(images).argmax(1)
            whole = ((images[i : i + 17], classes[i : i + 17], None) for i in range(0, len(images), 17))
            keep("srg", measure(vit, whole, names, kappa, srg_scores), len(images))
    for world in given.worlds.split(",") if "worlds" in parts else ():
        vit = vs.open_model(f"bundled/{world}")
        ready = list(world_set(world, given.count, 1 if confirm else 0).batches(vit, 50))
        kappa = vs.calibrate(vit, ready[0].images).kappa
        print(world, "kappa", kappa)
        whole = ((b.images, b.labels, b.masks) for b in ready)
        keep(world, measure(vit, whole, names, kappa, world_scores), given.count)


if __name__ == "__main__":
    main()
