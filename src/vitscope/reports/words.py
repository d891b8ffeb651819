"""What pictures, plots and pages say of a result: names of blocks and heads, what was explained, which scale suits.

Decided here once, so that Python, a notebook, the shell and the app agree. Blocks, heads, stages and steps in time are
counted from 0. Whether values have a sign, and whether a flow adds up, is what the registry says of the method; it is
never read from the values, so a signed map without negative cells keeps its colours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vitscope.errors import MethodError
from vitscope.heads.pruning.change_metrics import METRICS
from vitscope.heads.rankings.scores import SCORES
from vitscope.methods import Explanation, MethodInfo, get_method
from vitscope.tracing.targets.quantity import quantity_of

Head = tuple[int, int]
RATHER_THAN = " rather than "
"""Between the class that is explained and the one that it is held against."""


# ---- names -----------------------------------------------------------------------------------------------------------
def numbers(count: int, first: int = 0) -> list[str]:
    """The numbers of blocks or heads beside a table or along an axis: "0", "1", ..."""
    return [str(first + index) for index in range(count)]


def step_names(kind: str, count: int, first: int = 0) -> list[str]:
    """The names of steps that follow each other: "block 0", "block 1", ..."""
    return [f"{kind} {number}" for number in numbers(count, first)]


def step_places(kind: str, count: int, first: int = 0) -> list[str]:
    """The same with the first and the last number, for a picture that stands alone: "block 3 of 0–11"."""
    if count == 1:
        return step_names(kind, count, first)
    return [f"{name} of {first}–{first + count - 1}" for name in step_names(kind, count, first)]


def flow_steps(explanation: Explanation) -> tuple[str, int, int]:
    """What the maps of a flow stand for: the kind of step ("block", or "stage" of a network without blocks), how many
    there are, and the number of the first."""
    count = 0 if explanation.flow is None else int(explanation.flow.shape[1])
    return (
        str(explanation.metadata.get("flow_of", "block")),
        count,
        int(explanation.options.get("start_block") or 0),
    )


def step_of(explanation: Explanation, block: int) -> int:
    """Where in the flow the map after a block stands. Raises MethodError where the method has none after that block."""
    kind, count, first = flow_steps(explanation)
    if not first <= block < first + count:
        raise MethodError(
            f"{explanation.method} has no map after {kind} {block}; "
            + (
                f"it has those of {first} to {first + count - 1}"
                if count
                else "it makes one map, leave block= out"
            )
        )
    return block - first


def head_name(block: int, head: int) -> str:
    """``block.head``, both from 0."""
    return f"{int(block)}.{int(head)}"


def head_names(heads: Sequence[Head]) -> str:
    """Several heads in a sentence."""
    return ", ".join(head_name(*head) for head in heads)


def metric_title(name: str) -> str:
    """The title of a metric or score of heads."""
    return METRICS[name].title if name in METRICS else SCORES.get(name, name.replace("_", " "))


def curve_axis(curve: str) -> str:
    """What the axis of a metric's curve counts, from 0 to 1."""
    return "share of the blocks that the map holds" if curve == "flow-srg" else "share of the way"


def curve_start(curve: str) -> str:
    """Where a metric's curve begins."""
    return "After block 0" if curve == "flow-srg" else "At step 0"


# ---- signs and flows -------------------------------------------------------------------------------------------------
def known_method(name: str) -> MethodInfo | None:
    """The registry's entry of a method, also of one with options (``gmar:norm=l1``); None for maps from outside."""
    try:
        return get_method(name.partition(":")[0])
    except MethodError:
        return None


def is_signed(method: str) -> bool:
    """Whether a method's values have a sign; maps of a method that the registry does not know count as unsigned."""
    found = known_method(method)
    return found is not None and found.signed


def accumulates(method: str) -> bool:
    """Whether each map of a method's flow holds all steps before it, so that the steps add up."""
    found = known_method(method)
    return found is not None and found.accumulates


def is_signed_metric(name: str) -> bool:
    """Whether a metric of heads has a sign: below zero the head hurts."""
    return name in METRICS and METRICS[name].signed


