"""The result of ``explain``: raw maps, with everything that made them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vitscope.errors import OutputError, PlaceError, RecipeError, StorageError
from vitscope.methods.explaining.drawable import Drawable
from vitscope.methods.explaining.per_picture import PER_PICTURE, notes_of, picked, targets_of
from vitscope.models.token_layout import TokenLayout
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.storage.recipe import Recipe, pictures_digest, truth_digest
from vitscope.tracing import ClassIndex

if TYPE_CHECKING:
    import pandas as pd

KIND = "explanation"
OPTIONAL = ("flow", "classes", "logits", "pictures")
"""Tensors that an explanation may lack."""


@dataclass(frozen=True, repr=False)
class Explanation(Drawable):
    """Maps of one method for B pictures, with everything that made them.

    Maps are raw float32 on the model's patch grid: no min-max, no upsampling. Prefix tokens (class, distillation,
    registers) are left out; ``metadata`` has their ``prefix_share``, ``prefix_values`` and, by block, ``prefix_flow``.

    Args:
        method: Name of the method.
        maps: (B, h, w) float32; for films (B, t, h, w), one map for each time step of the model's grid.
        flow: (B, L, h, w) float32, one map per block; None when the method has none.
        target: What was explained, in writing.
        classes: (B,) long, the explained classes; None when no class was explained.
        scores: (B,) the explained score.
        logits: (B, C), None for models without classifier.
        layout: Prefix tokens and patch grid; None when the model has no tokens.
        options: Every option of the method, by name.
        metadata: Model, precision, versions, notes; and for each picture its key, its id, its prefix share and, for
            attention-based maps, ``diagnostics`` (outlier patches and attention sinks).
        extras: Further tensors by name with the batch first, such as ``head_weights`` (B, L, H).
        pictures: (B, H, W, 3) uint8, for films (B, t, H, W, 3), what overlays are drawn on; None when not kept.
        class_names: Names of the classes, None when unknown.
        made: The recipe without the pictures; None for maps from outside.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> e = vs.explain(vit, vs.worlds.world("shapes").sample(3, seed=1).images(), "daam")
        >>> e
        <Explanation by daam of 3 pictures, target top1, maps 12x12, flow over 6 blocks>
        >>> [e.class_name(index) for index in range(len(e))]
        ['heart', 'plus', 'ring']
        >>> vs.Explanation.load(e.save("daam")).maps.equal(e.maps)
        True
    """

    method: str
    maps: Tensor
    flow: Tensor | None
    target: str
    classes: Tensor | None
    scores: Tensor
    logits: Tensor | None
    layout: TokenLayout | None
    options: Mapping[str, Any]
    metadata: Mapping[str, Any]
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    pictures: Tensor | None = None
    class_names: tuple[str, ...] | None = None
    made: Recipe | None = None

    def __repr__(self) -> str:
        size = "x".join(map(str, self.maps.shape[1:]))
        flow = f", flow over {self.flow.shape[1]} blocks" if self.flow is not None else ""
        pictures = f"{len(self)} picture{'s' * (len(self) != 1)}"
        return f"<Explanation by {self.method} of {pictures}, target {self.target}, maps {size}{flow}>"

    def __len__(self) -> int:
        return int(self.maps.shape[0])

    @checked(PlaceError)
    def __getitem__(self, index: int | slice) -> Explanation:
        """The explanation of one picture, with a batch axis of one, or of several, as ``e[2:5]`` or ``e[::2]``.

        Raises PlaceError when there is no such picture, or none at all."""
        places = list(range(len(self)))[index] if isinstance(index, slice) else [self._place(index)]
        if not places:
            raise PlaceError(f"expected some of {len(self)} pictures, got none; pictures are counted from 0")

        def part(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[places]

        return Explanation(
            self.method, self.maps[places], part(self.flow), targets_of(self.target, places),
            part(self.classes), self.scores[places], part(self.logits), self.layout, self.options,
            picked(self.metadata, places), {k: v[places] for k, v in self.extras.items()}, part(self.pictures),
            self.class_names, self.made,
        )  # fmt: skip

    def _place(self, index: int) -> int:
        """The place of a picture from the front. Raises PlaceError where there is none."""
        if not -len(self) <= index < len(self):
            raise PlaceError(
                f"expected a picture from 0 to {len(self) - 1}, got {index}; pictures are counted from 0"
            )
        return index % len(self)

    @property
    def recipe(self) -> Recipe | None:
        """What made these maps: the model's weights, every option, the target, the pictures.

        None for maps from outside.
        """
        if self.made is None:
            return None
        keys, ids = self.metadata["keys"], self.metadata["ids"]
        truth = dict(self.made.truth)
        if "targets" in truth:
            truth["targets"] = truth_digest(keys, self.metadata["targets"])
        return replace(self.made, pictures=pictures_digest(keys, ids), count=len(self), truth=truth)

    @checked(RecipeError)
    def merge(self, *others: Explanation) -> Explanation:
        """Join explanations of different pictures that were made in the same way, in the given order.

        Args:
            others: Explanations to append.

        Returns:
            One explanation of all the pictures.

        Raises:
            RecipeError: They differ in model, method, option or target (the message names it), or a picture is in
                two of them.
        """
        parts = (self, *others)
        known = [recipe for part in parts if (recipe := part.recipe) is not None]
        if len(known) < len(parts):
            raise RecipeError("maps without a recipe cannot be merged; merge what explain() made")
        known[0].merged(*known[1:], what="explanations")
        seen: set[str] = set()
        for part in parts:
            twice = seen.intersection(part.metadata["keys"])
            if twice:
                raise RecipeError(
                    f"the picture {min(twice)!r} is in two of the explanations; give each picture once"
                )
            seen.update(part.metadata["keys"])
        merged = concatenate(list(parts))
        if (
            merged.classes is not None
            and re.match(r"class:\d", merged.target)
            and "targets" in known[0].truth
        ):
            classes = tuple(int(index) for index in merged.classes)
            merged = replace(merged, target=ClassIndex(classes, known[0].options["target"]).describe())
        return merged

    def to_pandas(self) -> pd.DataFrame:
        """Tabulate the pictures.

        Returns:
            One row per picture: key, id (both empty for maps from outside), method, target, class, class_name, score,
            and prefix_share (the share of the absolute relevance on prefix tokens) where it is known.
        """
        import pandas as pd

        unknown = [""] * len(self)
        columns: dict[str, Any] = {
            "key": self.metadata.get("keys", unknown),
            "id": self.metadata.get("ids", unknown),
            "method": self.method,
            "target": [targets_of(self.target, [index]) for index in range(len(self))],
            "class": pd.array(
                [None] * len(self) if self.classes is None else self.classes.tolist(), dtype="Int64"
            ),
            "class_name": [self.class_name(index) for index in range(len(self))],
            "score": self.scores.tolist(),
        }
        if "prefix_share" in self.metadata:
            columns["prefix_share"] = self.metadata["prefix_share"]
        return pd.DataFrame(columns)

    @checked(PlaceError)
    def class_name(self, index: int) -> str:
        """The name of the class explained for a picture.

        Args:
            index: The picture, from 0.

        Returns:
            The name; the number of the class when names are unknown; an empty text when no class was explained.
        """
        if self.classes is None:
            return ""
        number = int(self.classes[self._place(index)])
        return (
            self.class_names[number] if self.class_names and number < len(self.class_names) else str(number)
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of these maps should know, a sentence each, such as how much lies on outlier patches."""
        return notes_of(self.metadata)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The part of the picture that the maps cover: top, left, bottom, right, each as a share (0..1) of its side."""
        top, left, bottom, right = self.metadata.get("extent", (0.0, 0.0, 1.0, 1.0))
        return float(top), float(left), float(bottom), float(right)

    # ---- on disk ---------------------------------------------------------------------------------------------
    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write everything to one safetensors file, atomically: the file is complete or absent.

        Args:
            path: The file; ``.safetensors`` is added when missing.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        return tensors.save(path, KIND, *stored(self))

    @staticmethod
    @checked(StorageError)
    def load(path: FilePath) -> Explanation:
        """Read an explanation that :meth:`save` wrote.

        Args:
            path: The file.

        Returns:
            The explanation, equal to the one that was saved.

        Raises:
            StorageError: The file is damaged, or of another kind or version.
        """
        return restored(path, *tensors.load(path, KIND))


def stored(explanation: Explanation) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that an explanation holds, as tensors and a note."""
    arrays = {
        "maps": explanation.maps,
        "scores": explanation.scores,
        **{n: each for n in OPTIONAL if (each := getattr(explanation, n)) is not None},
        **{f"extras.{name}": value for name, value in explanation.extras.items()},
    }
    plain = ("method", "target", "options", "metadata", "class_names")
    return arrays, {
        **{name: getattr(explanation, name) for name in plain},
        "layout": None if explanation.layout is None else asdict(explanation.layout),
        "recipe": None if explanation.recipe is None else explanation.recipe.to_dict(),
    }


