"""Questions to a study's services, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vitscope.app.application import alone, routed
from vitscope.app.services import Services
from vitscope.app.settings import Settings
from vitscope.app.site.asking import ask


def answered(settings: Settings, path: str, parameters: Mapping[str, str]) -> Any:
    """The answer of an address, as JSON."""
    app = routed()
    app.state.services = services = Services(settings)
    if services.beside is not None:
        app.mount("/beside", alone(services.beside))
    # On a thread of its own: while a browser is open an event loop counts as running in this one.
    with ThreadPoolExecutor(1) as aside:
        answer = aside.submit(asyncio.run, ask(app, path, parameters)).result()
    assert answer.status == 200, answer.why
    return json.loads(answer.content)
