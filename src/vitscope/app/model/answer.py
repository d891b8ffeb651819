"""One answer, ready to be sent: bytes, what they are, and under which name they may be saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vitscope.app import tensors
from vitscope.app.answers.maps import Arrays

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """content: the bytes. media_type: what they are. name: the file that they are saved as; None for what is shown."""

    content: bytes
    media_type: str
    name: str | None = None

    @classmethod
    def of_json(cls, value: Any) -> Answer:
        """Plain values; the same values give the same bytes."""
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return cls(text.encode("utf-8", "backslashreplace"), JSON)

    @classmethod
    def of_tensors(cls, arrays: Arrays, known: Mapping[str, Any]) -> Answer:
        """Arrays behind their header."""
        return cls(tensors.encode(arrays, known), tensors.MEDIA_TYPE)
