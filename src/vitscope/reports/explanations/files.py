"""One picture's maps as files: raw maps, overlays and a sheet, or a flow as an animation and a strip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.methods import Explanation
from vitscope.options.bounds import Range
from vitscope.options.door import checked
from vitscope.rendering.files import save_png
from vitscope.reports import words
from vitscope.reports.explanations.contents import by_method, drawn_on
from vitscope.reports.explanations.looks import Looks, arguments_for
from vitscope.reports.explanations.sheets import sheet
from vitscope.reports.explanations.single import overlay
from vitscope.reports.explanations.steps import animation
from vitscope.reports.explanations.steps import strip as draw_strip

PLAIN = Looks()
"""How maps are drawn where nothing else is asked for."""


@checked(RenderingError)
def write_maps(
    explanations: Mapping[str, Explanation],
    stem: Path,
    *,
    picture: Image.Image | None = None,
    looks: Looks | None = PLAIN,
) -> dict[str, Any]:
    """Write one picture's raw maps and overlays and, for several methods, a sheet.

    Args:
        explanations: One for each method by name, of one picture.
        stem: The path without an ending.
        picture: What to draw on; None takes what the explanations keep.
        looks: How maps are drawn; None writes raw maps only.

    Returns:
        Plain values: what was explained, the predictions, and for each method its files and the range of its values.

    Raises:
        OutputError: A file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images(), ["rollout"])
        >>> written = vs.reports.write_maps(explained, Path("shape"))
        >>> written["maps"]["rollout"]["overlay"]
        'shape.rollout.png'
    """
    given = by_method(explanations)
    first = next(iter(given.values()))
    number = words.class_of(first)
    record: dict[str, Any] = {
        "target": words.explained(first),
        "class": number,
        "class_name": words.class_name(first, number),
        "score": float(first.scores[0]),
    }
    if first.logits is not None:
        record["predictions"] = words.predictions(first)
    shown = picture
    if looks is not None and (picture is None or looks.on == "original"):
        shown, _ = drawn_on(first, 0, looks.on, None if looks.on == "original" else picture)
    record["maps"] = {}
    for name, explanation in given.items():
        values = np.asarray(explanation.maps[0], dtype=np.float32)
        raw = replace(explanation, pictures=None)
        entry: dict[str, Any] = {
            "data": str(raw.save(_beside(stem, f"{name}.safetensors"))),
            "grid": list(values.shape),
            "low": float(values.min()),
            "high": float(values.max()),
            "finite": bool(np.isfinite(values).all()),
        }
        if looks is not None:
            drawn = overlay(explanation, picture=shown, **arguments_for(name, looks))
            entry["overlay"] = str(save_png(drawn, _beside(stem, f"{name}.png"), words.made_by(explanation)))
        record["maps"][name] = entry
    if looks is not None and shown is not None and len(given) > 1:
        title = f"{stem.name}: {record['target']}"
        drawn = sheet(given, pictures=[shown], title=title, **asdict(looks))
        record["sheet"] = str(save_png(drawn, _beside(stem, "sheet.png")))
    return record


@checked(RenderingError)
def write_flow(
    explanation: Explanation,
    stem: Path,
    *,
    picture: Image.Image | None = None,
    looks: Looks = PLAIN,
    suffix: str = ".gif",
    seconds_per_frame: Annotated[float, Range(0, 60, above=True)] = 0.5,
    strip: bool = True,
) -> dict[str, Any]:
    """Write the flow of one picture as an animation, and all its blocks as one PNG.

    Args:
        explanation: Of one picture, by a method that has a flow.
        stem: The path without an ending.
        picture: What to draw on; None takes what the explanation keeps.
        looks: How maps are drawn.
        suffix: Ending of the animation: .gif, .webp, .mp4 or .webm.
        seconds_per_frame: How long each image is shown.
        strip: True also writes the PNG with all blocks.

    Returns:
        The files by kind, and the number of blocks.

    Raises:
        MethodError: The method has no flow.
        OutputError: A file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images(), "daam")
        >>> vs.reports.write_flow(explained, Path("shape"))["strip"]
        'shape.daam.strip.png'
    """
    name = explanation.method
    given = arguments_for(name, looks)
    picture = None if looks.on == "original" else picture  # the file is read again
    place = animation(
        explanation, 0, _beside(stem, f"{name}{suffix}"), seconds_per_frame=seconds_per_frame, picture=picture,
        **given,
    )  # fmt: skip
    files: dict[str, Any] = {"animation": str(place), "blocks": words.flow_steps(explanation)[1]}
    if strip:
        drawn = draw_strip(explanation, picture=picture, **given)
        files["strip"] = str(save_png(drawn, _beside(stem, f"{name}.strip.png"), words.made_by(explanation)))
    return files


def _beside(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}.{ending}")
