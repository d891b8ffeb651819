"""A self-contained HTML report: pictures, the maps of several methods, their flow, predictions, head weights.

Plain records in, one file out. The records hold raw arrays; everything shown is derived here, for display only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from PIL import Image

from vitscope.rendering.maps.scaling import WHOLE, Extent
from vitscope.rendering.pages.markup import Html, element, photo_uri
from vitscope.rendering.pages.page import Page, metadata_list


@dataclass(frozen=True)
class ReportMap:
    """One method's map of one picture.

    ``values`` (h, w) raw; ``scaling`` a name of ``scaling.SCALINGS``; ``prefix`` the prefix tokens' share of the
    whole by name; ``note`` one line shown under the map; ``extent`` the part of the picture that the cells cover (top,
    left, bottom, right, as shares of its sides).
    """

    method: str
    values: ArrayLike
    scaling: str = "minmax"
    colour: str | None = None
    prefix: Mapping[str, float] | None = None
    note: str = ""
    extent: Extent = WHOLE


@dataclass(frozen=True)
class ReportFlow:
    """One method's map after every block: ``values`` (L, h, w) raw, ``labels`` one per block.

    ``accumulated`` says that each map holds all blocks so far, so that what a block adds can be shown as a share.
    """

    method: str
    values: ArrayLike
    scaling: str = "daam"
    colour: str | None = None
    labels: Sequence[str] | None = None
    accumulated: bool = True
    note: str = ""
    extent: Extent = WHOLE


@dataclass(frozen=True)
class ReportHeads:
    """One number per head: ``values`` (L, H), NaN where a block has fewer heads; ``label`` says what it is."""

    method: str
    values: ArrayLike
    label: str = "weight of each head"
    block_labels: Sequence[str] | None = None
    note: str = ""


@dataclass(frozen=True)
class ReportPicture:
    """All that is shown of one picture.

    ``picture`` is what the model saw, without normalisation. ``predictions`` are (label, probability), the most
    probable first. ``target`` says in words what the maps explain, ``label`` the true class where it is known.
    """

    name: str
    picture: Image.Image
    predictions: Sequence[tuple[str, float]] = ()
    target: str = ""
    label: str | None = None
    maps: Sequence[ReportMap] = ()
    flows: Sequence[ReportFlow] = ()
    heads: Sequence[ReportHeads] = ()
    note: str = ""


@dataclass(frozen=True)
class ReportMethod:
    """What a reader should know of a method: title, what it does in a sentence or two, cost, source."""

    name: str
    title: str
    description: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """The whole report; ``commands`` and ``next_steps`` are (command, note) pairs."""

    title: str
    pictures: Sequence[ReportPicture]
    subtitle: str = ""
    methods: Sequence[ReportMethod] = ()
    commands: Sequence[tuple[str, str]] = ()
    next_steps: Sequence[tuple[str, str]] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def html(self) -> str:
        """The report as one self-contained page.

        Raises ``RenderingError`` when a record's arrays have wrong shapes or a name is unknown.
        """
        return self._page().html()

    def write(self, path: str | Path) -> Path:
        """Write the report, whole or not at all; raises ``OutputError`` when the place cannot be written."""
        return self._page().write(path)

    def _page(self) -> Page:
        from vitscope.reports.explanations.card import picture_card

        page = Page(self.title, self.subtitle, styles=["report.css"], scripts=["report.js"], contents=False)
        if self.notes:
            page.add(element("ul", [element("li", note) for note in self.notes], class_="notes"))
        if self.metadata:
            page.add(metadata_list(self.metadata))
        page.add(_toolbar(), _index(self.pictures))
        for number, picture in enumerate(self.pictures, start=1):
            page.add(picture_card(picture, number))
        if self.methods:
            page.section("Methods").add(
                element("div", [_method(method) for method in self.methods], class_="methods")
            )
        if self.commands:
            page.section("Commands that made this report").commands(list(self.commands))
        if self.next_steps:
            page.section("Try next").commands(list(self.next_steps))
        return page


def _toolbar() -> Html:
    """How all maps of the page are shown; hidden where no script runs."""
    views = [("overlay", "Overlay"), ("map", "Map"), ("photo", "Picture")]
    radios = [
        element(
            "label",
            element("input", type="radio", name="view", value=value, checked=value == "overlay"),
            element("span", words),
        )
        for value, words in views
    ]
    return element(
        "form",
        element("fieldset", element("legend", "View"), radios, class_="segments"),
        element(
            "label",
            "Strength",
            element("input", type="range", name="strength", min=10, max=100, value=65, step=5),
            class_="strength",
        ),
        element("label", element("input", type="checkbox", name="smooth"), "Smooth", class_="smooth"),
        element("span", "Point at a map to read its values.", class_="hint"),
        class_="toolbar",
        aria_label="How maps are shown",
    )


def _index(pictures: Sequence[ReportPicture]) -> Html | None:
    if len(pictures) < 2:
        return None
    links = [
        element(
            "li",
            element(
                "a",
                element("img", src=photo_uri(entry.picture, 96), alt="", width=48, height=48),
                element("span", entry.predictions[0][0] if entry.predictions else entry.name),
                href=f"#picture-{number}",
                title=entry.name,
            ),
        )
        for number, entry in enumerate(pictures, start=1)
    ]
    return element("nav", element("ol", links), class_="index", aria_label="Pictures")


def _method(method: ReportMethod) -> Html:
    details = [
        element("div", element("dt", key), element("dd", str(value))) for key, value in method.details.items()
    ]
    name = element("code", method.name) if method.name != method.title else None
    return element(
        "article",
        element("h3", method.title, " ", name),
        element("p", method.description) if method.description else None,
        element("dl", details) if details else None,
    )
