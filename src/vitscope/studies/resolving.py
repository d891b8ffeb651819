"""From what was asked to the stages of a study: every option as it will be used, for the model that is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from vitscope.errors import nearest
from vitscope.evaluation.running.aim import aimed
from vitscope.evaluation.running.evaluate import with_companions
from vitscope.evaluation.running.subjects import contestants, default_methods
from vitscope.heads.atlas.bottom_k import limits_over
from vitscope.heads.spatial_sites import head_grid
from vitscope.methods import default_method, get_method
from vitscope.studies.analyses.scores import contestant_values
from vitscope.studies.choices import (
    ARRAYS,
    CHOICES,
    Choice,
    EvaluateChoice,
    ExplainChoice,
    ImportanceChoice,
    PatternsChoice,
    StrengthChoice,
)
from vitscope.studies.errors import StudyError
from vitscope.tracing import Vit, by_number, parse_target


def chosen_analyses(
    asked: Sequence[str] | Mapping[str, Choice | Mapping[str, Any]], methods: Sequence[str] | None
) -> dict[str, Choice]:
    """The record of options of each analysis that was asked for, by its name.

    Raises StudyError for an unknown name, none at all, or options of another analysis.
    """
    given = dict(asked) if isinstance(asked, Mapping) else dict.fromkeys(asked)
    if not given:
        raise StudyError(f"a study needs at least one analysis: {', '.join(CHOICES)}")
    found: dict[str, Choice] = {}
    for name, options in given.items():
        if name not in CHOICES:
            raise StudyError(
                f"there is no analysis {name!r}; did you mean {nearest(str(name), CHOICES, 1)[0]}? "
                f"known: {', '.join(CHOICES)}"
            )
        kind = CHOICES[name]
        if options is None:
            choice: Choice = kind()
        elif isinstance(options, Mapping):
            unknown = sorted(set(options) - set(kind.__dataclass_fields__))
            if unknown:
                raise StudyError(
                    f"the analysis {name} has no option {unknown[0]!r}; it has {', '.join(kind.__dataclass_fields__)}"
                )
            choice = kind(**options)
        elif isinstance(options, kind):
            choice = options
        else:
            raise StudyError(f"expected options of {name} as {kind.__name__}, got {type(options).__name__}")
        if isinstance(choice, (ExplainChoice, EvaluateChoice)) and choice.methods is None and methods:
            choice = replace(choice, methods=tuple(methods))
        found[name] = choice
    if methods and not {"explain", "evaluate"} & set(found):
        raise StudyError(
            "methods are for the analyses explain and evaluate; ask for one of them, or leave methods out"
        )
    return found


def check_arrays(arrays: Sequence[str], analyses: Mapping[str, Choice]) -> tuple[str, ...]:
    """The arrays to keep. Raises StudyError for unknown ones and for those that nothing would fill."""
    for name in arrays:
        if name not in ARRAYS:
            raise StudyError(f"a study keeps no array {name!r}; known: {', '.join(ARRAYS)}")
        if name in ("maps", "flow") and "explain" not in analyses:
            raise StudyError(f"the array {name} comes from the analysis explain; ask for it, too")
    if "explain" in analyses and not {"maps", "flow"} & set(arrays):
        raise StudyError("the analysis explain keeps maps or flow; name one of them in arrays")
    return tuple(dict.fromkeys(arrays))


def stage_options(
    vit: Vit,
    analyses: Mapping[str, Choice],
    arrays: Sequence[str],
    known: Iterable[str],
) -> dict[str, dict[str, Any]]:
    """The analyses of the main stage with every option as it is used, as plain values by name.

    known: which of labels, boxes and masks the pictures have. Raises errors of the analyses for what does not fit the
    model.
    """
    found: dict[str, dict[str, Any]] = {}
    explained = analyses.get("explain")
    target = explained.target if isinstance(explained, ExplainChoice) else "top1"
    if isinstance(explained, ExplainChoice):
        found["explain"] = _explain(vit, explained, arrays)
    for name, choice in analyses.items():
        if isinstance(choice, EvaluateChoice):
            found[name] = _evaluate(vit, choice, set(known))
        elif isinstance(choice, ImportanceChoice):
            _require_classes(vit, name)
            head_grid(vit.anatomy)
            found[name] = asdict(choice)
        elif isinstance(choice, StrengthChoice):
            found[name] = asdict(choice)
    for name in ("class_rows", "features", "attention"):
        if name in arrays:
            found[name] = {}
    if vit.anatomy.classes is not None:
        found["predictions"] = {"target": target}
    return found


def sample_options(
    vit: Vit, choice: PatternsChoice, keys: Iterable[Sequence[str]], seed: int
) -> dict[str, Any]:
    """Options of the sample of maps, once all keys are known; they go by in portions."""
    blocks = vit.anatomy.blocks
    heads = [(place, head) for place, block in enumerate(blocks) for head in range(block.heads)]
    limits = limits_over(keys, heads, choice.per_head, seed)
    return {
        "per_head": choice.per_head,
        "limits": [[*head, limits.limit(*head)] for head in heads],
    }


def fit_options(vit: Vit, choice: PatternsChoice, pictures: int) -> dict[str, Any]:
    """Options of the atlas. The length of a code is decided now, so that its array can be declared."""
    L, H = head_grid(vit.anatomy)
    maps = min(choice.per_head, pictures) * L * H
    latent = choice.autoencoder.code_size(max(1, int(maps * (1 - choice.held_out))))
    values = asdict(choice)
    values.pop("per_head")
    return {**values, "autoencoder": {**values["autoencoder"], "latent": latent}}


def _explain(vit: Vit, choice: ExplainChoice, arrays: Sequence[str]) -> dict[str, Any]:
    names = [default_method(vit.anatomy)] if choice.methods is None else list(choice.methods)
    if names == ["all"]:
        raise StudyError("explain in a study needs its methods by name; vitscope methods lists them")
    stray = sorted(set(choice.options) - set(names))
    if stray:
        raise StudyError(f"options were given for {stray[0]!r}, which is not explained; add it to methods")
    by_number(parse_target(choice.target), vit.class_names, vit.source)
    methods = {}
    for name in names:
        info = get_method(name)
        reason = info.why_not(vit.anatomy)
        if reason is not None:
            raise StudyError(f"method '{name}' does not apply to '{vit.source}': {reason}")
        methods[name] = {**info.options, **info.check_options(choice.options.get(name, {}), vit.anatomy)}
    return {
        "methods": methods,
        "target": choice.target,
        "clean": choice.clean,
        "maps": "maps" in arrays,
        "flow": "flow" in arrays,
    }


def _evaluate(vit: Vit, choice: EvaluateChoice, known: set[str]) -> dict[str, Any]:
    _require_classes(vit, "evaluate")
    metrics = with_companions(choice.metrics)
    for info in metrics:
        if "mosaics" in info.requires:
            raise StudyError(
                f"the metric {info.name!r} puts pictures together to mosaics, not in a study; use vitscope evaluate"
            )
        needs = {"labels": {"labels"}, "masks": {"masks", "boxes"}, "boxes": {"masks", "boxes"}}
        for need in info.requires:
            if need in needs and not needs[need] & known:
                raise StudyError(
                    f"the metric {info.name!r} needs {need} of the pictures; give a list with them, or labels"
                )
    if choice.protocol.target == "label" and "labels" not in known:
        raise StudyError("target='label' needs the true class of each picture; give labels")
    names = default_methods(vit.anatomy) if choice.methods is None else list(choice.methods)
    rows = contestants(vit, names, choice.options, choice.controls)
    return {
        "rows": [contestant_values(row) for row in rows],
        "metrics": [info.name for info in metrics],
        "protocol": replace(aimed(choice.protocol, vit), recipe=None).to_dict(),
        "perturbed_batch_size": choice.perturbed_batch_size,
    }


def _require_classes(vit: Vit, analysis: str) -> None:
    if vit.anatomy.classes is None:
        raise StudyError(
            f"'{vit.source}' has no classifier, which the analysis {analysis} needs; leave it out, or take another"
        )
