"""The door of the server: every request passes here before anything looks at it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

from vitscope.app.security.headers import HEADERS, Headers
from vitscope.app.security.hosts import KnownHosts, host_of
from vitscope.app.security.tokens import Token

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS = ("GET", "HEAD", "POST", "DELETE")
SMALL_BODY = 65_536
"""Bytes of a body where none is expected."""


class TooLarge(Exception):
    """A body has more bytes than are taken."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"that is more than {limit:,} bytes; choose a smaller picture")


class Guard:
    """Refuses what comes under another name, from another page or without the token, and ends what is too large.

    Args:
        application: What answers.
        hosts: The names under which the server answers.
        token: None where none is needed.
        base_path: The path below which the app lies, ``""`` or ``/x``; a proxy may have taken it away already.
        upload_bytes: The largest body of a picture.
        headers: What every answer tells the browser.
    """

    def __init__(
        self,
        application: Application,
        hosts: KnownHosts,
        token: Token | None,
        base_path: str,
        upload_bytes: int,
        headers: Headers = HEADERS,
    ) -> None:
        self._headers = headers
        self._application, self._hosts, self._token = application, hosts, token
        self._base, self._upload_bytes = base_path, upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks over a web socket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        sent = _with_headers(send, self._headers)
        refusal = self._refused(scope, headers)
        if refusal is not None:
            await _problem(sent, *refusal)
            return
        if self._token is not None and not self._token.in_headers(headers):
            await self._let_in(scope, headers, sent)
            return
        if self._base and scope["path"] == self._base:
            await _redirect(sent, f"./{quote(self._base.rpartition('/')[2])}/")
            return
        limit = self._upload_bytes if scope["method"] == "POST" else SMALL_BODY
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            await _problem(sent, 413, str(TooLarge(limit)))
            return
        await self._application(self._below(scope), _limited(receive, limit), sent)

    def _refused(self, scope: Scope, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or headers["host"] not in self._hosts:
            shown = headers.get("host", "no name")[:80]
            return 403, (
                f"this server does not answer under the name {shown}; open it by the address that it printed, or start "
                "it with --allowed-host NAME"
            )
        if scope["method"] not in METHODS:
            return 405, "this method is not answered; use GET, POST or DELETE"
        origin = headers.get("origin")
        if origin is not None and not self._own(origin, headers["host"]):
            return 403, f"requests from pages of {origin[:80]} are not answered; use the app's own page"
        foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        followed = headers.get("sec-fetch-mode") == "navigate" and "/api/" not in scope["path"]
        if foreign and not followed:  # a link to the page may be followed, an answer is for the page alone
            return 403, "requests from other pages are not answered; use the app's own page"
        return None

    def _own(self, origin: str, host: str) -> bool:
        """Whether a page of this origin is the app's own: of the host that was asked, or of an allowed proxy."""
        try:
            found = urlsplit(origin)
            authority = found.netloc.lower()
        except ValueError:
            return False
        if found.scheme not in ("http", "https") or host_of(authority) is None:
            return False
        return authority == host.lower() or self._hosts.allows(authority)

    async def _let_in(self, scope: Scope, headers: MutableMapping[str, str], send: Send) -> None:
        """Take the token out of the address into a cookie, or refuse."""
        assert self._token is not None
        fits, rest = self._token.taken_from(scope["query_string"].decode("latin-1"))
        if not fits or scope["method"] != "GET":
            await _problem(
                send, 401, "this server wants its token; open the address that it printed, with ?token=..."
            )
            return
        here = f"./{quote(scope['path'].rpartition('/')[2])}"
        secure = headers.get("x-forwarded-proto") == "https" or scope.get("scheme") == "https"
        cookie = self._token.set_cookie(f"{self._base}/", secure)
        await _redirect(send, f"{here}?{rest}" if rest else here, cookie)

    def _below(self, scope: Scope) -> Scope:
        """The request as the app sees it, below its base path."""
        path = scope["path"]
        if not self._base or not path.startswith(f"{self._base}/"):
            return scope
        raw = scope.get("raw_path", b"")
        base = self._base.encode()
        cut = raw[len(base) :] if raw.startswith(base) else raw
        return {**scope, "path": path[len(self._base) :], "raw_path": cut}


def _with_headers(send: Send, headers: Headers) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            known = {name.lower() for name, _ in message.get("headers", ())}
            more = [pair for pair in headers if pair[0] not in known]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sent


def _limited(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def received() -> MutableMapping[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise TooLarge(limit)
        return message

    return received


async def _problem(send: Send, status: int, title: str) -> None:
    content = json.dumps({"title": title, "status": status}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _redirect(send: Send, place: str, cookie: str | None = None) -> None:
    headers = [
        (b"location", place.encode("latin-1", "replace")),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
    ]
    if cookie is not None:
        headers.append((b"set-cookie", cookie.encode()))
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
