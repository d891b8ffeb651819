"""Evaluation against Quantus, grad-cam and torch-cam: first that the values are equal, then how long each takes.

    pip install quantus grad-cam torchcam          # in an environment of their own, beside vitscope
    python benchmarks/evaluation_peers.py --model deit_tiny_patch16_224 --pictures 4 --out benchmarks/results

Everything is asked of the same model with the same maps and the same removals in one run; weights are random, since
neither equality nor speed depends on them. A peer that is not installed is left out. Times are processor seconds,
medians of ``--repeats`` rounds in which everyone has one turn; ratios within a round are what to read.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

import vitscope as vs
from vitscope.evaluation import get_metric
from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.removal.curves import kept_patches
from vitscope.evaluation.removal.perturbation import Asking, Perturber
from vitscope.evaluation.removal.pixels import rise_blur, unit_range
from vitscope.evaluation.running.run import model_call

PEERS = ("quantus", "pytorch_grad_cam", "torchcam")


def present() -> list[str]:
    """The peers that can be imported here."""
    return [name for name in PEERS if importlib.util.find_spec(name) is not None]


class Setting:
    """One model, pictures and maps without ties; what vitscope measures on them."""

    def __init__(
        self, model: str, pictures: int, steps: int, size: int | None = None, patch: int | None = None
    ) -> None:
        torch.manual_seed(0)
        options = {} if size is None else {"img_size": size, "patch_size": patch, "depth": 3}
        self.module = timm.create_model(model, pretrained=False, num_classes=10, **options).eval()
        for parameter in self.module.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.1)
        self.vit = vs.open_model(self.module, image_size=size or 224)
        grid = self.vit.anatomy.layout.grid
        side = size or 224
        self.cells = self.vit.anatomy.layout.cells_at((side, side))
        self.images = torch.randn(pictures, 3, side, side)
        self.maps = torch.rand(pictures, *grid)
        self.masks = torch.rand(pictures, side, side) > 0.7
        self.protocol = vs.Protocol(removal="zero", score="probability", steps=steps)
        self.logits = self.vit.forward(self.images)
        self.classes = self.logits.argmax(1)

    def subject(
        self, removal: str = "zero", pixels: torch.Tensor | None = None, shorten: bool | None = None
    ) -> Subject:
        """A fresh subject, nothing remembered but the clean score, as in a run of several methods. ``pixels`` replaces
        the upsampled maps by a map without ties; ``shorten``: removal by mask is done by the shorter sequence."""
        runner = Perturber(
            model_call(self.vit, "drop" if shorten else removal), self.images, self.classes,
            self.cells, replace(self.protocol, removal=removal), Asking(equal_lengths=shorten),
        )  # fmt: skip
        runner.adopt_clean(self.logits)
        case = Case(runner, [str(i) for i in range(len(self.images))], None, self.masks, class_count=10)
        subject = Subject(case, "maps", self.maps)
        if pixels is not None:
            subject.memory["pixels"] = pixels
        return subject

    def tie_free(self) -> torch.Tensor:
        """A map with a value of its own at every pixel: ties would be broken by each library in its own way."""
        side = self.images.shape[-1]
        noise = torch.stack([torch.randperm(side * side) for _ in self.images]).view(-1, side, side).float()
        return (noise + 1) / (side * side)


def value(name: str, subject: Subject) -> torch.Tensor:
    """One number per picture."""
    found = get_metric(name).function(subject)
    assert found is not None
    return found.double()


class StandIn:
    """What torch-cam takes for a method: gives the maps that we give it."""

    def __init__(self, model: torch.nn.Module, maps: torch.Tensor) -> None:
        self.model, self.maps = model, maps

    def __call__(self, *_: Any, **__: Any) -> list[torch.Tensor]:
        return [self.maps]

    def fuse_cams(self, cams: list[torch.Tensor]) -> torch.Tensor:
        return cams[0]

    def _hooks_off(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def _accept(**_: Any) -> None:
    """In place of a check that counts one channel's features, where the metric itself flips those of all three."""


