"""A client that sends exactly what it is told to, and knows the app's forms of answers."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from vitscope.app import tensors


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def arrays(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The body as arrays and what is known of them."""
        assert self.headers["content-type"] == tensors.MEDIA_TYPE, self.body[:300]
        return tensors.decode(self.body)

    @property
    def problem(self) -> str:
        """The one line that says why there is no answer."""
        assert self.headers["content-type"] == "application/problem+json", self.body[:300]
        title = self.json["title"]
        assert self.json["status"] == self.status and "\n" not in title and "Traceback" not in title
        return str(title)


@dataclass(frozen=True)
class Client:
    """Asks one server."""

    address: str

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.address)
        assert parts.hostname is not None and parts.port is not None
        return parts.hostname, parts.port

    def ask(
        self, method: str, path: str, body: bytes | None = None, timeout: float = 60, **headers: str
    ) -> Reply:
        """One request; names of headers with ``_`` for ``-``."""
        connection = http.client.HTTPConnection(*self.place, timeout=timeout)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, /, **query: object) -> Reply:
        """``get("api/pictures/ID/map", method="dart")``."""
        text = urlencode({name: str(value) for name, value in query.items()})
        return self.ask("GET", f"/{path}{'?' + text if text else ''}")

    def add(self, content: bytes, name: str = "photo.png") -> Reply:
        """Send one picture."""
        return self.ask("POST", "/api/pictures", content, X_Filename=quote(name))

    def raw(self, text: bytes, timeout: float = 10) -> bytes:
        """Send bytes as they are, and read until the server closes or says nothing more."""
        with socket.create_connection(self.place, timeout=timeout) as connection:
            connection.sendall(text)
            parts = []
            try:
                while part := connection.recv(65_536):
                    parts.append(part)
                    if _whole(b"".join(parts)):
                        break
            except TimeoutError:
                pass
            return b"".join(parts)


def _whole(text: bytes) -> bool:
    head, gap, body = text.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(gap and lengths) and len(body) >= int(lengths[0].partition(b":")[2])
