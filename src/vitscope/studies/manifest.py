"""The manifest: all that was decided when a study was made. It is written last, once, and never changed by a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from vitscope.errors import MissingError, StoreFault
from vitscope.storage.recipe import digest_of, plain
from vitscope.storage.stores import Store
from vitscope.studies import layout
from vitscope.studies.errors import OtherStudyError, StudyError
from vitscope.studies.migrations import steps
from vitscope.studies.store.specs import ArraySpec, array_spec

FORMAT = "vitscope-study"
SCHEMA = 2
"""The newest form of a study's folder that this version reads; it writes this one."""


@dataclass(frozen=True)
class Stage:
    """One step of a study: a pass over all shards, or a reduction of what an earlier pass left.

    name: unique in the study. kind: ``"shard"`` runs once for every shard, ``"reduce"`` once over all of them.
    needs: the stages that must be finished before. analyses: by name, every option as it is used.
    """

    name: str
    kind: str = "shard"
    needs: tuple[str, ...] = ()
    analyses: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudiedModel:
    """How the model is opened again, and what it must then be.

    name: what :func:`vitscope.open_model` takes; None for a module that only the maker of the study has. opening: the
    other arguments. identity: see :func:`vitscope.tracing.recipe.model_identity`. classes: number of them, None
    without a classifier. anatomy: digest of what the probe found.
    """

    name: str | None
    opening: Mapping[str, Any]
    identity: Mapping[str, Any]
    classes: int | None
    anatomy: str


@dataclass(frozen=True)
class StudiedPictures:
    """url: where the pictures lie. kind: folder, manifest, tars, table. count: how many. digest: of the frozen list.
    known: which of labels, boxes and masks are in it. max_pixels: most pixels of one picture. left_out: folders that
    could not be searched and files of labels that do not fit, with the reason."""

    url: str
    kind: str
    count: int
    digest: str
    known: tuple[str, ...] = ()
    max_pixels: int | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Everything that a study depends on. What changes a number is part of ``digest``."""

    study: str
    created: str
    libraries: Mapping[str, str]
    model: StudiedModel
    input: StudiedPictures
    shard_size: int
    batch_size: int
    threads: int
    seed: int
    stages: tuple[Stage, ...]
    arrays: Mapping[str, Mapping[str, Any]]
    tables: tuple[str, ...]
    estimate: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def digest(self) -> str:
        """Over all that changes a number, 32 hexadecimal digits."""
        deciding = ("model", "input", "shard_size", "batch_size", "threads", "seed", "stages", "arrays")
        found = {name: asdict(self)[name] for name in deciding}
        found["model"] = {k: v for k, v in found["model"].items() if k in ("identity", "classes", "anatomy")}
        found["input"] = {k: v for k, v in found["input"].items() if k in ("count", "digest")}
        return digest_of(found)

    @property
    def shards(self) -> int:
        """How many shards the pictures make."""
        return -(-self.input.count // self.shard_size)

    @property
    def main(self) -> Stage:
        """The stage that reads every picture for all analyses that need no other stage."""
        return self.stage("main")

    @property
    def specs(self) -> dict[str, ArraySpec]:
        """Every array by its path."""
        return {
            path: array_spec(path, tuple(known["shape"]), known["dtype"])
            for path, known in self.arrays.items()
        }

    def shards_of(self, stage: Stage) -> int:
        """How many shards a stage has: one for a reduction."""
        return self.shards if stage.kind == "shard" else 1

    def bounds(self, shard: int) -> tuple[int, int]:
        """First picture of a shard, and the one after its last."""
        start = shard * self.shard_size
        return start, min(start + self.shard_size, self.input.count)

    def stage(self, name: str) -> Stage:
        """The stage of this name. Raises StudyError when the study has none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise StudyError(
            f"this study has no stage {name!r}; it has {', '.join(stage.name for stage in self.stages)}"
        )

    def options_of(self, analysis: str) -> Mapping[str, Any] | None:
        """The options of an analysis in whichever shard stage it stands; None when it was not asked for."""
        for stage in self.stages:
            if stage.kind == "shard" and analysis in stage.analyses:
                options: Mapping[str, Any] = stage.analyses[analysis]
                return options
        return None

    def require_current(self, place: str) -> None:
        """Raise OtherStudyError when an older vitscope made the study: it can be read, but nothing is added."""
        if self.schema < SCHEMA:
            raise outdated(place, self.schema)

    def encode(self) -> bytes:
        """As JSON with a checksum of all of it."""
        values = plain({"format": FORMAT, **asdict(self), "digest": self.digest})
        return json.dumps({**values, "checksum": digest_of(values)}, indent=1).encode()


