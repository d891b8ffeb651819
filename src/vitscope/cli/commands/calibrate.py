"""``vitscope calibrate``: DART's kappa by conservation on pictures of one's own, to be passed on with ``-o kappa=``."""

from __future__ import annotations

import typer

from vitscope.cli.shared import console, options
from vitscope.cli.shared.batches import PictureParts, pictures_of
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.session import open_vit

EXAMPLE = (
    "vitscope calibrate photos --model timm/deit_tiny_patch16_224 --weights deit.safetensors, then "
    "vitscope explain photo.jpg ... --method dart -o kappa=0.53"
)


def calibrate(
    pictures: options.Pictures,
    model: options.Model,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = options.BATCH_SIZE,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
) -> None:
    """Find the kappa of DART and GMAR+ at which relevance adds up to the score on these pictures; 16 are enough."""
    import vitscope as vs

    source = pictures_of(pictures, max_pixels)
    vit = open_vit(model, weights, image_size, device, precision, random_weights, None, model_option)
    with watching() as progress:
        found = vs.calibrate(vit, source, batch_size=batch_size, progress=progress)
    parts = PictureParts.read(source)
    if json:
        (record,) = found.to_pandas().to_dict("records")
        document = {**record, "model": vit.source, "weights": vit.fingerprint}
        console.emit_json({**document, "skipped": parts.skipped_records()})
    else:
        console.say(f"{found.describe()}; pass it on with -o kappa={found.kappa:g}")
    raise typer.Exit(parts.exit_code)
