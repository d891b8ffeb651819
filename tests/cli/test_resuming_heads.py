"""``vitscope heads`` goes on where it was stopped, and clears up when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.bad_pictures import photograph
from tests.cli.conftest import Shell
from vitscope import heads
from vitscope.pictures import PictureSource

LINE = ("--model", "bundled/shapes", "--batch-size", 2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures and one that is none, at the end."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(5):
        photograph(seed=index).save(folder / f"{index}.png")
    (folder / "z.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pictures as they are read; where it begins with a word, the user presses Ctrl-C at the fourth."""
    seen: list[str] = []
    real = PictureSource.open

    def counting(self: PictureSource, index: int, *how: Any) -> Any:
        if self.keys[index].endswith(".png"):
            seen.append(self.keys[index])
            if seen[0] == "stop at 4" and len(seen) == 5:
                raise KeyboardInterrupt
        return real(self, index, *how)

    monkeypatch.setattr(PictureSource, "open", counting)
    return seen


@pytest.mark.parametrize(
    ("command", "file", "passes"),
    [
        (["strength"], "strength.safetensors", 1),
        (["importance", "--replacement", "mean"], "heads-per-picture.parquet", 3),
        (["patterns", "--epochs", 1, "-k", 2, "--repeats", 0], "atlas", 1),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_stopped_command_goes_on(
    shell: Shell, photos: Path, tmp_path: Path, opened: list[str], command: list[Any], file: str, passes: int
) -> None:
    whole = shell("heads", command[0], photos, *command[1:], *LINE, "--out", tmp_path / "whole")
    assert whole.code == 3, whole.err
    assert len(opened) == 6 * passes and not (tmp_path / "whole" / "unfinished").exists()
    opened[:] = ["stop at 4"]
    line = ("heads", command[0], photos, *command[1:], *LINE, "--out", tmp_path / "out")
    stopped = shell(*line)
    assert stopped.code == 130 and "goes on from there" in stopped.err
    assert len(list((tmp_path / "out" / "unfinished").glob("*/part.json"))) == 1
    opened.clear()
    again = shell(*line)
    assert again.code == 3 and len(opened) == 6 * passes - 2, again.err
    assert not (tmp_path / "out" / "unfinished").exists()
    if file == "atlas":
        found, wanted = (heads.PatternAtlas.load(tmp_path / where / file) for where in ("out", "whole"))
        assert found.maps.equals(wanted.maps) and np.array_equal(found.codes, wanted.codes)
    elif file.endswith("parquet"):
        tables = [heads.HeadTable.load(tmp_path / where / file) for where in ("out", "whole")]
        for name in tables[0].metrics:
            np.testing.assert_array_equal(tables[0][name], tables[1][name])
        assert list(tables[0].skipped) == ["z.png"] and tables[0].ids == tables[1].ids
    else:
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
