"""Which methods a command runs, and which option goes to which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitscope.cli.console import note
from vitscope.cli.options import parse_list
from vitscope.errors import MethodError, nearest

if TYPE_CHECKING:
    from vitscope.models import Anatomy

MOST_PASSES = 50
"""Methods that need more passes than this for one picture are not part of ``all``."""


def choose_methods(text: str, anatomy: Anatomy) -> list[str]:
    """The names in a comma list, checked against the registry and the model; ``all`` takes those that apply.

    Raises MethodError for an unknown name (with the nearest) and for a method that does not apply (with the
    reason). With ``all`` what does not apply, or costs hundreds of passes, is noted on stderr and left out.
    """
    from vitscope.methods import get_method, methods

    names = parse_list(text)
    if not names:
        raise MethodError("no method was named; vitscope methods lists them")
    if names != ["all"]:
        for name in names:
            info = get_method(name)
            reason = info.why_not(anatomy)
            if reason is not None:
                raise MethodError(
                    f"{name} does not apply to {anatomy.source}: {reason}; "
                    f"vitscope inspect {anatomy.source} lists the methods that do"
                )
        return names
    chosen: list[str] = []
    refused: dict[str, list[str]] = {}
    for info in methods():
        reason = info.why_not(anatomy)
        if reason is None and info.forwards + info.backwards > MOST_PASSES:
            reason = "hundreds of passes for each picture; name them to run them"
        if reason is None:
            chosen.append(info.name)
        else:
            refused.setdefault(reason, []).append(info.name)
    for reason, left_out in refused.items():
        note(f"left out: {', '.join(left_out)}: {reason}")
    if not chosen:
        raise MethodError(
            f"no method applies to {anatomy.source}; vitscope inspect {anatomy.source} gives the reasons"
        )
    return chosen


def share_options(methods: list[str], given: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Options per method: ``norm=l1`` goes to each method that has it, ``gmar.norm=l1`` to that one.

    Raises MethodError for an option that no chosen method has, with the nearest that they do, and for a text that
    stands for no value of its option.
    """
    from vitscope.methods import get_method

    known = {name: get_method(name).options for name in methods}
    shared: dict[str, dict[str, Any]] = {name: {} for name in methods}
    # Those for one method come last, so that they win over those for all.
    for key, value in sorted(given.items(), key=lambda item: "." in item[0]):
        owner, dot, option = key.rpartition(".")
        if dot and owner.replace("_", "-") in known:
            owner = owner.replace("_", "-")
        if dot and owner not in known:
            raise MethodError(
                f"-o {key}: {owner} is not among the methods {', '.join(methods)}; name one of them"
            )
        takers = [name for name in ([owner] if dot else methods) if option in known[name]]
        if not takers:
            every = {one for name in ([owner] if dot else methods) for one in known[name]}
            has = f"nearest: {', '.join(nearest(option, every))}" if every else "they have none"
            raise MethodError(f"no method of {owner or ', '.join(methods)} has an option {option!r}; {has}")
        for name in takers:
            shared[name][option] = get_method(name).read_option(option, value)
    return shared
