"""``vitscope doctor`` tells the truth about this installation, and about broken ones."""

from __future__ import annotations

import importlib
import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from tests.cli.conftest import Shell
from vitscope.cli.commands.doctor import packages, places
from vitscope.cli.commands.doctor.command import size
from vitscope.errors import install_command


def test_every_extra_has_its_purpose(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert set(packages.PURPOSES) == set(project["optional-dependencies"]) - {"all", "dev"}


def test_it_tells_what_is_installed_here(shell: Shell) -> None:
    result = shell("doctor", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert told["ok"] is True and told["python"] == ".".join(map(str, sys.version_info[:3]))
    found = {each["name"]: each["version"] for each in told["packages"]}
    assert {"torch", "timm", "numpy", "zarr"} <= set(found)
    assert all(version == metadata.version(name) for name, version in found.items())
    assert not {"ray", "transformers", "pytest"} & set(found), "optional parts are told of elsewhere"
    named = [each["name"] for each in told["devices"]]
    assert named[0] == "cpu" and ("cuda:0" in named) == torch.cuda.is_available()
    extras = {each["name"]: each for each in told["extras"]}
    assert {package["name"] for package in extras["app"]["packages"]} == {"fastapi", "uvicorn"}
    assert all(each["there"] == (not each["remedy"]) for each in extras.values())


def test_in_words_it_lists_the_same(shell: Shell) -> None:
    result = shell("doctor")
    assert result.code == 0, result.err
    needed = map(Requirement, metadata.requires("vitscope") or ())
    [bound] = [str(each.specifier) for each in needed if each.name == "torch"]
    for words in ("vitscope", "Python", "torch", bound, "cpu", "open_clip", "vitscope serve", "cache"):
        assert words in result.out


WANTED = [
    Requirement("torch>=900"),
    Requirement("no-such-package-anywhere>=1"),
    Requirement("numpy>=1"),
    Requirement('also-not-there>=2; extra == "ray"'),
    Requirement('numpy>=1; extra == "app"'),
]


def test_what_is_old_or_missing_ends_in_one_line_and_1(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    command = importlib.import_module("vitscope.cli.commands.doctor.command")
    monkeypatch.setattr(command, "requirements", lambda: WANTED)
    result = shell("doctor")
    assert result.code == 1 and "Traceback" not in result.err
    [line] = result.err.splitlines()
    assert line.startswith(
        f"error: torch {metadata.version('torch')} is installed, >=900 is needed; run: pip install"
    )
    assert "and 1 more" in line and 'pip install "no-such-package-anywhere>=1"' in result.out
    told = json.loads(shell("doctor", "--json").out)
    assert told["ok"] is False and [each["problem"] == "" for each in told["packages"]] == [
        False,
        False,
        True,
    ]
    extras = {each["name"]: each for each in told["extras"]}
    assert extras["ray"]["remedy"] == install_command("ray") and extras["app"]["there"]


def test_missing_optional_parts_are_no_failure(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    command = importlib.import_module("vitscope.cli.commands.doctor.command")
    monkeypatch.setattr(command, "requirements", lambda: WANTED[2:])
    result = shell("doctor")
    assert result.code == 0 and install_command("ray") in result.out


def test_builds_that_do_not_fit_each_other_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = packages.needed([Requirement("torch"), Requirement("torchvision")])
    assert [each.problem for each in packages.imported(whole)] == ["", ""]

    def broken(name: str) -> Any:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return sys.modules[name]

    monkeypatch.setattr(packages.importlib, "import_module", broken)  # type: ignore[attr-defined]
    torch_, torchvision = packages.imported(whole)
    assert torch_.problem == "" and "nms does not exist" in torchvision.problem
    assert torchvision.remedy == "pip install --force-reinstall torch torchvision"


def test_without_an_installation_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(packages.InstallationError, match="not installed"):
        packages.requirements("no-such-package-anywhere")


def test_caches_are_where_the_environment_says_and_their_size_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "vitscope" / "ready").mkdir(parents=True)
    (tmp_path / "vitscope" / "ready" / "one").write_bytes(b"x" * 1500)
    hub = tmp_path / "hub"
    (hub / "a").mkdir(parents=True)
    (hub / "a" / "weights").write_bytes(b"x" * 10)
    (hub / "a" / "again").symlink_to(hub / "a" / "weights")
    own, fetched, torch_hub = places.caches({"XDG_CACHE_HOME": str(tmp_path), "HF_HUB_CACHE": str(hub)})
    assert (own.folder, own.files, own.bytes) == (tmp_path / "vitscope", 1, 1500)
    assert (fetched.files, fetched.bytes) == (1, 10), "a link is no second file"
    assert (torch_hub.folder, torch_hub.files) == (tmp_path / "torch", 0)


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_340_000_000, "2.3 GB")]
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert size(count) == words
