"""From the command line to the last byte: ports, base path, page, studies that are read-only or half done, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vitscope as vs
from tests.app.browsing import Client
from vitscope.app import openapi
from vitscope.app.ready import Ready, ready_study
from vitscope.app.serving import Background, CannotServe, listening
from vitscope.app.settings import PORT, Settings
from vitscope.cli.application import run
from vitscope.progress import Callback
from vitscope.storage.cache import cache_folder

SOURCE = Path(vs.__file__).parents[1]
NO_MODEL = "this test needs none"


def test_a_port_that_is_taken_is_passed_over_unless_it_was_named() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", PORT))
        except OSError:  # another server of this machine has it
            pass
        else:
            taken.listen()
        with listening("127.0.0.1", None) as made:
            number = made.getsockname()[1]
            assert number != PORT
            with pytest.raises(CannotServe, match=f"port {number} of 127.0.0.1 is taken".replace(".", r"\.")):
                listening("127.0.0.1", number)
    with pytest.raises(CannotServe, match=r"cannot listen at 203\.0\.113\.7"):
        listening("203.0.113.7", 0)


def test_below_a_base_path(study_folder: Path) -> None:
    settings = Settings(study=str(study_folder), why_no_model=NO_MODEL, base_path="/a/b")
    with Background(settings) as server:
        client = Client(server.address)
        assert server.address.endswith("/a/b/")
        about = client.get("a/b/api/about").json
        assert about["study"]["name"] == "study" and client.get("api/about").json == about
        assert client.get("a/b").status == 303 and client.get("a/b").headers["location"] == "./b/"
        assert client.get("a/bapi/about").status == 404


def test_without_the_page_it_says_how_to_get_it(study_folder: Path, tmp_path: Path) -> None:
    with Background(Settings(study=str(study_folder), why_no_model=NO_MODEL), page=tmp_path / "no") as server:
        client = Client(server.address)
        reply = client.get("")
        assert reply.status == 200 and reply.headers["content-type"].startswith("text/plain")
        assert b"make page" in reply.body and b"api/about" in reply.body
        assert client.get("assets/x.js").status == 404 and client.get("api/pictures").status == 200


def test_a_half_done_study_opens_and_says_so(study_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(study_folder.parent / "pictures", tmp_path / "pictures")
    study = vs.Study.create(
        tmp_path / "study",
        model="bundled/shapes",
        images=tmp_path / "pictures",
        methods=["rollout"],
        sizes=vs.studies.Sizes(shard_size=2, batch_size=2),
    )
    with Background(Settings(study=str(tmp_path / "study"), why_no_model=NO_MODEL)) as server:
        client = Client(server.address)
        about = client.get("api/about").json["study"]
        assert not about["finished"] and about["computed"] == 0 and about["pictures"] == 6
        assert client.get("api/pictures").json["count"] == 0
    study.run(limit=1)
    with Background(Settings(study=str(tmp_path / "study"), why_no_model=NO_MODEL)) as server:
        client = Client(server.address)
        about, found = client.get("api/about").json["study"], client.get("api/pictures").json
        assert about["computed"] == 2 and found["count"] == 2 and found["total"] == 6
        assert any(
            "2 of 6 pictures are computed; go on with vitscope study run" in note for note in about["notes"]
        )
        study.run()  # it is finished while it is looked at
        assert _until_six(client) == 6


def _until_six(client: Client) -> int:
    import time

    for _ in range(100):
        count = int(client.get("api/pictures").json["count"])
        if count == 6:
            return count
        time.sleep(0.1)
    return count


def test_a_read_only_study_opens_and_says_so(study_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study_folder, copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for path in (*copy.rglob("*"), copy):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        with Background(Settings(study=str(copy), why_no_model=NO_MODEL)) as server:
            client = Client(server.address)
            about = client.get("api/about").json["study"]
            assert about["finished"] and client.get("api/pictures").json["count"] == 6
            if os.geteuid() != 0:  # root may write everywhere
                assert about["read_only"] and any("only read here" in note for note in about["notes"])
    finally:
        for path in (copy, *copy.rglob("*")):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def started(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """The program as a shell starts it, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vitscope", "serve", "--no-open", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
    )
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    if "http://" not in line:
        process.kill()
        raise AssertionError(line + process.stderr.read())
    return process, next(word for word in line.split() if word.startswith("http://"))


