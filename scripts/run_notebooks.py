"""Run the notebooks of docs/notebooks and keep what their cells show; or check that what is kept is what they show.

    python scripts/run_notebooks.py [--check] [NOTEBOOK.ipynb ...]

Each notebook runs from top to bottom in a shell of IPython, which is what runs the cells of a Jupyter kernel, in an
empty folder of its own. What is kept stays small: text, pictures, and HTML up to ``MOST_HTML`` characters. A widget
needs a running kernel, so its still form is kept and not the widget.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"
KEPT = ("text/plain", "text/html", "image/png")
MOST_HTML = 60_000
"""Characters: a table fits, a page of pictures does not."""
QUALITY = 85
"""Pictures are kept as JPEG of this quality, a quarter as large as the PNG that a kernel shows."""
CLOSE = 0.02
"""How far numbers may be apart, as a share of the larger: other processors round otherwise."""
NEAR = 0.005
"""How far numbers near nothing may be apart."""
LEVELS = 5
"""How far pictures may be apart, on average, of 255."""
INTO = "data:image/jpeg;base64,"
INSIDE = re.compile("data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)")
"""A picture inside of HTML."""
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")

Output = dict[str, Any]
"""An output as a notebook holds it."""


class NotebookError(RuntimeError):
    """A cell failed, or shows what is not kept. One line."""


def run(cells: Sequence[str]) -> list[list[Output]]:
    """What each of the cells shows, run one after the other in a new shell and a folder of its own.

    Raises NotebookError with the first line of the cell that failed.
    """
    with tempfile.TemporaryDirectory() as place:
        os.environ["IPYTHONDIR"] = str(Path(place) / "ipython")  # a reader's settings change nothing
        work = Path(place) / "work"
        work.mkdir()
        with chdir(work):
            return _run_here(cells)


def _run_here(cells: Sequence[str]) -> list[list[Output]]:
    from IPython.core.displayhook import CapturingDisplayHook
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.display_pub = publisher = CapturingDisplayPublisher(parent=shell)
    shell.display_trap.hook = hook = CapturingDisplayHook(shell, publisher.outputs)
    shell.display_trap._nested_level = 0
    shown = []
    for number, source in enumerate(cells, 1):
        publisher.outputs.clear()
        hook.outputs = publisher.outputs
        with redirect_stdout(io.StringIO()) as printed:
            result = shell.run_cell(source, store_history=False)
        if not result.success:
            error = result.error_in_exec or result.error_before_exec
            raise NotebookError(f"cell {number} ({source.splitlines()[0]}): {type(error).__name__}: {error}")
        found: list[Output] = []
        if printed.getvalue():
            found.append({"output_type": "stream", "name": "stdout", "text": lines(printed.getvalue())})
        found += [small(each) for each in publisher.outputs]
        shown.append(found)
    return shown


def small(output: dict[str, Any]) -> Output:
    """What is kept of something that was displayed."""
    data = {kind: value for kind, value in output["data"].items() if kind in KEPT}
    if "text/html" in data:
        data["text/html"] = INSIDE.sub(lambda found: INTO + picture_text(found[1]).strip(), data["text/html"])
        if len(data["text/html"]) > MOST_HTML:
            del data["text/html"]
    kept: dict[str, Any] = {}
    for kind, value in data.items():
        if kind == "image/png":
            kept["image/jpeg"] = picture_text(value)
        else:
            kept[kind] = lines(without_memory(value))
    return {"output_type": "display_data", "data": kept, "metadata": {}}


def picture_text(value: bytes | str) -> str:
    """A picture as base64 of a JPEG."""
    raw = base64.b64decode(value) if isinstance(value, str) else value
    buffer = io.BytesIO()
    Image.open(io.BytesIO(raw)).convert("RGB").save(
        buffer, "JPEG", quality=QUALITY, subsampling=0, optimize=True
    )
    return base64.b64encode(buffer.getvalue()).decode("ascii") + "\n"


def without_memory(text: str) -> str:
    """Without the addresses and numbers that differ from run to run."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)


