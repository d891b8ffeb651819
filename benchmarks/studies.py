"""What a study costs: its rate against the model's own passes, two workers against one, going on, bytes, its estimate.

    python benchmarks/studies.py PART [PART ...] [--assets FOLDER] [--repeats 7] [--out benchmarks/results/studies.json]

PART is one of ``rate``, ``workers``, ``resume``, ``bytes``, ``device``, ``estimate``, ``soak``, ``everything``; each
replaces its own figures in the file and leaves the others. FOLDER holds
``models/deit_tiny_patch16_224.safetensors`` and
``images/sample``.

- ``rate``: a shard of DeiT-Tiny on one thread against the bare model's forward + backward (``explain_cost.both``:
  frozen weights, back to the tokens that enter the first block) on the same decoded pictures, run just before and just
  after it. Batches are read beforehand, so reading is apart; it is timed by itself. Writing is part of the shard.
- ``workers``: seconds of one shard by one worker of Ray, over seconds from one finished shard to the next by two
  (times two were ideal), start-up left out. The clock is that of the events; it wants two cores with nothing else.
- ``resume``: a finished study of 10,000 pictures in 40 shards: seconds of ``Study.open(place).run()`` and ``status()``.
- ``bytes``: a study of 96 photographs with every array, by table and array.
- ``device``: on ``--device`` (a GPU), in float32 and bf16: the same rate with batches of 128, two runs bit by bit, and
  how far its maps lie from those of the processor.
- ``estimate``: what ``create`` foretold against what the run took.
- ``soak``: memory while one worker does 2,000 pictures.
- ``everything``: every analysis on the sample's photographs (``--photographs N`` of them), twice, bit by bit.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from explain_cost import both, machine, seconds_of

import vitscope as vs
from vitscope.pictures import Batch
from vitscope.pictures.planned import PlannedSource
from vitscope.studies import Sizes, Study
from vitscope.studies.events import read_events
from vitscope.studies.plan_files import PlanFiles
from vitscope.studies.records import Records
from vitscope.studies.worker import Worker
from vitscope.tracing.calls.counting import counted_passes

BAR = {"rate": 0.90, "workers": 1.8}
MODEL = "timm/deit_tiny_patch16_224"


def photographs(assets: Path, place: Path, count: int) -> Path:
    """A folder of so many files: the sample's photographs, again and again."""
    sample = sorted((assets / "images" / "sample").glob("*.jpg"))
    place.mkdir(parents=True)
    for number in range(count):
        shutil.copyfile(sample[number % len(sample)], place / f"{number:06d}.jpg")
    return place


def small_pictures(place: Path, count: int) -> Path:
    """A folder of so many names of 24 small pictures of the bundled world."""
    place.mkdir(parents=True)
    kept = place.parent / "kept"
    kept.mkdir()
    for number, image in enumerate(vs.worlds.world("shapes").sample(24, seed=1).images()):
        image.save(kept / f"{number}.png")
    for number in range(count):
        os.link(kept / f"{number % 24}.png", place / f"{number:06d}.png")
    return place


def deit(assets: Path) -> dict[str, Any]:
    """How DeiT-Tiny is opened; random weights cost the same."""
    weights = assets / "models" / "deit_tiny_patch16_224.safetensors"
    return {"weights": str(weights)} if weights.exists() else {"pretrained": False}


@contextmanager
def read_beforehand(batches: list[Batch]) -> Iterator[None]:
    """Sources give these batches, so that reading takes no time."""

    def given(self: PlannedSource, vit: Any, size: int) -> Iterator[Batch]:
        yield from batches

    with mock.patch.object(PlannedSource, "batches", given):
        yield


