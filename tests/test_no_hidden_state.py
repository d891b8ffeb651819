"""A result depends on its recipe alone: what of the library can change while it runs is listed here, with a reason.

A new cache, registry or switch at module level fails this test until it is on the list, so nobody adds one unseen.
Files go by their last name, so that one may move to another room.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "vitscope"
CONTAINERS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
MADE_EMPTY = {"dict", "list", "set", "OrderedDict", "defaultdict", "Counter", "deque", "WeakKeyDictionary",
              "WeakValueDictionary", "WeakSet", "local"}  # fmt: skip

REGISTRIES = "a registry: filled when its files are imported, read by name"
PURE = "a function of its arguments alone, remembered to save time"
ALLOWED = {
    "silhouettes.py:templates": PURE,
    "metric.py:_METRICS": REGISTRIES,
    "poisson_bootstrap.py:_counts": PURE,
    "poisson_bootstrap.py:poisson_weights": PURE,
    "statistics.py:_remembered_weights": PURE,
    "canonical.py:overlap": PURE,
    "canonical.py:pooling_matrices": PURE,
    "hops.py:grid_geometry": PURE,
    "features.py:_masks": PURE,
    "savings.py:_found": "which short cuts give a model's own logits: a property of its architecture",
    "kappa.py:_HAS_BRANCH": "whether a model has MLP branches: a property of its architecture",
    "annotations.py:_for_type_checkers": PURE,
    "door.py:_fields": PURE,
    "registry.py:_METHODS": REGISTRIES,
    "recipe.py:_timm_version": "the installed version, which stays as long as the process",
    "ray_task.py:_worker": "the worker of a process, by the study that it computes",
    "ray_task.py:_model": "the opened model of a worker process, by the study and all that it is opened with",
    "ray_task.py:_manifest": "the study of a worker process, by its place",
    "plug_ins.py:_FAILED": "why methods of other packages could not be imported, for who lists the methods",
    "registry.py:_load_all": "that the methods' files were imported",
    "class_names.py:_imagenet_table": PURE,
    "registry.py:_SOURCES": REGISTRIES,
    "colour.py:lookup_table": PURE,
    "templating.py:environment": PURE,
    "typography.py:font": PURE,
    "exclusion.py:_waiting": "who waits for a model that another thread uses",
    "exclusion.py:_working": "which models are in use",
    "multihead.py:_before": "torch's own function while it is wrapped",
    "multihead.py:_local": "the pass that runs on this thread",
    "multihead.py:_watched": "how many passes have torch's function wrapped",
}


def changing(tree: ast.Module) -> Iterator[str]:
    """Names at module level that are bound to an empty container or a cache, or that a function binds anew."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            made = node.value
            called = ast.unparse(made.func).rpartition(".")[2] if isinstance(made, ast.Call) else ""
            filled = any(getattr(made, part, None) for part in ("keys", "elts", "generators"))
            if called in MADE_EMPTY or (isinstance(made, CONTAINERS) and not filled):
                yield from names
        yield from cached(node)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names


def cached(node: ast.stmt) -> Iterator[str]:
    """Functions of a module or methods of its classes that remember their results for ever."""
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            yield from cached(inner)
    if isinstance(node, ast.FunctionDef):
        decorators = {ast.unparse(d).partition("(")[0].rpartition(".")[2] for d in node.decorator_list}
        if decorators & {"cache", "lru_cache"}:
            yield node.name


def test_nothing_changes_unseen() -> None:
    found = {
        f"{file.name}:{name}"
        for file in SOURCE.rglob("*.py")
        for name in changing(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found - set(ALLOWED) == set(), "a result may come to depend on earlier calls; say why it does not"
    assert set(ALLOWED) - found == set(), "these are gone; take them off the list"


def test_the_scan_sees_what_it_is_for() -> None:
    code = """
import functools, weakref
FULL = {"a": 1}
EMPTY: dict = {}
KEPT = weakref.WeakKeyDictionary()
LIST = list()
@functools.lru_cache(maxsize=3)
def remembered(): ...
class Thing:
    @functools.cache
    def method(self): ...
def switch():
    global STATE
    inner = {}
"""
    assert set(changing(ast.parse(code))) == {"EMPTY", "KEPT", "LIST", "remembered", "method", "STATE"}
