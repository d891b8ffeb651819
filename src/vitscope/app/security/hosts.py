"""Under which names the server answers.

A page of a stranger can let its own name lead to this machine (DNS rebinding) and would then be of the same origin as
the app. So a request is answered only when it names this machine as its user does: by an address, or by a name that
is known to be its own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


def is_loopback(host: str) -> bool:
    """Whether what listens there is reached from this machine alone."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(authority: str) -> str | None:
    """The host of ``host``, ``host:port`` or ``[address]:port`` in small letters; None for what is none.

    Example:
        >>> host_of("LOCALHOST:7860"), host_of("[::1]:80"), host_of("a b"), host_of("evil@localhost")
        ('localhost', '::1', None, None)
    """
    text = authority.strip().lower()
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        good = bool(bracket) and (not rest or (rest[0] == ":" and _is_port(rest[1:])))
        return address if good and _is_address(address) else None
    name, colon, port = text.partition(":")
    if colon and not _is_port(port):
        return None
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-._")
    return name.rstrip(".") if name and set(name) <= allowed else None


class KnownHosts:
    """The names under which a server answers.

    Args:
        bound: Where it listens: an address or a name.
        also: Further names that its user allows, of a proxy before it.
        every: Any name, where what else is asked for cannot be had by a stranger's page.
    """

    def __init__(self, bound: str, also: Iterable[str] = (), every: bool = False) -> None:
        self._every = every
        self.loopback = is_loopback(bound)
        self._allowed = {name.lower().rstrip(".") for name in also}
        self._names = self._allowed | set(LOOPBACK_NAMES)
        if not self.loopback:
            self._names |= {bound.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}

    def __contains__(self, authority: object) -> bool:
        """Whether ``host:port`` names this machine. The port may be that of a tunnel, so it says nothing."""
        host = host_of(authority) if isinstance(authority, str) else None
        if host is None:
            return False
        if self._every or host in self._names:
            return True
        # An address is no name that a stranger could let lead here.
        return is_loopback(host) if self.loopback else _is_address(host)

    def allows(self, authority: str) -> bool:
        """Whether the user allowed this name himself: pages of it are the app's own, behind a proxy."""
        return host_of(authority) in self._allowed


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 65536
