"""Reading a page as a browser would: every address it would ask for, every text it would show."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

VOID = {"img", "input", "meta", "link", "br", "hr", "source"}
ADDRESSES = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction", "ping"}


class Reader(HTMLParser):
    """Collects elements, addresses and text, and fails on elements that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        assert len(names) == len(attrs), f"an attribute stands twice: {attrs}"
        self.elements.append((tag, names))
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]
        self.addresses += re.findall(r"url\(([^)]*)\)", names.get("style") or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.addresses += re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", data)
        elif not self.open or self.open[-1] != "script":
            self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def assert_self_contained(self) -> None:
        outside = [entry for entry in self.addresses if not entry.startswith(("data:", "#"))]
        assert not outside, outside
        assert not any(name.startswith("on") for _, attributes in self.elements for name in attributes)
        [policy] = [m["content"] for m in self.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
        assert policy is not None and "default-src 'none'" in policy


@pytest.fixture(scope="session")
def reader() -> type[Reader]:
    """``reader(page)`` is the page as a browser reads it."""
    return Reader
