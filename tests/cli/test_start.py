"""What the program imports before it answers: the words of a list, or one command, and nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.cli.conftest import Shell
from vitscope.cli import commands
from vitscope.cli.application import new_application

OF_A_MAP = {"torch", "numpy", "PIL"}
"""What a map of a model that is there already is made with: not timm, whose import takes longer than all the rest."""
SHARED = {"flow": {"explain"}, "demo": {"explain"}}
"""Commands that are made of another one."""
HEAVY = {
    "torch",
    "timm",
    "numpy",
    "pandas",
    "matplotlib",
    "PIL",
    "scipy",
    "sklearn",
    "pyarrow",
    "zarr",
    "fsspec",
}


def imported(code: str) -> set[str]:
    """The modules that are there after some code, in a Python of its own."""
    told = f"import sys; {code}; sys.stdout.write(chr(10) + __import__('json').dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def heavy_ones(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules} & HEAVY


def test_the_facade_imports_itself_and_its_version() -> None:
    found = imported("import vitscope")
    assert {name for name in found if name.startswith("vitscope")} == {"vitscope", "vitscope.version"}
    assert not heavy_ones(found)


@pytest.mark.parametrize(
    "words", [["--help"], [], ["--version"], ["explian"]], ids=lambda words: " ".join(words)
)
def test_what_names_no_command_imports_none(words: list[str]) -> None:
    found = imported(f"from vitscope.cli.application import run; run({words!r})")
    assert {name for name in found if name.startswith("vitscope.cli.commands.")} == set()
    assert not heavy_ones(found)


@pytest.mark.parametrize("name", [*commands.COMMANDS, *commands.GROUPS])
def test_a_command_imports_no_other_and_its_help_nothing_heavy(name: str) -> None:
    found = imported(f"from vitscope.cli.application import run; run([{name!r}, '--help'])")
    others = {each.split(".")[3] for each in found if each.startswith("vitscope.cli.commands.")}
    assert name in others and not others - {name} - SHARED.get(name, set())
    assert not heavy_ones(found)


def test_the_list_of_commands_is_that_of_the_commands_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    """The words of the list are those that each command says of itself, in the same order."""
    seen = []
    for register in (commands.register, commands.register_names):
        application = new_application()
        register(application)
        application(["--help"], standalone_mode=False, prog_name="vitscope")
        seen.append(capsys.readouterr().out)
    assert seen[0] == seen[1] and "explain" in seen[0]
    group = typer.main.get_command(_complete())
    for name, words in {**commands.COMMANDS, **commands.GROUPS}.items():
        said = " ".join(str(group.commands[name].help).partition("\n\n")[0].split())  # type: ignore[attr-defined]
        assert said == words, name


def _complete() -> typer.Typer:
    application = new_application()
    commands.register(application)
    return application


def test_a_mistyped_command_is_told_the_one_that_was_meant(shell: Shell) -> None:
    result = shell("explian", "--method", "gmar")
    assert result.code == 2 and "explain" in result.error


def test_a_word_after_an_option_of_the_program_is_the_command(shell: Shell) -> None:
    result = shell("--help", "methods")
    assert result.code == 0 and "gmar" not in result.out


FIRST = (
    "import runpy, torch, vitscope as vs; made = runpy.run_path({path!r})['HandVit'](); "
    "vs.explain(vs.open_model(made.eval(), image_size=64), torch.randn(1, 3, 64, 64), {method!r})"
)


@pytest.mark.parametrize("method", ["dart", "attention-flow"])
def test_a_first_map_of_a_model_of_ones_own_imports_torch_and_what_it_computes_with(
    method: str, repository: Path
) -> None:
    path = repository / "tests" / "zoo" / "handwritten.py"
    found = heavy_ones(imported(FIRST.format(path=str(path), method=method)))
    assert found == OF_A_MAP | ({"scipy"} if method == "attention-flow" else set())


def test_studies_and_heads_import_what_fits_and_ranks_when_something_is_fitted_or_ranked() -> None:
    found = imported("import vitscope as vs; vs.studies.Study; vs.heads.agree; vs.heads.fit_atlas")
    assert "vitscope.heads.atlas.clustering" in found
    assert not found & {"sklearn", "scipy.stats", "scipy.integrate"}
