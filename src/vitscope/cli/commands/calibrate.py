"""``vitscope calibrate``: DART's kappa by conservation on pictures of one's own, to be passed on with ``-o kappa=``."""

from __future__ import annotations

import typer

from vitscope.cli.shared import console
from vitscope.cli.shared.batches import PictureParts
from vitscope.cli.shared.options import ModelOptions, PictureOptions, RunOptions
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.session import open_vit

EXAMPLE = (
    "vitscope calibrate photos --model timm/deit_tiny_patch16_224 --weights deit.safetensors, then "
    "vitscope explain photo.jpg ... --method dart -o kappa=0.53"
)


def calibrate(pictures: PictureOptions, model: ModelOptions, run: RunOptions) -> None:
    """Find the kappa of DART and GMAR+ at which relevance adds up to the score on these pictures; 16 are enough."""
    import vitscope as vs

    source = pictures.source()
    vit = open_vit(model)
    with watching() as progress:
        found = vs.calibrate(vit, source, batch_size=run.batch_size, progress=progress)
    parts = PictureParts.read(source)
    if run.json:
        (record,) = found.to_pandas().to_dict("records")
        document = {**record, "model": vit.source, "weights": vit.fingerprint}
        console.emit_json({**document, "skipped": parts.skipped_records()})
    else:
        console.say(f"{found.describe()}; pass it on with -o kappa={found.kappa:g}")
    raise typer.Exit(parts.exit_code)
