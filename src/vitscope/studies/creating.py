"""A study is made: its pictures are listed and frozen, its cost is measured, and last its manifest is written."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import torch

from vitscope.errors import PictureError
from vitscope.models.opening.class_names import imagenet_wnids
from vitscope.options.bounds import BatchSize, Count, Range, Seed
from vitscope.options.door import check_fields
from vitscope.pictures.planned import PicturePlan, PlannedPicture, plan_pictures
from vitscope.storage.recipe import plain
from vitscope.storage.stores import Store
from vitscope.studies import layout
from vitscope.studies.analyses.analysis import Desk
from vitscope.studies.analyses.heads import Importance
from vitscope.studies.analyses.means import Means
from vitscope.studies.analyses.patterns import MapSamples, code_arrays
from vitscope.studies.choices import Choice, PatternsChoice
from vitscope.studies.descriptions import descriptions
from vitscope.studies.errors import StudyError
from vitscope.studies.estimate import BATCHES, Calibration, Cost, Estimate, calibrate, fitting_shard_size
from vitscope.studies.manifest import Manifest, Stage, StudiedModel, StudiedPictures
from vitscope.studies.models import anatomy_digest
from vitscope.studies.plan_files import PlanFiles, write_plan
from vitscope.studies.resolving import fit_options, sample_options, stage_options
from vitscope.studies.stages import analyses_of, planned_stages
from vitscope.studies.store.specs import ArraySpec, array_folders
from vitscope.tracing import Vit
from vitscope.tracing.recipe import library_versions, model_identity

Approve = Callable[[Estimate], bool]
"""Asked whether a study of this cost is to be made."""
KNOWN = {"labels": "label", "masks": "mask", "boxes": "boxes"}
"""What may be known of pictures, and where a planned picture holds it."""


@dataclass(frozen=True)
class Sizes:
    """How a study is cut, computed and kept.

    Args:
        shard_size: Pictures that are computed, kept and done again together; None takes about two minutes of work.
        batch_size: Pictures that the model sees at once.
        threads: Of the CPU; None takes those of this process.
        seed: Of every random draw.
        max_pixels: Most pixels of a picture; None takes the usual limit.
        array_precision: ``"standard"`` keeps maps and scores in float32 and the large arrays in float16; ``"float32"``
            keeps all in float32, in twice the space.

    Example:
        >>> import vitscope as vs
        >>> vs.studies.Sizes(shard_size=512, batch_size=32).seed
        0
    """

    made_by: ClassVar[str] = "vs.studies.Sizes"

    shard_size: Count | None = None
    batch_size: BatchSize = 16
    threads: Annotated[int, Range(1, 1024)] | None = None
    seed: Seed = 0
    max_pixels: Annotated[int, Range(1, 10**12)] | None = None
    array_precision: Literal["standard", "float32"] = "standard"

    def __post_init__(self) -> None:
        check_fields(self, StudyError)


@dataclass(frozen=True)
class Truth:
    """Files of what is known about the pictures; None takes what lies beside them, or what a list tells."""

    labels: str | os.PathLike[str] | None = None
    boxes: str | os.PathLike[str] | None = None
    masks: str | os.PathLike[str] | None = None


@dataclass(frozen=True)
class Opening:
    """How the model of a study is opened again. name: None for a model that only the caller has."""

    name: str | None
    arguments: Mapping[str, Any]

    @classmethod
    def lasting(cls, name: str, arguments: Mapping[str, Any]) -> Opening:
        """With paths that stay right in another folder; on which device it runs is another matter."""
        found = {option: value for option, value in arguments.items() if option != "device"}
        for option in ("weights", "class_names"):
            value = found.get(option)
            if isinstance(value, (str, os.PathLike)) and os.path.exists(value):
                found[option] = os.path.abspath(value)
        return cls(os.path.abspath(name) if os.path.exists(name) else name, found)


def make_study(
    store: Store,
    vit: Vit,
    opening: Opening,
    images: Any,
    analyses: Mapping[str, Choice],
    arrays: Sequence[str],
    sizes: Sizes,
    *,
    truth: Truth,
    root: str | os.PathLike[str] | None = None,
    approve: Approve | None = None,
) -> Manifest:
    """Write a new study; see :meth:`vitscope.Study.create` for what it takes and raises."""
    store.make_root(())
    if store.exists(layout.MANIFEST):
        raise StudyError(
            f"there is a study at {store.name} already; go on with vitscope study run, or give another place"
        )
    if any(store.list(folder) for folder in ("", layout.PLAN)):
        raise StudyError(f"{store.name} is not empty and holds no study; name an empty or a new place")
    classes = vit.anatomy.classes
    plan = plan_pictures(
        images,
        root=root,
        labels=truth.labels,
        boxes=truth.boxes,
        masks=truth.masks,
        classes=classes,
        class_names=vit.class_names,
        wordnet_ids=imagenet_wnids() if classes == 1000 else None,
    )
    pictures = iter(plan)
    first = list(itertools.islice(pictures, BATCHES * sizes.batch_size))
    known = tuple(name for name, field in KNOWN.items() if all(getattr(p, field) is not None for p in first))
    model = model_identity(vit)
    desk = Desk(vit, sizes.batch_size, known, sizes.seed, model)
    threads = sizes.threads or torch.get_num_threads()
    main = stage_options(vit, analyses, arrays, known)
    patterns = analyses.get("patterns")
    if isinstance(patterns, PatternsChoice):
        main["patterns"] = sample_options(vit, patterns, [[picture.key for picture in first]], sizes.seed)
    stages = planned_stages(main, None)
    calibrated = [_calibrated(stage, desk, plan, first, sizes, threads) for stage in stages]
    size = sizes.shard_size or fitting_shard_size(_together(calibrated), sizes.batch_size)
    if size % sizes.batch_size:
        raise StudyError(
            f"a shard of {size} pictures is no whole number of batches of {sizes.batch_size}; "
            f"give a multiple such as {-(-size // sizes.batch_size) * sizes.batch_size}"
        )
    study = uuid.uuid4().hex
    store.make_root([layout.PLAN])
    count, digest = write_plan(store, itertools.chain(first, _alike(pictures, known)), size, study)
    manifest = Manifest(
        study=study,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        libraries=library_versions(),
        model=StudiedModel(
            opening.name, plain(opening.arguments), plain(model), vit.anatomy.classes, anatomy_digest(vit)
        ),
        input=StudiedPictures(
            plan.root, plan.kind, count, digest, known, sizes.max_pixels, {**plan.closed, **plan.aside}
        ),
        shard_size=size,
        batch_size=sizes.batch_size,
        threads=threads,
        seed=sizes.seed,
        stages=stages,
        arrays={},
        tables=(),
    )
    fit = None
    specs = [spec for each in calibrated for spec in each.arrays]
    if isinstance(patterns, PatternsChoice):
        files = PlanFiles(store, manifest)
        keys = ([p.key for p in files.shard(shard)] for shard in range(manifest.shards))
        main["patterns"] = sample_options(vit, patterns, keys, sizes.seed)
        fit = fit_options(vit, patterns, count)
        L, H = len(vit.anatomy.blocks), vit.anatomy.heads
        specs += [_kept(spec, sizes) for spec in code_arrays((L, H, int(fit["autoencoder"]["latent"])))]
        calibrated.append(_coding(calibrated[-1], specs[-2:]))
    estimate = Estimate.of(calibrated, count, manifest.shards, store.free_space(), fit is not None)
    _ask(approve, estimate, store)
    manifest = replace(
        manifest,
        stages=tuple(_plain(stage) for stage in planned_stages(main, fit)),
        arrays={
            spec.path: {"shape": list(spec.shape), "dtype": spec.dtype, "dims": list(spec.dims)}
            for spec in specs
        },
        tables=tuple(sorted({"pictures", *(table for each in calibrated for table in each.tables)})),
        estimate=plain(asdict(estimate)),
    )
    _write(store, manifest)
    return manifest


def _calibrated(
    stage: Stage, desk: Desk, plan: PicturePlan, first: Sequence[PlannedPicture], sizes: Sizes, threads: int
) -> Calibration:
    """One stage on the first pictures. What another stage must give first is left out; it changes no cost."""
    main = {
        name: options
        for name, options in stage.analyses.items()
        if name not in ("importance", "patterns", "means")
    }
    analyses = dict(analyses_of(replace(stage, analyses=main), desk, _NO_STATES))
    for name, options in stage.analyses.items():
        if name == "importance":
            chosen = {k: v for k, v in options.items() if k != "replacement"}
            analyses[name] = Importance(desk, means=None, **chosen)
        elif name == "patterns":
            analyses[name] = MapSamples(desk, options["per_head"], options["limits"])
        elif name == "means":
            analyses[name] = Means(desk, **options)
    if stage.kind == "reduce":
        return Calibration(Cost(), (), ())
    return calibrate(
        plan.root,
        first,
        desk.known,
        sizes.max_pixels,
        desk,
        stage,
        analyses,
        threads,
        lambda spec: _kept(spec, sizes),
    )


_NO_STATES: Any = None


def _together(calibrated: Sequence[Calibration]) -> Cost:
    """The dearest stage: shards of all stages have one size."""
    return max((each.cost for each in calibrated), key=lambda cost: cost.seconds + cost.decode)


def _coding(main: Calibration, specs: Sequence[ArraySpec]) -> Calibration:
    """The cost of coding, taken to be that of collecting maps: one forward, and arrays of codes."""
    seconds = main.by_analysis.get("patterns", 0.0)
    written = float(sum(spec.bytes_raw for spec in specs))
    return Calibration(Cost(1.0, 0.0, seconds, main.cost.decode, written), (), ())


def _alike(pictures: Iterable[PlannedPicture], known: Sequence[str]) -> Iterator[PlannedPicture]:
    """The other pictures, of which as much must be known as of the first."""
    for picture in pictures:
        for name in known:
            if getattr(picture, KNOWN[name]) is None:
                raise PictureError(
                    f"the first pictures come with {name}, {picture.key} does not; give all of them {name}, or none"
                )
        yield picture


def _plain(stage: Stage) -> Stage:
    return replace(stage, analyses=plain(stage.analyses))


def _write(store: Store, manifest: Manifest) -> None:
    """Every folder, the description of every array, and last the manifest."""
    stages = [stage.name for stage in manifest.stages]
    store.make_root([*layout.folders(stages, manifest.tables), *array_folders(manifest.specs.values())])
    for path, content in descriptions(manifest).items():
        store.put(path, content)
    store.put(layout.MANIFEST, manifest.encode())


def _kept(spec: ArraySpec, sizes: Sizes) -> ArraySpec:
    """An array as it is kept."""
    return replace(spec, dtype="float32") if sizes.array_precision == "float32" else spec


def _ask(approve: Approve | None, estimate: Estimate, store: Store) -> None:
    """Whether the study may be made; without a yes nothing of it is left."""
    agreed = False
    try:
        agreed = approve is None or approve(estimate)
    finally:
        if not agreed:
            _remove_plan(store)
    if not agreed:
        raise StudyError("the study was not made; nothing of it is left")


def _remove_plan(store: Store) -> None:
    for name in store.list(layout.PLAN):
        store.remove(f"{layout.PLAN}/{name}")