def quantus_values(setting: Setting) -> dict[str, tuple[Any, Any]]:
    """{what: (ours, theirs)} for the definitions that Quantus shares."""
    import quantus

    quiet = {"disable_warnings": True, "display_progressbar": False}
    side = setting.images.shape[-1]
    pixels = setting.tie_free()
    subject = setting.subject(pixels=pixels)
    x, y = setting.images.numpy(), setting.classes.numpy()
    a, s = pixels.unsqueeze(1).numpy(), setting.masks.unsqueeze(1).numpy()
    ours = {"deletion": value("deletion", subject)}
    curve = subject.curves_kept["deletion"][1]
    # The map has no channels there: the three values of a pixel are tied, so three times as many features a step.
    flipping = quantus.PixelFlipping(
        features_in_step=3 * side, perturb_baseline=0.0, normalise=False, **quiet
    )
    flipping.custom_preprocess = _accept
    theirs = np.array(
        flipping(model=setting.module, x_batch=x, y_batch=y, a_batch=a, softmax=True, channel_first=True)
    )
    found: dict[str, tuple[Any, Any]] = {
        "deletion curve, zero, one row of pixels a step": (curve[:, 1:], theirs)
    }
    full = np.concatenate([curve[:, :1].numpy(), theirs], axis=1)
    found["area of that curve"] = (ours["deletion"], np.trapezoid(full, axis=1) / (full.shape[1] - 1))
    common = {
        "model": setting.module,
        "x_batch": x,
        "y_batch": y,
        "a_batch": a,
        "s_batch": s,
        "channel_first": True,
    }
    for ours_name, metric in (
        ("mass", quantus.RelevanceMassAccuracy),
        ("rank-accuracy", quantus.RelevanceRankAccuracy),
        ("auroc", quantus.AUC),
        ("pointing", quantus.PointingGame),
    ):
        theirs = np.array(metric(normalise=False, abs=False, **quiet)(**common), dtype=float)
        found[ours_name] = (value(ours_name, subject), theirs)
    patches = setting.maps.unsqueeze(1).numpy()
    for ours_name, metric in (("entropy", quantus.Complexity), ("gini", quantus.Sparseness)):
        tool = metric(normalise=False, abs=True, **quiet)
        theirs = np.array([
            float(tool.evaluate_batch(x_batch=x[i : i + 1], a_batch=patches[i : i + 1].reshape(1, -1).copy())[0])
            for i in range(len(x))
        ])  # fmt: skip
        found[ours_name] = (value(ours_name, subject), theirs)
    return found


def grad_cam_values(setting: Setting) -> dict[str, tuple[Any, Any]]:
    """{what: (ours, theirs)} for the definitions that grad-cam shares."""
    from pytorch_grad_cam.metrics import road
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    from vitscope.evaluation.removal.imputation import linear_imputation

    pixels = setting.tie_free()
    subject = setting.subject(pixels=unit_range(pixels))
    targets = [ClassifierOutputSoftmaxTarget(int(c)) for c in setting.classes]
    cams = unit_range(pixels).numpy()
    clean = subject.case.perturber.clean().score("probability")
    theirs = DropInConfidence()(setting.images, cams[:, None], targets, setting.module)
    found: dict[str, tuple[Any, Any]] = {
        "drop (theirs is not divided by p)": (value("average-drop", subject) * clean, theirs)
    }
    theirs = IncreaseInConfidence()(setting.images, cams[:, None], targets, setting.module)
    found["increase"] = (value("average-increase", subject), theirs)
    keep = pixels > pixels.flatten(1).median(1).values.view(-1, 1, 1)
    imputer = road.NoisyLinearImputer(noise=0.0)
    theirs = torch.stack(
        [imputer(image, mask.float()) for image, mask in zip(setting.images, keep, strict=True)]
    )
    found["linear imputation of half of the pixels"] = (
        linear_imputation(setting.images, keep.unsqueeze(1)),
        theirs,
    )
    both = road.ROADCombined()(setting.images, cams, targets, setting.module)
    found["ROAD (each with its own noise of 0.01)"] = (value("road", subject), both)
    return found


