"""The queue before the model: told as it goes on, cancelled, left, and alive after its process was killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vitscope as vs
from tests.app.browsing import Client, Reply
from vitscope.app.model.opening import NamedOpening, StudiedOpening
from vitscope.app.routes import jobs
from vitscope.app.serving import Background
from vitscope.app.settings import Settings

LONG = json.dumps({"masks": 100_000})
"""Options of a method that would take minutes."""


class Waiting(threading.Thread):
    """A request that is waited for on a thread of its own."""

    def __init__(self, ask: Callable[[], Reply]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self.start()

    def run(self) -> None:
        self._reply = self._ask()

    def reply(self) -> Reply:
        self.join(30)
        assert not self.is_alive()
        return self._reply


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    """What ``true`` gives as soon as it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come true")


def running(client: Client, state: str = "running") -> list[dict[str, Any]]:
    return [job for job in client.get("api/jobs").json["jobs"] if job["state"] == state]


def explain_for_long(client: Client, id: str, masks: int = 100_000) -> Waiting:
    options = json.dumps({"masks": masks})
    waiting = Waiting(lambda: client.get(f"api/pictures/{id}/map", method="rise", options=options))
    until(lambda: running(client))
    return waiting


def test_a_job_is_cancelled_in_the_middle(client: Client, ids: list[str]) -> None:
    waiting = explain_for_long(client, ids[0])
    (job,) = running(client)
    assert job["what"] == "explaining" and job["picture"].endswith(".png") and job["expected"] > 0
    started = time.monotonic()
    assert client.ask("DELETE", f"/api/jobs/{job['id']}").status == 204
    reply = waiting.reply()
    assert reply.status == 409 and "cancelled" in reply.problem and time.monotonic() - started < 10
    assert running(client) == [] and client.ask("DELETE", "/api/jobs/999999").status == 404
    known = next(each for each in client.get("api/jobs").json["jobs"] if each["id"] == job["id"])
    assert known["state"] == "cancelled"
    # and the model is as it was
    arrays, _ = client.get(f"api/pictures/{ids[0]}/map", method="gmar").arrays
    assert arrays["map"].shape == (12, 12)


def test_a_job_that_nobody_waits_for_is_given_up(client: Client, ids: list[str]) -> None:
    connection = http.client.HTTPConnection(*client.place)
    connection.request("GET", f"/api/pictures/{ids[0]}/map?method=rise&options=%7B%22masks%22%3A99999%7D")
    until(lambda: running(client))
    connection.close()
    until(lambda: not running(client))
    assert client.get("api/jobs").json["jobs"][-1]["state"] == "cancelled"


def test_equal_questions_are_one_job_which_goes_on_for_those_who_stay(client: Client, ids: list[str]) -> None:
    connection = http.client.HTTPConnection(*client.place)
    first = explain_for_long(client, ids[1], masks=600)
    connection.request("GET", f"/api/pictures/{ids[1]}/map?method=rise&options=%7B%22masks%22%3A600%7D")
    time.sleep(0.2)
    (job,) = running(client)
    connection.close()
    time.sleep(0.2)
    assert [each["id"] for each in running(client)] == [job["id"]]
    assert first.reply().status == 200


def test_short_questions_do_not_wait_behind_long_ones(client: Client, ids: list[str]) -> None:
    first = explain_for_long(client, ids[0])
    second = Waiting(
        lambda: client.get(f"api/pictures/{ids[1]}/map", method="rise", options='{"masks": 99998}')
    )
    until(lambda: running(client, "waiting"))
    quick = Waiting(lambda: client.get(f"api/pictures/{ids[4]}/map", method="rollout"))
    until(lambda: len(running(client, "waiting")) == 2)
    (job,) = running(client)
    client.ask("DELETE", f"/api/jobs/{job['id']}")
    assert first.reply().status == 409 and quick.reply().status == 200
    (job,) = until(lambda: running(client))
    client.ask("DELETE", f"/api/jobs/{job['id']}")
    assert second.reply().status == 409
    with_a_waiting_one = explain_for_long(client, ids[0])
    other = Waiting(
        lambda: client.get(f"api/pictures/{ids[1]}/map", method="rise", options='{"masks": 99998}')
    )
    (late,) = until(lambda: running(client, "waiting"))
    client.ask("DELETE", f"/api/jobs/{late['id']}")
    assert other.reply().status == 409
    client.ask("DELETE", f"/api/jobs/{running(client)[0]['id']}")
    assert with_a_waiting_one.reply().status == 409


def test_what_is_kept_is_not_computed_again(client: Client, ids: list[str]) -> None:
    path = f"api/pictures/{ids[2]}/map"
    first, again = client.get(path, method="gae"), client.get(path, method="gae")
    assert first.headers["x-vitscope-kept"] == "0" and again.headers["x-vitscope-kept"] == "1"
    assert first.body == again.body and first.headers["etag"] == again.headers["etag"]
    known = client.ask("GET", f"/{path}?method=gae", If_None_Match=first.headers["etag"])
    assert known.status == 304 and known.body == b"" and known.headers["etag"] == first.headers["etag"]
    other = client.ask("GET", f"/{path}?method=gmar", If_None_Match=first.headers["etag"])
    assert other.status == 200 and other.headers["etag"] != first.headers["etag"]
    for url in ("api/methods", "api/classes", f"api/pictures/{ids[0]}/image.png"):
        tag = client.get(url).headers["etag"]
        assert client.ask("GET", f"/{url}", If_None_Match=f'"x", W/{tag}').status == 304
    cache = client.get("api/jobs").json["cache"]
    assert 0 < cache["used"] <= cache["cap"] == 1_000_000_000 and cache["entries"] > 0


