"""``vs.compare_models``: several models on the same pictures, by the same methods and metrics, paired by picture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vitscope.errors import EvaluationError
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.model_comparison import ModelComparison
from vitscope.evaluation.board.model_maps import ModelMaps
from vitscope.evaluation.map_agreement import maps_correlation
from vitscope.evaluation.protocol import Protocol
from vitscope.evaluation.running.dataset import EvaluationSet, evaluation_set
from vitscope.evaluation.running.evaluate import DEFAULT_METRICS, evaluate
from vitscope.evaluation.running.subjects import CONTROLS, default_methods, parse_spec
from vitscope.methods import explain
from vitscope.models.preparing.inputs import drawable
from vitscope.options.bounds import BatchSize, Folder, Names
from vitscope.options.door import checked
from vitscope.pictures import Images, Labels
from vitscope.progress import Progress
from vitscope.tracing import Vit

SHOWN = 12
"""Pictures that a comparison keeps to be looked at: those on which the models differ most."""


@checked(EvaluationError)
def compare_models(
    vits: Mapping[str, Vit] | Sequence[Vit],
    images: Images,
    *,
    methods: Names | None = None,
    metrics: Names = DEFAULT_METRICS,
    labels: Labels | None = None,
    protocol: Protocol | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    controls: Sequence[str] = CONTROLS,
    batch_size: BatchSize = 16,
    checkpoint: Mapping[str, Folder] | None = None,
    progress: Progress | None = None,
) -> ModelComparison:
    """Compare models on the same pictures: scores paired by picture, maps side by side, and how far the maps agree.

    Args:
        vits: The opened models, by the names that the tables give them, or a list: then by what they were opened as.
        images: Pictures in any form that :func:`vitscope.evaluate` takes; every model prepares them as it was trained.
        methods: Names of methods that apply to every model. None takes those that :func:`vitscope.evaluate` takes, as
            far as they apply to all.
        metrics: Names of metrics.
        labels: (n,) true classes, needed by some metrics, by the target ``"label"``, and to say which model is right.
        protocol: What is the same for all models; None takes ``Protocol()``.
        options: Options of methods: by the method's name, a mapping of option to value.
        controls: Which controls are in each model's own leaderboard.
        batch_size: Pictures explained together; it changes time and memory, not the result.
        checkpoint: For each model by name a folder that keeps finished parts of its evaluation.
        progress: Reports progress, and is asked whether to stop.

    Returns:
        The comparison: a leaderboard of each model, differences between models by paired tests, maps and predictions.

    Raises:
        EvaluationError: Fewer than two models, two of one name, or a metric or method that one of them cannot serve.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> one, other = vs.open_model("bundled/shapes"), vs.open_model("bundled/position")
        >>> sample = vs.worlds.world("shapes").sample(3, seed=1)
        >>> quick = vs.Protocol(removal="drop", steps=2, random_draws=1)
        >>> both = vs.compare_models({"shapes": one, "position": other}, sample, methods=["daam"], protocol=quick)
        >>> both
        <ModelComparison of shapes and position: daam by srg, 3 pictures>
        >>> both.to_pandas()[["method", "metric", "first", "second", "n"]].values.tolist()
        [['daam', 'srg', 'shapes', 'position', 3]]
    """
    named = _named(vits)
    data = evaluation_set(images, labels)
    chosen = methods_for_all(named) if methods is None else list(methods)
    boards: dict[str, Leaderboard] = {}
    found: dict[str, ModelMaps] = {}
    for name, vit in named.items():
        kept = None if checkpoint is None else checkpoint.get(name)
        boards[name] = evaluate(
            vit, data, methods=chosen, metrics=metrics, protocol=protocol, options=options, controls=controls,
            batch_size=batch_size, keep_pictures=False, checkpoint=kept, progress=progress,
        )  # fmt: skip
        found[name] = _maps(vit, data, chosen, options or {}, protocol or Protocol(), batch_size, progress)
    keys = [
        key for key in next(iter(found.values())).keys if all(key in each.keys for each in found.values())
    ]
    found = {name: each.only(keys) for name, each in found.items()}
    numbers = (
        {key: int(label) for key, label in zip(data.keys, data.labels, strict=True)} if data.labels else {}
    )
    comparison = ModelComparison(
        boards, found, tuple(chosen), tuple(keys), tuple(numbers[key] for key in keys) if numbers else None,
        {row: _correlations([each.maps[row] for each in found.values()]) for row in chosen},
    )  # fmt: skip
    places = comparison.most_different(SHOWN)
    seen = {name: _shown(vit, data, keys, places) for name, vit in named.items()}
    return replace(comparison, pictures=seen, shown=places)


def _named(vits: Mapping[str, Vit] | Sequence[Vit]) -> dict[str, Vit]:
    """The models by name. Raises EvaluationError for fewer than two, and for two of one name."""
    pairs = list(vits.items()) if isinstance(vits, Mapping) else [(vit.source, vit) for vit in vits]
    names = [name for name, _ in pairs]
    if len(pairs) < 2:
        raise EvaluationError(
            f"expected at least two models to compare, got {len(pairs)}; evaluate looks at one"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EvaluationError(
            f"two models are called {twice!r}; give them as a mapping, each by a name of its own"
        )
    return dict(pairs)


def methods_for_all(named: Mapping[str, Vit]) -> list[str]:
    """The usual methods, as far as they apply to every model. Raises EvaluationError where none does."""
    lists = [default_methods(vit.anatomy) for vit in named.values()]
    common = [method for method in lists[0] if all(method in each for each in lists)]
    if not common:
        raise EvaluationError("no method of the usual ones applies to every model; name some with methods=")
    return common


def _maps(
    vit: Vit,
    data: EvaluationSet,
    rows: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    protocol: Protocol,
    batch_size: int,
    progress: Progress | None,
) -> ModelMaps:
    """The maps of one model by every row of the table, and what it predicts."""
    specs = {row: parse_spec(row) for row in rows}
    once = len({method for method, _ in specs.values()}) == len(rows)
    wanted = [list(rows)] if once else [[row] for row in rows]  # methods named once share their passes
    target: Any = data.labels if protocol.target == "label" else protocol.target
    maps: dict[str, NDArray[np.float32]] = {}
    first = None
    for group in wanted:
        asked = {specs[row][0]: {**options.get(row, {}), **specs[row][1]} for row in group}
        explained = explain(
            vit, data.source, asked, target, batch_size=batch_size, keep_pictures=False, progress=progress
        )
        for row in group:
            first = explained[specs[row][0]]
            maps[row] = first.maps.numpy()
    assert first is not None
    keys = tuple(str(key) for key in first.metadata["keys"])
    if first.logits is None:
        return ModelMaps(keys, maps)
    scores = first.logits.float()
    sigmoid = vit.anatomy.probability == "sigmoid"
    sure, predicted = (scores.sigmoid() if sigmoid else scores.softmax(1)).max(1)
    return ModelMaps(keys, maps, predicted.numpy(), sure.numpy(), tuple(vit.class_names or ()))


def _correlations(maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Spearman's correlation of two models' maps of each picture, (pairs, n), pairs in the order (0, 1), (0, 2) ...

    Maps of different grids are brought to the finer one of the pair."""
    return np.stack([maps_correlation(one, other) for one, other in itertools.combinations(maps, 2)])


def _shown(
    vit: Vit, data: EvaluationSet, keys: Sequence[str], places: Sequence[int]
) -> list[NDArray[np.uint8]]:
    """What a model sees of the pictures at these places of ``keys``, (H, W, 3) uint8 each."""
    where = {key: index for index, key in enumerate(data.keys)}
    shown = []
    for place in places:
        index = where[keys[place]]
        batch = next(data.source.part(index, index + 1).batches(vit, 1))
        inputs = vit.inputs(batch.images)
        assert isinstance(inputs, Tensor)
        shown.append(np.asarray(drawable(inputs[0].float().cpu(), vit.preprocessor)))
    return shown
