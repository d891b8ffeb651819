"""``vitscope study run``: compute what is not finished yet, on this machine or on workers of Ray."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from vitscope.cli.exit_codes import OK, PARTIAL
from vitscope.cli.shared import console
from vitscope.cli.shared.options import DeviceOptions, JsonOptions, LimitOptions, WeightsOptions
from vitscope.cli.shared.parameters import SameAs
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.session import find_modules_here
from vitscope.cli.shared.study_options import StudyOptions
from vitscope.cli.shared.terminal import private_output
from vitscope.cli.shared.usage import unused
from vitscope.cli.shared.values import choose_device
from vitscope.errors import VitscopeError
from vitscope.options.bounds import Count

if TYPE_CHECKING:
    from vitscope.studies import Report, Study

SHOWN = 10
"""Shards that were given up and are told one by one; status lists all."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Who computes."""

    title: ClassVar[str] = "Engine"
    engine: Annotated[
        str,
        SameAs("vitscope.studies", "Study.run", "engine"),
        typer.Option("--engine", help="local computes in this process, ray on workers of Ray; equal bits."),
    ] = "local"
    workers: Annotated[
        Count | None,
        typer.Option("--workers", help="Shards that Ray computes at the same time; else as there is room."),
    ] = None
    address: Annotated[
        str | None,
        typer.Option("--address", help="Of a Ray cluster; else that of RAY_ADDRESS, or one is started here."),
    ] = None
    decode_workers: Annotated[
        int,
        SameAs("vitscope.studies", "Study.run", "decode_workers"),
        typer.Option("--decode-workers", help="Threads that read pictures ahead of the model."),
    ] = 2


@dataclass(frozen=True, kw_only=True)
class RetryOptions:
    """What earlier runs left."""

    title: ClassVar[str] = "Run"
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try shards again that an earlier run gave up.")
    ] = False
    retry_skipped: Annotated[
        bool, typer.Option("--retry-skipped", help="Do shards again in which pictures were skipped.")
    ] = False


@unused(
    "workers", "address", when=lambda given: given["engine"] == "local", why="--engine local has no workers"
)
def run(
    place: StudyOptions,
    engine: EngineOptions,
    device: DeviceOptions,
    weights: WeightsOptions,
    retry: RetryOptions,
    limit: LimitOptions,
    told: JsonOptions,
) -> None:  # fmt: skip
    """Compute the shards that are not finished. Stopped at any moment, by whatever, it goes on when called again.

    With --json every event is one JSON object a line, and the last line is the report.
    """
    from vitscope.studies import Retry

    study = place.open()
    find_modules_here(study.manifest.model.name)
    # Which devices there are is for the machines of a cluster to say.
    there = (
        device.device if engine.engine == "ray" and device.device != "auto" else choose_device(device.device)
    )
    chosen: dict[str, Any] = {
        "engine": engine.engine,
        "workers": engine.workers,
        "address": engine.address,
        "device": there,
        "weights": weights.weights,
        "decode_workers": engine.decode_workers,
        "retry": Retry(retry.retry_failed, retry.retry_skipped),
        "limit": limit.limit,
    }
    with ended_by_sigterm():
        report = _told(study, chosen) if told.json else _watched(study, chosen)
    partial = report.failed or report.skipped or (report.waiting and not report.limited)
    if not told.json:
        for line in described(report, place.study):
            console.say(line)
    raise typer.Exit(PARTIAL if partial else OK)


def _watched(study: Study, chosen: dict[str, Any]) -> Report:
    with watching() as progress:
        return study.run(progress=progress, **chosen)


def _told(study: Study, chosen: dict[str, Any]) -> Report:
    """The run with every event on standard output, which is for nobody else meanwhile."""
    with private_output() as out:

        def tell(event: dict[str, Any]) -> None:
            out.write(json.dumps(console.plain(event)) + "\n")
            out.flush()

        try:
            report = study.run(listener=tell, **chosen)
        except (VitscopeError, KeyboardInterrupt) as error:
            tell({"event": "stopped", "reason": str(error) or "interrupted"})
            raise
        tell(as_event(report))
        return report


def as_event(report: Report) -> dict[str, Any]:
    """The last line of a run: how it ended."""
    failed = [
        {"stage": stage, "shard": shard, "reason": reason}
        for (stage, shard), reason in sorted(report.failed.items())
    ]
    return {
        "event": "report",
        "whole": report.whole,
        "shards": report.shards,
        "skipped": report.skipped,
        "failed": failed,
        "waiting": report.waiting,
        "limited": report.limited,
    }


def described(report: Report, place: str) -> Iterator[str]:
    """The lines that say how a run ended, with what mends it."""
    state = "the study is finished" if report.whole else "the study is not finished"
    yield f"shards computed: {report.shards:,}; {state}"
    if report.limited:
        yield f"stopped after --limit; go on with: vitscope study run {place}"
    failed = sorted(report.failed.items())
    for (stage, shard), reason in failed[:SHOWN]:
        yield f"given up: shard {shard} of stage {stage}: {reason}"
    if len(failed) > SHOWN:
        yield f"and {len(failed) - SHOWN:,} more, which vitscope study status {place} lists"
    if failed:
        yield f"to try them again: vitscope study run {place} --retry-failed"
    if report.waiting:
        yield f"waiting for these: {', '.join(report.waiting)}"
    if report.skipped:
        yield (
            f"pictures skipped: {report.skipped:,}; the table pictures has the reasons, and "
            f"vitscope study run {place} --retry-skipped tries them again"
        )


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: what runs on a cluster is often ended by it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
