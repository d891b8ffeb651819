"""``study.show()``: a server of the study in this process, shown inside a notebook where a proxy leads to it."""

from __future__ import annotations

import atexit
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from vitscope.app.model.bench import Bench
from vitscope.app.model.opening import StudiedOpening
from vitscope.app.notebook.proxies import PORT, proxy_path
from vitscope.app.security.tokens import PARAMETER, new_token
from vitscope.app.serving import Background, listening
from vitscope.app.settings import Settings
from vitscope.app.work.worker import facts_of
from vitscope.errors import OutputError
from vitscope.studies.manifest import Manifest
from vitscope.studies.shown_study import ShownStudy
from vitscope.tracing import Vit

ALONE = "the study was made with a model that only its maker has"


def show(
    place: str,
    manifest: Manifest,
    *,
    vit: Vit | None = None,
    beside: tuple[str, Manifest, Vit | None] | None = None,
    height: int = 800,
    proxy: str | None = None,
    device: str | None = None,
    weights: str | None = None,
) -> ShownStudy:
    """Serve a study from this process; see :meth:`vitscope.Study.show`.

    Args:
        place: Of the study.
        manifest: The study.
        vit: Its model, where only the caller has it: its facts are told, nothing is computed with it.
        beside: The same of another study; None shows one.
        height: Inside a notebook, in pixels.
        proxy: The path at which the notebook's page finds a port, with ``{port}``; None looks for one.
        device: Where the model runs.
        weights: Of the first study, where they lie elsewhere now.
    """
    path = proxy_path() if proxy is None else _proxy(proxy)
    settings = _of_study(place, manifest, vit, device, weights)
    if beside is not None:
        settings = replace(settings, beside=_of_study(*beside, device, None))
    socket_ = listening(settings.host, None)
    try:
        port = socket_.getsockname()[1]
        shown = None if path is None else path.replace(PORT, str(port))
        if shown is not None:
            settings = replace(settings, base_path=shown.rstrip("/"), embedded=True, token=new_token())
        server = Background(settings, socket_=socket_).__enter__()
    except BaseException:
        socket_.close()
        raise

    def end() -> None:
        atexit.unregister(end)
        server.__exit__()

    atexit.register(end)
    inside = None if shown is None else f"{shown}?{PARAMETER}={quote(str(server.settings.token))}"
    return ShownStudy(place.rstrip("/").rpartition("/")[2] or place, server.address, inside, height, end)


def _of_study(
    place: str, manifest: Manifest, vit: Vit | None, device: str | None, weights: str | None
) -> Settings:
    given: dict[str, Any] = {"opening": StudiedOpening(place, device, weights)}
    if manifest.model.name is None:
        given = {"why_no_model": ALONE, "facts": None if vit is None else facts_of(Bench(vit))}
    return Settings(study=place, **given)


def _proxy(path: str) -> str:
    """A path that somebody gave. Raises OutputError for one that names no port, or no path."""
    if PORT not in path or not path.startswith("/") or path.startswith("//") or not path.isprintable():
        raise OutputError(
            f"expected proxy as a path with {PORT} in it, such as /proxy/{PORT}/, got {path!r}; or None to look for one"
        )
    return f"{path.rstrip('/')}/"
