"""Several heads removed together, against the sum of their single effects.

Single scores are not additive, and this shows by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from vitscope.heads.errors import HeadsError
from vitscope.heads.origin import Origin, check_labels_of, heads_recipe
from vitscope.heads.per_picture import PerPicture, Rows, go_through
from vitscope.heads.pruning.change_metrics import class_count
from vitscope.heads.pruning.cumulative_parts import Head, masked_logits
from vitscope.heads.pruning.joint_result import JointEffect
from vitscope.heads.pruning.means import Replacement, check_replacement, replacement_means
from vitscope.heads.pruning.sweep import clean_run, measure
from vitscope.heads.spatial_sites import head_grid
from vitscope.options.bounds import BatchSize, Folder, Items
from vitscope.options.door import checked
from vitscope.pictures import Batch, Images, Labels, picture_source
from vitscope.progress import CountedStage, Progress
from vitscope.tracing import Vit
from vitscope.tracing.calls.callers_switches import unaffected
from vitscope.tracing.copies.resumer import Resumer
from vitscope.tracing.recipe import model_identity

TOGETHER, APART = "together ", "apart "


@checked(HeadsError)
@unaffected
def joint_effect(
    vit: Vit,
    images: Images,
    heads: Annotated[Sequence[Head], Items(1, distinct=True)],
    labels: Labels | None = None,
    *,
    replacement: Replacement = "zero",
    batch_size: BatchSize = 32,
    checkpoint: Folder | None = None,
    progress: Progress | None = None,
) -> JointEffect:
    """Remove a set of heads together, and compare with the sum of removing each alone.

    Args:
        vit: The opened model; it needs class scores.
        images: Pictures in any form that :func:`vitscope.pictures.picture_source` takes.
        heads: (block, head) pairs, both from 0.
        labels: (n,) one class index per picture; None leaves out the metrics of the label.
        replacement: What stands in for a head, as for :func:`importance`.
        batch_size: Pictures in a batch; it changes time and memory, not the result.
        checkpoint: A folder that keeps every finished part; a stopped run continues from it.
        progress: Reports progress, and is asked whether to stop; see :mod:`vitscope.progress`.

    Returns:
        The change of every output metric, (n,) for n pictures: together, and summed over the heads alone.

    Raises:
        HeadsError: A head that does not exist, or no head.
        PictureError: A picture that cannot be read.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> vs.heads.joint_effect(vit, pictures, [(0, 1), (3, 2)]).to_pandas().columns.tolist()
        ['metric', 'joint', 'sum_of_singles', 'interaction', 'interaction_std', 'n']
    """
    check_replacement(vit, replacement)
    L, H = head_grid(vit.anatomy)
    heads = [(int(b), int(h)) for b, h in heads]
    wrong = [head for head in heads if not (0 <= head[0] < L and 0 <= head[1] < H)]
    if wrong:
        raise HeadsError(f"expected heads (block, head) within {L} x {H}, got {wrong}; count from 0")
    source = picture_source(images, labels=labels)
    check_labels_of(source, class_count(vit.anatomy))
    labelled = source.labels is not None
    model = model_identity(vit)
    means = replacement_means(vit, source, replacement, batch_size, progress, checkpoint, model)
    options = {"heads": heads, "means": means}
    made = heads_recipe(vit, source, "joint effect", options, labelled=labelled, model=model)
    stage = CountedStage(progress, "removing heads together", len(source), checkpoint=checkpoint)

    def measure_batch(batch: Batch) -> Rows:
        clean = clean_run(vit, batch.images, batch.labels if labelled else None)
        resumer, index = Resumer(vit, clean), torch.arange(clean.pictures)

        def effect(chosen: Sequence[Head]) -> dict[str, Tensor]:
            return measure(clean, masked_logits(resumer, chosen, means, L, H), {}, 0, index, "none")

        single = [effect([head]) for head in heads]
        found = {f"{TOGETHER}{name}": value for name, value in effect(heads).items()}
        found |= {f"{APART}{name}": torch.stack([one[name] for one in single]).sum(0) for name in single[0]}
        return Rows.of(batch, found)

    analysis = PerPicture(made, measure_batch, batch_size, stage)
    rows = go_through(analysis, vit, source, batch_size, stage, checkpoint)
    joint, singles = (
        {name.removeprefix(side): value for name, value in rows.values.items() if name.startswith(side)}
        for side in (TOGETHER, APART)
    )
    return JointEffect(tuple(heads), joint, singles, rows.keys, Origin(made, rows.ids, dict(source.skipped)))
