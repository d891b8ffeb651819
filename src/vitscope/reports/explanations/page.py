"""Explanations as a self-contained HTML page: pictures, the maps of several methods, their flow, predictions, heads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from vitscope.errors import RenderingError
from vitscope.methods import Explanation
from vitscope.options.door import checked
from vitscope.rendering.maps.blending import OPACITY
from vitscope.rendering.pages.markup import photo_uri
from vitscope.rendering.pages.page import Page
from vitscope.rendering.pages.templating import part
from vitscope.reports.explanations.card_markup import card_markup
from vitscope.reports.explanations.cards import card, method_summaries, model_facts
from vitscope.reports.explanations.contents import by_method
from vitscope.reports.explanations.records import Card, MethodSummary

HERE, TEMPLATE = "vitscope.reports", "explanations.html"


@dataclass(frozen=True)
class Report:
    """A page of explanations, put together from cards.

    Args:
        title: Printed above.
        pictures: A card for each picture, see :func:`vitscope.reports.card`.
        subtitle: Printed below the title.
        methods: What a reader should know of each method.
        commands: (command, note) pairs: what made the report.
        next_steps: (command, note) pairs: what to try next.
        metadata: Facts about the model, by name.
        notes: Sentences printed above the cards.
        opacity: How far the highest values cover the pictures at first, 0 to 1; the page has a slider.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images(), "rollout")
        >>> "One shape" in vs.reports.Report("One shape", [vs.reports.card(explained)]).html()
        True
    """

    title: str
    pictures: Sequence[Card]
    subtitle: str = ""
    methods: Sequence[MethodSummary] = ()
    commands: Sequence[tuple[str, str]] = ()
    next_steps: Sequence[tuple[str, str]] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    opacity: float = OPACITY

    @classmethod
    def of(
        cls,
        cards: Sequence[Card],
        methods: Iterable[str],
        example: Explanation,
        *,
        title: str | None = None,
        subtitle: str | None = None,
        **more: Any,
    ) -> Report:
        """The report of cards made by these methods; ``example`` is one of their explanations, which knows the model.

        ``more``: other fields, such as commands and notes."""
        names = list(methods)
        pictures = f"{len(cards)} picture{'s' if len(cards) != 1 else ''}"
        return cls(
            title=f"{pictures} explained" if title is None else title,
            pictures=cards,
            subtitle=f"by {', '.join(names)}" if subtitle is None else subtitle,
            methods=method_summaries(names),
            metadata=model_facts(example),
            **more,
        )

    def html(self) -> str:
        """The report as one self-contained HTML page.

        Raises RenderingError for arrays of wrong shapes or an unknown name.
        """
        return self.page().html()

    def write(self, path: str | Path) -> Path:
        """Write the report atomically; returns its path. Raises OutputError when it cannot be written."""
        return self.page().write(path)

    def page(self) -> Page:
        """The report as a page under construction."""
        scripts = ["report.js", "choice.js"] if len(self.pictures) > 1 else ["report.js"]
        page = Page(self.title, self.subtitle, styles=["report.css"], scripts=scripts, contents=False)
        if self.notes:
            page.add(part(HERE, TEMPLATE, "notes", self.notes))
        if self.metadata:
            page.metadata(self.metadata)
        page.add(part(HERE, TEMPLATE, "toolbar", self.opacity, _choice(self.pictures)))
        if len(self.pictures) > 1:
            page.add(part(HERE, TEMPLATE, "index", [_link(each) for each in self.pictures]))
        for number, each in enumerate(self.pictures):
            page.add(card_markup(each, number))
        if self.methods:
            page.section("Methods").add(part(HERE, TEMPLATE, "methods", self.methods))
        if self.commands:
            page.section("Commands that made this report").commands(list(self.commands))
        if self.next_steps:
            page.section("Try next").commands(list(self.next_steps))
        return page


@checked(RenderingError)
def page(
    explanations: Explanation | Sequence[Explanation] | Mapping[str, Explanation],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    subtitle: str | None = None,
    names: Sequence[str] | None = None,
    pictures: Sequence[Image.Image] | None = None,
    labels: Sequence[str] | None = None,
) -> str:
    """Explanations as one self-contained HTML page, with a card for each picture.

    Args:
        explanations: One for each method, of the same pictures, as ``vs.explain`` gives for several methods.
        path: Where to write the page, atomically; None writes nothing.
        title: None is the number of explained pictures.
        subtitle: None is the methods.
        names: What the pictures are called; None takes their keys.
        pictures: What the model saw, one for each; None takes what the explanations keep.
        labels: The true class of each picture, where known.

    Returns:
        The HTML text.

    Raises:
        PictureError: Explanations of different pictures, or no pictures to show.
        OutputError: The file cannot be written.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> explained = vs.explain(vit, vs.worlds.world("shapes").sample(1, seed=1).images(), "rollout")
        >>> "rollout" in vs.reports.page(explained, "report.html")
        True
    """
    given = by_method(explanations)
    first = next(iter(given.values()))
    count = len(first)
    for what, each in (("names", names), ("pictures", pictures), ("labels", labels)):
        if each is not None and len(each) != count:
            raise RenderingError(f"expected {count} {what}, got {len(each)}; give one for each picture")
    cards = [
        card(
            given,
            index,
            name=None if names is None else names[index],
            picture=None if pictures is None else pictures[index],
            label=None if labels is None else labels[index],
        )
        for index in range(count)
    ]
    return Report.of(cards, given, first, title=title, subtitle=subtitle).page().finish(path)


def _choice(cards: Sequence[Card]) -> dict[str, Any] | None:
    """What a reader can choose among: the predicted classes, and right or wrong where labels are known."""
    if len(cards) < 2:
        return None
    classes = sorted({each.predictions[0][0] for each in cards if each.predictions})
    return {"classes": classes, "judged": any(each.right is not None for each in cards)}


def _link(entry: Card) -> dict[str, str]:
    """What the index of the page shows of a card."""
    words = entry.predictions[0][0] if entry.predictions else entry.name
    return {"name": entry.name, "words": words, "source": photo_uri(entry.picture, 96)}
