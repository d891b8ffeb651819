"""``vitscope explain``: maps of pictures by one or more methods, as data and as drawings."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vitscope.cli.commands.explain.finished import FOLDER, ExplainedPictures, Record, finished_of, run_recipe
from vitscope.cli.shared import console
from vitscope.cli.shared.batches import PictureParts
from vitscope.cli.shared.classes import with_classes
from vitscope.cli.shared.drawing import DrawingOptions
from vitscope.cli.shared.explaining import explain_part, target_of
from vitscope.cli.shared.options import (
    CleanOptions,
    MethodOptions,
    ModelOptions,
    OutputOptions,
    PictureOptions,
    RunOptions,
)
from vitscope.cli.shared.results import INDEX, TABLE, row, update_index, with_target
from vitscope.cli.shared.selection import choose_methods, share_options
from vitscope.cli.shared.session import open_vit
from vitscope.cli.shared.usage import Interrupted, unused
from vitscope.cli.shared.values import parse_texts
from vitscope.errors import VitscopeError

if TYPE_CHECKING:
    from PIL import Image

    from vitscope.pictures import PictureSource
    from vitscope.pictures.bands import Bands
    from vitscope.reports import Looks
    from vitscope.reports.explanations.records import Card
    from vitscope.storage.recipe import Recipe
    from vitscope.tracing import Target, Vit

EXAMPLE = (
    "vitscope explain photo.jpg --model timm/deit_tiny_patch16_224 --weights deit.safetensors "
    "--method gmar,daam,rollout --target top1 --out maps"
)

REPORT = "report.html"
MOST_CARDS = 100
"""Pictures on one report: a page with more is too large for a browser; the files hold them all."""


@unused(
    "style",
    "scaling",
    "upsampling",
    "size",
    when=lambda given: not given["draw"],
    why="with --no-draw nothing is drawn",
)
def explain(
    pictures: PictureOptions,
    model: ModelOptions,
    methods: MethodOptions,
    cleaning: CleanOptions,
    drawing: DrawingOptions,
    output: OutputOptions,
    run: RunOptions,
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="Write PNGs beside the raw maps.")] = True,
    report: Annotated[
        bool, typer.Option("--report", help="Also write report.html, one page with up to 100 pictures.")
    ] = False,
) -> None:
    """Explain pictures: raw maps, overlays, and a sheet that shows the methods side by side.

    A run that was stopped goes on when it is given again with the same --out: what is finished is not done again.
    """
    from vitscope import reports
    from vitscope.methods import default_method
    from vitscope.storage.outputs import OutputNames

    looks = drawing.looks() if draw else None
    given = parse_texts(methods.option)
    source = pictures.source()
    folder = console.output_folder(output.out)
    vit = open_vit(model)
    chosen = choose_methods(methods.method or default_method(vit.anatomy), vit.anatomy)
    shared = share_options(chosen, given)
    aim = target_of(methods.target, vit, source)
    shown = {"drawing": None if looks is None else vars(looks), "clean": cleaning.clean}
    recipe = run_recipe(vit, shared, aim, methods.target, shown)
    known = ExplainedPictures(folder, recipe)
    names = OutputNames(folder, source.keys, reserved=(REPORT, FOLDER, INDEX, TABLE))
    parts = PictureParts(source, run.batch_size, "explaining")
    records: dict[str, Record] = {}
    gone_on = kept = 0
    try:
        for start, part in parts:
            finished = finished_of(known, part)
            if finished is not None:
                records |= finished
                parts.written, gone_on = parts.written + len(finished), gone_on + len(finished)
                continue
            entries = []
            for picture in explain_part(vit, part, start, len(source), aim, shared, cleaning.clean):
                with parts.writing(picture.key):
                    record: Record = {"picture": picture.place, "key": picture.key}
                    stem = with_target(
                        names.stem(picture.key), methods.target, next(iter(picture.single.values()))
                    )
                    record |= reports.write_maps(picture.single, stem, picture=picture.shown, looks=looks)
                    entries.append((picture.key, picture.id, record))
                    records[picture.key] = record
                    if not run.json:
                        console.say(_line(picture.key, record))
            known.keep(start, entries)
            kept += len(entries)
    except (KeyboardInterrupt, Interrupted):
        console.note(
            f"{gone_on + kept} of {len(source)} pictures are done; the same command goes on from there"
        )
        raise
    finally:
        lost = update_index(folder, list(_rows(records, recipe)), recipe) if records else []
    known.tell(gone_on, lost)
    page = None
    if report:
        page = write_report(vit, source, records, folder / _page_name(methods.target, aim), looks)
    if run.json:
        document: dict[str, Any] = {"model": vit.source, "weights": vit.fingerprint, "target": methods.target}
        document |= {"options": shared, "report": page}
        console.emit_json(
            {**document, "pictures": list(records.values()), "skipped": parts.skipped_records()}
        )
    else:
        missed = len(parts.skipped_records())
        skipped = f", {missed} skipped" if missed else ""
        console.say(f"{len(records)} explained{skipped}; results in {page or folder}")
    raise typer.Exit(parts.exit_code)


def _page_name(words: str, aim: Target) -> str:
    """The name of the page, with the target in it where it is not the default and the same for all pictures."""
    stem = Path(REPORT).stem
    return f"{stem if aim.count is not None else with_target(Path(stem), words).name}.html"


def _rows(records: dict[str, Record], recipe: Recipe) -> Iterator[dict[str, Any]]:
    """A line of the index for each picture and method."""
    for key, record in records.items():
        shared = [record["sheet"]] if "sheet" in record else []
        for method, entry in record["maps"].items():
            written = [entry[name] for name in ("data", "overlay") if name in entry]
            yield row(record, key, method, [*written, *shared], recipe)


def write_report(
    vit: Vit, source: PictureSource, records: dict[str, Record], page: Path, looks: Looks | None
) -> Path | None:
    """One page with the first pictures, made from their files: the same whenever they were explained."""
    from torch import Tensor

    from vitscope import reports
    from vitscope.methods import Explanation
    from vitscope.rendering.maps.blending import OPACITY

    place = {key: index for index, key in enumerate(source.keys)}
    known = _known_classes(source, vit)
    cards: list[Card] = []
    single: dict[str, Explanation] = {}
    for key, record in list(records.items())[:MOST_CARDS]:
        single = {name: Explanation.load(entry["data"]) for name, entry in record["maps"].items()}
        channels = 3 if vit.preprocessor is None else vit.preprocessor.channels
        picture = source.open(place[key], channels).image
        assert not isinstance(picture, Tensor)  # a command reads files
        label = None if known is None else class_word(known[place[key]], vit)
        shown = shown_picture(vit, picture)
        cards.append(reports.card(single, name=key, picture=shown, label=label, looks=looks))
    if not cards:
        return None
    command = shlex.join(["vitscope", *sys.argv[1:]])
    made = reports.Report.of(
        cards,
        single,
        next(iter(single.values())),
        commands=[(command, "")],
        opacity=OPACITY if looks is None else looks.opacity,
    )
    return made.write(page)


def _known_classes(source: PictureSource, vit: Vit) -> Sequence[int] | None:
    """The true classes where they lie beside the pictures: they are not asked for, so what is wrong with them is not
    told."""
    if vit.anatomy.classes is None:
        return None
    try:
        return with_classes(source, None, vit).labels
    except VitscopeError:
        return None


def class_word(number: int, vit: Vit) -> str:
    """A class as predictions on a page call it."""
    names = vit.class_names or []
    return names[number] if number < len(names) and names[number] else f"class {number}"


def shown_picture(vit: Vit, picture: Image.Image | Bands) -> Image.Image:
    """What the model sees of a picture, for drawing on."""
    if vit.preprocessor is None:
        return cast("Image.Image", picture)  # other channels are read only for a preprocessor that has them
    shown: Image.Image = vit.preprocessor.display(picture)
    return shown


def _line(key: str, record: Record) -> str:
    predicted = record.get("predictions")
    best = f", predicted {predicted[0]['name'] or predicted[0]['class']}" if predicted else ""
    sure = f" ({predicted[0]['probability']:.0%})" if predicted else ""
    return f"{key.rpartition('/')[2]}: {record['target']}, score {record['score']:.3f}{best}{sure}"