def read_manifest(store: Store) -> Manifest:
    """The manifest of the study at a place.

    Raises StudyError when there is none or it is damaged, OtherStudyError when a newer version made it.
    """
    try:
        content = store.read(layout.MANIFEST)
    except MissingError:
        why = f"no {layout.MANIFEST}"
    except StoreFault as error:
        if error.why != "gone":
            raise
        why = "no such folder"
    else:
        return decode(content, store.name)
    raise StudyError(
        f"there is no study at {store.name} ({why}); check the path, or make one with vitscope study create"
    )


def require_there(store: Store, manifest: Manifest) -> None:
    """Raise StoreFault unless the study still lies there: whatever were written now would lie in no study, or in
    another one."""
    try:
        content = store.read(layout.MANIFEST)
    except MissingError:
        raise StoreFault(
            f"the study is no longer at {store.name}; mount it or put it back and run it again", "gone"
        ) from None
    try:
        found = decode(content, store.name).study
    except OtherStudyError:
        found = ""
    except StudyError as error:
        raise StoreFault(str(error), "broken") from None
    if found != manifest.study:
        raise StoreFault(
            f"another study lies at {store.name} by now; give each its own place, and put this one back to go on",
            "gone",
        )


def require_other(first: Manifest, second: Manifest) -> None:
    """Raise StudyError where two studies that are to be held against each other are one."""
    if first.study == second.study:
        raise StudyError("both are the same study; name another one of the same pictures beside it")


def decode(content: bytes, place: str) -> Manifest:
    """A manifest from the bytes of its file. ``place`` is what messages call the study. Raises as `read_manifest`.

    That of an older schema is read when its study can be read as it is, and says its own schema.
    """
    values = checked_values(content, place)
    schema = int(values["schema"])
    if schema == SCHEMA:
        manifest = made(values, place)
        if manifest.digest != values.get("digest"):
            raise _damaged(place)
        return manifest
    if not steps.readable(schema, SCHEMA):
        raise outdated(place, schema)
    return replace(made(steps.changed(values, schema, SCHEMA), place), schema=schema)


def checked_values(content: bytes, place: str) -> dict[str, Any]:
    """What a manifest's file says, of whichever schema up to this version's, when its checksum fits."""
    try:
        values: dict[str, Any] = json.loads(content)
        if values["format"] != FORMAT:
            raise _damaged(place)
        schema = int(values["schema"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damaged(place) from None
    if schema > SCHEMA:
        raise OtherStudyError(
            f"{place} was made by schema {schema}; this vitscope reads up to {SCHEMA}; upgrade vitscope"
        )
    checksum = values.pop("checksum", None)
    if checksum != digest_of(values):
        raise _damaged(place)
    return values


def made(values: Mapping[str, Any], place: str) -> Manifest:
    """A manifest from its values. Raises StudyError when they are none."""
    try:
        known = {each.name for each in fields(Manifest)}
        kept = {name: value for name, value in values.items() if name in known}
        kept["model"] = StudiedModel(**kept["model"])
        kept["input"] = StudiedPictures(**{**kept["input"], "known": tuple(kept["input"]["known"])})
        kept["stages"] = tuple(Stage(**{**each, "needs": tuple(each["needs"])}) for each in kept["stages"])
        kept["tables"] = tuple(kept["tables"])
        return Manifest(**kept)
    except (KeyError, TypeError, ValueError):
        raise _damaged(place) from None


def outdated(place: str, schema: int) -> OtherStudyError:
    """The error of a study that an older vitscope made."""
    return OtherStudyError(
        f"{place} was made by schema {schema}, this vitscope writes {SCHEMA}; run vitscope study migrate {place}"
    )


def _damaged(place: str) -> StudyError:
    return StudyError(f"the manifest of {place} is damaged; take it from a copy, or make the study anew")
