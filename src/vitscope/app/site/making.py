"""A study as a site of files: what it will take is said first, then all is written, then it stands whole."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fastapi import FastAPI

from vitscope.app.application import routed
from vitscope.app.model.bench import Bench
from vitscope.app.model.facts import Facts
from vitscope.app.model.opening import StudiedOpening
from vitscope.app.services import Services
from vitscope.app.settings import Settings
from vitscope.app.site.asking import Replied, ask
from vitscope.app.site.contents import Question, holdings_of, page_files, questions
from vitscope.app.site.folder import MARK, made_whole, require_place
from vitscope.app.site.names import file_of
from vitscope.app.work.worker import facts_of
from vitscope.errors import OutputError, VitscopeError
from vitscope.progress import CountedStage, Progress
from vitscope.storage import documents, files
from vitscope.storage.files import Place
from vitscope.studies.site_cost import SiteCost
from vitscope.tracing import Vit

Found = TypeVar("Found")
SAMPLES = 3
"""How many answers of each address are measured."""
WHY = "this is a site of files without a model; open the study with vitscope serve to compute it"


@dataclass(frozen=True)
class Site:
    """A site that was written. files, bytes: of all. left_out: how many answers there are not, by the reason."""

    folder: Path
    files: int
    bytes: int
    left_out: dict[str, int]


Approve = Callable[[SiteCost], bool]


def write_site(
    study: str,
    out: Place,
    *,
    vit: Vit | None = None,
    approve: Approve | None = None,
    progress: Progress | None = None,
) -> Site:
    """Write the study at a place as a folder of files that any web server shows; see :meth:`vitscope.Study.site`.

    ``vit``: its model, where only the caller has it."""
    place = Path(out)
    require_place(place)
    page = list(page_files())
    services = Services(Settings(study=study, why_no_model=WHY, facts=_facts(study, vit)))
    try:
        return _alone(lambda: _written(services, place, page, approve, progress))
    finally:
        services.shelf.close()


def _written(
    services: Services,
    place: Path,
    page: Sequence[tuple[str, bytes]],
    approve: Approve | None,
    progress: Progress | None,
) -> Site:
    app = routed()
    app.state.services = services
    assert services.study is not None
    asked = list(questions(holdings_of(services, services.study)))
    pages = sum(len(content) for _, content in page)
    cost = asyncio.run(_foreseen(app, asked, pages, len(page), place))
    if approve is not None and not approve(cost):
        raise OutputError("the site was not written: nobody agreed to its size")
    left_out: Counter[str] = Counter()
    count, size = len(page), pages
    stage = CountedStage(progress, "writing the site", len(asked), unit="answers")

    async def write_all(folder: Path) -> None:
        nonlocal count, size
        for question in asked:
            answer = await ask(app, question.path, question.parameters)
            if answer.status == 200:
                name = file_of(question.path, question.parameters, answer.media_type)
                files.write(folder / name, answer.content)
                count, size = count + 1, size + len(answer.content)
            else:
                left_out[answer.why] += 1
            stage.advance()
            stage.check()

    with made_whole(place) as folder:
        for name, content in page:
            files.write(folder / name, content)
        asyncio.run(write_all(folder))
        files.write(folder / ".nojekyll", "")
        told = {"study": services.study.manifest.study, "files": count, "bytes": size}
        files.write(folder / MARK, documents.encode("site", told))
    return Site(place, count, size, dict(left_out))


async def _foreseen(
    app: FastAPI, asked: Sequence[Question], page: int, page_files: int, place: Path
) -> SiteCost:
    """Bytes of all answers, from some of each address."""
    of_route: dict[str, list[Question]] = {}
    for question in asked:
        of_route.setdefault(f"{question.route} {sorted(question.parameters)}", []).append(question)
    total, measured = float(page), 0
    for group in of_route.values():
        chosen = group[:: max(1, -(-len(group) // SAMPLES))]
        answers: list[Replied] = [await ask(app, each.path, each.parameters) for each in chosen]
        sizes = [len(each.content) for each in answers if each.status == 200]
        measured += len(chosen)
        total += sum(sizes) * len(group) / len(chosen)
    return SiteCost(len(asked) + page_files, round(total), measured, _free(place))


def _free(place: Path) -> int | None:
    folder = Path(os.path.abspath(place))
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _facts(study: str, vit: Vit | None) -> Facts | None:
    """What is known of the study's model, which is opened for that and closed again; None where it cannot be."""
    try:
        return facts_of(Bench(StudiedOpening(study).open() if vit is None else vit))
    except VitscopeError:
        return None


def _alone(work: Callable[[], Found]) -> Found:
    """Run it on a thread of its own where this one has a running loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    found: list[Found] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
