"""The markup of one card: what the template ``card.html`` shows of a picture, its maps, flows and heads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.rendering.colour import INVALID_DARK, INVALID_LIGHT, check_colour, default_colour
from vitscope.rendering.maps.blending import layer
from vitscope.rendering.maps.colourbar import Bar, bar_of
from vitscope.rendering.maps.flow import scale_flow
from vitscope.rendering.maps.overlay import display_note
from vitscope.rendering.maps.scaling import WHOLE, Extent, ScaledMaps, scale
from vitscope.rendering.pages.markup import json_block, photo_uri, png_uri, short_numbers
from vitscope.rendering.pages.tables import blended_bar, heat_table, share_bars
from vitscope.rendering.pages.templating import fill
from vitscope.reports import words
from vitscope.reports.explanations.records import Card, CardFlow, CardHeads, CardMap

_PHOTO_SIDE = 640
"""Longer side of an embedded photograph in pixels, at most."""

_HATCH_PIXELS = 8
"""Pixels per cell in the layer of a map that has cells to hatch; other layers have one pixel per cell."""


def card_markup(entry: Card, number: int) -> Markup:
    """One picture's part of the page, with the anchor ``picture-<number + 1>``; ``number`` counts from 0."""
    shape = (entry.picture.width, entry.picture.height)
    explained = f"Explained: {entry.target}" if entry.target else None
    truth = f"Label: {entry.label}" if entry.label is not None else None
    aim = (entry.target or "").partition(words.RATHER_THAN)[0]
    marked = next((name for name, _ in entry.predictions if name == aim), None)
    extent = entry.maps[0].extent if entry.maps else WHOLE
    return fill(
        "vitscope.reports",
        "card.html",
        number=number + 1,
        name=entry.name,
        choice=_chosen_by(entry),
        photo=photo_uri(entry.picture, _PHOTO_SIDE),
        facts=" · ".join(part for part in (explained, truth, entry.note) if part),
        plain=_stack(shape, f"Picture {entry.name}", extent, "plain"),
        predictions=share_bars(entry.predictions, marked=marked) if entry.predictions else "",
        maps=[_map(one, entry, shape) for one in entry.maps],
        flows=[_flow(flow, entry, shape, f"{number}-{index}") for index, flow in enumerate(entry.flows)],
        heads_of=[_heads(one) for one in entry.heads],
    )


def _chosen_by(entry: Card) -> dict[str, Any]:
    """What the cards of a page are sorted and filtered by: the predicted class, how sure it is, whether it is right."""
    if not entry.predictions:
        return {}
    word, sure = entry.predictions[0]
    judged = None if entry.right is None else "right" if entry.right else "wrong"
    return {"data-kind": word, "data-sure": f"{sure:.6g}", "data-judged": judged}


def _map(one: CardMap, entry: Card, shape: tuple[int, int]) -> dict[str, Any]:
    scaled = scale(one.values, one.scaling, extent=one.extent)
    if scaled.values.ndim != 2:
        raise RenderingError(
            f"expected a map (h, w) of {one.method!r}, got {scaled.values.shape}; one per CardMap"
        )
    name = check_colour(one.colour or default_colour(scaled.diverging), scaled.diverging)
    alt = f"Map of {one.method} on {entry.name}: {_hottest(np.asarray(one.values, dtype=np.float64))}"
    return {
        "method": one.method,
        "stack": _stack(shape, alt, one.extent),
        "image": _layer(scaled, name),
        "cells": json_block(short_numbers(one.values), "cells"),
        "bar": blended_bar(bar_of(scaled, name)),
        "prefix": share_bars(list(one.prefix.items())) if one.prefix else "",
        "note": one.note,
        "display": _display(scaled),
    }


def _flow(flow: CardFlow, entry: Card, shape: tuple[int, int], key: str) -> dict[str, Any]:
    raw = np.asarray(flow.values, dtype=np.float64)
    shared = scale_flow(raw, flow.scaling, extent=flow.extent)
    own = scale_flow(raw, "signed", scope="map") if shared.diverging else scale_flow(raw, "minmax")
    count, names, places = len(raw), list(flow.labels), list(flow.places)
    if len(names) != count or len(places) != count:
        raise RenderingError(
            f"expected {count} labels and places, got {len(names)} and {len(places)}; give one per step"
        )
    name = check_colour(flow.colour or default_colour(shared.diverging), shared.diverging)
    gains = _gains(raw) if flow.accumulated else None
    of_all = bar_of(replace(shared.at(count - 1), values=shared.values), name)
    thumbs = []
    for index in range(count):
        more = {
            "own": layer_uri(own.values[index], name, own.diverging),
            "bar": _told(of_all),
            "own_bar": _told(bar_of(own.at(index), name)),
            "name": names[index],
            "gain": None if gains is None else _percent(gains[index]),
        }
        thumbs.append({**_layer(shared.at(index), name), **more})
    explained = f" The percentage is what a {flow.step} adds to the final sum over the grid."
    alt = f"{flow.method} on {entry.name} after {names[-1]}: {_hottest(raw[-1])}"
    return {
        "method": flow.method,
        "step": flow.step,
        "note": (flow.note + (explained if gains is not None else "")).strip(),
        "stack": _stack(shape, alt, flow.extent),
        "layer": _layer(shared.at(count - 1), name),
        "place": places[-1],
        "count": count,
        "key": key,
        "bar": blended_bar(of_all),
        "display": _display(shared),
        "thumbs": thumbs,
        "cells": json_block({"names": names, "places": places, "values": short_numbers(raw)}, "cells"),
    }