def torch_cam_values(setting: Setting) -> dict[str, tuple[Any, Any]]:
    """{what: (ours, theirs)} for the definitions that torch-cam shares; its results are means over pictures."""
    from functools import partial

    from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

    pixels = setting.tie_free()
    softmax = partial(torch.softmax, dim=-1)
    subject = setting.subject(pixels=pixels)
    extractor = StandIn(setting.module, unit_range(pixels))
    metric = ClassificationMetric(extractor, softmax)
    metric.update(setting.images, setting.classes.tolist())
    found: dict[str, tuple[Any, Any]] = {
        "average drop": (value("average-drop", subject).mean(), metric.summary()["avg_drop"]),
        "increase in confidence": (
            value("average-increase", subject).mean(),
            metric.summary()["conf_increase"],
        ),
    }
    side = setting.images.shape[-1]
    both = DeletionInsertionMetric(StandIn(setting.module, pixels), softmax, steps=side)
    both.update(setting.images, setting.classes.tolist())
    found["deletion, zero, one row of pixels a step"] = (
        value("deletion", subject).mean(),
        both.summary()["deletion_auc"],
    )
    both = DeletionInsertionMetric(StandIn(setting.module, pixels), softmax, steps=side, baseline=rise_blur)
    both.update(setting.images, setting.classes.tolist())
    found["insertion from the blur of RISE"] = (
        value("insertion", subject).mean(),
        both.summary()["insertion_auc"],
    )
    return found


def equality(setting: Setting) -> list[dict[str, Any]]:
    """Largest difference of each shared definition."""
    tables = {"quantus": quantus_values, "pytorch_grad_cam": grad_cam_values, "torchcam": torch_cam_values}
    rows = []
    for peer in present():
        for what, (ours, theirs) in tables[peer](setting).items():
            ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
            scale = max(1e-12, float(np.abs(theirs).max()))
            gap = float(np.abs(ours - theirs).max())
            row = {"peer": peer, "what": what, "ours": float(ours.mean()), "theirs": float(theirs.mean())}
            rows.append({**row, "largest_difference": gap, "relative": gap / scale})
    return rows


@dataclass(frozen=True)
class Contender:
    """One way to the same numbers. group: what is compared with each other; run: gives the values, or None."""

    group: str
    name: str
    run: Callable[[], Any]