def test_the_command_serves_a_study_until_ctrl_c(study_folder: Path) -> None:
    process, address = started(str(study_folder), "--cache", "5", "--port", "0")
    try:
        client = Client(address)
        about = client.get("api/about").json
        assert about["study"]["name"] == "study" and about["limits"]["cache_bytes"] == 5_000_000
        assert about["model"]["name"] == "bundled/shapes"
    finally:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err and "Traceback" not in out
    assert err.strip().splitlines()[-1] == "error: interrupted; what was finished is kept"


def test_the_command_says_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code, words in (
        ([str(tmp_path / "none")], 1, "there is no study at"),
        (["--model", "timm/no_such_model_at_all", "--port", "0"], 1, "no_such_model_at_all"),
        (["--weights", "x.pth"], 2, "--weights would not be used"),
        ([str(tmp_path), "--model", "bundled/shapes"], 2, "--model would not be used"),
        (["--port", "99999"], 2, "--port is a whole number from 0 to 65,535"),
    ):
        assert run(["serve", "--no-open", *arguments]) == code
        assert words in capsys.readouterr().err


def test_without_its_packages_the_command_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "uvicorn" else find(name, *more)
    )
    assert run(["serve", "--no-open"]) == 1
    assert "vitscope serve needs the package uvicorn" in capsys.readouterr().err


def test_the_ready_study_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small: dict[str, Any] = {"explain": {}, "strength": {}}
    asked = Ready(pictures=4, methods=("rollout",), analyses=small)
    told: list[tuple[str, int, int]] = []
    place = ready_study(asked, Callback(lambda *news: told.append(news)))
    assert place.is_relative_to(tmp_path / "cache" / "vitscope") and told
    study = vs.Study.open(place)
    assert study.status().finished and study.manifest.input.known == ("labels",)
    assert study.table("predictions")["picture"].nunique() == 4
    before, times = (
        told.copy(),
        {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()},
    )
    assert ready_study(asked, Callback(lambda *news: told.append(news))) == place and told == before
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == times
    assert Ready(pictures=5, methods=("rollout",), analyses=small).digest != asked.digest
    record = next(path for path in (place / "shards").rglob("*.json"))
    record.unlink()  # stopped before it was finished
    assert ready_study(asked) == place and vs.Study.open(place).status().finished


def test_the_ready_study_keeps_what_is_shown_first() -> None:
    ready = Ready()
    assert vs.methods.default_method(vs.open_model(ready.model).anatomy) == ready.methods[0]


def test_the_cache_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vitscope"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder().is_absolute() and "relative" not in str(cache_folder())


def test_the_schema_is_that_of_the_server(server: Background) -> None:
    text = openapi.schema_text()
    assert json.loads(text) == Client(server.address).get("api/openapi.json").json
    paths = json.loads(text)["paths"]
    for path, methods in paths.items():
        for method, told in methods.items():
            answers = told["responses"]
            good = next(answers[code] for code in ("200", "201", "204") if code in answers)
            assert method == "delete" or "content" in good, path
    assert openapi.schema_text() == text


def test_the_example_of_the_documents_runs(server: Background, repository: Path) -> None:
    text = (repository / "docs" / "app.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(code.replace("http://127.0.0.1:7860/", server.address), "app.md", "exec"), names)
    assert names["arrays"]["flow"].shape == (6, 12, 12) and names["known"]["target"]["name"]


def test_what_a_notebook_shows_needs_no_web_server() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['fastapi', 'starlette', 'uvicorn', 'pydantic'])); "
        "import vitscope.app.tensors, vitscope.app.answers.maps, vitscope.app.answers.methods, vitscope.app.work.worker"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(SOURCE)})
