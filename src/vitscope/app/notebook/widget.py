"""The widget itself: what is synchronised between the page and Python, and what may be set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from torch import Tensor

from vitscope.app.notebook.contents import about, picture_bytes
from vitscope.errors import MethodError, PlaceError, RenderingError, nearest
from vitscope.methods import Explanation, Explanations
from vitscope.reports import words
from vitscope.reports.explanations.contents import place_of
from vitscope.reports.explanations.notebook import explanation_html, explanations_html

BUNDLE = Path(__file__).resolve().parents[1] / "widget"
"""Where ``scripts/build_page.py`` puts the widget's page."""
SCALES = ("map", "global")
CURVES = ("linear", "sqrt", "rank")


class View(anywidget.AnyWidget):
    """Explanations of the same pictures, shown in a notebook; made by :func:`vitscope.view`.

    Args:
        explanations: By the names of their methods.

    What a reader chooses on the page stands in these attributes, and what is set there shows at once:

    * ``method``: whose map is shown.
    * ``block``: the number of the block of its flow that is shown; None for the whole map.
    * ``picture``: which of the pictures, from 0.
    * ``selection``: patches that were clicked, counted row by row from 0, in rising order.
    * ``scale`` ("map", or "global": one scale for the whole flow), ``curve`` ("linear", "sqrt", "rank"), ``opacity`` (0
      to 1) and ``smooth``: how it is drawn.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    _about = traitlets.Dict().tag(sync=True)
    _data = traitlets.Bytes().tag(sync=True)

    method = traitlets.Unicode().tag(sync=True)
    block = traitlets.Int(None, allow_none=True).tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)
    selection = traitlets.List(traitlets.Int()).tag(sync=True)
    scale = traitlets.Enum(SCALES, "map").tag(sync=True)
    curve = traitlets.Enum(CURVES, "linear").tag(sync=True)
    opacity = traitlets.Float(0.85, min=0.0, max=1.0).tag(sync=True)
    smooth = traitlets.Bool(False).tag(sync=True)

    def __init__(self, explanations: Mapping[str, Explanation], **chosen: Any) -> None:
        self.explanations = dict(explanations)
        page, style = bundle()
        data = picture_bytes(self.explanations, chosen.get("picture", 0))
        super().__init__(_esm=page, _css=style, _about=about(self.explanations), _data=data, **chosen)

    @property
    def explanation(self) -> Explanation:
        """The explanation of the method that is shown."""
        return self.explanations[self.method]

    @property
    def shown(self) -> Tensor:
        """The map that is shown, (h, w) float32, raw."""
        found = self.explanation
        if self.block is None or found.flow is None:
            return found.maps[self.picture]
        return found.flow[self.picture, words.step_of(found, self.block)]

    def __repr__(self) -> str:
        block = "" if self.block is None else f", block {self.block}"
        return f"<View of {self.explanation!r}: picture {self.picture}{block}>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and beside it the still form for places that run no widgets, such as an exported page."""
        found = super()._repr_mimebundle_(**options)
        data = found[0] if isinstance(found, tuple) else found
        if data is not None:
            alone = len(self.explanations) == 1
            several = Explanations(self.explanations)
            data["text/html"] = explanation_html(self.explanation) if alone else explanations_html(several)
        return found

    # ---- what may be set ---------------------------------------------------------------------------------------------
    @traitlets.validate("method")
    def _known_method(self, proposal: Any) -> str:
        name = str(proposal["value"])
        if name not in self.explanations:
            near = ", ".join(nearest(name, self.explanations))
            raise MethodError(f"no explanation by {name!r} is in this view; nearest: {near}")
        return name

    @traitlets.validate("block")
    def _known_block(self, proposal: Any) -> int | None:
        block = proposal["value"]
        if block is None:
            return None
        kind, count, first = words.flow_steps(self.explanation)
        if not count:
            raise MethodError(
                f"{self.method} has no flow, it makes one map and not one per block; set block = None"
            )
        if not first <= block < first + count:
            raise MethodError(
                f"expected a {kind} from {first} to {first + count - 1}, got {block}; or None for the whole map"
            )
        return int(block)

    @traitlets.validate("picture")
    def _known_picture(self, proposal: Any) -> int:
        return place_of(next(iter(self.explanations.values())), proposal["value"])

    @traitlets.validate("selection")
    def _known_patches(self, proposal: Any) -> list[int]:
        count = math.prod(self.explanation.maps.shape[-2:])
        wrong = [patch for patch in proposal["value"] if not 0 <= patch < count]
        if wrong:
            raise PlaceError(
                f"expected patches from 0 to {count - 1}, got {wrong[0]}; they are counted row by row"
            )
        return sorted(set(proposal["value"]))

    # ---- what follows from it ----------------------------------------------------------------------------------------
    @traitlets.observe("method")
    def _keep_what_fits(self, change: Any) -> None:
        """A block or patches that the new method does not have are let go."""
        _, count, first = words.flow_steps(self.explanation)
        if self.block is not None and not first <= self.block < first + count:
            self.block = None
        if change["old"] in self.explanations:
            before = self.explanations[change["old"]].maps.shape[-2:]
            if before != self.explanation.maps.shape[-2:]:
                self.selection = []

    @traitlets.observe("picture")
    def _load(self, change: Any) -> None:
        """Send the maps of the picture that is shown."""
        self._data = picture_bytes(self.explanations, self.picture)


def bundle() -> tuple[str, str]:
    """The widget's page: its module and its style. Raises RenderingError where it is not built."""
    try:
        return (BUNDLE / "view.js").read_text(), (BUNDLE / "view.css").read_text()
    except FileNotFoundError:
        raise RenderingError(
            "the widget's page is not built; run 'make page' in the folder of vitscope's sources (needs Node), or "
            "install a wheel, which holds it"
        ) from None