def contenders(setting: Setting) -> list[Contender]:
    """The same patch-by-patch removals by everyone, and the plain forward passes that they need.

    ``plain forwards`` ask the module itself, in batches of 64, as often as vitscope's runner has asked.
    """
    steps = setting.protocol.steps
    patches = setting.maps[0].numel()
    assert patches % steps == 0, "choose steps that divide the number of patches"
    side = setting.images.shape[-1]
    flat = setting.maps.repeat_interleave(side // setting.maps.shape[-2], 1).repeat_interleave(
        side // setting.maps.shape[-1], 2
    )

    def forwards(asked: int) -> None:
        with torch.no_grad():
            for start in range(0, asked, 64):
                setting.module(
                    setting.images[torch.arange(start, min(start + 64, asked)) % len(setting.images)]
                )

    def asked(name: str) -> int:
        subject = setting.subject()
        value(name, subject)
        return subject.case.perturber.evaluations

    regions = min(patches, 2 * steps)

    def one_by_one() -> torch.Tensor:
        """Probability after each of the first patches in order of relevance, (B, regions)."""
        subject = setting.subject()
        keep = kept_patches(subject.order(), range(1, regions + 1))
        index = torch.arange(len(keep)).repeat_interleave(regions)
        runner = subject.case.perturber
        return runner.remove(index, keep.flatten(0, 1)).score("probability").view(-1, regions)

    def curve(removal: str = "zero", shorten: bool | None = None) -> torch.Tensor:
        return value("srg", setting.subject(removal, shorten=shorten))

    counts = {name: asked(name) for name in ("deletion-patch", "srg")}
    made = [
        Contender("deletion", "plain forwards", lambda: forwards(counts["deletion-patch"])),
        Contender("deletion", "vitscope", lambda: value("deletion-patch", setting.subject())),
        Contender("SRG", "plain forwards", lambda: forwards(counts["srg"])),
        Contender("SRG", "vitscope", curve),
        Contender("SRG by attention mask", "plain forwards", lambda: forwards(counts["srg"])),
        Contender("SRG by attention mask", "vitscope, masked keys", lambda: curve("mask", False)),
        Contender("SRG by attention mask", "vitscope, shorter sequence", lambda: curve("mask", True)),
        Contender("patch by patch", "plain forwards", lambda: forwards(len(setting.images) * (regions + 1))),
        Contender("patch by patch", "vitscope", one_by_one),
        Contender("ROAD", "vitscope", lambda: value("road", setting.subject())),
    ]
    if "quantus" in present():
        import quantus

        common: dict[str, Any] = {
            "model": setting.module, "x_batch": setting.images.numpy(), "y_batch": setting.classes.numpy(),
            "softmax": True, "channel_first": True, "batch_size": 64,
        }  # fmt: skip
        quiet = {"disable_warnings": True, "display_progressbar": False}

        def flip(maps: torch.Tensor) -> np.ndarray:
            tool = quantus.PixelFlipping(
                features_in_step=3 * side * side // steps, perturb_baseline=0.0, normalise=False, **quiet
            )
            tool.custom_preprocess = _accept
            return np.array(tool(a_batch=maps.unsqueeze(1).numpy(), **common))

        def area_of(values: np.ndarray) -> torch.Tensor:
            clean = setting.subject().case.perturber.clean().score("probability").view(-1, 1)
            full = torch.cat([clean, torch.as_tensor(values)], dim=1).double()
            return torch.trapezoid(full, dim=1) / steps

        def regional() -> np.ndarray:
            tool = quantus.RegionPerturbation(
                patch_size=side // setting.maps.shape[-1], order="morf", regions_evaluation=regions,
                perturb_baseline=0.0, normalise=False, **quiet,
            )  # fmt: skip
            return np.array(tool(a_batch=flat.unsqueeze(1).numpy(), **common))

        def probabilities() -> torch.Tensor:
            clean = setting.subject().case.perturber.clean().score("probability").view(-1, 1)
            return clean - torch.as_tensor(regional())

        made += [
            Contender("deletion", "Quantus PixelFlipping", lambda: area_of(flip(flat))),
            Contender(
                "SRG", "Quantus PixelFlipping, twice", lambda: area_of(flip(1 - flat)) - area_of(flip(flat))
            ),
            Contender("patch by patch", "Quantus RegionPerturbation", probabilities),
        ]
    if "torchcam" in present():
        from functools import partial

        from torchcam.metrics import DeletionInsertionMetric

        def torch_cam() -> torch.Tensor:
            tool = DeletionInsertionMetric(
                StandIn(setting.module, flat), partial(torch.softmax, dim=-1), steps=steps, batch_size=64
            )
            tool.update(setting.images, setting.classes.tolist())
            return torch.tensor(tool.summary()["deletion_auc"])

        made.append(Contender("deletion", "torch-cam, deletion and insertion", torch_cam))
    if "pytorch_grad_cam" in present():
        from pytorch_grad_cam.metrics.road import ROADCombined
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

        cams = setting.cells.spread(setting.maps, "bilinear").numpy()
        targets = [ClassifierOutputSoftmaxTarget(int(c)) for c in setting.classes]
        made.append(
            Contender(
                "ROAD",
                "grad-cam ROADCombined",
                lambda: torch.as_tensor(ROADCombined()(setting.images, cams, targets, setting.module)),
            )
        )
    return made


