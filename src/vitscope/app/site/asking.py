"""Asking the app's own addresses in this process: no port, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI


@dataclass(frozen=True)
class Replied:
    """What an address answered."""

    status: int
    media_type: str
    content: bytes

    @property
    def why(self) -> str:
        """Of a failure: its one line."""
        try:
            return str(json.loads(self.content)["title"])
        except (ValueError, KeyError, TypeError):
            return f"it answered {self.status}"


async def ask(app: FastAPI, path: str, parameters: Mapping[str, str]) -> Replied:
    """The answer to a GET."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/{path}",
        "raw_path": f"/{path}".encode(),
        "root_path": "",
        "query_string": urlencode(dict(parameters)).encode(),
        "headers": [(b"host", b"site")],
        "client": None,
        "server": ("site", 80),
    }
    status, headers, parts = 500, {}, []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return Replied(status, headers.get("content-type", ""), b"".join(parts))
