"""What vitscope and other packages do with a ViT as it is, each thing tried; and the tables that say it.

    python benchmarks/peer_facts.py [--package NAME ...] [--out benchmarks/results/peer_facts.json]
    python benchmarks/peer_facts.py --tables     # the tables of README.md and docs/peers.md, from the results alone

Each package is tried in a Python of its own, by the calls that its documentation gives (``peer_calls.py``). A package
that is not installed where this runs keeps what was found before, with the versions that it was found with: so the
script may run once in each of several environments, which some packages need. Nothing is written about what was not
tried.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import marked

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "peer_facts.json"
WITH = ("torch", "torchvision", "timm", "transformers", "open_clip_torch")
"""Whose versions stand beside each finding."""
NOT_INSTALLABLE = {"vit-explain": "the Python package index has no package of that name"}
"""Asked for, and not tried."""
BEGIN, END = "<!-- peers: written by benchmarks/peer_facts.py; do not edit -->", "<!-- end of peers -->"
LIBRARIES = ("timm", "torchvision", "transformers", "open_clip")

Facts = dict[str, Any]


def tried(call: Callable[[], Any]) -> Facts:
    """``{"ok": True, "shape": …}``, or ``{"ok": False, "error": …}`` for an exception or for what is no map."""
    import torch

    try:
        found = call()
        if not isinstance(found, torch.Tensor):
            return {"ok": False, "error": f"gives {type(found).__name__}"}
        if not bool(found.isfinite().all()) or float(found.double().std()) == 0:
            return {"ok": False, "error": "gives the same number everywhere, or none"}
        return {"ok": True, "shape": list(found.shape)}
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        return {"ok": False, "error": f"{type(error).__name__}: {line}"[:200].rstrip()}


def state_of(model: Any) -> Facts:
    """What a package may leave behind: on the model, on the classes of its modules, and on torch's own functions."""
    import torch

    kinds = {type(module) for module in model.modules()}
    return {
        "hooks": sum(
            len(getattr(module, place))
            for module in model.modules()
            for place in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        ),
        "gradients": sum(parameter.grad is not None for parameter in model.parameters()),
        "flags of parameters": [parameter.requires_grad for parameter in model.parameters()],
        "mode": [module.training for module in model.modules()],
        "functions of modules": [sorted(k for k in vars(m) if callable(vars(m)[k])) for m in model.modules()],
        "functions of classes": {kind.__qualname__: id(kind.forward) for kind in kinds},
        "functions of torch": [id(torch.softmax), id(torch.nn.functional.scaled_dot_product_attention)],
    }


def changed_by(package: Any, library: str) -> list[str]:
    """What is otherwise after one map."""
    import torch
    from peer_calls import model_of

    model, x = model_of(library), pictures()
    inside = getattr(model, "visual", model)
    before = state_of(model)
    with torch.no_grad():
        old = tensor_of(inside(x))
    package.maps[library](model, x)
    after = state_of(model)
    with torch.no_grad():
        new = tensor_of(inside(x))
    return [name for name in before if before[name] != after[name]] + ["answers"] * (not old.equal(new))


def first_changes(package: Any) -> list[str] | None:
    """What one map changes of the first library whose model the package takes; None where it takes none."""
    for library in package.maps:
        with suppress(Exception):
            return changed_by(package, library)
    return None


def tensor_of(answer: Any) -> Any:
    """The logits of an answer."""
    return getattr(answer, "logits", answer)


def pictures(count: int = 2) -> Any:
    import torch

    return torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def facts_of(package: Any) -> Facts:
    """Everything that is tried of one package."""
    import torch
    from peer_calls import model_of

    torch.manual_seed(0)
    changed = first_changes(package)  # before anything else of it runs: what it changes may stay for good
    x = pictures()
    maps = {
        name: tried(lambda call=call, name=name: call(model_of(name), x))
        for name, call in package.maps.items()
    }
    opened = [name for name, found in maps.items() if found["ok"]]
    methods = {
        name: tried(lambda call=call: call(model_of(package.on), x))
        for name, call in package.methods().items()
    }
    found: Facts = {
        "version": metadata.version(package.distribution),
        "python": platform.python_version(),
        "with": {name: metadata.version(name) for name in WITH},
        "maps": maps,
        "needs": list(package.needs),
        "bare": None if package.bare is None else tried(lambda: package.bare(model_of("timm"), x)),
        "methods on": package.on,
        "methods": methods,
        "flow": None,
        "heads": None,
        "metrics": sorted(package.metrics()),
        "changed": changed,
    }
    for kind in ("flow", "heads"):
        if getattr(package, kind) is not None:
            library, call = getattr(package, kind)
            trial = functools.partial(call, model_of(library), x)
            found[kind] = {"of": library, **tried(trial)}
    if opened:
        found["batch"] = batch_of(package.maps[opened[0]], opened[0])
    return found


def batch_of(call: Any, library: str) -> float:
    """How far the maps of two pictures at once lie from those of each alone, of the largest value."""
    import torch
    from peer_calls import model_of

    x = pictures()
    together = call(model_of(library), x).double()
    alone = torch.cat([call(model_of(library), each[None]).double() for each in x])
    return float((together - alone).abs().max() / together.abs().max())


