"""The maps of several methods of the same pictures, by method."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from PIL import Image

from vitscope.methods.explaining.explanation import Explanation
from vitscope.shown import drawn_by

if TYPE_CHECKING:
    import pandas as pd


class Explanations(dict[str, Explanation]):
    """Explanations of the same pictures by the names of their methods: a dict that shows itself side by side.

    Made by :func:`vitscope.explain` for several methods.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> found = vs.explain(vit, vs.worlds.world("shapes").sample(2, seed=1).images(), ["rollout", "daam"])
        >>> found
        <Explanations of 2 pictures by rollout, daam>
        >>> found["daam"].flow.shape[1], found.sheet().mode
        (6, 'RGB')
    """

    def __repr__(self) -> str:
        count = len(next(iter(self.values()))) if self else 0
        return f"<Explanations of {count} picture{'s' * (count != 1)} by {', '.join(self) or 'no method'}>"

    def to_pandas(self) -> pd.DataFrame:
        """Tabulate the pictures under every method.

        Returns:
            One row per method and picture, with the columns of :meth:`Explanation.to_pandas`.
        """
        import pandas as pd

        return pd.concat([each.to_pandas() for each in self.values()], ignore_index=True)

    def sheet(self, **options: Any) -> Image.Image:
        """Draw the maps side by side: a row per picture, a column per method.

        Args:
            options: Those of :func:`vitscope.reports.sheet`.

        Returns:
            An RGB image.
        """
        drawn: Image.Image = drawn_by("explanations.sheets", "sheet")(self, **options)
        return drawn

    def to_html(self, path: str | os.PathLike[str] | None = None, **options: Any) -> str:
        """A self-contained page with a card for each picture; written to ``path`` when one is given.

        Args:
            path: Where to write it; None writes nothing.
            options: Those of :func:`vitscope.reports.page`.

        Returns:
            The HTML text.
        """
        text: str = drawn_by("explanations.page", "page")(self, path, **options)
        return text

    def _repr_html_(self) -> str:
        return str(drawn_by("explanations.notebook", "explanations_html")(self))
