"""Who takes part: the methods asked for, and the controls that share every table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vitscope.errors import EvaluationError
from vitscope.evaluation.case import Case, Explainer, Subject
from vitscope.methods import Explanation, MethodInfo, default_method, get_method
from vitscope.methods import methods as registered
from vitscope.methods.explaining.batch import explain_batch, resolved
from vitscope.models.anatomy import Anatomy
from vitscope.tracing import ClassIndex, Vit

USUAL = ("gmar", "daam", "rollout", "gae")
"""What the default method is compared with where no methods are named."""
CONTROLS = ("raw-attention", "random", "uniform", "centre-gaussian", "edges", "inverse")
"""What shares every table. ``random`` is the mean over the protocol's seeds, ``inverse`` is minus the map of the
first method that is no control."""


@dataclass(frozen=True)
class Contestant:
    """One row of the table. ``method`` is its name in the registry; ``inverse`` takes minus its map."""

    name: str
    method: str
    family: str
    class_specific: bool
    signed: bool
    control: bool = False
    inverse: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def subjects(self, vit: Vit, case: Case) -> list[Subject]:
        """This contestant on one batch; the random control has one subject per draw."""
        if self.method == "random" and not self.options:
            return case.random_subjects()
        result = self._explain(vit, case.images, case.classes)
        grid = case.perturber.grid
        flow = None if result.flow is None or result.flow.dim() != 4 else result.flow.to(case.images.device)
        subject = Subject(
            case,
            self.name,
            self._fit(result.maps.to(case.images.device), grid),
            None if flow is None else self._fit(flow.flatten(0, 1), grid).unflatten(0, flow.shape[:2]),
            signed=self.signed and not self.inverse,
            class_specific=self.class_specific,
            explain=self._explainer(vit, grid),
            total_of=lambda: self._total(vit, case.images, case.classes),
        )
        cascade = case.cascade
        if cascade is not None:

            def at_levels(images: Tensor, classes: Tensor) -> Iterator[Tensor]:
                for randomised in cascade.levels():
                    yield self._explainer(randomised, grid)(images, classes)

            def at_last(images: Tensor, classes: Tensor) -> Tensor:
                return torch.cat([self._explainer(last, grid)(images, classes) for last in cascade.last()])

            subject.cascade_maps, subject.last_maps = at_levels, at_last
        return [subject]

    def identity(self, vit: Vit, inputs: Tensor) -> dict[str, Any]:
        """What makes this row's maps, for a recipe: the method with every option as it is used on such inputs."""
        options = get_method(self.method).resolved(vit, inputs, self.options)
        return {"method": self.method, "inverse": self.inverse, "options": options}

    def _explain(self, vit: Vit, images: Tensor, classes: Tensor) -> Explanation:
        """One batch; what is the same for the whole run, such as the weights' name, is not asked for each."""
        inputs = vit.inputs(images)
        request = resolved(vit, inputs, {self.method: dict(self.options)})
        target = ClassIndex(tuple(int(index) for index in classes))
        return explain_batch(vit, inputs, request, target)[self.method]

    def _explainer(self, vit: Vit, grid: tuple[int, int]) -> Explainer:
        def run(images: Tensor, classes: Tensor) -> Tensor:
            return self._fit(self._explain(vit, images, classes).maps.to(images.device), grid)

        return run

    def _total(self, vit: Vit, images: Tensor, classes: Tensor) -> Tensor | None:
        """Relevance of all tokens, prefix tokens included, (B,); None for methods that know no tokens."""
        info = get_method(self.method)
        options = info.resolved(vit, images, self.options)
        needs = info.needs_for(vit, images, options)
        trace = vit.trace(images, classes, gradient=needs.gradient, rules=needs.rules, capture=needs.capture)
        relevance = info.run(trace, options)
        return None if relevance.tokens is None else relevance.tokens.detach().double().sum(1)

    def _fit(self, maps: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps (B, h, w) on the grid whose patches are removed."""
        if tuple(maps.shape[-2:]) != grid:
            maps = functional.interpolate(
                maps.unsqueeze(1), size=grid, mode="bilinear", align_corners=False
            ).squeeze(1)
        return -maps if self.inverse else maps


def default_methods(anatomy: Anatomy) -> list[str]:
    """The methods of a table where none are named: the default one, then the usual ones that apply to the model."""
    first = default_method(anatomy)
    others = (name for name in USUAL if name != first and get_method(name).why_not(anatomy) is None)
    return [first, *others]


def contestants(
    vit: Vit, methods: Sequence[str], options: Mapping[str, Mapping[str, Any]], controls: Sequence[str]
) -> list[Contestant]:
    """The rows of the table: the methods in their order, then the controls that are not among them.

    A method may carry options, ``"gmar:norm=l2"``, and take part several times. ``["all"]`` takes every registered
    method that applies to the model and is no black box. Raises EvaluationError for a method that does not apply,
    with the reason, and for options of a method that takes no part.
    """
    if isinstance(methods, str) or not methods:
        raise EvaluationError(
            f"expected a list of method names, got {methods!r}; for example methods=['gae']"
        )
    unknown = [name for name in controls if name not in CONTROLS]
    if unknown:
        raise EvaluationError(f"no control is named {unknown[0]!r}; known: {', '.join(CONTROLS)}")
    names = list(dict.fromkeys(methods))
    everything = names == ["all"]
    if everything:
        names = [info.name for info in registered() if info.why_not(vit.anatomy) is None and _cheap(info)]
        names = [name for name in names if name not in CONTROLS]
    stray = [name for name in options if name not in names]
    if stray:
        raise EvaluationError(
            f"options were given for {stray[0]!r}, which is not evaluated; add it to methods"
        )
    rows = []
    for name in names:
        method, texts = parse_spec(name)
        info = get_method(method)
        reason = info.why_not(vit.anatomy)
        if reason is not None:
            raise EvaluationError(f"the method {method!r} does not apply to '{vit.source}': {reason}")
        own = {option: info.read_option(option, text) for option, text in texts.items()}
        own = info.check_options({**own, **options.get(name, {})}, vit.anatomy)
        rows.append(
            _contestant(name, info, control=name in CONTROLS or info.family == "control", options=own)
        )
    first = next((row for row in rows if not row.control), None)
    for name in controls:
        if name == "inverse":
            if first is not None:
                rows.append(
                    Contestant(
                        f"inverse of {first.name}", first.method, "control", first.class_specific, False, True, True,
                        first.options,
                    )
                )  # fmt: skip
        elif name not in names and get_method(name).why_not(vit.anatomy) is None:
            rows.append(_contestant(name, get_method(name), control=True, options={}))
    return rows


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """A method with options as one word: ``"gmar:norm=l1;alpha=0.5"`` -> ("gmar", {"norm": "l1", "alpha": "0.5"}).

    So one method can take part twice with different options. Raises EvaluationError for a malformed option, and for
    one that is given twice.
    """
    name, _, tail = text.partition(":")
    options: dict[str, str] = {}
    for item in tail.split(";") if tail else []:
        key, equals, value = item.partition("=")
        if not key.strip() or not equals:
            raise EvaluationError(f"expected a method as name:option=value;option=value, got {text!r}")
        if key.strip() in options:
            raise EvaluationError(f"{text!r} gives {key.strip()} twice; give it once")
        options[key.strip()] = value.strip()
    return name.strip(), options


def _contestant(name: str, info: MethodInfo, control: bool, options: Mapping[str, Any]) -> Contestant:
    return Contestant(name, info.name, info.family, info.class_specific, info.signed, control, False, options)


def _cheap(info: MethodInfo) -> bool:
    """Whether a method costs few passes: black-box methods with hundreds are taken only by name."""
    return bool(info.forwards + info.backwards <= 64)
