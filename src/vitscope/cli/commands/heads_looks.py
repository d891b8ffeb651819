"""``vitscope heads strength``, ``patterns`` and ``agreement``: what heads look at, and whether their scores agree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vitscope.cli.shared import console, options
from vitscope.cli.shared.heads_input import finish, open_input, resumable
from vitscope.cli.shared.progress import watching
from vitscope.cli.shared.usage import unused
from vitscope.options.door import check_argument


def strength(
    pictures: options.Pictures,
    model: options.Model,
    distance: Annotated[str, typer.Option(help="chebyshev (hops), manhattan or euclidean.")] = "chebyshev",
    out: options.Out = Path("vitscope-heads"),
    limit: options.Limit = None,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = options.BATCH_SIZE,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    json: options.Json = False,
) -> None:
    """How far every head looks: mass and strength by distance, entropy, offsets, class-token mass."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport

    how = check_argument(heads.strength, "distance", distance, heads.HeadsError)
    given = open_input(
        pictures, None, limit, out, model, weights, image_size, device, precision, random_weights, model_option,
        labelled=False,
    )  # fmt: skip
    with resumable(given) as unfinished:
        with watching() as progress:
            found = heads.strength(
                given.vit, given.source, distance=how, batch_size=batch_size, checkpoint=unfinished,
                progress=progress,
            )  # fmt: skip
        story = HeadsReport(given.vit.source, len(found.pictures), strength=found, commands=given.commands)
        files = story.save(out, "strength")
    summary = found.summary()
    rows = [
        [f"{row['block']}.{row['head']}", f"{row['expected_distance']:.3g}", f"{row['entropy']:.3g}"]
        for row in summary.to_dict("records")
    ]
    finish(given, json, files, ["head", "expected hops", "entropy"], rows, heads=summary)


@unused(
    "form",
    "coder",
    "clusters",
    "epochs",
    "latent",
    "repeats",
    "null",
    when=lambda given: given["atlas"],
    why="--atlas has its patterns already",
)
@unused("epochs", when=lambda given: given["coder"] == "pca", why="--coder pca is not trained")
def patterns(
    pictures: options.Pictures,
    model: options.Model,
    out: options.Out = Path("vitscope-heads"),
    atlas: Annotated[
        Path | None,
        typer.Option("--atlas", help="Place the pictures in this atlas instead of making a new one."),
    ] = None,
    form: Annotated[str, typer.Option(help="pooled (49 x 49) or offset (27 x 27).")] = "pooled",
    coder: Annotated[str, typer.Option(help="autoencoder, pca, or best on held-out pictures.")] = "best",
    clusters: Annotated[
        int | None,
        typer.Option("--clusters", "-k", min=2, help="Number of patterns; else chosen by stability."),
    ] = None,
    per_head: Annotated[int, typer.Option(min=1, help="At most so many maps of each head.")] = 100,
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs of the autoencoder.")] = 60,
    latent: Annotated[int | None, typer.Option(min=1, help="Numbers in a code.")] = None,
    repeats: Annotated[int, typer.Option(min=0, help="Seeds for the stability; 0 skips it.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the split, the coder and the clusters.")] = 0,
    null: Annotated[bool, typer.Option("--null", help="Also place maps of shuffled weights.")] = False,
    limit: options.Limit = None,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = options.BATCH_SIZE,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    json: options.Json = False,
) -> None:
    """Learn the patterns of attention maps: autoencoder beside PCA, clusters with names, the mix of every head."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport

    shape = check_argument(heads.patterns, "form", form, heads.HeadsError)
    fitted = check_argument(heads.patterns, "coder", coder, heads.HeadsError)
    known = None if atlas is None else heads.PatternAtlas.load(atlas)
    given = open_input(
        pictures, None, limit, out, model, weights, image_size, device, precision, random_weights, model_option,
        labelled=False, least=1 if known else 2,
    )  # fmt: skip
    placed = None
    with resumable(given) as unfinished:
        with watching() as progress:
            shared: dict[str, Any] = {
                "per_head": per_head, "batch_size": batch_size, "seed": seed, "checkpoint": unfinished,
                "progress": progress,
            }  # fmt: skip
            if known is not None:
                made = known
                placed = known.map_pictures(given.vit, given.source, **shared)
            else:
                sizes: dict[str, Any] = {} if latent is None else {"latent": latent}
                made = heads.patterns(
                    given.vit, given.source, form=shape, coder=fitted, k=clusters, repeats=repeats, null=null,
                    options=heads.AutoencoderOptions(epochs=epochs, seed=seed, **sizes),
                    **shared,
                )  # fmt: skip
        mixes = made.heads if placed is None else placed.heads
        story = HeadsReport(
            given.vit.source, len(given.source), atlas=made, placed=placed, commands=given.commands
        )
        files = story.save(out, "patterns")
    if not json:
        console.say(made.verdict)
    rows = [[f"{int(row['block'])}.{int(row['head'])}", row["pattern"]] for row in mixes.to_dict("records")]
    finish(given, json, files, ["head", "pattern"], rows, heads=mixes, verdict=made.verdict, names=made.names)


def agreement(
    pictures: options.Pictures,
    model: options.Model,
    labels: options.Labels = None,
    out: options.Out = Path("vitscope-heads"),
    replacement: options.Replacement = "zero",
    limit: options.Limit = None,
    weights: options.Weights = None,
    random_weights: options.RandomWeights = False,
    model_option: options.ModelOptions = None,
    image_size: options.ImageSize = None,
    batch_size: options.BatchSize = options.BATCH_SIZE,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    json: options.Json = False,
) -> None:
    """Do the scores of heads agree? Rank correlations of pruning, GMAR, DAAM, first-order scores and strength."""
    from vitscope import heads
    from vitscope.reports.heads.page import HeadsReport

    instead = check_argument(heads.agreement, "replacement", replacement, heads.HeadsError)
    given = open_input(
        pictures,
        labels,
        limit,
        out,
        model,
        weights,
        image_size,
        device,
        precision,
        random_weights,
        model_option,
    )
    with resumable(given) as unfinished:
        with watching() as progress:
            found = heads.agreement(
                given.vit, given.source, replacement=instead, batch_size=batch_size, checkpoint=unfinished,
                progress=progress,
            )  # fmt: skip
        disagreements = found.disagreements()
        story = HeadsReport(given.vit.source, found.pictures, agreement=found, commands=given.commands)
        files = story.save(out, "agreement")
    pairs = found.to_pandas()
    rows = [[_number(value) for value in row] for row in pairs.head(20).itertuples(index=False)]
    columns = [str(name).replace("_", " ") for name in pairs.columns]
    finish(given, json, files, columns, rows, pairs=pairs, disagreements=disagreements)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
