"""The token of a server that others can reach: once in the address, then in a cookie that no script reads."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

PARAMETER = "token"


def new_token() -> str:
    """A token that nobody guesses: 32 random bytes."""
    return secrets.token_urlsafe(32)


class Token:
    """The token of one server.

    Args:
        secret: The token itself.
        cookie: The name of its cookie. Cookies are the same for all ports of a host, so it holds the port.
    """

    def __init__(self, secret: str, cookie: str) -> None:
        self._secret, self.cookie = secret, cookie

    def __repr__(self) -> str:
        return "<Token>"

    def fits(self, given: str | None) -> bool:
        """Whether this is the token, compared in equal time."""
        return given is not None and hmac.compare_digest(
            given.encode("utf-8", "replace"), self._secret.encode()
        )

    def in_headers(self, headers: Mapping[str, str]) -> bool:
        """Whether a request brings it, in its cookie or as ``Authorization: Bearer``."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.fits(given.strip()):
            return True
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and self.fits(found.value)

    def taken_from(self, query: str) -> tuple[bool, str]:
        """Whether a query brings it, and the query without it."""
        pairs = parse_qsl(query, keep_blank_values=True)
        given = [value for name, value in pairs if name == PARAMETER]
        rest = urlencode([(name, value) for name, value in pairs if name != PARAMETER])
        return bool(given) and self.fits(given[0]), rest

    def set_cookie(self, path: str, secure: bool) -> str:
        """The header that gives the browser its cookie."""
        return f"{self.cookie}={self._secret}; Path={path}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
