"""Which methods a command runs, and which option goes to which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitscope.cli.shared.console import note
from vitscope.cli.shared.values import parse_list
from vitscope.errors import MethodError, nearest

if TYPE_CHECKING:
    from vitscope.models import Anatomy
    from vitscope.tracing import Vit

MOST_PASSES = 50
"""Methods that need more passes than this for one picture are not part of ``all``."""


def choose_methods(text: str, anatomy: Anatomy) -> list[str]:
    """The names in a comma list, checked against the registry and the model; ``all`` takes those that apply.

    Raises MethodError for an unknown name (with the nearest) and for a method that does not apply (with the
    reason). With ``all`` what does not apply, or costs hundreds of passes, is noted on stderr and left out.
    """
    from vitscope.methods import get_method, methods

    names = parse_list(text, "--method")
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


def choose_rows(rows: list[str], vit: Vit) -> list[str]:
    """The rows of a leaderboard: each a method with or without options of its own; ``all`` takes those that apply.

    Raises MethodError, or EvaluationError for ``name:option=value`` that cannot be read.
    """
    from vitscope.evaluation.running.subjects import contestants, parse_spec

    if rows == ["all"]:
        return [each.name for each in contestants(vit, ["all"], {}, ())]
    choose_methods(",".join(dict.fromkeys(parse_spec(row)[0] for row in rows)), vit.anatomy)
    return rows


def share_options(rows: list[str], given: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Options per method: ``norm=l1`` goes to each method that has it, ``gmar.norm=l1`` to that one.

    A row may have options of its own, ``gmar:norm=l1``; an option for all does not change those. Raises MethodError
    for an option that no row takes, with the nearest that they do or with what stands in its way, and for a text that
    stands for no value of its option.
    """
    from vitscope.evaluation.running.subjects import parse_spec
    from vitscope.methods import get_method

    specs = {row: parse_spec(row) for row in rows}
    known = {row: get_method(name).options for row, (name, _) in specs.items()}
    names = list(dict.fromkeys(name for name, _ in specs.values()))
    shared: dict[str, dict[str, Any]] = {row: {} for row in rows}
    # Those for one method come first: an option for all is for the others.
    for key, value in sorted(given.items(), key=lambda item: "." not in item[0]):
        owner, dot, option = key.rpartition(".")
        owner = owner if owner in names else owner.replace("_", "-")
        if dot and owner not in names:
            raise MethodError(
                f"-o {key}: {owner} is not among the methods {', '.join(names)}; name one of them"
            )
        meant = [row for row in rows if not dot or specs[row][0] == owner]
        able = [row for row in meant if option in known[row]]
        if not able:
            every = {one for row in meant for one in known[row]}
            has = f"nearest: {', '.join(nearest(option, every))}" if every else "they have none"
            raise MethodError(f"no method of {owner or ', '.join(names)} has an option {option!r}; {has}")
        takers = [row for row in able if option not in specs[row][1] and option not in shared[row]]
        if not takers:
            raise MethodError(
                f"-o {key}={value} would not be used: {', '.join(able)} has its own {option}; leave it out"
            )
        for row in takers:
            shared[row][option] = get_method(specs[row][0]).read_option(option, value)
    return shared
