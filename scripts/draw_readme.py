"""Draw docs/images/readme.png: ``python scripts/draw_readme.py deit_tiny_patch16_224.safetensors``.

Four methods on two photographs that come with scikit-image (``pip install scikit-image``), both given away by their
photographers under CC0: chelsea (Stefan van der Walt) and coffee (Rachel Michetti).
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import vitscope as vs

PLACE = Path(__file__).resolve().parents[1] / "docs" / "images" / "readme.png"


def main(weights: str) -> None:
    vit = vs.open_model("timm/deit_tiny_patch16_224", weights=weights)
    photographs = [str(files("skimage.data") / f"{name}.png") for name in ("chelsea", "coffee")]
    vs.reports.sheet(vs.explain(vit, photographs, ["dart-removal", "gae", "daam", "rollout"])).save(PLACE)


if __name__ == "__main__":
    main(sys.argv[1])
