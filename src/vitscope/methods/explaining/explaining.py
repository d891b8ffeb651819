"""``explain`` as ``prepare → run(shard) → merge(parts)``: the one way in which pictures are explained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from vitscope.analysis import answered
from vitscope.errors import AnswerError
from vitscope.methods.explaining.batch import Request, explain_batch, resolved
from vitscope.methods.explaining.explanation import KIND, Explanation, concatenate, restored, stored
from vitscope.methods.explaining.explanations import Explanations
from vitscope.methods.explaining.inputs import InputBatch
from vitscope.methods.explaining.original import originals_of
from vitscope.methods.explaining.recipe import PER_PICTURE, described, explanation_recipe, own_targets
from vitscope.methods.registry import get_method
from vitscope.models.preparing.inputs import all_drawable
from vitscope.pictures import Batch, PictureSource
from vitscope.progress import CountedStage
from vitscope.storage import tensors
from vitscope.storage.recipe import Recipe, pictures_digest, truth_digest
from vitscope.tracing import ClassIndex, HeadAblation, Target, Vit
from vitscope.tracing.calls.calling import pictures_of
from vitscope.tracing.recipe import library_versions, model_identity

ENDING = ".safetensors"


@dataclass(frozen=True)
class Aimed:
    """A target over all pictures, some of which are looked at: by their keys, where each has a target of its own."""

    target: Target
    places: Mapping[str, int] | None = None

    @classmethod
    def over(cls, target: Target, keys: Sequence[str]) -> Aimed:
        """Raises TargetError for a target that was made for another number of pictures."""
        if target.count is None:
            return cls(target)
        target.of(range(len(keys)), len(keys))
        return cls(target, {key: place for place, key in enumerate(keys)})

    def at(self, keys: Sequence[str]) -> list[int]:
        """The places of these pictures among all; any where all have one target."""
        return list(range(len(keys))) if self.places is None else [self.places[key] for key in keys]

    def count(self, keys: Sequence[str]) -> int:
        """How many pictures the target speaks of."""
        return len(keys) if self.places is None else len(self.places)

    def of(self, keys: Sequence[str]) -> Target:
        """The target of these pictures alone."""
        return self.target.of(self.at(keys), self.count(keys))


@dataclass(frozen=True)
class Prepared:
    """The opened model, its part of every recipe (made once: it reads all weights), and what is explained.

    made: the recipes, by method, that earlier batches came to."""

    vit: Vit
    model: Mapping[str, Any]
    aim: Aimed
    made: dict[str, Recipe] = field(default_factory=dict)


@dataclass(frozen=True)
class Explaining:
    """Every method of a request on pictures, as an :class:`~vitscope.analysis.Analysis`.

    A part is what ``vs.explain`` gives for some of the pictures: an Explanation for each method; empty where none of
    them could be used. request: options by method, checked by ``vs.methods.get_method(name).check_options``. target:
    bound to no picture yet; one for each is told apart by the pictures' keys. stage: told of every batch. ablation:
    heads that are switched off.
    """

    request: Request
    target: Target
    batch_size: int
    stage: CountedStage
    clean: bool = False
    keep_pictures: bool = False
    name: str = "explain"
    ablation: HeadAblation | None = None

    def recipe(self, vit: Vit, source: PictureSource) -> Recipe:
        """What makes the result of the whole, all methods together."""
        own = self.target.count is not None
        keys = source.keys
        each = own_targets(self.target, range(len(source)), len(source))
        return Recipe(
            analysis=self.name,
            model=model_identity(vit),
            options={
                "methods": {
                    name: {**get_method(name).options, **options} for name, options in self.request.items()
                },
                "clean": self.clean,
                "target": PER_PICTURE if own else described(self.target),
                "keep_pictures": self.keep_pictures,
                **({} if self.ablation is None else {"ablation": self.ablation}),
            },
            target=PER_PICTURE if own else self.target.describe(),
            pictures=pictures_digest(keys, source.ids),
            truth={} if each is None else {"targets": truth_digest(keys, each)},
            count=len(source),
            versions=library_versions(),
        )

    def prepare(self, vit: Vit, source: PictureSource) -> Prepared:
        """The model's identity, and the place of each picture where each has a target of its own."""
        keys = source.keys if self.target.count is not None else ()
        return Prepared(vit, model_identity(vit), Aimed.over(self.target, keys))

    def run(self, prepared: Prepared, shard: PictureSource) -> Explanations:
        """The explanations of some of the pictures. Raises AnswerError, where the shard skips nothing, for a picture
        whose answer is not finite."""
        vit = prepared.vit

        def explained(batch: Batch) -> Explanations:
            places, count = prepared.aim.at(batch.keys), prepared.aim.count(batch.keys)
            return self.of_batch(
                prepared,
                InputBatch(
                    vit.inputs(batch.images), places, count, batch.keys, batch.ids, originals_of(vit, batch)
                ),
            )

        found = answered(vit, shard, self.batch_size, explained, self.stage, _refused)
        return self.merge(prepared, found)

    def of_batch(self, prepared: Prepared, batch: InputBatch) -> Explanations:
        """The explanations of one batch. Raises AnswerError, its pictures counted within the batch."""
        vit, inputs, aim = prepared.vit, batch.inputs, prepared.aim.target
        request = resolved(vit, inputs, self.request)
        mine = aim.of(batch.positions, batch.count)
        own = own_targets(aim, batch.positions, batch.count)
        shown = pictures_of(inputs) if self.keep_pictures else None
        drawn: dict[int, Tensor | None] = {}
        done = Explanations()
        for name, explanation in explain_batch(vit, inputs, request, mine, self.clean, self.ablation).items():
            if name not in prepared.made:
                prepared.made[name] = explanation_recipe(
                    prepared.model, name, request[name], aim, self.clean, inputs, self.ablation
                )
            metadata = {
                **explanation.metadata,
                "fingerprint": prepared.model["fingerprint"],
                "keys": batch.keys,
                "ids": batch.ids,
                **({} if own is None else {"targets": own}),
                **({} if batch.originals is None else {"originals": batch.originals}),
            }
            explanation = replace(explanation, made=prepared.made[name], metadata=metadata)
            if shown is not None:
                frames = explanation.maps.shape[1] if explanation.maps.dim() == 4 else 0
                if frames not in drawn:  # the same for all methods of a batch, but for their steps in time
                    drawn[frames] = _drawable(shown, frames, vit)
                explanation = replace(explanation, pictures=drawn[frames])
            done[name] = explanation
        return done

    def merge(self, prepared: Prepared, parts: Iterable[Explanations]) -> Explanations:
        """The explanations of all parts, in their order. Empty where no picture could be used."""
        by_method: dict[str, list[Explanation]] = {}
        for part in parts:
            for name, explanation in part.items():
                by_method.setdefault(name, []).append(explanation)
        joined = {name: concatenate(found) for name, found in by_method.items()}
        aim = prepared.aim.target
        if isinstance(aim, ClassIndex) and aim.count is not None:
            # a part knows of its own pictures' classes alone
            joined = {name: _with_classes(found, aim) for name, found in joined.items()}
        return Explanations(joined)

    def encode(self, part: Explanations) -> Mapping[str, bytes]:
        """A file for each method, as ``Explanation.save`` writes it."""
        return {
            name + ENDING: tensors.encode(KIND, *stored(explanation)) for name, explanation in part.items()
        }

    def decode(self, files: Mapping[str, bytes]) -> Explanations:
        """What ``encode`` made, back."""
        if not files:
            return Explanations()
        contents = {name: files[name + ENDING] for name in self.request}
        return Explanations(
            {name: restored(name, *tensors.decode(content, name, KIND)) for name, content in contents.items()}
        )


def _with_classes(explanation: Explanation, aim: ClassIndex) -> Explanation:
    if explanation.classes is None:
        return explanation
    own = replace(aim, index=tuple(explanation.classes.tolist()))
    return replace(explanation, target=own.describe())


def _refused(_: Batch, error: AnswerError) -> AnswerError:
    return error


def _drawable(shown: Tensor, frames: int, vit: Vit) -> Tensor | None:
    """What maps are drawn on: (B, H, W, 3), of films the first frame that each of their ``frames`` maps spans,
    (B, t, H, W, 3); uint8."""
    pictures = shown.detach().float()
    if pictures.dim() == 4:
        return all_drawable(pictures, vit.preprocessor)
    if not frames:
        return None
    first = [-(-frame * pictures.shape[1] // frames) for frame in range(frames)]
    drawn = all_drawable(pictures[:, first].flatten(0, 1), vit.preprocessor)
    return drawn.reshape(len(shown), frames, *drawn.shape[1:])