def map_scaling(method: str) -> str:
    """The display scaling that suits one map of a method."""
    return "signed" if is_signed(method) else "minmax"


def flow_scaling(method: str) -> str:
    """The display scaling that suits a method's flow: one scale for all its steps."""
    return "signed" if is_signed(method) else "daam"


# ---- what was explained ----------------------------------------------------------------------------------------------
def class_name(explanation: Explanation, number: int | None) -> str | None:
    """The name of a class where the model has names, else None."""
    names = explanation.class_names
    if number is None or not names or not 0 <= number < len(names):
        return None
    return names[number]


def class_of(explanation: Explanation, index: int = 0) -> int | None:
    """The number of the class that is explained on a picture, None where no class is."""
    return None if explanation.classes is None else int(explanation.classes[index])


def explained(explanation: Explanation, index: int = 0) -> str:
    """What is explained on a picture, in words: its class, and which it is held against where one is; or the target
    itself (a text, another picture)."""
    number = class_of(explanation, index)
    if number is None:
        return explanation.target or "the model's own feature"
    name = class_name(explanation, number) or f"class {number}"
    difference = re.fullmatch(r"difference:[^,]+,(\w+)", explanation.target or "")
    if not difference:
        return name
    other = difference[1]
    if not other.isdecimal():
        return f"{name}{RATHER_THAN}the most likely other"
    return f"{name}{RATHER_THAN}{class_name(explanation, int(other)) or f'class {other}'}"


def predictions(explanation: Explanation, index: int = 0, count: int = 5) -> list[dict[str, Any]]:
    """The most probable classes of a picture, the first on top: class, name (None without names), probability."""
    if explanation.logits is None:
        return []
    kind = explanation.metadata.get("probability", "softmax")
    probabilities = quantity_of(explanation.logits[index].float().cpu(), "probability", kind)
    values, places = probabilities.topk(min(count, probabilities.numel()))
    return [
        {"class": int(place), "name": class_name(explanation, int(place)), "probability": float(value)}
        for value, place in zip(values, places, strict=True)
    ]


def map_title(explanation: Explanation, index: int = 0) -> str:
    """The title of one map: the method and what it explains."""
    return f"{explanation.method}: {explained(explanation, index)}"


def map_caption(explanation: Explanation) -> str:
    """What a reader must know of what is drawn: which channels of the picture are shown. Empty for plain pictures."""
    return str(explanation.metadata.get("shown_channels") or "")


def prefix_shares(explanation: Explanation, index: int = 0) -> dict[str, float] | None:
    """The share of the whole that lies on each prefix token, by what they are called; None where there are none. Of an
    explanation that does not tell them apart, that of all together."""
    shares = explanation.metadata.get("prefix_share")
    prefix = explanation.metadata.get("prefix") or []
    if not shares or not prefix:
        return None
    share, values = float(shares[index]), explanation.metadata.get("prefix_values")
    if values is None:
        return {token_name(prefix[0]) if len(prefix) == 1 else "prefix tokens": share}
    sizes = [abs(value) for value in values[index]]
    whole = sum(sizes) or 1.0
    return {token_name(name): share * size / whole for name, size in zip(prefix, sizes, strict=True)}


def token_name(name: str) -> str:
    """What a prefix token is called: ``class token``, ``distillation token``, ``register 1``."""
    return f"{name} token" if name in ("class", "distillation") else name.replace("_", " ")


def made_by(explanation: Explanation, index: int = 0) -> dict[str, Any]:
    """What made a map, for the notes inside a picture's file: model, weights, picture, method, options, target, heads
    that are off where some are, and the version."""
    known = explanation.metadata
    keys, ids = known.get("keys") or (), known.get("ids") or ()
    made = {
        "model": known.get("model", ""),
        "weights": known.get("fingerprint", ""),
        "picture": keys[index] if keys else "",
        "content": ids[index] if ids else "",
        "method": explanation.method,
        "options": dict(explanation.options),
        "target": explained(explanation, index),
    }
    if known.get("ablation"):
        made["heads switched off"] = head_names([(block, head) for block, head in known["ablation"]])
    return {**made, "vitscope": known.get("versions", {}).get("vitscope", "")}
