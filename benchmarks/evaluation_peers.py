"""Evaluation against Quantus, grad-cam and torch-cam: first that the values are equal, then how long each takes.

    pip install quantus grad-cam torchcam          # in an environment of their own, beside vitscope
    python benchmarks/evaluation_peers.py --model deit_tiny_patch16_224 --pictures 4 --out benchmarks/results

Everything is asked of the same model with the same maps and the same removals in one run; weights are random, since
neither equality nor speed depends on them. A peer that is not installed is left out. Times are the median of
``--repeats`` runs, taken in turn; ratios are what to read, seconds are of one machine.
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
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

import vitscope as vs
from vitscope.evaluation.case import Case, Subject
from vitscope.evaluation.metric import get_metric
from vitscope.evaluation.perturbation import Perturber
from vitscope.evaluation.removal_pixels import rise_blur, unit_range
from vitscope.evaluation.run import model_call

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
        self.images = torch.randn(pictures, 3, side, side)
        self.maps = torch.rand(pictures, *grid)
        self.masks = torch.rand(pictures, side, side) > 0.7
        self.protocol = vs.Protocol(removal="zero", score="probability", steps=steps)
        self.classes = self.vit.forward(self.images).argmax(1)

    def subject(self, removal: str = "zero", pixels: torch.Tensor | None = None) -> Subject:
        """A fresh subject, nothing remembered. ``pixels`` replaces the upsampled maps by a map without ties."""
        from dataclasses import replace

        runner = Perturber(
            model_call(self.vit, removal), self.images, self.classes, tuple(self.maps.shape[-2:]),
            replace(self.protocol, removal=removal), class_token=True, batch_size=64,
        )  # fmt: skip
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

    from vitscope.evaluation.imputation import linear_imputation

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


def contenders(setting: Setting) -> dict[str, Callable[[], Any]]:
    """The same patch-by-patch removals to zero by everyone, and the plain forward passes that they need."""
    steps, count = setting.protocol.steps, len(setting.images)
    patches = setting.maps[0].numel()
    assert patches % steps == 0, "choose steps that divide the number of patches"
    side = setting.images.shape[-1]
    flat = setting.maps.repeat_interleave(side // setting.maps.shape[-2], 1).repeat_interleave(
        side // setting.maps.shape[-1], 2
    )
    many = setting.images.repeat_interleave(steps, 0)

    def forwards(times: int) -> None:
        with torch.no_grad():
            for start in range(0, len(many) * times, 64):
                index = torch.arange(start, min(start + 64, len(many) * times)) % len(many)
                setting.module(many[index])

    made: dict[str, Callable[[], Any]] = {
        "plain forwards of deletion": lambda: forwards(1),
        "vitscope deletion (zero)": lambda: value("deletion-patch", setting.subject()),
        "plain forwards of SRG": lambda: forwards(2),
        "vitscope SRG (zero)": lambda: value("srg", setting.subject()),
        "vitscope SRG (mask)": lambda: value("srg", setting.subject("mask")),
        "vitscope SRG (drop)": lambda: value("srg", setting.subject("drop")),
    }
    if "quantus" in present():
        import quantus

        def flip(maps: torch.Tensor) -> Any:
            tool = quantus.PixelFlipping(
                features_in_step=3 * side * side // steps, perturb_baseline=0.0, normalise=False,
                disable_warnings=True, display_progressbar=False,
            )  # fmt: skip
            tool.custom_preprocess = _accept
            return tool(
                model=setting.module, x_batch=setting.images.numpy(), y_batch=setting.classes.numpy(),
                a_batch=maps.unsqueeze(1).numpy(), softmax=True, channel_first=True, batch_size=64,
            )  # fmt: skip

        made["Quantus PixelFlipping, deletion"] = lambda: flip(flat)
        made["Quantus PixelFlipping, SRG (two runs)"] = lambda: (flip(flat), flip(1 - flat))
    if "torchcam" in present():
        from functools import partial

        from torchcam.metrics import DeletionInsertionMetric

        def torch_cam() -> None:
            tool = DeletionInsertionMetric(
                StandIn(setting.module, flat), partial(torch.softmax, dim=-1), steps=steps, batch_size=64
            )
            tool.update(setting.images, setting.classes.tolist())

        made["torch-cam deletion + insertion"] = torch_cam
    made["vitscope ROAD"] = lambda: value("road", setting.subject())
    if "pytorch_grad_cam" in present():
        from pytorch_grad_cam.metrics.road import ROADCombined
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

        cams = vs.evaluation.removal_pixels.upsample(setting.maps, (side, side)).numpy()
        targets = [ClassifierOutputSoftmaxTarget(int(c)) for c in setting.classes]
        made["grad-cam ROADCombined"] = lambda: ROADCombined()(setting.images, cams, targets, setting.module)
    del count
    return made


def speed(setting: Setting, repeats: int) -> dict[str, float]:
    """Median seconds of each, taken in turn."""
    runs = contenders(setting)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


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
    result: dict[str, Any] = {"equality": rows, "speed": {}, "threads": torch.get_num_threads()}
    settings = {
        f"{arguments.model}, 224 px": Setting(arguments.model, arguments.pictures, 14),
        "3 blocks, 64 px": Setting("deit_tiny_patch16_224", arguments.pictures, 16, size=64, patch=8),
    }
    if arguments.small:
        settings = dict(list(settings.items())[-1:])
    for name, setting in settings.items():
        times = speed(setting, arguments.repeats)
        result["speed"][name] = times
        print(name)
        for what, seconds in times.items():
            print(f"  {what:42} {seconds:8.3f} s")
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
