"""What a site is made of: the built page, and every answer that an address declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastapi.routing import APIRoute

from vitscope.app.application import ROUTERS
from vitscope.app.pictures.studied import StudyShown
from vitscope.app.pictures.studied_heads import NEEDS, StudiedHeads
from vitscope.app.routes.page import PAGE
from vitscope.app.routes.written import Holdings, asks_of
from vitscope.app.security.headers import POLICY
from vitscope.app.services import Services
from vitscope.errors import OutputError

INDEX = "index.html"
KEPT = ("index.html", "icon.svg", "assets")
"""What of the built page is part of a site."""


@dataclass(frozen=True)
class Question:
    """One GET. route: its address as it is declared. path: with its parts filled in. parameters: behind ``?``."""

    route: str
    path: str
    parameters: Mapping[str, str]


def holdings_of(services: Services, study: StudyShown) -> Holdings:
    """What there is to ask for."""
    heads = StudiedHeads(study)
    return Holdings(
        pictures=[each.id for each in services.shelf.all() if each.reference is not None],
        methods=study.methods,
        analyses=[name for name in NEEDS if heads.why_not(name) is None],
    )


def addresses() -> Iterator[APIRoute]:
    """Every address of the app that answers a GET."""
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
                yield route


def questions(held: Holdings) -> Iterator[Question]:
    """Every question whose answer is part of a site, address by address, as declared beside each of them."""
    for route in addresses():
        asks = asks_of(route.endpoint)
        for query in () if asks is None else asks(held):
            inside = {part for part in query if f"{{{part}}}" in route.path}
            path = route.path.lstrip("/").format(**{part: quote(query[part], safe="") for part in inside})
            yield Question(
                route.path, path, {name: text for name, text in query.items() if name not in inside}
            )


def page_files(folder: Path = PAGE) -> Iterator[tuple[str, bytes]]:
    """The built page by name, told that it is a site: it then asks for files, and for nothing that needs a server.

    Raises OutputError where the page was not built."""
    if not (folder / INDEX).is_file():
        raise OutputError(
            "the page is not built into this installation; in a checkout run make page, else install a wheel"
        )
    for name in KEPT:
        place = folder / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                content = path.read_bytes()
                yield path.relative_to(folder).as_posix(), marked(content) if name == INDEX else content


def marked(index: bytes) -> bytes:
    """The page of a server as that of a site. The policy that a server sends stands in the page itself."""
    policy = POLICY.partition("; frame-ancestors")[0]
    head = (
        f'<head>\n    <meta http-equiv="Content-Security-Policy" content="{policy}" />'
        '\n    <meta name="vitscope-site" content="1" />'
    )
    text = index.decode()
    if "<head>" not in text:
        raise OutputError("the built page has no head; build it anew with make page")
    return text.replace("<head>", head, 1).encode()
