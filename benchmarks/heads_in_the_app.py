"""The pictures and numbers of docs/tutorials/heads-in-the-app.md: a study of DeiT-Tiny, looked at in the app.

python benchmarks/heads_in_the_app.py STUDY     # made as the tutorial says
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from playwright.sync_api import sync_playwright

import vitscope as vs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.app.browser.app import App
from tests.app.browser.conftest import FLAGS
from tests.app.browser.serving import serving

ROOT = Path(__file__).resolve().parents[1]
IMAGES, RESULTS = (
    ROOT / "docs" / "images" / "heads-app",
    ROOT / "benchmarks" / "results" / "heads_in_the_app.json",
)


def numbers(study: vs.Study) -> dict[str, Any]:
    """What the tutorial tells, from the study's own tables."""
    table, profile, atlas = study.heads(), study.strength(), study.patterns()
    frame = table.to_pandas().set_index(["block", "head"])
    named = {place: f"{place[0]}.{place[1]}" for place in frame.index}
    clusters = study.array("patterns/clusters")[:]
    distance = profile["patch_distance"]
    near = profile["mass"][..., :3].sum(-1) >= 0.5
    far = profile["mass"][..., 5:].sum(-1) >= 0.5
    hurting = frame[frame["probability_drop_label_high"] < 0].sort_values("probability_drop_label")
    gap = frame[["js_divergence", "class_cosine_block"]].rank().sub(1) / (len(frame) - 1)
    gap["gap"] = (gap["js_divergence"] - gap["class_cosine_block"]).abs()
    order = frame.sort_values("js_divergence", ascending=False)
    patterns = []
    for pattern, name in zip(atlas.patterns, atlas.names, strict=True):
        has = clusters == pattern.cluster
        heads = [f"{b}.{h}" for b, h in np.argwhere(has.mean(0) > 0.5)]
        patterns.append({"name": name, "maps": int(has.sum()), "heads": heads})
    shares = order["js_divergence"].cumsum() / order["js_divergence"].sum()
    agreement = vs.heads.agree(table, ["js_divergence", "class_cosine_block"]).correlation(
        "js_divergence", "class_cosine_block"
    )
    return {
        "pictures": table.count,
        "most important": [
            {"head": named[p], "divergence": row["js_divergence"]} for p, row in order.head(7).iterrows()
        ],
        "heads that hold half": int((shares < 0.5).sum()) + 1,
        "local": [f"{b}.{h}" for b, h in np.argwhere(near)],
        "global": [f"{b}.{h}" for b, h in np.argwhere(far)],
        "distance by block": distance.mean(1).round(3).tolist(),
        "distance trend": profile.trend_correlation("patch_distance"),
        "patterns": patterns,
        "hurting": [
            {
                "head": named[p],
                "drop": row["probability_drop_label"],
                "high": row["probability_drop_label_high"],
            }
            for p, row in hurting.iterrows()
        ],
        "agreement": [agreement.value, agreement.low, agreement.high],
        "largest gap": named[gap["gap"].idxmax()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study")
    chosen = parser.parse_args()
    found = numbers(vs.Study.open(chosen.study))
    first = found["most important"][0]["head"]
    hurts = found["hurting"][0]["head"] if found["hurting"] else first
    local = found["local"][0] if found["local"] else first
    views: dict[str, dict[str, Any]] = {
        "matters": {"importance": "list", "pinned": first},
        "local": {"pinned": local, "detail": "offsets", "brushes": [
            {"op": "and", "kind": "hops", "from": 0, "to": 2, "least": 0.5}]},
        "global": {"pinned": local, "strength": "trend", "brushes": [
            {"op": "and", "kind": "hops", "from": 5, "to": 13, "least": 0.5}]},
        "patterns": {"pinned": local, "detail": "patterns", "brushes": [
            {"op": "and", "kind": "heads", "heads": [each["head"] for each in found["most important"][:5]]}]},
        "hurts": {"metric": "probability_drop_label", "second": "js_divergence", "pinned": hurts},
    }  # fmt: skip
    found["views"] = {
        name: "#v=1&screen=heads&heads=" + quote(json.dumps(view, separators=(",", ":")), safe=":,")
        for name, view in views.items()
    }
    browser = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium") or shutil.which("chromium-browser")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with serving(chosen.study) as served, sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        page = opened.new_page(viewport={"width": 1440, "height": 900})
        app = App(page, served.url)
        for name, view in views.items():
            app.open(screen="heads", theme="light", heads=json.dumps(view))
            page.wait_for_timeout(800)
            page.screenshot(path=IMAGES / f"{name}.png")
        opened.close()
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
