"""Names of pictures as text that every file format holds.

File names are bytes, and those that are no UTF-8 reach Python as texts with lone surrogates, which Parquet refuses.
They are stored as ``bytes:`` and their bytes percent-encoded. A name that itself begins so is stored in the same way,
so that each name has one text and each text one name.
"""

from __future__ import annotations

from urllib.parse import quote_from_bytes, unquote_to_bytes

BYTES = "bytes:"


def key_to_text(key: str) -> str:
    """The text that stands for a name in a table.

    Example:
        >>> key_to_text("birds/a b.jpg"), key_to_text("caf\\udce9.jpg"), key_to_text("bytes:x")
        ('birds/a b.jpg', 'bytes:caf%E9.jpg', 'bytes:bytes%3Ax')
    """
    try:
        content = key.encode()
    except UnicodeEncodeError:
        # As Python keeps file names. Other surrogates, which no file system gives, are kept as they are.
        escaped = all("\udc80" <= letter <= "\udcff" for letter in key if "\ud800" <= letter <= "\udfff")
        content = key.encode("utf-8", "surrogateescape" if escaped else "surrogatepass")
        return BYTES + quote_from_bytes(content)
    return BYTES + quote_from_bytes(content) if key.startswith(BYTES) else key


def text_to_key(text: str) -> str:
    """The name for which a text of a table stands.

    Example:
        >>> text_to_key("bytes:caf%E9.jpg") == "caf\\udce9.jpg", text_to_key("a.jpg")
        (True, 'a.jpg')
    """
    if not text.startswith(BYTES):
        return text
    return unquote_to_bytes(text[len(BYTES) :]).decode("utf-8", "surrogateescape")
