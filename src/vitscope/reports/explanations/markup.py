"""The markup of one picture in the report: photograph, predictions, maps, flow player, head matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitscope.errors import RenderingError
from vitscope.rendering.colour import INVALID_DARK, check_colour, colourise, default_colour
from vitscope.rendering.maps.colourbar import bar_labels
from vitscope.rendering.maps.flow import scale_flow
from vitscope.rendering.maps.overlay import display_note
from vitscope.rendering.maps.scaling import WHOLE, Extent, ScaledMaps, scale
from vitscope.rendering.pages.markup import Html, element, json_block, photo_uri, png_uri, short_numbers
from vitscope.rendering.pages.tables import colour_bar, heat_table, share_bars
from vitscope.reports.explanations.records import Card, CardFlow, CardHeads, CardMap

_PHOTO_SIDE = 640
"""Longer side of an embedded photograph in pixels, at most."""

_HATCH_PIXELS = 8
"""Pixels per cell in the layer of a map that has cells to hatch; other layers have one pixel per cell."""


def picture_card(entry: Card, number: int) -> Html:
    """One picture's part of the report, with the anchor ``picture-<number>``."""
    shape = (entry.picture.width, entry.picture.height)
    maps = [_map_figure(one, entry, shape) for one in entry.maps]
    explained = f"Explained: {entry.target}" if entry.target else None
    truth = f"Label: {entry.label}" if entry.label is not None else None
    facts = " · ".join(part for part in (explained, truth, entry.note) if part)
    marked = next((name for name, _ in entry.predictions if entry.target and name in entry.target), None)
    side = element(
        "div",
        element(
            "figure",
            _stack(
                shape, f"Picture {entry.name}", None, entry.maps[0].extent if entry.maps else WHOLE, "plain"
            ),
            class_="map plain",
        ),
        element("div", element("h3", "Predictions"), share_bars(entry.predictions, marked=marked))
        if entry.predictions
        else None,
        class_="side",
    )
    return element(
        "article",
        element(
            "header",
            element("h2", entry.name, id=f"picture-{number}-title"),
            element("p", facts, class_="quiet") if facts else None,
        ),
        element(
            "div",
            side,
            element("div", maps, class_="maps", style=f"--count:{len(maps)}"),
            class_="card-body",
        ),
        element(
            "div",
            [_flow_player(flow, entry, shape, f"{number}-{index}") for index, flow in enumerate(entry.flows)],
            [_heads(heads) for heads in entry.heads],
            class_="card-details",
        )
        if entry.flows or entry.heads
        else None,
        class_="card",
        id=f"picture-{number}",
        aria_labelledby=f"picture-{number}-title",
        style=f"--photo:url({photo_uri(entry.picture, _PHOTO_SIDE)})",
    )


def _map_figure(one: CardMap, entry: Card, shape: tuple[int, int]) -> Html:
    scaled = scale(one.values, one.scaling, extent=one.extent)
    if scaled.values.ndim != 2:
        raise RenderingError(
            f"expected a map (h, w) of {one.method!r}, got {scaled.values.shape}; one per CardMap"
        )
    name = check_colour(one.colour or default_colour(scaled.diverging), scaled.diverging)
    low, middle, high = bar_labels(scaled)
    alt = f"Map of {one.method} on {entry.name}: {_hottest(np.asarray(one.values, dtype=np.float64))}"
    return element(
        "figure",
        _stack(shape, alt, _layer(scaled, name), one.extent),
        json_block(short_numbers(one.values), class_="cells"),
        element(
            "figcaption",
            element("div", element("b", one.method), element("span", class_="readout"), class_="map-title"),
            colour_bar(name, low, middle, high),
            _prefix(one.prefix),
            element("p", one.note, class_="note") if one.note else None,
            element("p", _display(scaled), class_="note"),
            element("details", element("summary", "Values as a table"), class_="values"),
        ),
        class_="map",
    )