def _heads(heads: CardHeads) -> dict[str, Any]:
    matrix = np.asarray(heads.values, dtype=np.float64)
    if matrix.ndim != 2:
        raise RenderingError(
            f"expected head values of shape (L, H), got {matrix.shape}; give one row per block"
        )
    table = heat_table(matrix, heads.blocks, heads.heads, corner="block \\ head")
    return {"method": heads.method, "label": heads.label, "note": heads.note, "table": table}


def _percent(share: float) -> str:
    return f"{100 * share:+.0f} %".replace("-", "−") if np.isfinite(share) else ""


def _told(bar: Bar) -> str:
    """A bar for the page's script, which shows it when its block is shown."""
    return "|".join([*bar.texts, f"{100 * bar.at[1]:.4g}%", bar.css()])


def layer_uri(values: NDArray[np.float32], name: str, diverging: bool) -> str:
    """A scaled map (h, w) as a tiny picture with its cover, one pixel per cell; with hatched cells where there is no
    value."""
    colours = layer(values, name, diverging)
    invalid = ~np.isfinite(values)
    if invalid.any():
        colours = colours.repeat(_HATCH_PIXELS, 0).repeat(_HATCH_PIXELS, 1)
        mask = invalid.repeat(_HATCH_PIXELS, 0).repeat(_HATCH_PIXELS, 1)
        rows, columns = np.indices(mask.shape)
        stripe = (rows + columns) // (_HATCH_PIXELS // 2) % 2 == 0
        colours[mask] = (*INVALID_LIGHT, 255)
        colours[mask & stripe] = (*INVALID_DARK, 255)
    return png_uri(Image.fromarray(colours))


def _layer(scaled: ScaledMaps, name: str) -> dict[str, Any]:
    """The map's picture, to be laid over the photograph; what it shows is said by the box around it."""
    source = layer_uri(scaled.values, name, scaled.diverging)
    kind = "layer signed" if scaled.diverging else "layer"
    return {"source": source, "kind": kind, "own": None, "bar": None, "own_bar": None}


def _stack(shape: tuple[int, int], alt: str, extent: Extent = WHOLE, kind: str = "") -> dict[str, str]:
    """Photograph and map in one box of the picture's shape; the photograph comes from the card's style, and the map
    lies on the part ``extent`` of it."""
    return {
        "alt": alt,
        "kind": kind,
        "style": _aspect(shape) + _covered(extent),
        "extent": " ".join(f"{share:.6g}" for share in extent),
    }


def _aspect(shape: tuple[int, int]) -> str:
    return f"aspect-ratio:{shape[0]}/{shape[1]}"


def _covered(extent: Extent) -> str:
    """Where the layer lies in its box, for the style sheet; nothing where it fills the box."""
    if extent == WHOLE:
        return ""
    top, left, bottom, right = (100 * share for share in extent)
    return f";--top:{top:.4g}%;--left:{left:.4g}%;--high:{bottom - top:.4g}%;--wide:{right - left:.4g}%"


def _display(scaled: ScaledMaps) -> str:
    return display_note(scaled, "one colour per cell").replace(", one colour per cell", "")


def _hottest(raw: NDArray[np.float64]) -> str:
    """Where a map is highest, in words, for readers who do not see it."""
    if not np.isfinite(raw).any():
        return "no finite value"
    place = np.unravel_index(int(np.argmax(np.where(np.isfinite(raw), raw, -np.inf))), raw.shape)
    return f"highest in row {place[0] + 1}, column {place[1] + 1} of {raw.shape[0]} by {raw.shape[1]}"


def _gains(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each block adds to the final sum over the grid, as a share of it; NaN when there is none."""
    sums = np.where(np.isfinite(raw), raw, 0.0).sum(axis=(1, 2))
    added = np.diff(sums, prepend=0.0)
    return added / sums[-1] if sums[-1] != 0 else np.full(len(sums), np.nan)
