"""Make docs/tutorials/heads-in-the-app.md with its figures and pictures from what runs now.

    python scripts/draw_heads_tutorial.py STUDY [--assets ../shared]   # the study is made where it is not there yet
    python scripts/draw_heads_tutorial.py --page                       # the page alone, of the figures that are kept

DeiT-Tiny on shared/images/sample; the app in Chromium. Drawn are panels without photographs: those may not be handed
on. Needs the built page (``make page``).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from heads_tutorial import FIGURES, IMAGES, NEIGHBOURS, PAGE, ROOT, STEPS, Step, page_of
from PIL import Image

sys.path.insert(0, str(ROOT))

import vitscope as vs
from vitscope.rendering.typography import numeral

MODEL, WEIGHTS = "timm/deit_tiny_patch16_224", "models/deit_tiny_patch16_224.safetensors"
GAP = 8


def studied(place: Path, assets: Path) -> vs.Study:
    """The study, made where it is not there."""
    if not (place / "manifest.json").is_file():
        vs.Study.create(
            place,
            model=MODEL,
            weights=str(assets / WEIGHTS),
            images=str(assets / "images" / "sample"),
            analyses={
                "importance": {},
                "strength": {},
                "patterns": vs.studies.PatternsChoice(
                    coder="pca",
                    k=8,
                    repeats=0,
                    display="pca",
                    autoencoder=vs.heads.AutoencoderOptions(epochs=2),
                ),
            },
            arrays=("features",),
        )
    study = vs.Study.open(place)
    study.run()
    return study


# ---- figures ---------------------------------------------------------------------------------------------------------
def measured(study: vs.Study) -> dict[str, Any]:
    """Every figure of the page as it is written there."""
    table, profile, atlas = study.heads(), study.strength(), study.patterns()
    frame = table.to_pandas().set_index(["block", "head"])
    pictures = study.table("pictures")
    answers = study.table("predictions")
    first = answers[answers["rank"] == 0].set_index("picture")["class"]
    right = float((first.loc[pictures["picture"]].to_numpy() == pictures["label"].to_numpy()).mean())
    js = frame["js_divergence"].sort_values(ascending=False)
    worst = frame.loc[(1, 1)]
    drop = "probability_drop_label"
    hurting = frame[frame[f"{drop}_high"] < 0][drop].sort_values()
    return {
        "pictures": table.count,
        "heads": len(frame),
        "accuracy": percent(right),
        "top_five": listed(f"{name(head)} ({numeral(value)})" for head, value in js.head(5).items()),
        "top_seven_share": percent(js.head(7).sum() / js.sum()),
        "worst_drop": numeral(worst[drop]),
        "worst_low": numeral(worst[f"{drop}_low"], 2),
        "worst_high": numeral(worst[f"{drop}_high"], 2),
        "hurting": listed(f"{name(head)} ({numeral(value)})" for head, value in hurting.items()),
        **distances(profile),
        **patterns(study, atlas, js),
        **agreement(table, frame),
        **together(study, hurting.index.tolist()),
    }


def distances(profile: Any) -> dict[str, Any]:
    """How far heads look."""
    mass, far = profile["mass"], profile["patch_distance"]
    near = [head for head in np.ndindex(far.shape) if mass[head][:3].sum() >= 0.5]
    blocks = far.mean(1)
    nearest = sorted(np.ndindex(far.shape), key=lambda head: far[head])[:3]
    least = int(blocks.argmin())
    to_class = profile["to_prefix"][..., 0]
    offsets = profile["offsets"][2, 1]
    middle = np.array(offsets.shape) // 2
    peak = np.unravel_index(offsets.argmax(), offsets.shape)
    return {
        "local": listed(map(name, near)),
        "local_blocks": 1 + max(block for block, _ in near),
        "distance_first": numeral(blocks[0], 2),
        "distance_least": numeral(blocks[least], 2),
        "block_least": least,
        "distance_last": numeral(blocks[-1], 2),
        "block_last": len(blocks) - 1,
        "distance_uniform": numeral(float(np.ravel(profile.uniform["patch_distance"])[0]), 3),
        "trend": numeral(profile.trend_correlation("patch_distance"), 2),
        "most_local": listed(f"{name(head)} ({numeral(far[head])} hops)" for head in nearest),
        "class_share": percent(to_class[5, 1]),
        "most_class": name(np.unravel_index(to_class.argmax(), to_class.shape)),
        "offset_share": percent(offsets[peak]),
        "offset_words": towards(*(int(at) for at in peak - middle)),
    }


def patterns(study: vs.Study, atlas: Any, js: Any) -> dict[str, Any]:
    """Which patterns heads have, over all pictures."""
    clusters = study.array("patterns/clusters")[:].astype(int)
    names = atlas.names

    def mix(block: int, head: int) -> str:
        counts = np.bincount(clusters[:, block, head], minlength=len(names))
        return f"{percent(counts.max() / counts.sum())} of {block}.{head} are *{names[int(counts.argmax())]}*"

    mine = np.concatenate([clusters[:, block, head] for block, head in js.index[:5]])
    counts = np.bincount(mine, minlength=len(names))
    content = atlas.heads.set_index(["block", "head"])["content_dependence"]
    return {
        "maps": f"{clusters.size:,}",
        "neighbours": listed(mix(*map(int, head.split("."))) for head in NEIGHBOURS),
        "common": listed(f"{counts[at]} are *{names[at]}*" for at in np.argsort(-counts)[:4] if counts[at]),
        "dependence": numeral(content[(2, 1)]),
        "dependence_most": numeral(content.max()),
        "most_content": name(content.idxmax()),
    }


def agreement(table: Any, frame: Any) -> dict[str, Any]:
    """Where two metrics disagree."""
    pair = ["js_divergence", "class_cosine_block"]
    found = vs.heads.agree(table, pair).correlation(*pair)
    ranks = frame[pair].rank().sub(1) / (len(frame) - 1)
    return {
        "disagreement": numeral(found.value, 2),
        "disagreement_low": numeral(found.low, 2),
        "disagreement_high": numeral(found.high, 2),
        "largest_gap": name((ranks[pair[0]] - ranks[pair[1]]).abs().idxmax()),
    }


def together(study: vs.Study, hurting: list[tuple[int, int]]) -> dict[str, Any]:
    """What happens without the heads that hurt: the call that the app makes."""
    vit = vs.open_model(MODEL, weights=study.manifest.model.opening["weights"])
    rows = study.table("pictures")
    files = [Path(study.manifest.input.url) / key for key in rows["key"]]
    labels = rows["label"].astype(int).tolist()
    metric = "probability_drop_label"
    joint = vs.heads.joint_effect(vit, files, hurting, labels).to_pandas().set_index("metric").loc[metric]
    return {"together": signed(-joint["joint"]), "summed": signed(-joint["sum_of_singles"])}


def removed(page: Any, metric: str) -> dict[str, Any]:
    """What the app shows of the model without more and more heads, read off its page."""
    curves = {
        order: [
            float(value)
            for value in page.locator(f"path[data-order='{order}']").get_attribute("data-values").split(",")
        ]
        for order in (metric, "random")
    }
    words = page.get_by_test_id("removal-words").inner_text()
    areas = {
        order: float(page.locator(f"tr[data-order='{order}'] td").get_attribute("data-value"))
        for order in curves
    }
    can_go, at_random, pictures = (
        re.search(pattern, words)[1]  # type: ignore[index]
        for pattern in (r"^(\d+) of", r"at random (\d+)", r"Over (\d+) of")
    )
    return {
        "removal_pictures": pictures,
        "removal_before": percent(curves[metric][0]),
        "can_go": can_go,
        "can_go_random": at_random,
        "area": numeral(areas[metric], 2),
        "area_random": numeral(areas["random"], 2),
    }


def name(head: Sequence[Any]) -> str:
    return f"{int(head[0])}.{int(head[1])}"


def listed(parts: Any) -> str:
    return ", ".join(parts)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def towards(down: int, across: int) -> str:
    """Where a patch lies from another."""
    words = [f"{abs(down)} {'down' if down > 0 else 'up'}"] if down else []
    words += [f"{abs(across)} to the {'right' if across > 0 else 'left'}"] if across else []
    return " and ".join(words) or "itself"


# ---- pictures --------------------------------------------------------------------------------------------------------
def draw(place: Path, only: Sequence[str]) -> dict[str, Any]:
    """The panels of every step, side by side; what was computed for them."""
    from playwright.sync_api import sync_playwright

    from tests.app.browser.app import App
    from tests.app.browser.conftest import FLAGS
    from tests.app.browser.serving import serving

    found: dict[str, Any] = {}
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium")
    with serving(place) as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for step in STEPS if not only else [step for step in STEPS if step.name in only]:
            size = {"width": step.size[0], "height": step.size[1]}
            context = browser.new_context(viewport=size, reduced_motion="reduce")
            context.set_default_timeout(600_000)
            app = App(context.new_page(), served.url).open(theme="light", **step.address)
            if step.click:
                app.button(step.click).click()
                app.page.get_by_test_id("removal-words").wait_for()
                found |= removed(app.page, str(step.view["metric"]))
            app.settled()
            app.page.wait_for_timeout(500)
            save(app, step)
            context.close()
        browser.close()
    return found


def save(app: Any, step: Step) -> None:
    """In 256 colours, which is a third of the bytes."""
    shots = [
        Image.open(io.BytesIO(app.page.get_by_role("region", name=panel, exact=True).screenshot())).convert(
            "RGB"
        )
        for panel in step.panels
    ]
    wide = sum(shot.width for shot in shots) + GAP * (len(shots) - 1)
    whole = Image.new("RGB", (wide, max(shot.height for shot in shots)), "white")
    across = 0
    for shot in shots:
        whole.paste(shot, (across, 0))
        across += shot.width + GAP
    whole.quantize(256, dither=Image.Dither.NONE).save(IMAGES / f"{step.name}.png", optimize=True)


def main() -> None:
    """Measure, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study", nargs="?", type=Path)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument(
        "--page", action="store_true", help="write the page alone, of the figures that are kept"
    )
    parser.add_argument("--only", nargs="*", default=[], help="draw these steps anew, keep the other figures")
    chosen = parser.parse_args()
    if not chosen.page:
        if chosen.study is None:
            parser.error("name the folder of the study, which is made where it is not there")
        study = studied(chosen.study.resolve(), chosen.assets.resolve())
        figures = json.loads(FIGURES.read_text()) if chosen.only else measured(study)
        figures |= draw(chosen.study.resolve(), chosen.only)
        FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page_of(json.loads(FIGURES.read_text())))


if __name__ == "__main__":
    main()