def _flow_player(flow: CardFlow, entry: Card, shape: tuple[int, int], key: str) -> Html:
    raw = np.asarray(flow.values, dtype=np.float64)
    shared = scale_flow(raw, flow.scaling, extent=flow.extent)
    own = scale_flow(raw, "signed", scope="map") if shared.diverging else scale_flow(raw, "minmax")
    count = len(raw)
    names, places = list(flow.labels), list(flow.places)
    if len(names) != count or len(places) != count:
        raise RenderingError(
            f"expected {count} labels and places, got {len(names)} and {len(places)}; one per step"
        )
    name = check_colour(flow.colour or default_colour(shared.diverging), shared.diverging)
    gains = _gains(raw) if flow.accumulated else None
    thumbs = []
    for index in range(count):
        shared_bar, own_bar = bar_labels(shared.at(index)), bar_labels(own.at(index))
        image = _layer(
            shared.at(index),
            name,
            data_own=layer_uri(own.values[index], name),
            data_bar="|".join(shared_bar),
            data_own_bar="|".join(own_bar),
        )
        gain = None
        if gains is not None:
            words = f"{100 * gains[index]:+.0f} %".replace("-", "−") if np.isfinite(gains[index]) else ""
            gain = element("span", words, class_="gain")
        thumbs.append(
            element(
                "li",
                element(
                    "button",
                    element(
                        "span", _photo(), image, class_="stack", style=_aspect(shape) + _covered(flow.extent)
                    ),
                    element("span", names[index], class_="block-name"),
                    gain,
                    type="button",
                    data_block=index,
                    aria_current="true" if index == count - 1 else None,
                    aria_label=f"Show {names[index]}",
                ),
            )
        )
    low, middle, high = bar_labels(shared.at(count - 1))
    scales = [("shared", "whole flow"), ("own", "each block")]
    alt = f"{flow.method} on {entry.name} after {names[-1]}: {_hottest(raw[-1])}"
    explained = (
        " The percentage is what a block adds to the final sum over the grid." if gains is not None else ""
    )
    return element(
        "section",
        element("h3", f"{flow.method}, block by block"),
        element("p", (flow.note + explained).strip(), class_="note") if flow.note or explained else None,
        element(
            "div",
            element(
                "figure",
                _stack(shape, alt, _layer(shared.at(count - 1), name), flow.extent),
                element(
                    "figcaption",
                    element(
                        "div",
                        element("output", places[-1], class_="where"),
                        element("span", class_="readout"),
                        class_="map-title",
                    ),
                    element(
                        "div",
                        element("button", "Play", type="button", class_="play"),
                        element("button", "‹", type="button", data_step="-1", aria_label="Previous block"),
                        element(
                            "input",
                            type="range",
                            min=1,
                            max=count,
                            value=count,
                            aria_label=f"Block of the flow of {flow.method}",
                            aria_valuetext=places[-1],
                        ),
                        element("button", "›", type="button", data_step="1", aria_label="Next block"),
                        class_="controls",
                    ),
                    colour_bar(name, low, middle, high),
                    element(
                        "fieldset",
                        element("legend", "Scale"),
                        [
                            element(
                                "label",
                                element(
                                    "input",
                                    type="radio",
                                    name=f"scale-{key}",
                                    value=value,
                                    checked=value == "shared",
                                ),
                                element("span", words),
                            )
                            for value, words in scales
                        ],
                        class_="segments",
                    ),
                    element("p", _display(shared), class_="note"),
                    element("details", element("summary", "Values as a table"), class_="values"),
                ),
                class_="map player",
            ),
            element("ol", thumbs, class_="strip"),
            class_="flow-body",
        ),
        json_block({"names": names, "places": places, "values": short_numbers(raw)}, class_="cells"),
        class_="flow",
    )


def _heads(heads: CardHeads) -> Html:
    matrix = np.asarray(heads.values, dtype=np.float64)
    if matrix.ndim != 2:
        raise RenderingError(
            f"expected head values of shape (L, H), got {matrix.shape}; give one row per block"
        )
    return element(
        "section",
        element("h3", f"{heads.method}: {heads.label}"),
        element("p", heads.note, class_="note") if heads.note else None,
        heat_table(matrix, heads.blocks, heads.heads, corner="block \\ head"),
        element("p", "The largest of each block is underlined.", class_="note"),
        class_="heads",
    )


def layer_uri(values: NDArray[np.float32], name: str) -> str:
    """A scaled map (h, w) as a tiny picture, one pixel per cell; with hatched cells where there is no value."""
    colours = colourise(values, name)
    invalid = ~np.isfinite(values)
    if invalid.any():
        colours = colours.repeat(_HATCH_PIXELS, 0).repeat(_HATCH_PIXELS, 1)
        mask = invalid.repeat(_HATCH_PIXELS, 0).repeat(_HATCH_PIXELS, 1)
        rows, columns = np.indices(mask.shape)
        colours[mask & ((rows + columns) // (_HATCH_PIXELS // 2) % 2 == 0)] = INVALID_DARK
    return png_uri(Image.fromarray(colours))


def _layer(scaled: ScaledMaps, name: str, **attributes: str) -> Html:
    """The map's picture, to be laid over the photograph; what it shows is said by the box around it."""
    kind = "layer signed" if scaled.diverging else "layer"
    return element("img", src=layer_uri(scaled.values, name), alt="", class_=kind, **attributes)


def _stack(
    shape: tuple[int, int], alt: str, layer: Html | None, extent: Extent = WHOLE, kind: str = ""
) -> Html:
    """Photograph and map in one box of the picture's shape; the photograph comes from the card's style, and the map
    lies on the part ``extent`` of it."""
    return element(
        "div",
        _photo(),
        layer,
        class_=f"stack {kind}".strip(),
        style=_aspect(shape) + _covered(extent),
        data_extent=" ".join(f"{share:.6g}" for share in extent),
        role="img",
        aria_label=alt,
    )


def _photo() -> Html:
    return element("span", class_="photo")


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


def _prefix(shares: Mapping[str, float] | None) -> Html | None:
    if not shares:
        return None
    entries: Sequence[tuple[str, float]] = list(shares.items())
    return element(
        "div", element("p", "Outside the grid", class_="note"), share_bars(entries), class_="prefix"
    )


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
