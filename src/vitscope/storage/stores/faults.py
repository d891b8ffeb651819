"""What is said when the place of a run's files fails as a whole: cause, bytes still needed, remedy."""

from __future__ import annotations

import errno

from vitscope.errors import StoreFault

_FULL, _READ_ONLY, _GONE, _FORBIDDEN, _BROKEN = "full", "read-only", "gone", "forbidden", "broken"

_WHY = {
    number: why
    for why, names in {
        _FULL: ("ENOSPC", "EDQUOT", "EFBIG"),
        _READ_ONLY: ("EROFS",),
        _GONE: ("ENOENT", "ENOTDIR", "ESTALE", "ENODEV", "ENXIO", "ENOTCONN", "ESHUTDOWN"),
        _FORBIDDEN: ("EACCES", "EPERM"),
        _BROKEN: ("EIO", "EREMOTEIO", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ECONNRESET", "ECONNREFUSED"),
    }.items()
    for name in names
    if (number := getattr(errno, name, None)) is not None
}

_REMEDY = {
    _FULL: "make room there and run it again",
    _READ_ONLY: "make it writable and run it again",
    _GONE: "mount it or put it back and run it again",
    _FORBIDDEN: "give yourself the right to use it and run it again",
    _BROKEN: "check that place and the way to it, and run it again",
}


def why(error: OSError) -> str | None:
    """How the place as a whole fails, as ``StoreFault.why`` says it; None when the error is that of one file."""
    return _WHY.get(error.errno or 0)


def fault(
    doing: str, place: str, words: str, why: str, *, needed: int | None = None, free: int | None = None
) -> StoreFault:
    """The error that ends a run.

    Args:
        doing: What was to be done: ``write shards/main/000017.json``.
        place: The store's name.
        words: What the system said.
        why: As ``StoreFault.why``.
        needed: Bytes that were to be written.
        free: Bytes that are free there, where that is known.

    Returns:
        A ``StoreFault`` of one line.

    Example:
        >>> print(fault("write a.json", "out", "No space left on device", "full", needed=2000, free=0))
        cannot write a.json in out: No space left on device (2.0 kB needed, 0 B free); make room there and run it again
    """
    amounts = [f"{in_words(needed)} needed"] if needed is not None else []
    if why == _FULL and free is not None:
        amounts.append(f"{in_words(free)} free")
    told = f" ({', '.join(amounts)})" if amounts else ""
    remedy = (
        "raise the limit of a file's size (ulimit -f) and run it again"
        if words == "File too large"
        else _REMEDY[why]
    )
    return StoreFault(f"cannot {doing} in {place}: {words}{told}; {remedy}", why, needed)


def in_words(size: int) -> str:
    """A number of bytes for people: ``12.3 MB``, in powers of 1,000."""
    if size < 1000:
        return f"{size} B"
    units, value = ["kB", "MB", "GB", "TB"], size / 1000
    while value >= 999.95 and len(units) > 1:
        units, value = units[1:], value / 1000
    return f"{value:.1f} {units[0]}"
