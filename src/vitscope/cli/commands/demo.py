"""``vitscope demo``: the bundled pictures explained with the bundled model, with nothing to download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitscope.cli.shared import console
from vitscope.cli.shared.options import LimitOptions, ModelOptions, OutputOptions, PassOptions, RunOptions
from vitscope.cli.shared.progress import track
from vitscope.cli.shared.session import open_vit

if TYPE_CHECKING:
    from PIL import Image

    from vitscope.methods import Explanation
    from vitscope.reports.explanations.records import Card
    from vitscope.tracing import Vit

EXAMPLE = "vitscope demo --out demo"

MODEL, WORLD, SEED = "bundled/shapes", "shapes", 11
PICTURES = 8
"""How many pictures are drawn without ``--limit``."""
METHODS = ["rollout", "gmar", "daam", "dart-removal"]
SHEET_ROWS = 5

NEXT_STEPS = [
    (
        "vitscope explain photo.jpg --model timm/deit_tiny_patch16_224 --method gmar,daam,rollout --report",
        "your own picture and a published ViT (--weights FILE where the weights cannot be fetched)",
    ),
    (
        "vitscope inspect timm/vit_small_patch14_dinov2",
        "what is inside a model and which methods can explain it",
    ),
    (
        "vitscope flow photo.jpg --model timm/deit_tiny_patch16_224 --format webp",
        "how the map forms block by block",
    ),
    ("vitscope methods", "every method, with its cost and its paper"),
]


def demo(limit: LimitOptions, device: PassOptions, output: OutputOptions, run: RunOptions) -> None:
    """Explain bundled pictures with a bundled trained ViT and write one report; needs no network and no picture."""
    folder = console.output_folder(output.out)
    vit = open_vit(ModelOptions(model=MODEL, device=device.device, precision=device.precision))
    drawn, names = bundled_pictures(limit.limit or PICTURES)
    paths = write_pictures(drawn, names, folder / "pictures")
    records, report = explain_bundled(vit, drawn, names, paths, folder, run.batch_size)
    right = sum(record["class_name"] == name for record, name in zip(records, names, strict=True))
    if run.json:
        console.emit_json(
            {"report": report, "model": vit.source, "weights": vit.fingerprint, "pictures": records}
        )
        return
    console.say(f"{len(records)} pictures explained by {', '.join(METHODS)}; {right} recognised by the model")
    console.say(f"  report      {report}")
    console.say(f"  sheet       {folder / 'sheet.png'}")
    console.say(f"  animation   {records[0]['flow']['animation']}")
    console.say(f"  drawings    {folder / 'maps'}/*.png, raw maps beside them (*.safetensors)")
    console.say()
    console.say("Try next, on your own model:")
    for command, words in NEXT_STEPS:
        console.say(f"  {command}")
        console.say(f"      {words}")


def bundled_pictures(count: int) -> tuple[list[Image.Image], list[str]]:
    """Pictures of the shapes world and the true class of each; drawn from a seed that training never saw."""
    from vitscope.worlds.planted import demo_pictures

    sample = demo_pictures(count, seed=SEED)
    return sample.images(), sample.names()


def write_pictures(drawn: list[Image.Image], names: list[str], folder: Path) -> list[Path]:
    """The pictures as PNGs, so that other commands can be tried on them."""
    from vitscope.rendering import save_png

    made = {"world": WORLD, "seed": SEED}
    return [
        save_png(picture, folder / f"{index + 1:02d}-{name.replace(' ', '-')}.png", made)
        for index, (picture, name) in enumerate(zip(drawn, names, strict=True))
    ]


def explain_bundled(
    vit: Vit, drawn: list[Image.Image], names: list[str], paths: list[Path], folder: Path, batch_size: int
) -> tuple[list[dict[str, Any]], Path]:
    """Maps and drawings of every picture, the first one's flow also as an animation, a sheet, and the report."""
    import vitscope as vs
    from vitscope import reports
    from vitscope.rendering import save_png

    result = vs.explain(vit, drawn, method=METHODS, batch_size=batch_size)
    records, cards = [], []
    for index in track(range(len(drawn)), "drawing", len(drawn)):
        single: dict[str, Explanation] = {method: found[index] for method, found in result.items()}
        stem = folder / "maps" / paths[index].stem
        record: dict[str, Any] = {"picture": str(paths[index]), "label": names[index]}
        record |= reports.write_maps(single, stem)
        if index == 0:
            record["flow"] = reports.write_flow(single["daam"], folder / paths[index].stem)
        records.append(record)
        cards.append(reports.card(single, name=paths[index].name, label=names[index]))
    few = range(min(len(drawn), SHEET_ROWS))
    save_png(reports.sheet(result, few, names=[names[row] for row in few]), folder / "sheet.png")
    return records, write_report(result[METHODS[-1]], cards, folder)


def write_report(example: Explanation, cards: list[Card], folder: Path) -> Path:
    """``report.html``, self-contained."""
    from vitscope import reports

    again = f"vitscope explain {folder / 'pictures'} --model {MODEL} --method {','.join(METHODS)} --report"
    flow = f"vitscope flow {folder / 'pictures'} --model {MODEL} --out {folder / 'flows'}"
    made = reports.Report.of(
        cards,
        METHODS,
        example,
        title="A small Vision Transformer, explained",
        subtitle=f"{len(cards)} pictures of the shapes world: the class is the one silhouette that is not a distractor",
        commands=[
            (f"vitscope demo --out {folder}", "made this page"),
            (again, "the same maps from the pictures' files"),
            (flow, "every picture's flow as an animation"),
        ],
        next_steps=NEXT_STEPS,
        notes=[
            "Rollout and GMAR show where information travels; DAAM and DART show what the decision rests on.",
            "Maps are raw values on the model's own grid; each colour bar says what its colours mean.",
        ],
    )
    return made.write(folder / "report.html")