# ---- the tables ------------------------------------------------------------------------------------------------------
def versioned(name: str, found: Facts) -> str:
    return f"{name} {found['version']}"


def given(found: Facts) -> str:
    """What the caller writes beside model, pictures and class."""
    if not found["maps"]:
        return "—"
    return ", ".join(found["needs"]) or "nothing"


def working(found: Facts, kind: str) -> list[str]:
    return [name for name, each in found[kind].items() if each["ok"]]


def yes(found: Facts | None) -> str:
    return "—" if found is None else "yes" if found["ok"] else "no"


def as_it_was(found: Facts) -> str:
    if found["changed"] is None:
        return "—"
    return "yes" if not found["changed"] else "no: " + ", ".join(found["changed"])


def compact(document: Facts) -> str:
    """The table of README.md."""
    lines = [
        "| package | maps of unchanged ViTs of | to be given beside the class | methods | block by block | every head "
        "| metrics |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in document.items():
        opened = working(found, "maps")
        of = "all four" if len(opened) == len(LIBRARIES) else ", ".join(opened) or "—"
        lines.append(
            f"| {versioned(name, found)} | {of} | {given(found)} | {len(working(found, 'methods')) or '—'} | "
            f"{yes(found['flow'])} | {yes(found['heads'])} | {len(found['metrics']) or '—'} |"
        )
    return "\n".join(lines)


def complete(document: Facts) -> str:
    """The part of docs/peers.md: each trial with what came of it."""
    lines = [
        "## What each does with a ViT as it is",
        "",
        "Each cell is a trial of `benchmarks/peer_facts.py` with the calls of `benchmarks/peer_calls.py`, on ViTs of",
        "two blocks with random weights that the libraries themselves built. Of transformers, grad-cam and torchcam",
        "get a wrapper around the model that hands on its logits, Captum a function that does. A dash: no call for it",
        "was found, so nothing was tried.",
        "",
        "| package | model left as it was | two pictures at once and each alone "
        "| timm | torchvision | transformers | open_clip |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in document.items():
        apart = found.get("batch")
        apart_words = "—" if apart is None else "the same" if apart < 1e-3 else f"differ by {apart:.0%}"
        trials = (found["maps"].get(library) for library in LIBRARIES)
        cells = [
            "—" if each is None else "yes" if each["ok"] else f"no: `{each['error'][:70]}`".replace("|", "/")
            for each in trials
        ]
        cells = [versioned(name, found), as_it_was(found), apart_words, *cells]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Methods that gave a map, and those that did not:", ""]
    for name, found in document.items():
        if found["methods"]:
            good, bad = working(found, "methods"), [k for k, v in found["methods"].items() if not v["ok"]]
            words = f"* {versioned(name, found)}, on {found['methods on']}: {', '.join(good) or 'none'}."
            lines.append(words + (f" Not: {', '.join(bad)}." if bad else ""))
    bare = [
        f"{name}: {'a map' if found['bare']['ok'] else '`' + found['bare']['error'][:100] + '`'}"
        for name, found in document.items()
        if found["bare"] is not None
    ]
    lines += ["", "With nothing but a model of timm, pictures and a class: " + "; ".join(bare) + ".", ""]
    groups: dict[str, list[str]] = {}
    for name, found in document.items():
        groups.setdefault(", ".join(f"{k} {v}" for k, v in found["with"].items()), []).append(name)
    lines += [f"Tried with {versions}: {', '.join(names)}." for versions, names in groups.items()]
    lines += [f"Not tried: {', '.join(f'{name} ({why})' for name, why in NOT_INSTALLABLE.items())}.", ""]
    return "\n".join(lines)


def between(text: str, table: str) -> str:
    """The text with the table in the place between the two marks."""
    return marked.between(text, BEGIN, END, f"\n{table.strip()}\n")


PAGES: dict[str, Callable[[Facts], str]] = {"README.md": compact, "docs/peers.md": complete}
"""Where tables stand."""


def write_tables(document: Facts) -> None:
    for name, table in PAGES.items():
        page = ROOT / name
        page.write_text(between(page.read_text(encoding="utf-8"), table(document)), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--package", action="append", help="only this one; may be given several times")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--tables", action="store_true", help="write the tables alone")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    document: Facts = json.loads(options.out.read_text()) if options.out.is_file() else {}
    if not options.tables:
        from peer_calls import PACKAGES

        warnings.simplefilter("ignore")
        chosen = [each for each in PACKAGES if not options.package or each.name in options.package]
        if options.alone:
            with redirect_stdout(sys.stderr):  # some packages print
                found = facts_of(chosen[0])
            print(json.dumps(found))
            return
        for package in chosen:
            if find_spec(package.module) is None:
                print(f"{package.name}: not installed here")
                continue
            command = [sys.executable, __file__, "--alone", "--package", package.name]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{package.name}: failed: {done.stderr.strip().splitlines()[-1]}")
                continue
            document[package.name] = json.loads(done.stdout.splitlines()[-1])
            print(f"{package.name}: {len(working(document[package.name], 'methods'))} methods")
        document = {each.name: document[each.name] for each in PACKAGES if each.name in document}
        options.out.write_text(json.dumps(document, indent=1) + "\n")
    write_tables(document)


if __name__ == "__main__":
    main()