def restored(path: FilePath, arrays: Mapping[str, Tensor], note: Mapping[str, Any]) -> Explanation:
    """What ``stored`` took apart, back. ``path`` is what messages call it. Raises StorageError."""
    with decoding(path, KIND):
        names = note["class_names"]
        found = Explanation(
            str(note["method"]), arrays["maps"], arrays.get("flow"), str(note["target"]), arrays.get("classes"),
            arrays["scores"], arrays.get("logits"),
            None if note["layout"] is None else TokenLayout.from_dict(note["layout"]),
            dict(note["options"]), dict(note["metadata"]),
            {k.removeprefix("extras."): v for k, v in arrays.items() if k.startswith("extras.")},
            arrays.get("pictures"), tuple(names) if names else None,
            None if note["recipe"] is None else Recipe.from_dict(note["recipe"]).shard(),
        )  # fmt: skip
        if found.maps.dim() not in (3, 4) or any(len(value) != len(found) for value in arrays.values()):
            raise ValueError("its tensors are not of the same pictures")
        if found.recipe is not None and found.recipe != Recipe.from_dict(note["recipe"]):
            raise ValueError("its pictures are not those of its recipe")
        return found


def concatenate(parts: list[Explanation]) -> Explanation:
    """Explanations of consecutive batches as one."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def join(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else torch.cat(values)

    metadata = dict(first.metadata)
    for key in PER_PICTURE:
        if key in first.metadata:
            metadata[key] = [entry for part in parts for entry in part.metadata[key]]
    if "notes" in first.metadata:
        metadata["notes"] = list(dict.fromkeys(note for part in parts for note in part.metadata["notes"]))
    extras = {name: torch.cat([part.extras[name] for part in parts]) for name in first.extras}
    maps, scores = join("maps"), join("scores")
    assert maps is not None and scores is not None
    return Explanation(
        first.method, maps, join("flow"), first.target, join("classes"), scores, join("logits"), first.layout,
        first.options, metadata, extras, join("pictures"), first.class_names, first.made,
    )  # fmt: skip