def rate(assets: Path, place: Path, repeats: int) -> dict[str, Any]:
    """Pictures a second of a shard against the bare model's, on one thread."""
    torch.set_num_threads(1)
    pictures = photographs(assets, place / "pictures", 64)
    vit = vs.open_model(MODEL, **deit(assets))
    found: dict[str, Any] = {}
    for methods in (["gmar"], ["daam"], ["gmar", "daam"]):
        sizes = Sizes(shard_size=64, batch_size=16, threads=1)
        study = Study.create(
            place / "-".join(methods), model=vit, images=pictures, methods=methods, sizes=sizes
        )
        found["+".join(methods)] = rate_of(study, vit, repeats)
        print("rate", methods, found["+".join(methods)], flush=True)
    return found


def rate_of(study: Study, vit: vs.Vit, repeats: int) -> dict[str, Any]:
    """The first shard of a study against the bare model on the same batches, which were read before."""
    manifest = study.manifest
    worker = Worker(study._store, manifest, vit, decode_threads=0)
    records = Records(study._store, manifest)
    source = PlannedSource(manifest.input.url, PlanFiles(study._store, manifest).shard(0))
    batches: list[Batch] = []

    def reading() -> None:
        batches[:] = source.batches(vit, manifest.batch_size)

    def shard() -> None:
        records.withdraw("main", 0)
        worker.run(manifest.main, 0)

    def bare() -> None:
        for batch in batches:
            both(vit, batch.images.to(vit.device))

    decode = seconds_of(reading)
    count = sum(len(batch.keys) for batch in batches)
    ratios = []
    with read_beforehand(batches):
        bare()
        shard()
        for _ in range(repeats):
            before, own, after = seconds_of(bare), seconds_of(shard), seconds_of(bare)
            ratios.append([(b + a) / 2 / o for b, o, a in zip(before, own, after, strict=True)])
    clock, busy = zip(*ratios, strict=True)
    kind = 0 if vit.device.type == "cuda" else 1  # a processor that waits for a GPU is not what is measured
    low, _, high = statistics.quantiles((clock, busy)[kind], n=4, method="inclusive")
    unit = ("", "processor ")[kind]
    return {
        "rate / (forward + backward), clock": round(statistics.median(clock), 3),
        "rate / (forward + backward), processor": round(statistics.median(busy), 3),
        "quartiles": [round(low, 3), round(high, 3)],
        f"pictures a {unit}second": round(count / own[kind], 2),
        f"bare pictures a {unit}second": round(2 * count / (before[kind] + after[kind]), 2),
        "processor ms to read a picture": round(1000 * decode[1] / count, 2),
    }


def on_device(assets: Path, place: Path, repeats: int, device: str) -> dict[str, Any]:
    """The same on a GPU, in float32 and bf16; two runs bit by bit; how far its maps lie from the processor's."""
    pictures = photographs(assets, place / "pictures", 512)
    few = photographs(assets, place / "few", 32)
    found: dict[str, Any] = {}
    reference = maps_of(place / "processor", few, assets, "cpu", "float32")
    for precision in ("float32", "bf16"):
        rows = found[precision] = {}
        vit = vs.open_model(MODEL, device=device, precision=precision, **deit(assets))
        for methods in (["gmar"], ["daam"], ["dart"]):
            sizes = Sizes(shard_size=512, batch_size=128, threads=4)
            folder = place / f"{precision}-{methods[0]}"
            study = Study.create(folder, model=vit, images=pictures, methods=methods, sizes=sizes)
            rows[methods[0]] = rate_of(study, vit, repeats)
            print(precision, methods, rows[methods[0]], flush=True)
        one, two = (maps_of(place / f"{precision}-{n}", few, assets, device, precision) for n in (1, 2))
        rows["two runs, bit by bit"] = "equal" if all((one[m] == two[m]).all() for m in one) else "different"
        rows["correlation with the processor's float32, lowest"] = {
            name: round(float(min(map(correlation, one[name], reference[name]))), 5) for name in one
        }
        print(precision, rows, flush=True)
    return found


