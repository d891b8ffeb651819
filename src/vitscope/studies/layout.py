"""Where everything of a study lies, relative to its folder or URL. Every file is written once, by one writer."""

from __future__ import annotations

import re
from collections.abc import Iterable

MANIFEST = "manifest.json"
PLAN = "plan"
RECORDS = "shards"
TABLES = "tables"
STATES = "states"
RESULTS = "results"
ATTEMPTS = "attempts"
EVENTS = "events"

_RECORD = re.compile(r"(\d{6,})\.json")
_ATTEMPT = re.compile(r"(\d{6,})\.([0-9a-f]+)\.(\d+)")
_FAILURE = re.compile(r"(\d{6,})\.failed\.json")


def plan_file(index: int) -> str:
    """One file of the list of pictures."""
    return f"{PLAN}/{index:06d}.parquet"


def record_file(stage: str, shard: int) -> str:
    """What says that a shard is finished; it is written last."""
    return f"{RECORDS}/{stage}/{shard:06d}.json"


def shard_of_record(name: str) -> int | None:
    """The shard that a name in a folder of records is of, None for any other file."""
    found = _RECORD.fullmatch(name)
    return int(found[1]) if found else None


def state_file(stage: str, shard: int) -> str:
    """What the merged results need of a shard beyond tables and arrays: a zip archive without compression."""
    return f"{STATES}/{stage}/{shard:06d}.zip"


def attempt_file(stage: str, shard: int, run: str, number: int) -> str:
    """What a worker leaves before it starts a shard, and removes when the shard is finished."""
    return f"{ATTEMPTS}/{stage}/{shard:06d}.{run}.{number}"


def attempt_in(name: str) -> tuple[int, str, int] | None:
    """(shard, run, number) of a name in a folder of attempts, None for any other file."""
    found = _ATTEMPT.fullmatch(name)
    return (int(found[1]), found[2], int(found[3])) if found else None


def failure_file(stage: str, shard: int) -> str:
    """Why a shard was given up; it is removed when the shard is tried again."""
    return f"{ATTEMPTS}/{stage}/{shard:06d}.failed.json"


def shard_of_failure(name: str) -> int | None:
    """The shard that a name in a folder of attempts says to be given up, None for any other file."""
    found = _FAILURE.fullmatch(name)
    return int(found[1]) if found else None


def events_file(run: str) -> str:
    """What happened in one run, one JSON object a line."""
    return f"{EVENTS}/{run}.jsonl"


def folders(stages: Iterable[str], tables: Iterable[str]) -> list[str]:
    """Every folder of a study but those of its arrays."""
    stages = list(stages)
    return [
        PLAN,
        RESULTS,
        EVENTS,
        *(f"{RECORDS}/{stage}" for stage in stages),
        *(f"{STATES}/{stage}" for stage in stages),
        *(f"{ATTEMPTS}/{stage}" for stage in stages),
        *(f"{TABLES}/{table}" for table in tables),
    ]
