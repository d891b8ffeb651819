"""One server from its first line to its last: a port, a token, a model that is open, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import uvicorn

from vitscope.app.application import application
from vitscope.app.routes.page import PAGE
from vitscope.app.security.hosts import is_loopback
from vitscope.app.security.tokens import PARAMETER, new_token
from vitscope.app.services import Services
from vitscope.app.settings import PORT, Settings
from vitscope.errors import OutputError, VitscopeError
from vitscope.storage.files import reason

NEXT = 100
"""How many ports after the first are tried."""
PATIENCE = 2
"""Seconds that answers on their way get at the end."""


class CannotServe(VitscopeError):
    """The server cannot be started."""


def listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens: at the port that was named, else at the first free one from the usual on.

    Raises CannotServe when the port is taken, or the address is none of this machine."""
    tried = [port] if port is not None else [*range(PORT, PORT + NEXT), 0]
    for number in tried:
        try:
            return _listening(host, number)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise CannotServe(
                    f"cannot listen at {host} port {number} ({reason(error)}); give another --host or --port"
                ) from None
    raise CannotServe(f"port {port} of {host} is taken; stop what listens there, or leave --port out")


def _listening(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made


def with_token(settings: Settings) -> Settings:
    """The same with a new token, where others than this machine can reach the server and none was given."""
    if settings.token is not None or (is_loopback(settings.host) and not settings.embedded):
        return settings
    return replace(settings, token=new_token())


def address_of(settings: Settings) -> str:
    """What is typed into a browser."""
    everywhere = settings.host in ("0.0.0.0", "::", "")
    host = socket.gethostname() if everywhere else settings.host
    shown = f"[{host}]" if ":" in host else host
    token = "" if settings.token is None else f"?{PARAMETER}={quote(settings.token)}"
    return f"http://{shown}:{settings.port}{settings.base_path}/{token}"


class Server(uvicorn.Server):
    """A server that tells its streams to end as soon as it is told so itself.

    Args:
        settings: What is served; its port is the one that the socket listens at.
        ready: Called once, on the server's thread, when the model is open and requests are answered.
        page: Where the page was built to.
    """

    def __init__(self, settings: Settings, ready: Callable[[Services], object], page: Path = PAGE) -> None:
        guarded, self.services = application(settings, page)
        config = uvicorn.Config(
            guarded,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=PATIENCE,
            timeout_keep_alive=30,
            ws="none",
        )
        super().__init__(config)
        self._ready = ready
        self._failed: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to end. Raises CannotServe when the model cannot be opened."""
        self._loop = asyncio.get_running_loop()
        watch = asyncio.ensure_future(self._open())
        try:
            await super().serve(sockets)
        finally:
            watch.cancel()
        if self._failed is not None:
            raise CannotServe(self._failed)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A request to end: streams end first."""
        super().handle_exit(sig, frame)
        self.end()

    def end(self) -> None:
        """Let the server end, from any thread; nothing happens where it has ended."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed just now
                self._loop.call_soon_threadsafe(self.services.end)

    async def _open(self) -> None:
        """Wait for the model, without which nothing but a study can be shown."""
        while not self.started:
            await asyncio.sleep(0.02)
        desk = self.services.desk
        if desk is not None:
            await desk.wait_opened()
            if self.services.closing:  # Ctrl-C while the model was opened
                return
            if desk.refused is not None and self.services.study is None:
                self._failed = desk.refused
                self.should_exit = True
                return
        if self.services.beside is not None and self.services.beside.desk is not None:
            await self.services.beside.desk.wait_opened()
        self._ready(self.services)


def serve(settings: Settings, port: int | None, ready: Callable[[str, Services], object]) -> None:
    """Serve until Ctrl-C.

    Args:
        settings: What is served. Its port is that which is used.
        port: Where to listen; None takes the first free one from the usual on.
        ready: Called with the address, once requests are answered and the model is open.

    Raises:
        CannotServe: The port is taken, or the model cannot be opened.
        StudyError: The study cannot be opened.
        KeyboardInterrupt: Ctrl-C.
    """
    if settings.base_path and not settings.base_path.startswith("/"):
        raise OutputError(f"the base path starts with a slash, such as /vitscope, got {settings.base_path!r}")
    with listening(settings.host, port) as socket_:
        used = with_token(replace(settings, port=socket_.getsockname()[1]))
        server = Server(used, lambda services: ready(address_of(used), services))
        asyncio.run(server.serve([socket_]))


class Background:
    """A server on a thread of this process, for tests and for notebooks.

    Args:
        settings: What is served.
        port: Where to listen; 0 takes any free port.
        page: Where the page was built to.
        socket_: What listens already; None makes it.

    Example:
        ``with Background(Settings(study="study")) as server: print(server.address)``
    """

    def __init__(
        self, settings: Settings, port: int = 0, page: Path = PAGE, socket_: socket.socket | None = None
    ) -> None:
        self._socket = listening(settings.host, port) if socket_ is None else socket_
        self.settings = with_token(replace(settings, port=self._socket.getsockname()[1]))
        self.address = address_of(self.settings)
        self._opened = threading.Event()
        self._failure: BaseException | None = None
        self.server = Server(self.settings, lambda _: self._opened.set(), page)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        self._opened.wait()
        if self._failure is not None:
            self.__exit__()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.server.end()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self.server.serve([self._socket]))
        except BaseException as error:
            self._failure = error
        finally:
            self._opened.set()
