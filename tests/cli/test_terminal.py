"""Nothing that is printed steers the terminal, and no terminal, pipe or disk ends the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.bad_pictures import photograph
from tests.cli.conftest import Shell
from vitscope.cli.shared.terminal import LONGEST_WORD, PatientStream, escape, json_text, one_line

QUICK = ("--model", "bundled/shapes", "--method", "rollout", "--no-draw")
PROGRAM = [sys.executable, "-c", "from vitscope.cli import main; main()"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain name.png", "plain name.png"),
        ("\x1b[2J\x07.png", "\\x1b[2J\\x07.png"),
        ("a\nerror: b\r\t", "a\\nerror: b\\r\\t"),
        ("\x9b31m", "\\x9b31m"),
        ("exe\u202egnp.", "exe\\u202egnp."),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("می\u200cخواهم 👩\u200d🔬 naïve\u00a0東京", "می\u200cخواهم 👩\u200d🔬 naïve\u00a0東京"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_could_steer_a_terminal_is_written_out(raw: str, shown: str) -> None:
    assert escape(raw) == shown


def test_an_error_is_one_line_of_bearable_length() -> None:
    line = one_line("not\n " + "9" * 5000 + " \x1b[31m")
    assert "\n" not in line and "\x1b" not in line and len(line) < 2 * LONGEST_WORD
    assert "5000 letters" in line


def test_names_in_tables_lines_errors_and_json_cannot_steer(shell: Shell, tmp_path: Path) -> None:
    name = "\x1b]0;owned\x07\u202e[red]x\nerror: no.png"
    (tmp_path / "pictures").mkdir()
    photograph().save(tmp_path / "good.png")
    (tmp_path / "good.png").rename(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / f"bad{name}").write_bytes(b"no picture")
    (tmp_path / "names.txt").write_text("".join(f"\x1b[3{i}m[/red]{i}\n" for i in range(10)))
    many = shell("explain", tmp_path / "pictures", *QUICK, "--out", tmp_path / "out")
    assert many.code == 3, many.err
    one = shell("explain", tmp_path / "pictures" / f"bad{name}", *QUICK, "--out", tmp_path / "out")
    assert one.code == 1
    named = shell(
        "explain", tmp_path / "pictures", *QUICK, "--json", "--out", tmp_path / "more", "--class-names",
        tmp_path / "names.txt",
    )  # fmt: skip
    assert named.code == 3 and name in named.document["pictures"][0]["picture"]
    for text in (many.out, many.err, one.err, named.out, named.err):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert sum(line.startswith("error: ") for line in text.splitlines()) == (text is one.err)
    table = shell("inspect", "bundled/shapes", "-M", "[/red]=1")
    assert table.code == 2 and "[/red]=1" in table.error


def test_a_name_that_is_no_utf8_comes_back_from_json(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    photograph().save(tmp_path / "in" / "a.png")
    raw = os.fsencode(tmp_path / "in") + b"/caf\xe9.png"
    os.rename(tmp_path / "in" / "a.png", raw)
    result = shell("explain", tmp_path / "in", *QUICK, "--json", "--out", tmp_path / "out")
    assert result.code == 0, result.err
    [record] = result.document["pictures"]
    assert os.fsencode(record["picture"]) == raw
    assert Path(record["maps"]["rollout"]["data"]).is_file()


def test_json_has_the_letters_of_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii:
        encoding = "ascii"

    text = "naïve 東京 \x7f \x9b \u202e \U000e0041 \udce9"
    for stream in (sys.stdout, Ascii()):
        monkeypatch.setattr(sys, "stdout", stream)
        written = json_text({text: [text]})
        assert json.loads(written) == {text: [text]}
        assert all(letter.isprintable() for letter in written.replace("\n", ""))
    assert written.isascii()


class Broken:
    """A stream that takes no letters."""

    encoding = "utf-8"

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    def write(self, text: str) -> int:
        self.asked += 1
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "gone"), OSError(28, "No space left"), ValueError("closed")]
)
def test_a_stream_that_takes_nothing_is_left_alone(error: Exception) -> None:
    under = Broken(error)
    stream = PatientStream(under)  # type: ignore[arg-type]
    assert stream.write("abc") == 3
    stream.write("more")
    stream.flush()
    assert under.asked == 1 and stream.failure is error and not stream.isatty()
    assert stream.lost == ("No space left" if type(error) is OSError else None)


def test_no_stream_at_all() -> None:
    stream = PatientStream(None)
    assert stream.write("abc") == 3 and stream.lost is None and stream.encoding == "utf-8"
    stream.flush()


@pytest.mark.parametrize(
    ("end", "code"),
    [("| head -c 1 >/dev/null", 0), (">&- 2>&- <&-", 0), (">/dev/full", 3)],
)
def test_the_work_outlives_its_terminal(tmp_path: Path, end: str, code: int) -> None:
    """In processes of their own: the reader leaves, streams are closed, the disk is full, letters are missing."""
    for index in range(2):
        photograph(seed=index).save(tmp_path / f"{index}-naïve-東京.png")
    words = [*PROGRAM, "explain", str(tmp_path), *QUICK, "--batch-size", "1", "--out", str(tmp_path / "out")]
    line = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{line} {end}"],
        capture_output=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert len(list((tmp_path / "out").glob("*.rollout.safetensors"))) == 2
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    if code == 3:
        assert b"No space left" in done.stderr


def test_ctrl_c_is_said_in_a_process_of_its_own(tmp_path: Path) -> None:
    """However late the signal comes on a busy machine, a million masks are not done by then."""
    photograph((900, 900)).save(tmp_path / "photo.png")
    words = ("explain", tmp_path / "photo.png", "--model", "bundled/shapes", "--method", "rise")
    more = ("--option", "masks=1000000", "--out", tmp_path / "out")
    process = subprocess.Popen(
        [*PROGRAM, *words, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "out").is_dir() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.strip().splitlines()[-1] == "error: interrupted; what was finished is kept"
    assert "Traceback" not in err and "Exception ignored" not in err


COMMANDS = {
    "explain": ("photo.jpg", *QUICK),
    "flow": ("photo.jpg", "--model", "bundled/shapes"),
    "evaluate": ("photo.jpg", "--model", "bundled/shapes"),
    "calibrate": ("photo.jpg", "--model", "bundled/shapes"),
    "inspect": ("bundled/shapes",),
    "demo": (),
    "bank build": ("photo.jpg", "--model", "bundled/shapes"),
    "heads importance": ("photo.jpg", "--model", "bundled/shapes"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_is_said_by_every_command(
    shell: Shell, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    import vitscope as vs

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vs, "open_model", stopped)
    words = [str(picture) if word == "photo.jpg" else word for word in COMMANDS[command]]
    monkeypatch.chdir(tmp_path)
    result = shell(*command.split(), *words)
    assert result.code == 130
    assert result.error == "error: interrupted; what was finished is kept"


def test_library_warnings_stay_off_stderr(
    shell: Shell, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging
    import warnings

    import vitscope as vs

    open_model = vs.open_model

    def loud(*positional: object, **named: object) -> object:
        warnings.warn("a library is unhappy", UserWarning, stacklevel=1)
        logging.getLogger("some.library").warning("a library is unhappy")
        return open_model(*positional, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(vs, "open_model", loud)
    monkeypatch.setattr(sys, "warnoptions", [])
    before = logging.root.manager.disable
    result = shell("explain", picture, *QUICK, "--out", tmp_path / "out")
    assert result.code == 0 and "unhappy" not in result.err
    assert logging.root.manager.disable == before
