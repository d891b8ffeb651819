"""From the command line to what is asked of each analysis of a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import typer

from vitscope.cli.shared.head_options import (
    DistanceOptions,
    ExactOptions,
    LearnedOptions,
    ReplacementOptions,
    TrainingOptions,
)
from vitscope.cli.shared.judging_options import MetricOptions, ProtocolOptions, read_aim
from vitscope.cli.shared.options import CleanOptions, MethodOptions
from vitscope.cli.shared.selection import share_options
from vitscope.cli.shared.usage import Values
from vitscope.cli.shared.values import parse_list, parse_texts
from vitscope.errors import nearest

ANALYSES = ("explain", "evaluate", "importance", "strength", "patterns")


@dataclass(frozen=True, kw_only=True)
class AskedOptions:
    """What a study is of."""

    title: ClassVar[str] = "Study"
    analyses: Annotated[
        str,
        typer.Option("--analyses", "-a", help=f"Comma list of {', '.join(ANALYSES)}."),
    ] = "explain"
    arrays: Annotated[
        str | None,
        typer.Option(
            "--arrays",
            help="Comma list of what is kept of every picture: maps and flow (of explain), class_rows, features (the "
            "class token after the last block), attention (very large). Without it the maps of explain.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AnalysisOptions(
    AskedOptions,
    MethodOptions,
    CleanOptions,
    MetricOptions,
    ProtocolOptions,
    ReplacementOptions,
    ExactOptions,
    DistanceOptions,
    LearnedOptions,
    TrainingOptions,
):
    """Which analyses, and how each is done."""

    def kept(self) -> tuple[str, ...]:
        """The arrays that are kept."""
        if self.arrays is not None:
            return tuple(parse_list(self.arrays, "--arrays"))
        return ("maps",) if "explain" in analyses_in(self.analyses) else ()

    def choices(self, seed: int) -> dict[str, Any]:
        """By the name of each analysis its record of options.

        Raises a usage error, or an error of the library, for values that are not accepted.
        """
        from vitscope import studies

        rows = None if self.method is None else tuple(parse_list(self.method, "--methods"))
        texts = parse_texts(self.option)
        shared = {} if rows is None else share_options(list(rows), texts)
        options = {row: chosen for row, chosen in shared.items() if chosen}
        makers: dict[str, Callable[[], Any]] = {
            "explain": lambda: studies.ExplainChoice(rows, options, self.target, self.clean),
            "evaluate": lambda: studies.EvaluateChoice(
                rows,
                ("srg",) if self.metrics is None else tuple(parse_list(self.metrics, "--metrics")),
                self._protocol(seed),
                options,
            ),
            "importance": lambda: studies.ImportanceChoice(
                self.replacement,  # type: ignore[arg-type]  # the record checks its words
                exact=self.exact,
            ),
            "strength": lambda: studies.StrengthChoice(self.hops()),
            "patterns": lambda: studies.PatternsChoice(
                per_head=self.per_head,
                form=self.form,  # type: ignore[arg-type]  # the record checks its words
                coder=self.coder,  # type: ignore[arg-type]
                k=self.clusters,
                repeats=self.repeats,
                autoencoder=self.coding(self, seed),
            ),
        }
        return {name: makers[name]() for name in analyses_in(self.analyses)}

    def _protocol(self, seed: int) -> Any:
        from vitscope.evaluation import Protocol

        for option, text in (("--removal", self.removal), ("--score", self.score)):
            if "," in text:
                raise typer.BadParameter(
                    f"{option} {text} would be several protocols; a study has one, make a study for each"
                )
        if self.mean_colour == "data":
            raise typer.BadParameter(
                "--mean-colour data would read every picture first; give a study three numbers from 0 to 1"
            )
        chosen: dict[str, Any] = {"removal": self.removal, "score": self.score}
        return Protocol(**chosen, seed=seed, target=read_aim(self.target), **self.settings())


def analyses_in(text: str) -> list[str]:
    """The names in a comma list. Raises a usage error for an unknown one."""
    names = parse_list(text, "--analyses")
    for name in names:
        if name not in ANALYSES:
            raise typer.BadParameter(
                f"--analyses knows no {name!r}; did you mean {nearest(name, ANALYSES, 1)[0]}? "
                f"known: {', '.join(ANALYSES)}"
            )
    return names


def lacks(*names: str) -> Callable[[Values], bool]:
    """Whether a command line asks for none of these analyses."""
    return lambda given: not set(names) & set(analyses_in(given["analyses"]))
