"""What is asked of each analysis of a study: one record of options for each, with their types and ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from vitscope.evaluation import Protocol
from vitscope.evaluation.running.subjects import CONTROLS
from vitscope.heads import AutoencoderOptions
from vitscope.heads.atlas.canonical import Form
from vitscope.heads.atlas.display import Display
from vitscope.heads.atlas.fitting import ChosenCoder, OpenShare
from vitscope.heads.distance.hops import Distance
from vitscope.heads.pruning.sweep import Representation
from vitscope.options.bounds import BatchSize, Count, Items, Names, Range
from vitscope.options.door import check_fields
from vitscope.studies.errors import StudyError


@dataclass(frozen=True)
class ExplainChoice:
    """Maps of every method.

    Args:
        methods: Names; None takes the study's, and without those the default one.
        options: Options of methods, by the method's name.
        target: What is explained, in words: ``"top1"``, ``"class:207"``, ``"difference:3,5"``.
        clean: Give patches whose norm is an outlier the median of their neighbours.

    Example:
        >>> import vitscope as vs
        >>> vs.studies.ExplainChoice(methods=("gmar", "daam"), target="top2").target
        'top2'
    """

    made_by: ClassVar[str] = "vs.studies.ExplainChoice"

    methods: Names | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target: str = "top1"
    clean: bool = False

    def __post_init__(self) -> None:
        check_fields(self, StudyError)


@dataclass(frozen=True)
class EvaluateChoice:
    """Methods against metrics, as :func:`vitscope.evaluate` takes them.

    Args:
        methods: Names, with options as in ``"gmar:norm=l2"``; None takes the study's, and without those the usual five.
        metrics: Names of metrics.
        protocol: What must be equal for scores to be compared.
        options: Options of methods, by the method's name.
        controls: Which controls are in the table.
        perturbed_batch_size: Perturbed pictures in one forward pass.

    Example:
        >>> import vitscope as vs
        >>> vs.studies.EvaluateChoice(metrics=("srg",), protocol=vs.Protocol(steps=5)).protocol.steps
        5
    """

    made_by: ClassVar[str] = "vs.studies.EvaluateChoice"

    methods: Names | None = None
    metrics: Names = ("srg",)
    protocol: Protocol = field(default_factory=Protocol)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    controls: Annotated[Sequence[str], Items(distinct=True)] = CONTROLS
    perturbed_batch_size: BatchSize = 64

    def __post_init__(self) -> None:
        check_fields(self, StudyError)


@dataclass(frozen=True)
class ImportanceChoice:
    """Every head removed in turn, as :func:`vitscope.heads.importance` does.

    Args:
        replacement: What stands in for a head: "zero", "mean" or "mean-per-query". Means are taken over all pictures of
            the study, in a stage of their own.
        representation: "standard", "all" or "none" (output metrics alone).
        exact: False gives first-order scores alone.
        gradient: False gives no first-order scores.

    Example:
        >>> import vitscope as vs
        >>> vs.studies.ImportanceChoice(replacement="mean").representation
        'standard'
    """

    made_by: ClassVar[str] = "vs.studies.ImportanceChoice"

    replacement: Literal["zero", "mean", "mean-per-query"] = "zero"
    representation: Representation = "standard"
    exact: bool = True
    gradient: bool = True

    def __post_init__(self) -> None:
        check_fields(self, StudyError)
        if not (self.exact or self.gradient):
            raise StudyError(
                "importance with neither exact nor gradient measures nothing; leave one of them on"
            )


@dataclass(frozen=True)
class StrengthChoice:
    """Attention by distance, as :func:`vitscope.heads.strength` measures it.

    Args:
        distance: How hops are counted: "chebyshev", "manhattan" or "euclidean".

    Example:
        >>> import vitscope as vs
        >>> vs.studies.StrengthChoice().distance
        'chebyshev'
    """

    made_by: ClassVar[str] = "vs.studies.StrengthChoice"

    distance: Distance = "chebyshev"

    def __post_init__(self) -> None:
        check_fields(self, StudyError)


@dataclass(frozen=True)
class PatternsChoice:
    """Attention patterns, as :func:`vitscope.heads.patterns` learns them, and the code of every map of every picture.

    Args:
        per_head: The largest number of pictures whose maps are fitted for each (block, head).
        form: "pooled" or "offset".
        coder: "autoencoder", "pca", or "best" on held-out pictures.
        k: Number of clusters; None chooses it by bootstrap stability.
        held_out: Share of the pictures on which the coders are judged.
        repeats: How many seeds the stability is measured with; 0 leaves it out.
        stability_maps: The largest number of training maps in each repetition.
        display: "umap" or "pca", the layout to look at.
        autoencoder: How the autoencoder is built and trained.

    Example:
        >>> import vitscope as vs
        >>> vs.studies.PatternsChoice(per_head=20, k=8).coder
        'best'
    """

    made_by: ClassVar[str] = "vs.studies.PatternsChoice"

    per_head: Count = 100
    form: Form = "pooled"
    coder: ChosenCoder = "best"
    k: Count | None = None
    held_out: OpenShare = 0.25
    repeats: Annotated[int, Range(0, 1000)] = 2
    stability_maps: Annotated[int, Range(2, 10**9)] = 4000
    display: Display = "umap"
    autoencoder: AutoencoderOptions = field(default_factory=AutoencoderOptions)

    def __post_init__(self) -> None:
        check_fields(self, StudyError)


Choice = ExplainChoice | EvaluateChoice | ImportanceChoice | StrengthChoice | PatternsChoice
CHOICES: dict[str, type[Choice]] = {
    "explain": ExplainChoice,
    "evaluate": EvaluateChoice,
    "importance": ImportanceChoice,
    "strength": StrengthChoice,
    "patterns": PatternsChoice,
}
"""The analyses of a study, by the name that they are asked for by."""
ARRAYS = ("maps", "flow", "class_rows", "features", "attention")
"""Arrays that are kept when they are asked for."""