def maps_of(
    place: Path, pictures: Path, assets: Path, device: str, precision: str
) -> dict[str, np.ndarray[Any, Any]]:
    """The maps (P, h, w) that a study of its own gives, by method."""
    study = Study.create(
        place,
        model=MODEL,
        images=pictures,
        methods=["gmar", "daam", "dart"],
        sizes=Sizes(shard_size=16, batch_size=8, threads=1),
        precision=precision,
        **deit(assets),
    )
    assert study.run(device=device).whole
    return {name: np.asarray(study.array(f"maps/{name}")) for name in ("gmar", "daam", "dart")}


def correlation(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Pearson's correlation of two maps."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def workers(assets: Path, place: Path, repeats: int) -> dict[str, Any]:
    """One worker of Ray against two, from the events of the runs."""
    shards = max(6, repeats)
    pictures = photographs(assets, place / "pictures", 32 * (shards + 2))
    found: dict[str, Any] = {}
    for count in (1, 2):
        sizes = Sizes(shard_size=32, batch_size=16, threads=1)
        study = Study.create(
            place / f"of-{count}", model=MODEL, images=pictures, methods=["gmar"], sizes=sizes, **deit(assets)
        )
        began = time.perf_counter()
        study.run(engine="ray", workers=count, decode_workers=1)
        whole = time.perf_counter() - began
        done = sorted(
            (event for event in read_events(study._store) if event["event"] == "shard_done"),
            key=lambda event: event["t"],
        )
        seen: set[str] = set()
        ends = []
        for event in done:
            if event["worker"] in seen or len(seen) == count:
                ends.append(event["t"])
            seen.add(event["worker"])
        found[f"{count} workers"] = {
            "seconds between shards": round((ends[-1] - ends[0]) / (len(ends) - 1), 3),
            "seconds of a shard": round(
                statistics.median(sum(e["seconds"].values()) for e in done[count:]), 3
            ),
            "seconds of the whole run": round(whole, 1),
            "workers seen": len(seen),
        }
        print("workers", found[f"{count} workers"], flush=True)
    one, two = (found[f"{count} workers"]["seconds between shards"] for count in (1, 2))
    found["two over one"] = round(one / two, 2)
    return found


def finished_study(place: Path, pictures: Path, shard: int) -> Study:
    """A study of small pictures whose shards are copies of its first one but for names and places."""
    study = Study.create(
        place,
        model="bundled/shapes",
        images=pictures,
        methods=["gmar"],
        sizes=Sizes(shard_size=shard, batch_size=10, threads=1),
    )
    study.run(limit=1)
    records = Records(study._store, study.manifest)
    first = records.read("main", 0)
    assert first is not None
    for number in range(1, study.manifest.shards):
        start, stop = study.manifest.bounds(number)
        records.write(replace(first, shard=number, start=start, stop=stop))
    return Study.open(place)


def resume(assets: Path, place: Path, repeats: int) -> dict[str, Any]:
    """Seconds to find that nothing is left to do."""
    pictures = small_pictures(place / "pictures", 10_000)
    found: dict[str, Any] = {}
    for shard in (250, 10):
        where = place / f"by-{shard}"
        study = finished_study(where, pictures, shard)
        calls: dict[str, Callable[[], Any]] = {
            "open and run": lambda where=where: Study.open(where).run(),
            "status": lambda where=where: Study.open(where).status(),
        }
        assert calls["open and run"]().shards == 0
        found[f"{study.manifest.shards} shards"] = {
            name: {
                "seconds": round(statistics.median(each[0] for each in times), 4),
                "processor": round(statistics.median(each[1] for each in times), 4),
            }
            for name, times in ((n, [seconds_of(call) for _ in range(repeats)]) for n, call in calls.items())
        }
        print("resume", found, flush=True)
    return found


def written_bytes(assets: Path, place: Path, repeats: int) -> dict[str, Any]:
    """Bytes of a picture in every table and array, of 96 photographs."""
    torch.set_num_threads(1)
    protocol = vs.Protocol(steps=2, random_draws=1)
    study = Study.create(
        place / "study",
        model=MODEL,
        images=photographs(assets, place / "pictures", 96),
        analyses={
            "explain": {},
            "evaluate": {"methods": ("gmar", "daam"), "protocol": protocol, "controls": ()},
            "importance": {"exact": False},
            "strength": {},
        },
        methods=["gmar", "daam", "dart", "gae"],
        arrays=("maps", "flow", "class_rows"),
        sizes=Sizes(shard_size=96, batch_size=16, threads=1),
        **deit(assets),
    )
    with counted_passes() as count:
        assert study.run().whole
    record = Records(study._store, study.manifest).read("main", 0)
    assert record is not None
    sizes = {path: known["bytes"] / 96 for path, known in sorted(record.files.items())}
    found = {path.removesuffix("/000000.parquet"): round(size, 1) for path, size in sizes.items()}
    plan = sum(path.stat().st_size for path in (place / "study" / "plan").iterdir())
    found["plan"] = round(plan / 96, 1)
    found["all"] = round(sum(sizes.values()) + plan / 96, 1)
    foretold = study.manifest.estimate
    found["foretold"] = round(foretold["bytes"] / 96, 1)
    found["forwards of a picture, counted and foretold"] = [count.forwards / 96, foretold["forwards"] / 96]
    print("bytes", json.dumps(found, indent=1), flush=True)
    return found


def estimate(assets: Path, place: Path, repeats: int) -> dict[str, Any]:
    """What ``create`` foretold against what happened, and the rest that ``status`` foretells on the way."""
    torch.set_num_threads(1)
    pictures = small_pictures(place / "pictures", 240)
    study = Study.create(
        place / "study",
        model="bundled/shapes",
        images=pictures,
        analyses={
            "explain": {},
            "evaluate": {"protocol": vs.Protocol(steps=2, random_draws=1), "controls": ("random",)},
            "importance": {"exact": True, "representation": "none"},
            "strength": {},
        },
        methods=["gmar", "daam"],
        sizes=Sizes(shard_size=12, batch_size=4, threads=1),
    )
    foretold = study.manifest.estimate
    ends, left = [], {}
    began, busy = time.perf_counter(), time.process_time()
    with counted_passes() as count:
        while not study.run(limit=1).whole:
            ends.append(time.perf_counter() - began)
    took, busy = time.perf_counter() - began, time.process_time() - busy
    events = [e for e in read_events(study._store) if e["event"] == "shard_done"]
    seconds = [sum(e["seconds"].values()) for e in sorted(events, key=lambda e: e["t"])]
    for after in (3, 10):
        known = statistics.median(seconds[1:after])
        left[f"after {after} shards"] = round(known * len(seconds[after:]) / sum(seconds[after:]) - 1, 3)
    records = Records(study._store, study.manifest)
    shards = [records.read("main", number) for number in range(study.manifest.shards)]
    written = sum(known["bytes"] for record in shards if record for known in record.files.values())
    found = {
        "forwards": [foretold["forwards"], count.forwards],
        "backwards": [foretold["backwards"], count.backwards],
        "bytes": [foretold["bytes"], written],
        "seconds": [foretold["seconds"], round(sum(seconds), 1)],
        "clock, processor of the run": [round(took, 1), round(busy, 1)],
        "error of the time that is left": left,
    }
    print("estimate", json.dumps(found, indent=1), flush=True)
    return found


def resident() -> float:
    """MiB that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(assets: Path, place: Path, repeats: int) -> dict[str, Any]:
    """Memory of one worker over 2,000 pictures in 20 shards."""
    torch.set_num_threads(1)
    pictures = small_pictures(place / "pictures", 2000)
    vit = vs.open_model("bundled/shapes")
    study = Study.create(
        place / "study",
        model=vit,
        images=pictures,
        analyses=("explain", "strength"),
        methods=["gmar", "daam"],
        sizes=Sizes(shard_size=100, batch_size=10, threads=1),
    )
    worker = Worker(study._store, study.manifest, vit, decode_threads=2)
    held = []
    for shard in range(study.manifest.shards):
        worker.run(study.manifest.main, shard)
        held.append(resident())
    found = {
        "pictures": 2000,
        "MiB after each shard": [round(each, 1) for each in held],
        "growth of the second half, MiB": round(max(held[10:]) - max(held[:10]), 2),
    }
    print("soak", found, flush=True)
    return found


def everything(assets: Path, place: Path, count: int) -> dict[str, Any]:
    """Every analysis on the first photographs of the sample, twice: what differs in any file of any stage."""
    torch.set_num_threads(1)
    pictures = photographs(assets, place / "pictures", count)
    coder = vs.heads.AutoencoderOptions(epochs=2, width=4, latent=8)
    studies, seconds = [], []
    for name in ("one", "two"):
        began = time.process_time()
        study = Study.create(
            place / name,
            model=MODEL,
            images=pictures,
            analyses={
                "explain": {},
                "evaluate": {"protocol": vs.Protocol(steps=3, random_draws=1), "controls": ("random",)},
                "importance": {"replacement": "mean"},
                "strength": {},
                "patterns": {
                    "per_head": 20,
                    "k": 4,
                    "repeats": 0,
                    "display": "pca",
                    "autoencoder": coder,
                },
            },
            methods=["gmar", "daam", "dart"],
            arrays=("maps", "flow", "class_rows"),
            sizes=Sizes(shard_size=max(2, count // 4 * 2), batch_size=2, threads=1),
            **deit(assets),
        )
        assert study.run().whole
        studies.append(study)
        seconds.append(round(time.process_time() - began, 1))
    one, two = studies
    kept = [
        path.relative_to(one.place)
        for path in sorted(Path(one.place).rglob("*"))
        if path.is_file() and ("states" in path.parts or path.name.startswith("c."))
    ]
    differing = [
        str(p) for p in kept if (Path(one.place) / p).read_bytes() != (Path(two.place) / p).read_bytes()
    ]
    differing += [name for name in one.manifest.tables if not one.table(name).equals(two.table(name))]
    boards = [study.leaderboard().to_pandas().drop(columns=["seconds"], errors="ignore") for study in studies]
    found = {
        "photographs": count,
        "files of arrays and sums, equal byte by byte": len(kept) - len(differing),
        "tables, equal value by value": len(one.manifest.tables),
        "differing": differing,
        "leaderboards equal": bool(boards[0].equals(boards[1])),
        "patterns": len(one.patterns().patterns),
        "processor seconds of each": seconds,
    }
    print("everything", json.dumps(found, indent=1), flush=True)
    return found


PARTS: Mapping[str, Callable[[Path, Path, int], dict[str, Any]]] = {
    "rate": rate,
    "workers": workers,
    "resume": resume,
    "bytes": written_bytes,
    "estimate": estimate,
    "soak": soak,
    "everything": everything,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "device"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--assets", type=Path, default=Path(os.environ.get("VITSCOPE_ASSETS", "assets")))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--photographs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "studies.json")
    given = parser.parse_args()
    for part in given.parts:
        record = json.loads(given.out.read_text()) if given.out.exists() else {}
        before = os.getloadavg()[0]
        with tempfile.TemporaryDirectory(prefix="studies-") as folder:
            count = given.photographs if part == "everything" else given.repeats
            if part == "device":
                found = {"machine": machine(given.device)}
                found |= on_device(given.assets, Path(folder), count, given.device)
            else:
                found = PARTS[part](given.assets, Path(folder), count)
                record["machine"] = machine()
        record["bars"] = BAR
        record[part] = {**found, "load before and after": [before, os.getloadavg()[0]]}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
