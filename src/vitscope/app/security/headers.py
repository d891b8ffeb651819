"""What every answer tells the browser: ask nobody but this server, guess no types, be shown in no other page."""

from __future__ import annotations

Headers = tuple[tuple[bytes, bytes], ...]

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

HEADERS: Headers = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


def headers_for(framing: str) -> Headers:
    """The same, where pages of some origins may show the app inside them: ``'none'``, or ``'self'`` for those of its
    own origin, such as a notebook's behind the same proxy."""
    if framing == "'none'":
        return HEADERS
    policy = POLICY.replace("frame-ancestors 'none'", f"frame-ancestors {framing}").encode()
    changed = {b"content-security-policy": policy, b"x-frame-options": b"SAMEORIGIN"}
    return tuple((name, changed.get(name, value)) for name, value in HEADERS)
