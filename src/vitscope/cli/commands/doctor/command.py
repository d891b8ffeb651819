"""``vitscope doctor``: the command."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from pathlib import Path

from vitscope.cli.commands.doctor.packages import Extra, Package, extras, imported, needed, requirements
from vitscope.cli.commands.doctor.places import Cache, Device, caches, devices
from vitscope.cli.shared import console
from vitscope.cli.shared.options import JsonOptions
from vitscope.errors import InstallationError, brief
from vitscope.version import __version__

EXAMPLE = "vitscope doctor --json"
PAGE = "npm and Node 20.19, then: make page"


def doctor(told: JsonOptions) -> None:
    """Look at this installation: versions, devices, optional parts, caches, and the command that adds what is missing.

    The exit code is 0 when everything that vitscope cannot do without is there, also without optional parts, else 1.
    """
    listed = requirements()
    packages, optional = imported(needed(listed)), extras(listed)
    problems = [package for package in packages if package.problem]
    usable = not any(package.name == "torch" for package in problems)
    found, kept, page = devices() if usable else [], caches(), _page_is_built()
    plug_ins = _failed_plug_ins() if not problems else {}
    if told.json:
        console.emit_json(
            {
                "vitscope": __version__,
                "folder": str(Path(__file__).parents[3]),
                "python": platform.python_version(),
                "executable": sys.executable,
                "platform": platform.platform(),
                "packages": [asdict(each) for each in packages],
                "devices": [asdict(each) for each in found],
                "extras": [{**asdict(each), "there": each.there} for each in optional],
                "page_is_built": page,
                "caches": [asdict(each) for each in kept],
                "plug_ins_that_fail": plug_ins,
                "ok": not problems,
            }
        )
    else:
        _say(packages, found, optional, page, kept, plug_ins)
    if problems:
        first, more = problems[0], len(problems) - 1
        also = f" (and {more} more, listed above)" if more and not told.json else ""
        raise InstallationError(f"{first.problem}; run: {first.remedy}{also}")


def _say(
    packages: list[Package],
    found: list[Device],
    optional: list[Extra],
    page: bool,
    kept: list[Cache],
    plug_ins: dict[str, str],
) -> None:
    console.say(f"vitscope {__version__} in {Path(__file__).parents[3]}")
    console.say(f"Python {platform.python_version()} on {platform.platform()}")
    console.say()
    console.table(
        ["package", "wanted", "found", "what mends it"],
        [[each.name, each.wanted, each.version or "missing", each.remedy or "-"] for each in packages],
    )
    console.say()
    console.table(
        ["device", "what it is", "memory"],
        [[each.name, each.what, size(each.memory) if each.memory else "-"] for each in found],
    )
    console.say()
    rows = [
        [each.name, each.purpose, "there" if each.there else "missing", each.remedy or "-"]
        for each in optional
    ]
    rows.append(["page", "the web app's page", "there" if page else "missing", "-" if page else PAGE])
    console.table(["optional", "for", "found", "what adds it"], rows)
    console.say()
    console.table(
        ["cache", "size", "files", "folder"],
        [[each.what, size(each.bytes), each.files, each.folder] for each in kept],
    )
    for reason in plug_ins.values():
        console.note(reason)


def size(count: int) -> str:
    """Bytes in the largest unit that leaves 1 or more, such as ``1.4 GB``."""
    amount, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}" if unit != "bytes" else f"{count} bytes"


def _page_is_built() -> bool:
    """Whether the web app's page was built into this installation, without importing the app's own packages."""
    return (Path(__file__).parents[3] / "app" / "page" / "index.html").is_file()


def _failed_plug_ins() -> dict[str, str]:
    """Packages that name methods of their own and could not be loaded, with the reason."""
    try:
        from vitscope.methods import methods
        from vitscope.methods.plug_ins import failed_plug_ins

        methods()
        return dict(failed_plug_ins())
    except Exception as error:  # doctor is asked when something is broken: it says what, and goes on
        return {"methods": f"the methods cannot be loaded ({brief(error)}); reinstall vitscope"}