def test_progress_is_told_as_events(client: Client, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "BETWEEN", 0.0)
    connection = http.client.HTTPConnection(*client.place, timeout=20)
    connection.request("GET", "/api/events")
    stream = connection.getresponse()
    assert stream.status == 200 and stream.getheader("content-type", "").startswith("text/event-stream")
    end = time.monotonic() + 60

    def news() -> Iterator[tuple[str, Any]]:
        name = ""
        while time.monotonic() < end and (line := stream.readline().decode()):
            if line.startswith("event: "):
                name = line[7:].rstrip("\n")
            elif line.startswith("data: "):  # comments, which keep the connection, say nothing
                yield name, json.loads(line[6:])

    told = news()
    assert next(told) == ("jobs", [])
    name, cache = next(told)
    assert name == "cache" and set(cache) == {"used", "cap", "entries"}
    slow = json.dumps({"masks": 300, "seed": 7})  # a second of work at least: nobody misses it
    waiting = Waiting(lambda: client.get(f"api/pictures/{ids[0]}/map", method="rise", options=slow))
    stages = set()
    for name, data in told:
        if name == "jobs":
            stages |= {(job["stage"], job["total"]) for job in data if job["state"] == "running"}
            if not data and stages:
                break
    assert waiting.reply().status == 200
    assert ("explaining", 1) in stages
    connection.close()


def test_an_estimate_before_the_work(client: Client, ids: list[str]) -> None:
    about = client.get("api/about").json
    info = vs.methods.get_method("rise")
    told = client.get("api/estimate", picture=ids[0], method="rise").json
    assert (told["forwards"], told["backwards"], told["kept"]) == (info.forwards, info.backwards, False)
    assert told["seconds"] == pytest.approx(info.forwards * about["seconds_forward"])
    client.get(f"api/pictures/{ids[3]}/map")
    assert client.get("api/estimate", picture=ids[3]).json["method"] == "dart"
    assert client.get("api/estimate", picture=ids[3]).json["kept"]


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("map", {"method": "dort"}, "unknown method 'dort'; nearest: dart"),
        ("map", {"method": "dart", "options": '{"kappa": 9}'}, "option 'kappa' of 'dart' is"),
        ("map", {"method": "dart", "options": '{"kapa": 1}'}, "has no option 'kapa'; nearest: kappa"),
        ("map", {"method": "dart", "options": "[]"}, "options are a JSON object"),
        ("map", {"target": "99"}, "99"),
        ("map", {"off": "1"}, "heads are written block.head"),
        ("map", {"off": "9.9"}, "there is no head 9.9"),
        ("prediction", {"top": "0"}, "top"),
        ("attention", {"block": "0", "query": "nobody"}, "expected query to be one of"),
        ("attention", {"block": "0", "direction": "up"}, "direction"),
        ("attention", {}, "block"),
        ("map", {"method": "daam-self"}, "does not apply"),
        ("map", {"method": "transformer-attribution", "off": "0.0"}, "no heads that are switched off"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(
    client: Client, ids: list[str], path: str, query: dict[str, str], words: str
) -> None:
    reply = client.get(f"api/pictures/{ids[0]}/{path}", **query)
    assert reply.status == 422 and words in reply.problem


# ---- the process -----------------------------------------------------------------------------------------------------
def test_its_process_is_killed_in_mid_job_and_ends_with_the_server(
    study_folder: Path, ids: list[str]
) -> None:
    place = str(study_folder)
    with Background(Settings(study=place, opening=StudiedOpening(place))) as server:
        client, desk = Client(server.address), server.server.services.desk
        assert desk is not None and desk.number not in (None, os.getpid())
        waiting = explain_for_long(client, ids[0])
        first = desk.number
        assert first is not None
        os.kill(first, signal.SIGKILL)
        reply = waiting.reply()
        assert reply.status == 503 and "process ended while it computed this" in reply.problem
        arrays, _ = client.get(f"api/pictures/{ids[0]}/map").arrays  # waits for the new process
        second = desk.number
        assert arrays["map"].shape == (12, 12) and second not in (first, None)
        assert second is not None
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        os.kill(second, signal.SIGINT)  # Ctrl-C in a terminal reaches it, too, and is left to the server
        assert client.get(f"api/pictures/{ids[1]}/map").status == 200
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_study_without_its_model_shows_what_it_keeps(study_folder: Path) -> None:
    nowhere = NamedOpening("timm/no_such_model_at_all")
    with Background(Settings(study=str(study_folder), opening=nowhere)) as server:
        client = Client(server.address)
        about = client.get("api/about").json
        assert not about["can_compute"] and "no_such_model_at_all" in about["why_not"]
        id = client.get("api/pictures").json["columns"]["id"][0]
        arrays, known = client.get(f"api/pictures/{id}/map").arrays
        study = vs.Study.open(study_folder)
        assert known["source"] == "study" and known["method"] == "dart"
        assert (arrays["map"] == study.array("maps/dart")[0]).all()
        assert (arrays["flow"] == study.array("flow/dart")[0]).all()
        for query in ({"method": "rollout"}, {"target": "3"}, {"off": "0.0"}):
            reply = client.get(f"api/pictures/{id}/map", **query)
            assert reply.status == 503 and "no_such_model_at_all" in reply.problem
        told = client.get(f"api/pictures/{id}/prediction").json
        first = study.table("predictions").query("rank == 0").iloc[0]
        assert told["predicted"] == first["class"] and told["entropy"] == pytest.approx(first["entropy"])
        assert client.get(f"api/pictures/{id}/prediction", off="0.0").status == 503