def lines(text: str) -> list[str]:
    """Text as a notebook keeps it: its lines with their ends."""
    return text.splitlines(keepends=True)


def read(path: Path) -> dict[str, Any]:
    """The notebook."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def sources(notebook: dict[str, Any]) -> list[str]:
    """The program of each cell that runs."""
    return ["".join(cell["source"]) for cell in code_cells(notebook)]


def kept(notebook: dict[str, Any]) -> list[list[Output]]:
    """What the notebook holds as shown by each cell that runs."""
    return [cell["outputs"] for cell in code_cells(notebook)]


def write(path: Path, notebook: dict[str, Any], shown: Sequence[Sequence[Output]]) -> None:
    """Keep what was shown, and nothing else that a notebook may hold of its last run."""
    for number, (cell, outputs) in enumerate(zip(code_cells(notebook), shown, strict=True), 1):
        cell["outputs"], cell["execution_count"], cell["metadata"] = list(outputs), number, {}
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check(notebook: dict[str, Any], shown: Sequence[Sequence[Output]]) -> None:
    """Raise NotebookError where a cell shows what the notebook does not hold."""
    for number, (before, now) in enumerate(zip(kept(notebook), shown, strict=True), 1):
        kinds = [[sorted(each.get("data", ["text"])) for each in outputs] for outputs in (before, now)]
        if kinds[0] != kinds[1]:
            raise NotebookError(f"cell {number} holds {kinds[0]} and shows {kinds[1]}")
        for old, new in zip(before, now, strict=True):
            for kind in old.get("data", ["text"]):
                one, other = ("".join(each.get("data", each)[kind]) for each in (old, new))
                difference = apart(kind, one, other)
                if difference:
                    raise NotebookError(f"cell {number}, {kind}: {difference}")


def apart(kind: str, before: str, now: str) -> str:
    """What two outputs of one kind differ in; empty where they are the same but for rounding."""
    if kind == "image/jpeg":
        old, new = (pixels(each) for each in (before, now))
        if old.shape != new.shape:
            return f"a picture of {old.shape} became one of {new.shape}"
        apart_by = float(np.abs(old - new).mean())
        return f"pixels differ by {apart_by:.2f} of 255" if apart_by > LEVELS else ""
    inside = [INSIDE.findall(each) for each in (before, now)]
    if len(inside[0]) == len(inside[1]):
        found = (apart("image/jpeg", old, new) for old, new in zip(*inside, strict=True))
        if difference := next(filter(None, found), ""):
            return difference
        before, now = (INSIDE.sub("", each) for each in (before, now))
    old_words, new_words = (" ".join(NUMBER.sub("#", each).split()) for each in (before, now))
    if old_words != new_words:
        at = next((i for i, (a, b) in enumerate(zip(old_words, new_words, strict=False)) if a != b), 0)
        return f"{old_words[max(at - 30, 0) : at + 30]!r} became {new_words[max(at - 30, 0) : at + 30]!r}"
    for old_number, new_number in zip(NUMBER.findall(before), NUMBER.findall(now), strict=True):
        a, b = float(old_number), float(new_number)
        if abs(a - b) > max(NEAR, CLOSE * max(abs(a), abs(b))):
            return f"{old_number} became {new_number}"
    return ""


def pixels(text: str) -> np.ndarray:
    """A kept picture as numbers."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"), dtype=np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    for path in [each.resolve() for each in given.notebooks] or sorted(FOLDER.glob("*.ipynb")):
        notebook = read(path)
        try:
            shown = run(sources(notebook))
            if given.check:
                check(notebook, shown)
        except NotebookError as error:
            sys.exit(f"error: {path.name}, {error}")
        if not given.check:
            write(path, notebook, shown)
        print(f"{path.name}: {len(shown)} cells, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
