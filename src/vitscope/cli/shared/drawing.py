"""How maps become files: one place for the looks that ``explain``, ``flow`` and ``demo`` share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vitscope.cli.shared.reporting import is_signed, prefix_shares
from vitscope.cli.shared.session import class_name, explained_label, top_predictions
from vitscope.errors import MethodError

if TYPE_CHECKING:
    from PIL import Image

    from vitscope.methods import Explanation
    from vitscope.tracing import Vit

PER_ROW = 7
"""Maps of one picture in a row of its sheet."""


class Drawing:
    """How maps are drawn; checked at once, so that a wrong name is found before any work."""

    def __init__(
        self, style: str = "alpha", scaling: str | None = None, upsampling: str = "nearest", size: int = 1
    ) -> None:
        from vitscope.rendering.maps.overlay import check_size
        from vitscope.rendering.maps.panel import check_style
        from vitscope.rendering.maps.resample import check_upsampling
        from vitscope.rendering.maps.scaling import scale

        self.style, self.upsampling, self.size = (
            check_style(style),
            check_upsampling(upsampling),
            check_size(size),
        )
        if scaling is not None:
            scale(np.zeros((1, 1, 1)), scaling)
        self.scaling = scaling

    def looks(self) -> dict[str, Any]:
        """The keywords that every drawing function takes."""
        return {"style": self.style, "upsampling": self.upsampling, "size": self.size}

    def scaling_of(self, method: str, plain: str = "minmax") -> str:
        """The chosen scaling, or the one that suits the method: zero in the middle for signed maps."""
        return self.scaling or ("signed" if is_signed(method) else plain)


def write_results(
    vit: Vit, single: Mapping[str, Explanation], shown: Image.Image, stem: Path, drawing: Drawing | None
) -> dict[str, Any]:
    """Write one picture's maps, overlays and sheet; returns their record for ``--json``.

    ``single`` holds one explanation of one picture per method; ``shown`` is what the model saw of it; ``stem`` is the
    path without ending.
    """
    from vitscope.rendering import overlay, save_png

    first = next(iter(single.values()))
    chosen = None if first.classes is None else int(first.classes[0])
    label = explained_label(vit, first)
    record: dict[str, Any] = {
        "target": label,
        "class": chosen,
        "class_name": class_name(vit, chosen),
        "score": float(first.scores[0]),
    }
    if first.logits is not None:
        record["predictions"] = top_predictions(vit, first.logits[0])
    record["maps"] = {}
    for name, explanation in single.items():
        values = np.asarray(explanation.maps[0], dtype=np.float32)
        data = explanation.save(_beside(stem, f"{name}.safetensors"))
        entry: dict[str, Any] = {
            "data": str(data),
            "grid": list(values.shape),
            "low": float(values.min()),
            "high": float(values.max()),
            "finite": bool(np.isfinite(values).all()),
        }
        if drawing is not None:
            drawn = overlay(
                values,
                shown,
                scaling=drawing.scaling_of(name),
                title=f"{name}: {label}",
                prefix=prefix_shares(explanation),
                caption=explanation.metadata.get("shown_channels"),
                extent=explanation.extent,
                **drawing.looks(),
            )
            made = {
                "model": vit.source,
                "weights": vit.fingerprint,
                "method": name,
                "options": explanation.options,
            }
            entry["overlay"] = str(save_png(drawn, _beside(stem, f"{name}.png"), made))
        record["maps"][name] = entry
    if drawing is not None and len(single) > 1:
        maps = {name: np.asarray(explanation.maps, dtype=np.float32) for name, explanation in single.items()}
        title = f"{stem.name}: {label}"
        caption = f"{vit.source}, weights {vit.fingerprint}"
        sheet = wrapped_sheet(maps, shown, label, drawing, title, caption, first.extent)
        record["sheet"] = str(save_png(sheet, _beside(stem, "sheet.png")))
    return record


def wrapped_sheet(
    maps: Mapping[str, np.ndarray],
    shown: Image.Image,
    label: str,
    drawing: Drawing,
    title: str,
    caption: str,
    extent: tuple[float, float, float, float],
) -> Image.Image:
    """One picture's maps (1, h, w) by many methods, ``PER_ROW`` in a row."""
    from PIL import Image as Pictures

    from vitscope.rendering import method_sheet

    names = list(maps)
    rows = -(-len(names) // PER_ROW)
    width = -(-len(names) // rows)
    parts = [
        method_sheet(
            {name: maps[name] for name in names[start : start + width]},
            [shown],
            [label],
            scaling={name: drawing.scaling_of(name) for name in names},
            show_pictures=True,
            title=title if start == 0 else None,
            caption=caption if start + width >= len(names) else "",
            extent=extent,
            **drawing.looks(),
        )
        for start in range(0, len(names), width)
    ]
    page = Pictures.new(
        "RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white"
    )
    down = 0
    for part in parts:
        page.paste(part, (0, down))
        down += part.height
    return page


def write_flow(
    vit: Vit,
    explanation: Explanation,
    shown: Image.Image,
    stem: Path,
    drawing: Drawing,
    suffix: str = ".gif",
    seconds: float = 0.5,
    strip: bool = True,
) -> dict[str, Any]:
    """Write one picture's flow as an animation (and strip); returns the files by kind.

    Raises MethodError for an explanation without flow."""
    from vitscope.rendering import flow_frames, flow_strip, save_animation, save_png

    name = explanation.method
    if explanation.flow is None:
        raise MethodError(f"{name} has no flow, it makes one map and not one per block; try daam or dart")
    values = np.asarray(explanation.flow[0], dtype=np.float32)
    scaling, title = drawing.scaling_of(name, "daam"), f"{name}: {explained_label(vit, explanation)}"
    made = {"model": vit.source, "weights": vit.fingerprint, "method": name, "options": explanation.options}
    looks = {**drawing.looks(), "extent": explanation.extent}
    frames = flow_frames(values, shown, scaling=scaling, title=title, beside_picture=True, **looks)
    animation = save_animation(
        frames, _beside(stem, f"{name}{suffix}"), seconds_per_frame=seconds, metadata=made
    )
    files: dict[str, Any] = {"animation": str(animation), "blocks": len(values)}
    if strip:
        drawn = flow_strip(values, shown, scaling=scaling, title=title, **looks)
        files["strip"] = str(save_png(drawn, _beside(stem, f"{name}.strip.png"), made))
    return files


def _beside(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}.{ending}")
