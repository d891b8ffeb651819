"""``vitscope serve``: the app in a browser, for a study, a model alone, or the bundled ones."""

from __future__ import annotations

import importlib.util
import os
import sys
import webbrowser
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.options import MODEL, JsonOptions, ModelOptions, PixelOptions
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.session import find_modules_here, opening
from vitscope.cli.shared.study_options import STUDY
from vitscope.cli.shared.usage import unused
from vitscope.errors import MissingExtraError
from vitscope.options.bounds import Range

if TYPE_CHECKING:
    from pathlib import Path

    from vitscope.app.services import Services
    from vitscope.app.settings import Settings

EXAMPLE = "vitscope serve birds-study"
BESIDE = typer.Argument(
    metavar="OTHER",
    help="Another study of the same pictures, whose model is compared with that of the first.",
)
MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ServedModel(ModelOptions):
    """Which model; left out, the study's, or the bundled one."""

    model: Annotated[str | None, MODEL] = None  # type: ignore[assignment]  # a command may leave it out


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where the app is reached."""

    title: ClassVar[str] = "Server"
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; elsewhere than on this machine alone a token is needed.")
    ] = "127.0.0.1"  # fmt: skip
    port: Annotated[
        int | None,
        Range(0, 65_535),
        typer.Option("--port", help="Where to listen; without it 7860 or the next free one, with 0 any."),
    ] = None
    base_path: Annotated[
        str | None,
        typer.Option("--base-path", help="The path below which a proxy shows the app, such as /vitscope."),
    ] = None
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", help="A name of a proxy before the app, under which it answers, too."),
    ] = None  # fmt: skip
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="VITSCOPE_TOKEN", help="The token; else a random one where one is needed."),
    ] = None  # fmt: skip
    cache: Annotated[
        int,
        Range(1, 1_000_000),
        typer.Option("--cache", help="Megabytes of computed answers that are kept."),
    ] = 1000
    open: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the browser; without it, where a display is there."),
    ] = None


@unused(
    "weights",
    "random_weights",
    "class_names",
    "model_option",
    "image_size",
    "precision",
    when=lambda given: given["study"] is None and given["model"] is None,
    why="no --model is named, so the bundled one is shown",
)
@unused(
    "model",
    "random_weights",
    "class_names",
    "model_option",
    "image_size",
    "precision",
    when=lambda given: given["study"] is not None,
    why="a study knows its model (--weights FILE where they lie elsewhere now)",
)
def serve(
    model: ServedModel,
    server: ServerOptions,
    pixels: PixelOptions,
    told: JsonOptions,
    study: Annotated[str | None, STUDY] = None,
    other: Annotated[str | None, BESIDE] = None,
) -> None:
    """Show a study, or pictures that are dropped, in a browser. With nothing else: the bundled model and pictures.

    Two studies of the same pictures are shown beside each other on the screen Compare.

    Prints one line with the address and goes on until Ctrl-C.
    """
    _require_server()
    from vitscope.app.serving import serve as run

    settings = _settings(study, other, model, server, pixels)

    def ready(address: str, services: Services) -> None:
        if told.json:
            number = None if services.desk is None else services.desk.number
            console.emit_json({"url": address, "process": os.getpid(), "model_process": number})
        else:
            for note in _notes(services):
                console.note(note)
            console.say(f"vitscope is at {address} (Ctrl-C ends it)")
        sys.stdout.flush()
        if _has_display() if server.open is None else server.open:
            webbrowser.open(address)

    run(settings, server.port, ready)


def _require_server() -> None:
    """Raise MissingExtraError, in one line, where the packages of the server are not installed."""
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(missing[0], "app", "vitscope serve")


def _settings(
    study: str | None, other: str | None, model: ServedModel, server: ServerOptions, pixels: PixelOptions
) -> Settings:
    from vitscope.app.settings import UPLOAD_PIXELS, Settings

    base = (server.base_path or "").strip().strip("/")
    chosen: dict[str, Any] = {
        "host": server.host,
        "token": server.token,
        "base_path": f"/{base}" if base else "",
        "allowed_hosts": tuple(server.allowed_host or ()),
        "cache_bytes": server.cache * MEGABYTE,
        "upload_pixels": pixels.max_pixels or UPLOAD_PIXELS,
    }
    if model.model is not None:
        return Settings(opening=_named(model), **chosen)
    if study is None:
        study = _ready_study()
    beside = None if other is None else _beside(study, other, model)
    return Settings(study=study, beside=beside, **_of_study(study, model.device, model.weights), **chosen)


def _beside(study: str, other: str, model: ServedModel) -> Settings:
    """The other study, with its own model on the same device. Raises StudyError where the two are the same."""
    import vitscope as vs
    from vitscope.app.settings import Settings
    from vitscope.studies.manifest import require_other

    require_other(*(vs.Study.open(place, alone=True).manifest for place in (study, other)))
    return Settings(study=other, **_of_study(other, model.device, None))


def _named(model: ServedModel) -> Any:
    from vitscope.app.model.opening import NamedOpening

    assert model.model is not None
    return NamedOpening(model.model, opening(model), seeded=model.random_weights)


def _of_study(study: str, device: str, weights: Path | None) -> dict[str, Any]:
    """How the model of a study is opened; why not, where only its maker has it. Raises StudyError for no study."""
    import vitscope as vs
    from vitscope.app.model.opening import StudiedOpening
    from vitscope.cli.shared.values import choose_device

    known = vs.Study.open(study, alone=True).manifest.model
    if known.name is None:
        return {"why_no_model": "the study was made with a model that only its maker has"}
    find_modules_here(known.name)
    return {
        "opening": StudiedOpening(study, choose_device(device), None if weights is None else str(weights))
    }


def _ready_study() -> str:
    from vitscope.app.ready import Ready, ready_study

    place = Ready().place()
    if not (place / "shapes" / "manifest.json").is_file():
        console.note(f"making a study of the bundled pictures, once, in {place} ...")
    with watching() as progress:
        return str(ready_study(progress=progress))


def _notes(services: Services) -> list[str]:
    """What the one who started the server should know."""
    from vitscope.app.routes.page import has_page

    notes = [] if services.study is None else list(services.study.described()["notes"])
    if services.why_not is not None:
        notes.append(f"nothing can be computed: {services.why_not}")
    if services.beside is not None and services.beside.study is not None:
        notes += [
            f"{services.beside.study.name}: {note}" for note in services.beside.study.described()["notes"]
        ]
        if services.beside.why_not is not None:
            notes.append(f"{services.beside.study.name}: nothing can be computed: {services.beside.why_not}")
    if not has_page():
        notes.append("the page is not built here, so the address shows how to get it; the API answers")
    return notes


def _has_display() -> bool:
    """Whether somebody sits before this machine: a terminal, and a display that a browser can be shown on."""
    if not sys.stdout.isatty() or "SSH_CONNECTION" in os.environ:
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
