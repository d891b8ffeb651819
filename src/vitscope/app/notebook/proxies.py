"""Whether the server of this notebook has a proxy that leads to a port of this machine, and below which path."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PORT = "{port}"
"""What stands for the number of the port."""


def proxy_path(environment: Mapping[str, str] | None = None) -> str | None:
    """The path of jupyter-server-proxy in the notebook's page, such as ``/user/ada/proxy/{port}/``; None without it.

    A kernel knows its server by what that tells it: a hub the path, a server of one's own the number of its process,
    under which Jupyter notes where it is.

    Args:
        environment: Of the kernel; None takes that of this process.

    Example:
        >>> proxy_path({}) is None
        True
    """
    known = os.environ if environment is None else environment
    if importlib.util.find_spec("jupyter_server_proxy") is None:
        return None
    base = known.get("JUPYTERHUB_SERVICE_PREFIX") or _base_of(known.get("JPY_PARENT_PID"))
    return None if base is None else f"/{base.strip('/')}/proxy/{PORT}/".replace("//", "/")


def _base_of(process: str | None) -> str | None:
    """The path of the server with this number, from the note that Jupyter keeps of it."""
    if process is None or importlib.util.find_spec("jupyter_core") is None:
        return None
    paths: Any = importlib.import_module("jupyter_core.paths")
    try:
        noted = json.loads((Path(paths.jupyter_runtime_dir()) / f"jpserver-{int(process)}.json").read_text())
        return str(noted["base_url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
