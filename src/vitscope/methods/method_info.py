"""What is known of a registered method: what a user must know about it, its options, what its trace must hold."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vitscope.errors import MethodError, nearest
from vitscope.methods.relevance import Applies, Needs, NeedsOf, Relevance
from vitscope.models.anatomy import Anatomy
from vitscope.options.declared import Option, declared_options, short
from vitscope.options.kinds import Refused, Switch
from vitscope.tracing import Trace, Vit, constant_gate
from vitscope.tracing.calls.calling import Inputs

Function = Callable[..., Relevance]
Resolve = Callable[[Vit, Any, Mapping[str, Any]], dict[str, Any]]
"""(vit, inputs of one batch, all options) -> the options with what depends on the model put in."""


QUESTIONS = {
    "attention": "where attention goes",
    "attention-gradient": "where attention goes that moves the class",
    "flow": "what the class token takes up, block by block",
    "cam": "where the class is seen",
    "residual-stream": "which patches hold the score",
    "lrp": "which patches the score is made of",
    "pixel-gradient": "which pixels move the score",
    "black-box": "what changes when parts are hidden",
    "control": "none, it is there to compare with",
}
"""What the methods of a family answer, where one says nothing else of itself."""


@dataclass(frozen=True)
class MethodInfo:
    """A registered method, with what a user must know about it.

    Args:
        name: Its name.
        family: The group of methods it is listed with.
        title: The name to print.
        citation: The publication it comes from.
        class_specific: True when the map depends on the class that is explained.
        signed: True when negative values count against the class; False when maps are 0 or more.
        forwards: Forward passes that one picture costs when nothing is shared with other methods.
        backwards: Backward passes, likewise.
        has_flow: True when it gives one map per block.
        function: (trace, options) -> Relevance.
        needs: What its trace must hold, or a function that tells it for given inputs and options.
        applies: Gives the reason why it does not apply to a model, or None.

    Example:
        >>> import vitscope as vs
        >>> gmar = vs.methods.get_method("gmar")
        >>> gmar.title, gmar.has_flow, gmar.options["norm"]
        ('GMAR', True, 'l1')
        >>> gmar.check_options({"alpha": 2})
        {'alpha': 2.0}
    """

    name: str
    family: str
    title: str
    citation: str
    class_specific: bool
    signed: bool
    forwards: float
    backwards: float
    has_flow: bool
    function: Function
    needs: Needs | NeedsOf
    applies: Applies
    takes_libra: bool = False
    """True for methods on the model's own gradient: LibraGrad's (CVPR 2025) can take its place.

    With the option ``libra=True`` softmax, the activations' gates and LayerNorm's std are constant on the way back;
    the formula of the method stays."""

    follows_rows: bool = False
    """True for methods that start from the row of what the score reads: for a target of its own that row is found from
    the target's gradient."""

    resolve: Resolve | None = None
    """Puts in what depends on the model, so that a record of the options says what was used."""

    accumulates: bool = False
    """True where each map of the flow is the sum over all blocks up to its own."""

    passes_by: tuple[str, int] | None = None
    """What its passes grow with, and at how many of them ``forwards`` and ``backwards`` hold: an option of it, such as
    ``("masks", 400)``, or ``("patches", 196)`` of the model."""

    answers: str = ""
    """The question that its map answers, where that is another one than its family's."""

    @property
    def question(self) -> str:
        """The question that its map answers, in words; empty where nobody has said it."""
        return self.answers or QUESTIONS.get(self.family, "")

    @cached_property
    def declared(self) -> dict[str, Option]:
        """What each option accepts, by name; methods on the plain gradient also have ``libra``."""
        own = declared_options(self.function)
        return {**own, "libra": Option("libra", False, (Switch(),))} if self.takes_libra else own

    @property
    def options(self) -> dict[str, Any]:
        """The default of each option, by name."""
        return {name: option.default for name, option in self.declared.items()}

    @property
    def summary(self) -> str:
        """The first line of the docstring of the method's function."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def formula(self) -> str:
        """The whole docstring of the method's function: the formula, and what its options mean."""
        return inspect.getdoc(self.function) or ""

    @property
    def cost(self) -> str:
        """Forward and backward passes for one picture, such as ``1F + 1B``."""
        return f"{self.forwards:g}F" + (f" + {self.backwards:g}B" if self.backwards else "")

    def passes(self, anatomy: Anatomy, options: Mapping[str, Any] | None = None) -> tuple[float, float]:
        """Forward and backward passes for one picture with these options, in proportion to what they grow with.

        Example:
            >>> import vitscope as vs
            >>> anatomy = vs.open_model("bundled/shapes").anatomy
            >>> rise = vs.methods.get_method("rise")
            >>> rise.passes(anatomy), rise.passes(anatomy, {"masks": 100})
            ((400.0, 0.0), (100.0, 0.0))
            >>> vs.methods.get_method("occlusion").passes(anatomy)
            (144.0, 0.0)
        """
        if self.passes_by is None:
            return float(self.forwards), float(self.backwards)
        name, at = self.passes_by
        patches = anatomy.layout.patches if anatomy.layout is not None else None
        given = patches if name == "patches" else {**self.options, **(options or {})}.get(name)
        share = given / at if isinstance(given, int | float) else 1.0
        return self.forwards * share, self.backwards * share

    def why_not(self, anatomy: Anatomy) -> str | None:
        """The reason why this method does not apply to a model, None when it does."""
        return self.applies(anatomy)

    def resolved(self, vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options as they are used on these inputs: checked, with defaults, and with what depends on the model.

        Args:
            vit: The opened model.
            inputs: One batch of ready inputs, (B, C, H, W).
            options: What the user chose, by name.

        Returns:
            Every option of the method by name.

        Raises:
            MethodError: An option that this method or this model does not take.
        """
        whole = {**self.options, **self.check_options(options, vit.probe_for(inputs).anatomy)}
        return self.resolve(vit, inputs, whole) if self.resolve is not None else whole

    def needs_for(self, vit: Vit, inputs: Inputs, options: Mapping[str, Any]) -> Needs:
        """What the trace must hold for these inputs and options, which are all there: see :meth:`resolved`."""
        needs = self.needs if isinstance(self.needs, Needs) else self.needs(vit, inputs, dict(options))
        return replace(needs, rules=constant_gate()) if self.takes_libra and options["libra"] else needs

    def run(self, trace: Trace, options: Mapping[str, Any]) -> Relevance:
        """The method's relevance, computed from a trace.

        Args:
            trace: A trace that holds what :meth:`needs_for` gives.
            options: All options, see :meth:`resolved`.

        Returns:
            Relevance of the B pictures of the trace.
        """
        own = {k: v for k, v in options.items() if not (k == "libra" and self.takes_libra)}
        return self.function(trace, **own)

    def check_options(self, options: Mapping[str, Any], anatomy: Anatomy | None = None) -> dict[str, Any]:
        """The options in their strict form: a whole number given for a float becomes one, and so on.

        Args:
            options: What the user chose, by name.
            anatomy: Of the model; it bounds blocks, heads and patches. None checks no such bounds.

        Returns:
            The same options by name, checked.

        Raises:
            MethodError: An option that the method does not have, or a value that it does not accept.
        """
        strict = {}
        for name, value in options.items():
            option = self._option(name)
            try:
                strict[name] = option.check(value, anatomy)
            except Refused:
                near = option.nearest(value)
                hint = f"; nearest: '{near}'" if near else ""
                raise MethodError(
                    f"option '{name}' of '{self.name}' is {option.accepts(anatomy)}, got {short(value)}{hint}"
                ) from None
        return strict

    def read_option(self, name: str, text: str) -> Any:
        """The value of an option from text, as on a command line or in ``gmar:norm=l1``.

        Args:
            name: The option.
            text: Its value in writing.

        Returns:
            The value in its strict form.

        Raises:
            MethodError: An option that the method does not have, or a text that it does not accept.
        """
        value = self._option(name).read(text)
        return self.check_options({name: value})[name]

    def _option(self, name: str) -> Option:
        if name not in self.declared:
            known = ", ".join(self.declared)
            near = (
                f"nearest: {nearest(str(name), self.declared, 1)[0]}, of {known}" if known else "it has none"
            )
            raise MethodError(f"method '{self.name}' has no option {short(name)}; {near}")
        return self.declared[name]
