"""Redraw the pictures of docs/methods: python scripts/draw_method_docs.py [NAME ...] [--out docs/images/methods]

Model and pictures are the bundled shapes world, so that every picture can be made again by anyone. The same drawings
on a photograph, for one's own eyes: add --model timm/deit_tiny_patch16_224 --weights FILE --pictures FILE FILE.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import vitscope as vs
from vitscope.rendering import method_sheet, save_png
from vitscope.reports import words
from vitscope.worlds import world

SEED, COUNT = 11, 2
SHEETS: dict[str, list[str]] = {
    "attention": ["raw-attention", "rollout", "attention-flow"],
    "gmar": ["rollout", "gmar", "gmar-paper", "gmar-official", "gmar-plus"],
    "gradients": ["gradient-rollout", "gae", "legrad", "attcat", "agcam", "tokentm"],
    "cam": ["gradcam", "hirescam", "xgradcam", "layercam", "attention-gradcam"],
    "cam-more": ["gradcam-plus-plus", "eigencam", "eigen-gradcam", "scorecam", "ablationcam"],
    "pixels": ["saliency", "input-x-gradient", "integrated-gradients", "smoothgrad"],
    "controls": ["random", "uniform", "centre-gaussian", "edges"],
    "lrp": ["cp-lrp", "attnlrp", "reslrp", "transformer-attribution"],
    "dart": ["dart", "gmar-plus", "libra-fullgrad", "gae", "daam"],
    "black-box": ["leave-one-out", "rise", "occlusion", "kernel-shap"],
}
OPTIONS: dict[str, dict[str, int]] = {"black-box": {"masks": 200, "samples": 300}}


class Bench:
    """What every drawing needs: the model, its pictures and their names."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.vit = vs.open_model(options.model, weights=options.weights)
        self.names: list[str]
        self.inputs: list[Any]
        if options.pictures:
            self.inputs, self.names = list(options.pictures), [path.stem for path in options.pictures]
        else:
            sample = world("shapes").sample(COUNT, SEED)
            self.inputs, self.names = sample.images(), sample.names()
        self.out: Path = options.out

    def explain(self, methods: list[str], **options: Any) -> dict[str, vs.Explanation]:
        found: dict[str, vs.Explanation] = vs.explain(self.vit, self.inputs, method=methods, **options)
        return found

    def pictures(self, found: vs.Explanation) -> list[Image.Image]:
        assert found.pictures is not None
        return [Image.fromarray(picture.numpy()) for picture in found.pictures]

    def save(self, picture: Image.Image, name: str) -> None:
        save_png(picture, self.out / f"{name}.png")


def draw_sheet(bench: Bench, name: str) -> None:
    """One column per method of a family, one row per picture."""
    found = bench.explain(SHEETS[name], **OPTIONS.get(name, {}))
    signed = {method: "signed" for method, one in found.items() if bool((one.maps < 0).any())}
    maps = {method: one.maps.numpy() for method, one in found.items()}
    pictures = bench.pictures(next(iter(found.values())))
    bench.save(method_sheet(maps, pictures, bench.names, scaling=signed), name)


def draw_classes(bench: Bench) -> None:
    """The same picture asked about two classes, by methods that do and do not hear the question."""
    methods = ["rollout", "gmar", "gae", "daam", "gradcam"]
    bench.inputs = bench.inputs[:1] * 2
    top = bench.vit.predict(bench.inputs).topk(2).indices
    wanted = [int(top[0, 0]), int(top[0, 1])]
    found = bench.explain(methods, target=wanted)
    names = bench.vit.class_names or [str(index) for index in range(10_000)]
    rows = [f"why {names[index]}" for index in wanted]
    maps = {method: one.maps.numpy() for method, one in found.items()}
    bench.save(method_sheet(maps, bench.pictures(found["gae"]), rows), "gmar-two-classes")


def draw_libra(bench: Bench) -> None:
    """Methods with the model's own gradient and with Libra's, side by side."""
    methods = ["gae", "daam", "gradcam", "fullgrad-plus"]
    plain, libra = (bench.explain(methods, libra=on) for on in (False, True))
    found = {
        f"{method}{', libra' if one is libra else ''}": one[method].maps.numpy()
        for method in methods
        for one in (plain, libra)
    }
    signed = {name: "signed" for name, maps in found.items() if bool((maps < 0).any())}
    bench.save(method_sheet(found, bench.pictures(plain["gae"]), bench.names, scaling=signed), "libra")


def draw_flow(bench: Bench, method: str = "daam") -> None:
    """A method's flow block by block."""
    found = bench.explain([method])[method]
    strip = found.strip(picture=bench.pictures(found)[0])
    bench.save(strip, "daam" if method == "daam" else f"{method}-flow")


def draw_stages(bench: Bench) -> None:
    """DAAM stage by stage on an untrained CNN: the form of the flow, not a meaning."""
    torch.manual_seed(0)
    bench.vit = vs.open_model("timm/resnet10t", image_size=96, pretrained=False)
    found = bench.explain(["daam"])["daam"]
    strip = found.strip(picture=bench.pictures(found)[0], title="daam, untrained ResNet")
    bench.save(strip, "daam-stages")


def draw_heads(bench: Bench) -> None:
    """The weights that GMAR gives to the heads, for the first picture."""
    from vitscope.rendering import figure_png, head_matrix

    weights = bench.explain(["gmar"])["gmar"].extras["head_weights"][0]
    blocks, heads = (words.numbers(count) for count in weights.shape)
    figure = head_matrix(weights.numpy(), title="GMAR head weights", block_labels=blocks, head_labels=heads)
    (bench.out / "gmar-heads.png").write_bytes(figure_png(figure))


DRAWINGS: dict[str, Callable[[Bench], None]] = {
    "gmar-two-classes": draw_classes,
    "gmar-heads": draw_heads,
    "daam": draw_flow,
    "dart-flow": lambda bench: draw_flow(bench, "dart"),
    "libra": draw_libra,
    "daam-stages": draw_stages,
}


def main() -> None:
    """Draw what is named, all by default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join([*SHEETS, *DRAWINGS])}")
    parser.add_argument("--out", type=Path, default=Path("docs/images/methods"))
    parser.add_argument("--model", default="bundled/shapes")
    parser.add_argument("--weights", default=None)
    parser.add_argument("--pictures", type=Path, nargs="+", default=None)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or [*DRAWINGS, *SHEETS]:
        bench = Bench(options)
        if name in SHEETS:
            draw_sheet(bench, name)
        elif name in DRAWINGS:
            DRAWINGS[name](bench)
        else:
            parser.error(f"there is no drawing '{name}'")
        print(options.out / f"{name}.png")


if __name__ == "__main__":
    main()
