"""What the page takes over from Python, written as files: the API's schema, colour tables, examples for its tests.

    python scripts/page_fixtures.py          write them
    python scripts/page_fixtures.py --check  exit 1 where a file is not what would be written

After a new schema, ``npm run api`` in ui/ makes the client's types. The page draws in the browser, so it has the
colours, the scales and the form of numbers once more; its tests read these examples: what Python gives is the truth.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vitscope.app.openapi import schema_text
from vitscope.app.site.names import file_of
from vitscope.app.tensors import MEDIA_TYPE as tensors_type
from vitscope.app.tensors import encode
from vitscope.rendering.colour import MAGNITUDE_COLOURS, SIGNED_COLOURS, colourise, lookup_table
from vitscope.rendering.maps.blending import layer
from vitscope.rendering.maps.colourbar import bar_of
from vitscope.rendering.maps.scaling import scale
from vitscope.rendering.typography import fixed, numeral

UI = Path(__file__).resolve().parents[1] / "ui"


def files() -> dict[Path, bytes]:
    """Every file by its path."""
    fixtures = UI / "tests" / "fixtures"
    return {
        UI / "src" / "api" / "openapi.json": schema_text().encode(),
        UI / "src" / "colour" / "tables.json": _json(tables()),
        fixtures / "tensors.bin": tensors(),
        fixtures / "scaling.json": _json(scaling()),
        fixtures / "numbers.json": _json(numbers()),
        fixtures / "files.json": _json(site_files()),
    }


def site_files() -> list[list[object]]:
    """Under which file the answer to a question lies in a site: path, parameters, media type, file."""
    asked = [
        ("api/about", {}, "application/json"),
        ("api/pictures/3f/map", {"target": "predicted", "method": "dart", "options": ""}, tensors_type),
        ("api/pictures/3f/thumbnail.png", {"map": "value_weighted/2"}, "image/png"),
        ("api/board", {"metric": "größer & @=,_%"}, "application/json; charset=utf-8"),
    ]
    return [[*each, str(file_of(*each))] for each in asked]


def tables() -> dict[str, str]:
    """256 colours of each map as hexadecimal digits."""
    return {name: lookup_table(name).tobytes().hex() for name in (*MAGNITUDE_COLOURS, *SIGNED_COLOURS)}


def tensors() -> bytes:
    """An answer with arrays of every type; the page's test knows the values by the same rule."""
    draw = np.random.default_rng(7)
    arrays = {
        "map": draw.normal(size=(3, 5)).astype(np.float32),
        "levels": np.arange(7, dtype=np.uint8),
        "wide": np.array([[1, 65535]], np.uint16),
        "large": np.array([0, 2**32 - 1], np.uint32),
        "signed": np.array([-(2**31), 2**31 - 1], np.int32),
        "empty": np.zeros((0, 4), np.float32),
    }
    listed = {name: [float(value) for value in array.ravel()] for name, array in arrays.items()}
    return encode(arrays, {"method": "dart", "note": "größer als π", "values": listed})


def scaling() -> list[dict[str, Any]]:
    """Maps with what ``scale`` makes of them, and the pixels."""
    draw = np.random.default_rng(11)
    maps = {
        "even": draw.random((4, 6)),
        "signed": draw.normal(size=(5, 5)),
        "mostly for": draw.normal(size=(3, 4)) + 4,
        "hardly against": np.array([[-0.02, 1.0], [0.5, 0.25]]),
        "ties": np.array([[0, 0, 1], [1, 2, 2]]),
        "constant": np.full((2, 3), 0.25),
        "rounding": np.full((2, 2), 1.0) + np.array([[0, 1e-8], [2e-8, 0]]),
        "gaps": np.array([[0.5, np.nan], [np.inf, 2.0]]),
        "nothing": np.full((2, 2), np.nan),
        "zeros": np.zeros((2, 2)),
    }
    rules = {"linear": ("minmax", "viridis"), "sqrt": ("sqrt", "cividis"), "rank": ("rank", "grey")}
    found = []
    for name, values in maps.items():
        raw = values.astype(np.float32)
        for curve, (rule, colour) in rules.items():
            found.append(_scaled(name, raw, curve, False, rule, colour))
        found.append(_scaled(name, raw, "linear", True, "signed", "blue-red"))
    return found


def _scaled(name: str, raw: Any, curve: str, signed: bool, rule: str, colour: str) -> dict[str, Any]:
    made = scale(raw, rule)
    bar = bar_of(made, colour)
    return {
        "name": name,
        "curve": curve,
        "signed": signed,
        "colour": colour,
        "values": _listed(raw),
        "positions": _listed(made.values),
        "low": _listed(made.low),
        "middle": _listed(made.middle),
        "high": _listed(made.high),
        "constant": bool(made.constant),
        "invalid": int(made.invalid),
        "opaque": colourise(made.values, colour).ravel().tolist(),
        "covering": layer(made.values, colour, signed).ravel().tolist(),
        "bar": {
            "span": list(bar.span),
            "texts": list(bar.texts),
            "place": bar.at[1],
            "stops": [f"#{digits}" for digits in bar.css().removesuffix(")").split("#")[1:]],
        },
    }


def numbers() -> dict[str, list[list[Any]]]:
    """Numbers and how they are written."""
    values = [0, 1, -1.5, 0.0123456, 2.1e-5, -3e-9, 99999, 100000, 123456, 0.99951, 12.30, 1e300, 1 / 3]
    spans = [(0.12345, 1), (0.00004, 0.5), (-0.00004, 0.5), (3.14159, 12), (1e-7, 1e-6), (-2.5, 3)]
    return {
        "numeral": [[value, numeral(value)] for value in values],
        "fixed": [[value, span, fixed(value, span)] for value, span in spans],
    }


def _listed(values: Any) -> Any:
    """Numbers as nested lists; what JSON has no word for as text."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim:
        return [_listed(each) for each in array]
    return float(array) if np.isfinite(array) else str(float(array))


def _json(content: Any) -> bytes:
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def main() -> int:
    """Write the files, or with ``--check`` compare them."""
    stale = [path for path, content in files().items() if not path.exists() or path.read_bytes() != content]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path} is not current; run python scripts/page_fixtures.py", file=sys.stderr)
        return int(bool(stale))
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
