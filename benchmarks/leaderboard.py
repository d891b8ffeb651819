"""The published leaderboards: two real models on photographs and mosaics, and the planted-evidence worlds.

    python benchmarks/leaderboard.py run --seconds 600                     # every board, what matters most first
    python benchmarks/leaderboard.py run --device cuda --batch-size 200 --packed results.zip
    python benchmarks/leaderboard.py run deit-mask world-shapes            # these alone
    python benchmarks/leaderboard.py run --methods dart:beta=0.2           # one method more, on every board
    python benchmarks/leaderboard.py unpack results.zip                    # what was measured on another machine
    python benchmarks/leaderboard.py page                                  # docs/leaderboard from what was measured
    python benchmarks/leaderboard.py list                                  # how far every board is

Pictures are evaluated shard by shard; each shard is merged into its board and saved, until ``--seconds`` are over or
all pictures are done. A later call goes on where the last one ended: first with pictures that are missing, then with
methods that a board does not have. A method that fails is told and left out, so that one cannot stop the others.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from leaderboard_boards import Board, all_boards
from leaderboard_page import PARTS, write_page
from splits import ROOT, photographs

import vitscope as vs
from vitscope.errors import VitscopeError
from vitscope.evaluation import EvaluationSet
from vitscope.storage import folders

RESULTS = ROOT / "benchmarks" / "results" / "leaderboard"
DOCS = ROOT / "docs" / "leaderboard"


@dataclass(frozen=True)
class Machine:
    """Where and how much at once: pictures explained together, and changed pictures in one pass."""

    device: str
    batch_size: int
    perturbed: int

    def smaller(self) -> Machine:
        """A quarter at once, for what does not fit into memory."""
        return Machine(self.device, max(1, self.batch_size // 4), max(1, self.perturbed // 4))


@dataclass
class Run:
    """Boards that grow until the time is over.

    most: the most pictures of a board, None for all of them. packed: a zip file of every board, written anew whenever
    a board has grown, so that a run that is killed leaves what it had.
    """

    machine: Machine
    results: Path
    end: float
    most: int | None = None
    packed: Path | None = None

    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.end

    def complete(self, board: Board) -> None:
        """Every picture and every method that the board does not have yet."""
        start = time.monotonic()
        vit = board.open_model(self.machine.device)
        data = board.pictures(vit)
        data = data if self.most is None else data.part(0, min(self.most, len(data)))
        place = self.results / board.name
        known = vs.Leaderboard.load(place) if folders.exists(place) else None
        done = 0 if known is None else known.protocol.pictures
        methods = board.methods if known is None else [each for each in known.names if each in board.methods]
        for part in self._shards(vit, data, done, len(data), board, methods, None):
            try:
                known = part if known is None else known.merge(part)
            except VitscopeError as error:
                print(f"  {board.name} cannot grow, remove {place} to begin anew: {error}", flush=True)
                return
            self._keep(board, known, start)
        lacking = [] if known is None else [each for each in board.methods if each not in known.names]
        if known is not None and lacking and not self.over():
            done = known.protocol.pictures
            parts = list(self._shards(vit, data, 0, done, board, lacking, ()))
            if parts and sum(part.protocol.pictures for part in parts) == done:
                self._keep(board, known.join(parts[0].merge(*parts[1:])), start)

    def _shards(
        self,
        vit: vs.Vit,
        data: EvaluationSet,
        start: int,
        stop: int,
        board: Board,
        methods: list[str],
        controls: tuple[str, ...] | None,
    ) -> Iterator[vs.Leaderboard]:
        """The boards of shards, until all pictures or the time are over or a method that the first shard has fails."""
        for first in range(start, stop, self.machine.batch_size):
            if self.over():
                return
            shard = data.part(first, min(first + self.machine.batch_size, stop))
            part = self._scored(vit, shard, board, methods, controls)
            if part is None or (first > start and not set(methods) <= set(part.names)):
                return
            methods = [name for name in methods if name in part.names]
            yield replace(part, curves={})  # they are large, and the page shows none

    def _scored(
        self,
        vit: vs.Vit,
        part: EvaluationSet,
        board: Board,
        methods: list[str],
        controls: tuple[str, ...] | None,
    ) -> vs.Leaderboard | None:
        """The board of these pictures, without the methods that fail; None where all do."""
        machine = self.machine
        for _ in range(3):
            methods = [name for name in methods if self._applies(vit, name)]
            if not methods:
                return None
            try:
                return evaluated(vit, part, board, methods, controls, machine)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                machine = machine.smaller()
                print(f"  {board.name}: too little memory, {machine.batch_size} at a time", flush=True)
            except Exception:
                traceback.print_exc()
                methods = [name for name in methods if self._works(vit, part, board, name)]
        return None

    def _works(self, vit: vs.Vit, part: EvaluationSet, board: Board, name: str) -> bool:
        try:
            evaluated(vit, part.part(0, 2), board, [name], (), self.machine)
        except Exception as error:
            print(f"  {board.name}: {name} left out: {type(error).__name__}: {error}", flush=True)
            return False
        return True

    def _applies(self, vit: vs.Vit, name: str) -> bool:
        method = name.partition(":")[0]
        info = next((each for each in vs.methods() if each.name == method), None)
        return info is not None and info.why_not(vit.anatomy) is None

    def _keep(self, board: Board, known: vs.Leaderboard, start: float) -> None:
        known.save(self.results / board.name)
        if self.packed is not None:
            pack(self.results, self.packed)
        print(
            f"  {board.name}: {known.protocol.pictures} pictures, {len(known.names)} rows, "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )


def evaluated(
    vit: vs.Vit,
    part: EvaluationSet,
    board: Board,
    methods: list[str],
    controls: tuple[str, ...] | None,
    machine: Machine,
) -> vs.Leaderboard:
    """``vs.evaluate`` as a board asks for it; controls None: all of them."""
    own = {} if controls is None else {"controls": controls}
    return vs.evaluate(
        vit,
        part,
        None,
        methods,
        board.metrics,
        board.protocol,
        batch_size=machine.batch_size,
        perturbed_batch_size=machine.perturbed,
        keep_pictures=False,
        **own,
    )


def keep_parts(results: Path) -> None:
    """Which pictures are for choosing, beside the boards."""
    chosen = [*photographs("sample", "development"), *photographs("boxed-val", "development")]
    results.mkdir(parents=True, exist_ok=True)
    (results / PARTS).write_text(
        json.dumps({"development": [each.key for each in chosen]}, indent=1) + "\n", encoding="utf-8"
    )


def pack(results: Path, packed: Path) -> None:
    """Every board in one file."""
    part = packed.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in [*sorted(results.glob("*/*")), results / PARTS]:
            archive.write(file, file.relative_to(results))
    part.replace(packed)


def unpack(results: Path, packed: Path) -> None:
    """The boards of a packed file in the place of those here."""
    with zipfile.ZipFile(packed) as archive:
        for name in sorted({each.partition("/")[0] for each in archive.namelist() if "/" in each}):
            if folders.exists(results / name):
                folders.remove(results / name)
        archive.extractall(results)


def tell_state(boards: dict[str, Board]) -> None:
    """How far every board is."""
    for name, board in boards.items():
        place = RESULTS / name
        if not folders.exists(place):
            print(f"{name}: not begun")
            continue
        known = vs.Leaderboard.load(place)
        lacking = [each for each in board.methods if each not in known.names]
        print(f"{name}: {known.protocol.pictures} pictures; without {', '.join(lacking) or 'nothing'}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["run", "page", "unpack", "list"])
    parser.add_argument("only", nargs="*", help="boards, all of them by default; unpack: the file")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=20, help="pictures explained together")
    parser.add_argument(
        "--perturbed", type=int, default=None, help="changed pictures in a pass; 4 x the batch"
    )
    parser.add_argument("--methods", nargs="*", default=[], help="methods beside those that are listed")
    parser.add_argument("--only-first", type=int, help="so many pictures of each board, to try what works")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--packed", type=Path, help="also write every board into this zip file")
    given = parser.parse_args()
    boards = all_boards(given.methods)
    if given.part == "page":
        write_page(given.results, DOCS)
    elif given.part == "unpack":
        unpack(given.results, Path(given.only[0]))
    elif given.part == "list":
        tell_state(boards)
    else:
        machine = Machine(given.device, given.batch_size, given.perturbed or 4 * given.batch_size)
        keep_parts(given.results)
        run = Run(machine, given.results, time.monotonic() + given.seconds, given.only_first, given.packed)
        for name in given.only or boards:
            if run.over():
                break
            try:
                run.complete(boards[name])
            except Exception:  # one board that fails does not cost the others
                traceback.print_exc()


if __name__ == "__main__":
    main()
