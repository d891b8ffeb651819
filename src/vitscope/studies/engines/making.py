"""The engine of a run, made when there is anything to compute."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vitscope.storage.stores import Store
from vitscope.studies.engines.engine import Engine
from vitscope.studies.engines.in_process import LocalEngine
from vitscope.studies.errors import StudyError
from vitscope.studies.events import Events
from vitscope.studies.manifest import Manifest
from vitscope.studies.models import Placed, opened_for
from vitscope.studies.worker import Worker
from vitscope.tracing import Vit

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Workers:
    """Who computes. engine: its name. count, address: of workers of Ray. placed: where the model runs. threads: those
    that read pictures ahead of it."""

    engine: EngineName = "local"
    count: int | None = None
    address: str | None = None
    placed: Placed = field(default_factory=Placed)
    threads: int = 2


def made_engine(
    workers: Workers, store: Store, manifest: Manifest, run: str, events: Events, vit: Vit | None
) -> Engine:
    """The engine that was asked for. vit: the opened model, where the caller has it.

    Raises StudyError for an engine that is not there or a model that cannot be opened again.
    """
    if workers.engine == "ray":
        from vitscope.studies.engines.ray import RayEngine

        if manifest.model.name is None:
            raise StudyError("workers of Ray open the model by its name; make the study with a name")
        return RayEngine(
            store,
            manifest,
            workers.placed,
            run,
            events,
            workers=workers.count,
            address=workers.address,
            decode_threads=workers.threads,
        )
    opened = opened_for(manifest, workers.placed, vit)
    worker = Worker(store, manifest, opened, decode_threads=workers.threads)
    return LocalEngine(store, worker, events, run)
