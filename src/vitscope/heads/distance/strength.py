"""How far heads look: attention strength by spatial distance, streamed over any number of pictures.

Attention strength of Li et al., TVCG 2023, arXiv 2303.13731. The profiles of each picture are those of `profiles.py`;
over pictures only the sums for mean and spread are kept, so memory does not grow with the pictures, and attention is
held in chunks of queries only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitscope.heads.distance.hops import Distance, grid_geometry
from vitscope.heads.distance.profiles import uniform_profiles
from vitscope.heads.distance.strength_parts import StrengthPart, StrengthSums
from vitscope.heads.distance.strength_profile import StrengthProfile
from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import Origin, heads_recipe
from vitscope.heads.per_picture import go_through
from vitscope.options.bounds import BatchSize, Folder
from vitscope.options.door import checked
from vitscope.pictures import Images, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.tracing import Vit
from vitscope.tracing.calls.callers_switches import unaffected


@checked(HeadsError)
@unaffected
def strength(
    vit: Vit,
    images: Images,
    *,
    distance: Distance = "chebyshev",
    batch_size: BatchSize = 16,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> StrengthProfile:
    """How far every head looks: attention strength by distance on the patch grid, over pictures.

    Args:
        vit: The opened model.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        distance: How hops are counted: "chebyshev" (as in the paper), "manhattan" or "euclidean".
        batch_size: Pictures in a batch; it changes time and memory, not the result.
        checkpoint: A folder that keeps every finished part. A run that was stopped continues from it when it is called
            again with the same model, pictures and options. It is yours to remove.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The profile. Memory holds one traced batch and sums, whatever the number of pictures.

    Raises:
        HeadsError: An unknown distance, or a model without a patch grid or without attention between patches.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> profile = vs.heads.strength(vit, vs.worlds.world("shapes").sample(2, seed=1).images())
        >>> profile.trend()["block"].tolist()
        [0, 1, 2, 3, 4, 5]

    Source: attention strength, Li et al., TVCG 2023, arXiv 2303.13731.
    """
    source = picture_source(images)
    made = heads_recipe(vit, source, "strength", {"distance": distance})
    stage = CountedStage(progress, "attention strength", len(source), checkpoint=checkpoint)
    analysis = StrengthSums(made, distance, batch_size, stage)
    found = go_through(analysis, vit, source, batch_size, stage, checkpoint)
    metadata = {"model": vit.source, "fingerprint": made.model["fingerprint"]}
    return profile_of(found, distance, metadata, Origin(made, found.rows.ids, dict(source.skipped)))


def profile_of(
    found: StrengthPart, distance: Distance, metadata: Mapping[str, Any], origin: Origin
) -> StrengthProfile:
    """The profile of the sums over pictures, of which there is at least one."""
    assert found.shape is not None
    uniform = uniform_profiles(len(found.shape.prefix), grid_geometry(found.shape.grid, distance))
    known = {"analysis": "strength", "pictures": found.count, "distance": distance}
    return StrengthProfile(
        found.moments,
        {name: value[0, 0].numpy() for name, value in vars(uniform).items()},
        dict(found.rows.values),
        found.shape.blocks,
        found.shape.prefix,
        found.shape.grid,
        distance,
        found.rows.keys,
        {**known, **metadata},
        origin,
    )
