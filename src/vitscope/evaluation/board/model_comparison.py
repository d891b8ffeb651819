"""Several models on the same pictures: a leaderboard of each, paired differences, and how far their maps agree."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.errors import OutputError, StorageError
from vitscope.evaluation.board.leaderboard import Leaderboard
from vitscope.evaluation.board.model_maps import ModelMaps
from vitscope.evaluation.board.model_pairs import model_differences
from vitscope.options.bounds import Folder
from vitscope.options.door import checked
from vitscope.shown import drawn_by
from vitscope.storage import files, tables, tensors
from vitscope.storage.notes import decoding
from vitscope.storage.recipe import Recipe

KIND = "model comparison"
FILE = "comparison.safetensors"


@dataclass(frozen=True, repr=False)
class ModelComparison:
    """Several models on the same pictures, by the same methods and metrics under one protocol.

    Made by :func:`vitscope.compare_models`, or loaded from a folder.

    Args:
        boards: The leaderboard of each model, by the model's name.
        found: Maps and predictions of each model.
        methods: The methods, as the rows of the leaderboards are called.
        keys: The name of each picture that every model has seen.
        labels: The true class of each, None when unknown.
        correlations: By method, Spearman's correlation of two models' maps of each picture, (pairs of models, n).
        shown: The places of the pictures that are kept to be looked at.
        pictures: What each model sees of those, (H, W, 3) uint8 each.

    Example:
        >>> import vitscope as vs
        >>> vits = {name: vs.open_model(f"bundled/{name}") for name in ("shapes", "position")}
        >>> quick = vs.Protocol(removal="drop", steps=2, random_draws=1)
        >>> both = vs.compare_models(vits, vs.worlds.demo_pictures(3).images(), methods=["daam"], protocol=quick)
        >>> both.agreement()[["method", "first", "second", "n"]].values.tolist()
        [['daam', 'shapes', 'position', 3]]
        >>> vs.evaluation.ModelComparison.load(both.save("both")).recipe == both.recipe
        True
    """

    boards: Mapping[str, Leaderboard]
    found: Mapping[str, ModelMaps]
    methods: tuple[str, ...]
    keys: tuple[str, ...]
    labels: tuple[int, ...] | None
    correlations: Mapping[str, NDArray[np.float64]]
    shown: tuple[int, ...] = ()
    pictures: Mapping[str, Sequence[NDArray[np.uint8]]] = field(default_factory=dict)

    def __repr__(self) -> str:
        models = " and ".join(self.models)
        by = f"{', '.join(self.methods)} by {', '.join(self.metrics)}"
        return f"<ModelComparison of {models}: {by}, {len(self.keys)} pictures>"

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(self.boards)

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        return next(iter(self.boards.values())).metrics

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two models, in the order of the correlations."""
        return list(itertools.combinations(self.models, 2))

    @property
    def recipe(self) -> Recipe:
        """What made the comparison: the recipe of every model's leaderboard."""
        recipes = {name: board.recipe for name, board in self.boards.items()}
        first = next(iter(recipes.values()))
        models = {name: {"recipe": each.digest, **each.model} for name, each in recipes.items()}
        return replace(first, analysis="compare models", model=models)

    def to_pandas(self) -> pd.DataFrame:
        """Tabulate the differences between models, paired by picture.

        Returns:
            One row per method, metric and pair of models: method, metric, first, second, value_first, value_second,
            difference (first − second), low, high (95 % interval), p (two-sided; NaN with too few pictures), p_holm
            (over the rows of a metric), n, needed (from how many pictures on the clearest of them could be told
            apart), better (the better model, or an empty text) and verdict.
        """
        return model_differences(self.boards, self.methods, self.metrics)

    def agreement(self) -> pd.DataFrame:
        """Say how far the maps of two models agree, and their predictions.

        Returns:
            One row per method and pair of models: method, first, second, correlation (Spearman's, of the values of the
            patches, mean over pictures), low and high (the smallest and the largest picture), same_class (the share
            of pictures on which both predict the same class; NaN without classes) and n.
        """
        rows = []
        for method in self.methods:
            for (first, second), values in zip(self.pairs, self.correlations[method], strict=True):
                known = values[np.isfinite(values)]
                low, mean, high = (
                    (known.min(), known.mean(), known.max()) if len(known) else [float("nan")] * 3
                )
                rows.append(
                    {
                        "method": method, "first": first, "second": second, "correlation": mean, "low": low,
                        "high": high, "same_class": self._same_class(first, second), "n": len(self.keys),
                    }
                )  # fmt: skip
        return pd.DataFrame(rows)

    def per_picture(self) -> pd.DataFrame:
        """Tabulate the pictures.

        Returns:
            One row per picture: key, label (where known), for each model ``class:MODEL``, ``probability:MODEL`` and,
            with labels, ``right:MODEL``; for each method and pair ``METHOD:FIRST~SECOND``, the correlation of the maps.
        """
        columns: dict[str, Any] = {"key": list(self.keys)}
        if self.labels is not None:
            columns["label"] = list(self.labels)
        for name, each in self.found.items():
            if each.predicted is None or each.sure is None:
                continue
            columns[f"class:{name}"] = [each.word(place) for place in range(len(self.keys))]
            columns[f"probability:{name}"] = each.sure.astype(float)
            if self.labels is not None:
                columns[f"right:{name}"] = each.predicted == np.asarray(self.labels)
        for method in self.methods:
            for (first, second), values in zip(self.pairs, self.correlations[method], strict=True):
                columns[f"{method}:{first}~{second}"] = values
        return pd.DataFrame(columns)

    def most_different(self, count: int) -> tuple[int, ...]:
        """The places of the pictures on which the maps agree least, mean over methods and pairs; the least first.

        Args:
            count: At most so many.

        Returns:
            Places among ``keys``.
        """
        stacked = np.concatenate([self.correlations[method] for method in self.methods])
        known = np.isfinite(stacked)
        mean = np.where(known, stacked, 0).sum(0) / np.maximum(known.sum(0), 1)
        return tuple(
            int(place) for place in np.argsort(np.where(known.any(0), mean, 2.0), kind="stable")[:count]
        )

    def sheet(self, **options: Any) -> Any:
        """Draw the maps side by side: a row per picture that is kept, and for each method a column per model.

        Args:
            options: Those of :func:`vitscope.reports.models_sheet`.

        Returns:
            An RGB image.
        """
        return drawn_by("leaderboard.models", "models_sheet")(self, **options)

    def to_html(self, path: str | Path | None = None) -> str:
        """A self-contained page: differences, agreement, maps side by side, and every picture in a table.

        Args:
            path: Where to write it; None writes nothing.

        Returns:
            The HTML text.
        """
        text: str = drawn_by("leaderboard.models", "models_page")(self, path)
        return text

    def _repr_html_(self) -> str:
        return str(drawn_by("leaderboard.models", "models_html")(self))

    # ---- on disk ---------------------------------------------------------------------------------------------
    @checked(OutputError)
    def save(self, folder: Folder) -> Path:
        """Write the comparison into a folder: each model's leaderboard, the maps, and tables for other programs.

        Args:
            folder: Where to write.

        Returns:
            The folder.

        Raises:
            OutputError: It cannot be written.
        """
        place = Path(folder)
        files.make_folder(place)
        arrays: dict[str, Any] = {}
        for index, (name, each) in enumerate(self.found.items()):
            self.boards[name].save(place / f"model-{index}")
            arrays |= {f"maps.{index}.{row}": maps for row, maps in each.maps.items()}
            arrays |= {
                f"pictures.{index}.{at}": shown for at, shown in enumerate(self.pictures.get(name, ()))
            }
            if each.predicted is not None and each.sure is not None:
                arrays |= {f"predicted.{index}": each.predicted, f"sure.{index}": each.sure}
        arrays |= {f"correlations.{method}": values for method, values in self.correlations.items()}
        tables.export(place / "differences.parquet", self.to_pandas())
        tables.export(place / "pictures.parquet", self.per_picture())
        note = {
            "models": self.models,
            "methods": self.methods,
            "keys": self.keys,
            "labels": self.labels,
            "shown": self.shown,
            "class_names": [each.class_names for each in self.found.values()],
            "recipe": self.recipe.to_dict(),
        }
        tensors.save(place / FILE, KIND, arrays, note)
        return place

    @classmethod
    @checked(StorageError)
    def load(cls, folder: Folder) -> ModelComparison:
        """Read a comparison that :meth:`save` wrote.

        Args:
            folder: Where it was written.

        Returns:
            The comparison, with the same values.

        Raises:
            StorageError: The folder holds none, or a damaged one.
        """
        place = Path(folder)
        arrays, note = tensors.load(place / FILE, KIND)
        with decoding(place / FILE, KIND):
            names, rows = (
                tuple(str(name) for name in note["models"]),
                tuple(str(row) for row in note["methods"]),
            )
            keys, shown = tuple(str(key) for key in note["keys"]), tuple(int(at) for at in note["shown"])
            found, pictures = {}, {}
            for index, name in enumerate(names):
                predicted, sure = arrays.get(f"predicted.{index}"), arrays.get(f"sure.{index}")
                found[name] = ModelMaps(
                    keys, {row: arrays[f"maps.{index}.{row}"].numpy() for row in rows},
                    None if predicted is None else predicted.numpy(), None if sure is None else sure.numpy(),
                    tuple(note["class_names"][index]),
                )  # fmt: skip
                pictures[name] = [arrays[f"pictures.{index}.{at}"].numpy() for at in range(len(shown))]
            boards = {name: Leaderboard.load(place / f"model-{index}") for index, name in enumerate(names)}
            labels = None if note["labels"] is None else tuple(int(label) for label in note["labels"])
            loaded = cls(
                boards, found, rows, keys, labels, {row: arrays[f"correlations.{row}"].numpy() for row in rows},
                shown, pictures,
            )  # fmt: skip
            if loaded.recipe != Recipe.from_dict(note["recipe"]):
                raise ValueError("its leaderboards are of another comparison")
            return loaded

    # ---- inside ----------------------------------------------------------------------------------------------
    def _same_class(self, first: str, second: str) -> float:
        one, other = self.found[first], self.found[second]
        if one.predicted is None or other.predicted is None:
            return float("nan")
        return float(np.mean([one.word(place) == other.word(place) for place in range(len(self.keys))]))
