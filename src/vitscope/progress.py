"""How far long work is, and whether it should stop: the one argument ``progress`` of every long function.

Whatever has the three methods of :class:`Progress` can be passed. Ready ones: :func:`bar` for terminals and notebooks,
:class:`Callback` for a function of one's own and for cancelling, :class:`Silent` for neither.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from vitscope.errors import Cancelled, ProgressError, printable

if TYPE_CHECKING:
    from typing import Self

    from rich.console import Console
    from rich.progress import Progress as RichProgress


__all__ = ["Callback", "Progress", "Silent", "bar"]


class Progress(Protocol):
    """What is told of a long run, and asked whether it should stop.

    A run has one or several stages, one after the other. Each is announced once, with its number of steps, and then
    advances by exactly that number: pictures that are skipped count as done, and steps that a stopped run had finished
    are announced as ``done``.
    """

    def stage(self, name: str, total: int, done: int = 0, unit: str = "pictures") -> None:
        """A stage begins: ``total`` steps (``unit`` says of what), ``done`` of which were finished before."""

    def advance(self, steps: int = 1) -> None:
        """So many steps more of the present stage are finished."""

    def cancelled(self) -> bool:
        """Whether to stop: asked between steps; where it is true, the run ends with :class:`Cancelled`."""


class Silent:
    """Says nothing and never cancels: what ``progress=None`` stands for.

    Example:
        >>> silent = Silent()
        >>> silent.stage("explaining", total=2), silent.cancelled()
        (None, False)
    """

    def stage(self, name: str, total: int, done: int = 0, unit: str = "pictures") -> None:
        """Nothing."""

    def advance(self, steps: int = 1) -> None:
        """Nothing."""

    def cancelled(self) -> bool:
        """Never."""
        return False


class Callback:
    """A function of one's own that is told how far a run is, and another that is asked whether to stop.

    Args:
        tell: Called with (name of the stage, steps finished, steps in all), when a stage begins and at each step.
        cancelled: Asked between steps; a run stops as soon as it says True. ``threading.Event().is_set`` serves.

    Example:
        >>> progress = Callback(lambda name, done, total: print(f"{name}: {done} of {total}"))
        >>> progress.stage("explaining", total=2)
        explaining: 0 of 2
        >>> progress.advance()
        explaining: 1 of 2
    """

    def __init__(
        self, tell: Callable[[str, int, int], object], cancelled: Callable[[], bool] | None = None
    ) -> None:
        self._tell, self._cancelled = tell, cancelled
        self._name, self._done, self._total = "", 0, 0

    def stage(self, name: str, total: int, done: int = 0, unit: str = "pictures") -> None:
        """Tells the function of the beginning."""
        self._name, self._done, self._total = name, done, total
        self._tell(name, done, total)

    def advance(self, steps: int = 1) -> None:
        """Tells the function."""
        self._done += steps
        self._tell(self._name, self._done, self._total)

    def cancelled(self) -> bool:
        """Asks the other function."""
        return self._cancelled is not None and bool(self._cancelled())


def bar(title: str = "", *, console: Console | None = None) -> Bar:
    """A bar with an estimate, in a terminal or a notebook; in a log a plain line every half minute.

    Args:
        title: Stands before the name of each stage.
        console: Where it is drawn; default standard error.

    Returns:
        The bar. ``with vs.progress.bar() as progress:`` around several calls also takes it away when one of them fails.

    Example:
        >>> import vitscope as vs
        >>> vit, pictures = vs.open_model("bundled/shapes"), vs.worlds.demo_pictures(2).images()
        >>> with vs.progress.bar("demo") as progress:
        ...     found = vs.explain(vit, pictures, progress=progress)
    """
    from rich.console import Console

    given = console or Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    return Bar(given, title)


class Bar:
    """What :func:`bar` makes."""

    SECONDS_BETWEEN_LINES = 30.0
    SECONDS_OF_RATE = 3600.0
    """What the rate is taken over: a shard of a study is one step of minutes."""

    def __init__(self, console: Console, title: str = "") -> None:
        self._console, self._title = console, title
        self._drawn: RichProgress | None = None
        self._inside = False
        self._name, self._done, self._before, self._total = "", 0, 0, 0
        self._started = self._spoken = time.monotonic()

    def __enter__(self) -> Self:
        self._inside = True
        return self

    def __exit__(self, *_: object) -> None:
        self._inside = False
        self.close()

    def stage(self, name: str, total: int, done: int = 0, unit: str = "pictures") -> None:
        """Draws a new bar; says how much a stopped run had done."""
        self.close()
        self._name = printable(": ".join(part for part in (self._title, name) if part))
        self._done = self._before = done
        self._total = total
        self._started = self._spoken = time.monotonic()
        if done:
            self._console.print(
                f"{self._name}: going on after {done} of {total} {unit} of a run that was interrupted"
            )
        if done < total and (self._console.is_jupyter or self._console.file.isatty()):
            self._draw()

    def advance(self, steps: int = 1) -> None:
        """Moves the bar."""
        self._done += steps
        now = time.monotonic()
        if self._drawn is not None:
            self._drawn.update(self._drawn.task_ids[0], completed=self._done, refresh=not self._inside)
            if self._done >= self._total:
                self.close()
        elif now - self._spoken > self.SECONDS_BETWEEN_LINES and self._done > self._before:
            self._spoken = now
            rate = (self._done - self._before) / (now - self._started)
            left = max(0, self._total - self._done) / rate
            self._console.print(
                f"{self._name}: {self._done} of {self._total}, {rate:.3g} a second, about {left:.0f} s left"
            )

    def cancelled(self) -> bool:
        """Never: Ctrl-C stops what has a bar."""
        return False

    def close(self) -> None:
        """Takes the bar away."""
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None

    def _draw(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        class Rate(ProgressColumn):
            """Steps a second, once there are two steps to tell it from."""

            def render(self, task: Task) -> str:
                return "" if task.speed is None else f"{task.speed:.3g}/s"

        self._drawn = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            speed_estimate_period=self.SECONDS_OF_RATE,
            # Outside a with block nobody stops the clock when the run fails, so that there is none.
            auto_refresh=self._inside,
        )
        self._drawn.start()
        self._drawn.add_task(self._name, total=self._total, completed=self._done)


def watched(progress: Progress | None) -> Progress:
    """What a long function was given as ``progress``; None is silent. Raises ProgressError for anything else."""
    if progress is None:
        return Silent()
    methods = all(callable(getattr(progress, name, None)) for name in ("stage", "advance", "cancelled"))
    if isinstance(progress, type) or not methods:
        raise ProgressError(
            f"expected progress as an object with stage(), advance() and cancelled(), got {_short(progress)}; "
            "pass vs.progress.bar(), or vs.progress.Callback(function) for a function of your own"
        )
    return progress


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class CountedStage:
    """One stage of a run over pictures, told step by step: as many steps for every picture.

    The functions of the library count with this; it makes sure that a stage is announced once and that its steps add
    up to its total, also when pictures are skipped, done twice, or were done by a stopped run.

    Args:
        progress: What is told. Raises ProgressError when it is no :class:`Progress`.
        name: What is done, in the words of the field: "attention strength".
        pictures: How many.
        each: Steps of one picture.
        unit: What a step is called.
        checkpoint: Where the run keeps its finished parts, for the words when it is cancelled.
    """

    def __init__(
        self,
        progress: Progress | None,
        name: str,
        pictures: int,
        each: int = 1,
        *,
        unit: str = "pictures",
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self._progress, self._checkpoint = watched(progress), checkpoint
        self._name, self._unit = name, unit
        self._total, self._each = pictures * each, each
        self._told = self._done = 0
        self._begun = False

    def begin(self, pictures: int = 0) -> None:
        """Announce it; ``pictures`` were done by a stopped run. Only the first call counts."""
        if not self._begun:
            self._begun = True
            self._told = self._done = pictures * self._each
            self._progress.stage(self._name, self._total, self._done, self._unit)

    def advance(self, steps: int = 1) -> None:
        """So many steps more are finished."""
        self.begin()
        self._done += steps
        if self._done > self._told:
            more, self._told = self._done - self._told, self._done
            self._progress.advance(more)

    @property
    def done(self) -> int:
        """Steps that are finished."""
        return self._done

    def again_from(self, done: int) -> None:
        """What came after ``done`` is done once more; it is not told twice."""
        self._done = done

    def finish_batch(self, before: int, pictures: int) -> None:
        """A batch of ``pictures`` that began at ``before`` steps is finished, whatever of it was reported by now."""
        self.advance(max(0, before + pictures * self._each - self._done))

    def reach(self, pictures: int) -> None:
        """The pictures up to here are finished; those that were skipped take no steps of their own."""
        self.begin()
        self.advance(max(0, pictures * self._each - self._done))

    def check(self) -> None:
        """Raise Cancelled when the run should stop, saying what is kept."""
        self.begin()
        if self._progress.cancelled():
            kept = (
                "nothing of it is kept"
                if self._checkpoint is None
                else f"{self._checkpoint} keeps the finished parts, and the same call goes on from them"
            )
            raise Cancelled(
                f"cancelled during '{self._name}' after {self._told} of {self._total} {self._unit}; {kept}"
            )