def disagreement(runs: list[Contender]) -> dict[str, dict[str, float]]:
    """Largest difference of each peer's values from vitscope's, relative to the largest value: {group: {peer: gap}}.

    torch-cam gives one mean over the pictures, so means are compared there; its insertion is not compared here.
    """
    found: dict[str, dict[str, float]] = {}
    ours = {run.group: run.run() for run in reversed(runs) if run.name.startswith("vitscope")}
    for run in runs:
        if run.name == "plain forwards" or ours[run.group] is None:
            continue
        theirs, mine = run.run().double(), ours[run.group].double()
        if theirs.ndim < mine.ndim:
            mine = mine.mean()
        gap = float((theirs - mine).abs().max() / mine.abs().max())
        found.setdefault(run.group, {})[run.name] = gap
    return found


def speed(runs: list[Contender], repeats: int) -> dict[str, dict[str, dict[str, float]]]:
    """{group: {name: seconds, ratio}}: medians of processor seconds, taken in turn.

    ratio: median over the rounds of this one's seconds over those of vitscope's first entry in the same round.
    """
    rounds: list[dict[tuple[str, str], float]] = []
    for _ in range(repeats):
        times = {}
        for run in runs:
            start = time.process_time()
            run.run()
            times[run.group, run.name] = time.process_time() - start
        rounds.append(times)
    first = {run.group: run.name for run in reversed(runs) if run.name.startswith("vitscope")}
    result: dict[str, dict[str, dict[str, float]]] = {}
    for run in runs:
        ratios = [times[run.group, run.name] / times[run.group, first[run.group]] for times in rounds]
        result.setdefault(run.group, {})[run.name] = {
            "seconds": statistics.median(times[run.group, run.name] for times in rounds),
            "ratio": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="deit_tiny_patch16_224")
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="the small model alone")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows = equality(Setting("deit_tiny_patch16_224", 3, 8, size=64, patch=8))
    for row in rows:
        print(
            f"{row['peer']:18} {row['what']:52} {row['ours']:10.6f} {row['theirs']:10.6f} {row['relative']:.1e}"
        )
    result: dict[str, Any] = {"equality": rows, "settings": {}, "threads": torch.get_num_threads()}
    settings = {
        "3 blocks, 64 px, 8x8 patches": Setting(
            "deit_tiny_patch16_224", arguments.pictures, 16, size=64, patch=8
        ),
        f"{arguments.model}, 224 px": Setting(arguments.model, arguments.pictures, 14),
    }
    if arguments.small:
        settings = dict(list(settings.items())[:1])
    for name, setting in settings.items():
        runs = contenders(setting)
        gaps = disagreement(runs)
        times = speed(runs, arguments.repeats)
        result["settings"][name] = {
            "pictures": arguments.pictures, "steps": setting.protocol.steps, "repeats": arguments.repeats,
            "disagreement": gaps, "speed": times,
        }  # fmt: skip
        print(name)
        for group, entries in times.items():
            for what, entry in entries.items():
                gap = gaps.get(group, {}).get(what)
                print(
                    f"  {group:22} {what:34} {entry['seconds']:8.3f} s  x {entry['ratio']:6.2f} "
                    f"[{entry['lowest']:.2f}, {entry['highest']:.2f}]"
                    + ("" if gap is None else f"  values within {gap:.1e}"),
                    flush=True,
                )
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        versions = {
            name: importlib.metadata.version(name)
            for name in ("torch", "timm", "quantus", "grad-cam", "torchcam")
        }
        result["versions"] = versions
        (arguments.out / "evaluation_peers.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    import importlib.metadata

    main()
