"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass

from vitscope.app.model.facts import Facts
from vitscope.app.model.opening import Opening

PORT = 7860
"""Where the app listens when no port is named; where it is taken, on the next free one."""
UPLOAD_BYTES = 64_000_000
UPLOAD_PIXELS = 100_000_000
ADDED_BYTES = 2_000_000_000
"""Of all pictures that are added to one server."""
CACHE_BYTES = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is served, to whom, and within which limits.

    opening: how the model is opened; None where none can be. why_no_model: then, why. facts: what is known of the model
    all the same. study: the place of the study. beside: another study and its model, to be held against it.
    host: where the server listens. token: None where none is needed. base_path: ``""`` or ``/x``. allowed_hosts: names
    of a proxy before it. embedded: it is shown inside the pages of that proxy and answers under any name, for those
    who have the token.
    """

    opening: Opening | None = None
    why_no_model: str = "no model was given"
    facts: Facts | None = None
    study: str | None = None
    beside: Settings | None = None
    host: str = "127.0.0.1"
    port: int = PORT
    token: str | None = None
    base_path: str = ""
    allowed_hosts: tuple[str, ...] = ()
    embedded: bool = False
    upload_bytes: int = UPLOAD_BYTES
    upload_pixels: int = UPLOAD_PIXELS
    added_bytes: int = ADDED_BYTES
    cache_bytes: int = CACHE_BYTES
