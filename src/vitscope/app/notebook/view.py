"""``vs.view``: look through explanations in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vitscope.errors import RenderingError
from vitscope.methods import Explanation
from vitscope.models.opening.optional import require
from vitscope.options.door import checked
from vitscope.reports.explanations.contents import by_method, place_of, refuse_film

if TYPE_CHECKING:
    from vitscope.app.notebook.widget import View


@checked(RenderingError)
def view(
    explanations: Explanation | Sequence[Explanation] | Mapping[str, Explanation],
    *,
    picture: int = 0,
    method: str | None = None,
    block: int | None = None,
) -> View:
    """Show explanations in a notebook: the map, its flow block by block, and menus; no server is needed.

    It is a widget for Jupyter, VS Code, Colab and marimo (extra ``notebook``). What is chosen on it is read from the
    view, and what is set there shows at once: ``view.method``, ``view.block``, ``view.picture`` and ``view.selection``,
    the patches that were clicked.

    Args:
        explanations: One, or one for each method, of the same pictures.
        picture: Which of the pictures is shown first, from 0.
        method: Whose map is shown first; None takes the first.
        block: Whose map of the flow is shown first; None shows the whole map.

    Returns:
        The view. As the last line of a cell it shows itself.

    Raises:
        PictureError: Explanations of different pictures, of films, or there is no such picture.
        MethodError: There is no such method among them, or it has no such block.
        MissingExtraError: The package anywidget is not installed.
        RenderingError: The widget's page is not built.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> found = vs.explain(vit, vs.worlds.demo_pictures(2).images(), ["daam", "rollout"])
        >>> view = vs.view(found, block=3)
        >>> view.method, view.block, tuple(view.shown.shape)
        ('daam', 3, (12, 12))
        >>> view.method = "rollout"
        >>> view.shown.equal(found["rollout"].flow[0, 3])
        True
    """
    require("anywidget", "notebook", "vs.view")
    from vitscope.app.notebook.widget import View

    given = by_method(explanations)
    for explanation in given.values():
        refuse_film(explanation)
    place = place_of(next(iter(given.values())), picture)
    return View(given, picture=place, method=method or next(iter(given)), block=block)
