"""What every answer of one server is made from: settings, study, pictures, and the desk before the model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from vitscope.app.model.asked import Asked, MapAsked
from vitscope.app.model.facts import Facts
from vitscope.app.pictures.shelf import Shelf
from vitscope.app.pictures.studied import StudyShown
from vitscope.app.pictures.studied_heads import StudiedHeads
from vitscope.app.schemas.about import CacheState
from vitscope.app.settings import Settings
from vitscope.app.work.desk import Desk
from vitscope.app.work.job import JobFailed

BESIDE = "beside"
"""Below which path the study that lies beside has the same addresses."""


class Services:
    """The parts of one running server.

    Args:
        settings: What it was started with.

    Raises:
        StudyError: A study cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.study = None if settings.study is None else StudyShown(settings.study)
        self.heads = None if self.study is None else StudiedHeads(self.study)
        self.shelf = Shelf(self.study, settings.upload_pixels, settings.added_bytes)
        methods = [] if self.study is None else self.study.methods
        self.desk = (
            None
            if settings.opening is None
            else Desk(settings.opening, settings.cache_bytes, self._changed, methods)
        )
        self.beside = None if settings.beside is None else Services(settings.beside)
        self.closing = False
        self._version = 0
        self._news = asyncio.Condition()
        self._telling: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to open the model, and that of the study beside."""
        for each in self._all():
            if each.desk is not None:
                each.desk.start()

    def end(self) -> None:
        """Let everything end that waits or streams."""
        for each in self._all():
            each.closing = True
            each._changed()
            if each.desk is not None:
                each.desk.give_up()

    async def close(self) -> None:
        """End the model's process, and forget the pictures that were added."""
        self.end()
        for each in self._all():
            if each.desk is not None:
                await each.desk.close()
            await asyncio.to_thread(each.shelf.close)

    def _all(self) -> list[Services]:
        return [self] if self.beside is None else [self, self.beside]

    # ---- the model -------------------------------------------------------------------------------------------
    async def model(self) -> Desk:
        """The desk, once its model is open. Raises JobFailed where there is none."""
        if self.desk is None:
            raise JobFailed("model", f"there is no model to compute this with: {self.settings.why_no_model}")
        await self.desk.opened()
        return self.desk

    async def facts(self) -> Facts | None:
        """What is known of the model; None where nothing is."""
        if self.desk is None:
            return self.settings.facts
        try:
            return await self.desk.opened()
        except JobFailed:
            return None

    @property
    def why_not(self) -> str | None:
        """Why nothing can be computed; None where it can."""
        if self.desk is None:
            return self.settings.why_no_model
        return self.desk.refused

    def expected(self, facts: Facts, asked: Asked) -> float:
        """How many seconds a question will take: of a map as many passes as its method declares."""
        if not isinstance(asked, MapAsked):
            return facts.forward
        known = {each["name"]: each for each in facts.methods["methods"]}
        method = known.get(asked.method or facts.methods["default"])
        return facts.forward if method is None else seconds_of(passes_of(method, asked.chosen()), facts)

    def cache(self) -> CacheState:
        """What is kept of computed answers."""
        if self.desk is None:
            return CacheState(used=0, cap=self.settings.cache_bytes, entries=0)
        kept = self.desk.kept
        return CacheState(used=kept.used, cap=kept.cap, entries=len(kept))

    # ---- news ------------------------------------------------------------------------------------------------
    @property
    def version(self) -> int:
        """Rises with every change of a job or of what is kept."""
        return self._version

    async def changed(self, since: int) -> int:
        """Wait until there is a change after ``since``; the new version."""
        async with self._news:
            await self._news.wait_for(lambda: self._version != since or self.closing)
        return self._version

    def _changed(self) -> None:
        self._version += 1
        task = asyncio.get_running_loop().create_task(self._tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


def passes_of(method: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[float, float]:
    """Forward and backward passes of a method over one picture with these options."""
    given = options.get(method["passes_by"])
    counts = isinstance(given, int | float) and not isinstance(given, bool) and given > 0
    share = given / method["passes_at"] if counts else 1.0
    return method["forwards"] * share, method["backwards"] * share


def seconds_of(passes: tuple[float, float], facts: Facts) -> float:
    """Seconds of so many forward and backward passes over one picture, as they were measured here."""
    return float(passes[0] * facts.forward + passes[1] * facts.backward)
