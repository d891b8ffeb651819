"""Options of the head analyses that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from vitscope.cli.shared.parameters import SameAs
from vitscope.options.door import check_argument

if TYPE_CHECKING:
    from vitscope.heads import AutoencoderOptions
    from vitscope.heads.pruning.means import Replacement


@dataclass(frozen=True, kw_only=True)
class ReplacementOptions:
    """What a removed head leaves behind."""

    title: ClassVar[str] = "Heads"
    replacement: Annotated[
        str,
        SameAs("vitscope.heads", "importance", "replacement"),
        typer.Option("--replacement", help="What stands in for a head: zero, mean or mean-per-query."),
    ] = "zero"

    def instead(self) -> Replacement:
        """The same as the library's word."""
        from vitscope import heads

        word: Replacement = check_argument(
            heads.importance, "replacement", self.replacement, heads.HeadsError
        )
        return word


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How the patterns of heads are learned."""

    title: ClassVar[str] = "Heads"
    epochs: Annotated[
        int,
        SameAs("vitscope.heads", "AutoencoderOptions", "epochs"),
        typer.Option("--epochs", help="Most epochs of the patterns' autoencoder."),
    ] = 60


@dataclass(frozen=True, kw_only=True)
class DistanceOptions:
    """How far a head looks."""

    title: ClassVar[str] = "Heads"
    distance: Annotated[
        str,
        SameAs("vitscope.heads", "strength", "distance"),
        typer.Option("--distance", help="chebyshev (hops), manhattan or euclidean."),
    ] = "chebyshev"

    def hops(self) -> Any:
        """The same as the library's word."""
        from vitscope import heads

        return check_argument(heads.strength, "distance", self.distance, heads.HeadsError)


@dataclass(frozen=True, kw_only=True)
class ExactOptions:
    """How heads are removed."""

    title: ClassVar[str] = "Heads"
    exact: Annotated[
        bool, typer.Option("--exact/--first-order", help="Exact, or first-order scores alone.")
    ] = True


@dataclass(frozen=True, kw_only=True)
class LearnedOptions:
    """How patterns are learned."""

    title: ClassVar[str] = "Patterns"
    form: Annotated[
        str,
        SameAs("vitscope.heads", "patterns", "form"),
        typer.Option("--form", help="pooled (49 x 49) or offset (27 x 27)."),
    ] = "pooled"
    coder: Annotated[
        str,
        SameAs("vitscope.heads", "patterns", "coder"),
        typer.Option("--coder", help="autoencoder, pca, or best on held-out pictures."),
    ] = "best"
    clusters: Annotated[
        int | None,
        SameAs("vitscope.heads", "patterns", "k"),
        typer.Option("--clusters", "-k", help="Number of patterns; else chosen by stability."),
    ] = None
    per_head: Annotated[
        int,
        SameAs("vitscope.heads", "patterns", "per_head"),
        typer.Option("--per-head", help="At most so many maps of each head."),
    ] = 100
    latent: Annotated[
        int | None,
        SameAs("vitscope.heads", "AutoencoderOptions", "latent"),
        typer.Option("--latent", help="Numbers in a code."),
    ] = None
    repeats: Annotated[
        int,
        SameAs("vitscope.heads", "patterns", "repeats"),
        typer.Option("--repeats", help="Seeds for the stability; 0 skips it."),
    ] = 2

    def coding(self, training: TrainingOptions, seed: int) -> AutoencoderOptions:
        """How the coder is trained."""
        from vitscope.heads import AutoencoderOptions

        sizes: dict[str, Any] = {} if self.latent is None else {"latent": self.latent}
        return AutoencoderOptions(epochs=training.epochs, seed=seed, **sizes)
