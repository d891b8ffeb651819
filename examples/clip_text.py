"""How much of a sentence is in the picture, and where: text targets on CLIP.

python examples/clip_text.py                      # a small CLIP with random weights, no download
python examples/clip_text.py open_clip/ViT-B-32@openai photo.jpg "a photo of a dog" "a photo of a cat"
"""

from __future__ import annotations

import sys
from typing import Any

import open_clip
import torch

import vitscope as vs
from vitscope.worlds import world


def small_clip() -> vs.Vit:
    """A CLIP with random weights, opened by the name of a configuration made up here."""
    torch.manual_seed(0)
    vision = {"image_size": 96, "layers": 4, "width": 64, "head_width": 16, "patch_size": 12}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2}
    open_clip.factory._MODEL_CONFIGS["small-example"] = {
        "embed_dim": 32,
        "vision_cfg": vision,
        "text_cfg": text,
    }
    return vs.open_model("open_clip/small-example", pretrained=False)


def main() -> None:
    """One picture, one map per sentence, and the difference between two sentences."""
    arguments = sys.argv[1:]
    vit = vs.open_model(arguments[0]) if arguments else small_clip()
    pictures: Any = arguments[1:2] or world("shapes").sample(1, seed=4).images()
    sentences = arguments[2:] or ["a photo of a star", "a photo of a heart"]
    maps = []
    for sentence in sentences:
        found = vs.explain(vit, pictures, method="dart", target=f"text: {sentence}")
        place = divmod(int(found.maps[0].argmax()), found.maps.shape[-1])
        print(f"{found.target}: score {float(found.scores[0]):.3f}, strongest patch {place}")
        maps.append(found.maps[0])
    # DART is linear in the score, so the difference of two maps is the map of the difference.
    print(f"most for the first against the second sentence: patch {int((maps[0] - maps[1]).argmax())}")


if __name__ == "__main__":
    main()
