"""What ``study.show()`` gives: where the app is, the same inside a notebook, and its end."""

from __future__ import annotations

import html
from collections.abc import Callable
from types import TracebackType


class ShownStudy:
    """The app with a study, at work in this process until it is stopped. Made by :meth:`vitscope.Study.show`.

    As the last line of a cell it shows itself: the app where the notebook's server has a proxy, else the link to it.

    Args:
        name: Of the study.
        url: What is typed into a browser.
        path: Where the notebook's own page finds it; None where no proxy leads there.
        height: Of the app inside a notebook, in pixels.
        end: Ends the server and the model's process.
    """

    def __init__(self, name: str, url: str, path: str | None, height: int, end: Callable[[], None]) -> None:
        self.name, self.url, self.path, self.height = name, url, path, height
        self._end: Callable[[], None] | None = end

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._end is not None

    def stop(self) -> None:
        """End the server and the model's process; nothing of them is left. Once is enough, and twice does no harm."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def __enter__(self) -> ShownStudy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        if not self.running:
            return f"<ShownStudy of {self.name}: stopped>"
        return f"<ShownStudy of {self.name} at {self.url}>"

    def __str__(self) -> str:
        return f"{self.name} is shown at {self.url}" if self.running else f"{self.name} is no longer shown"

    def _repr_html_(self) -> str:
        name = html.escape(self.name)
        if not self.running:
            return f"<p>{name} is no longer shown; <code>study.show()</code> shows it again.</p>"
        link = html.escape(self.url if self.path is None else self.path, quote=True)
        told = f'<p><a href="{link}" target="_blank" rel="noopener">Open {name} in a tab of its own</a></p>'
        if self.path is None:
            return told
        return (
            f'<iframe src="{link}" title="vitscope: {name}" width="100%" height="{self.height}" '
            f'style="border: 1px solid #8884; border-radius: 4px"></iframe>{told}'
        )
