"""``inspect``, ``methods``, ``demo``, ``bank`` and what all commands have in common."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import vitscope as vs
from tests.cli.bad_pictures import photograph
from tests.cli.commands import every_command
from tests.cli.conftest import Shell
from vitscope.cli.commands.bank import folder_labels
from vitscope.cli.exit_codes import WORDS
from vitscope.methods import get_method, methods
from vitscope.methods.memory_bank import MemoryBank

COMMANDS = list(every_command())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(shell: Shell, command: str) -> None:
    result = shell(*command.split(), "--help")
    assert result.code == 0
    words = " ".join(result.out.replace("│", " ").split())
    assert f"Example: vitscope {command} " in words
    assert "--json" in words
    assert words.endswith(" ".join(WORDS.split()))


def test_no_argument_at_all_shows_the_help(shell: Shell) -> None:
    result = shell()
    assert result.code == 2
    assert "explain" in result.out + result.err and "error:" not in result.err


def test_the_version_is_printed(shell: Shell) -> None:
    result = shell("--version")
    assert result.code == 0 and result.out.startswith("vitscope ")


def test_an_unknown_command_is_wrong_usage(shell: Shell) -> None:
    result = shell("exlpain")
    assert result.code == 2 and "exlpain" in result.error


def test_methods_lists_the_registry(shell: Shell) -> None:
    listed = shell("methods", "--json").document
    assert [entry["name"] for entry in listed] == [info.name for info in methods()]
    asked = {entry["name"]: entry["question"] for entry in listed}
    assert all(asked[info.name] for info in methods())
    assert asked["dart-removal"] == asked["beta-dart"] != asked["dart"] == asked["libra-fullgrad"]
    assert asked["dart-removal"] in shell("methods", "dart-removal").out
    gmar = next(entry for entry in listed if entry["name"] == "gmar")
    assert gmar["class_specific"] and gmar["backwards"] == 1 and "2504.19414" in gmar["citation"]
    assert gmar["options"]["norm"] == {
        "default": "l1", "accepts": "'l1' or 'l2'", "type": "choice", "choices": ["l1", "l2"]
    }  # fmt: skip
    assert shell("methods", "gmar", "--json").document == gmar
    alone = shell("methods", "gmar")
    assert "a number from 0 to 1,000,000" in alone.out and "alpha" in alone.out
    last = get_method("gmar").formula.splitlines()[-1].replace("``", "")
    for told in ("2504.19414", "1F + 1B", "attention-gradient", last):
        assert told in alone.out, told
    assert "nearest: gmar" in shell("methods", "gmra").error
    table = shell("methods")
    assert table.code == 0 and all(info.name in table.out for info in methods())


def test_calibrate_gives_the_kappa_to_pass_on(shell: Shell, tmp_path: Path) -> None:
    for index in range(3):
        photograph(seed=index).save(tmp_path / f"{index}.png")
    found = shell("calibrate", tmp_path, "-m", "bundled/shapes", "--json").document
    vit = vs.open_model("bundled/shapes")
    same = vs.calibrate(vit, [tmp_path / f"{index}.png" for index in range(3)])
    assert found["kappa"] == same.kappa and found["pictures"] == 3
    told = shell("calibrate", tmp_path, "-m", "bundled/shapes")
    assert told.code == 0 and f"-o kappa={same.kappa:g}" in told.out


def test_inspect_prints_the_anatomy_and_what_applies(shell: Shell) -> None:
    result = shell("inspect", "bundled/shapes")
    assert result.code == 0, result.err
    assert "class + 12x12 patches = 145 tokens" in result.out
    assert "blocks.0 … blocks.5" in result.out
    document = shell("inspect", "bundled/shapes", "--json").document
    assert len(document["blocks"]) == 6 and document["pooling"] == "class"
    support = {entry["name"]: entry for entry in document["methods"]}
    assert support["rollout"]["applies"] and support["rollout"]["reason"] is None
    assert not support["daam-self"]["applies"] and support["daam-self"]["reason"]


def test_inspect_of_a_model_with_windows_gives_the_reason(shell: Shell) -> None:
    result = shell("inspect", "timm/swin_tiny_patch4_window7_224", "--random-weights", "--json")
    assert result.code == 0, result.err
    rollout = next(entry for entry in result.document["methods"] if entry["name"] == "rollout")
    assert not rollout["applies"] and "windows" in rollout["reason"]


def test_demo_makes_a_report_pictures_maps_and_an_animation(shell: Shell, tmp_path: Path) -> None:
    result = shell("demo", "--out", tmp_path / "demo", "--limit", 3, "--json")
    assert result.code == 0, result.err
    document = result.document
    assert len(document["pictures"]) == 3
    assert sum(record["class_name"] == record["label"] for record in document["pictures"]) >= 2
    page = Path(document["report"]).read_text()
    for words in (
        "daam, block by block",
        "weight of each head",
        "Predictions",
        "vitscope demo --out",
        "Try next",
    ):
        assert words in page
    assert 'src="http' not in page and "<link" not in page
    with Image.open(document["pictures"][0]["flow"]["animation"]) as animation:
        assert animation.n_frames == 6
    again = shell(
        "explain", tmp_path / "demo" / "pictures", "--model", "bundled/shapes", "--method", "rollout", "--no-draw",
        "--out", tmp_path / "again", "--json",
    )  # fmt: skip
    assert [r["class"] for r in again.document["pictures"]] == [r["class"] for r in document["pictures"]]


def test_demo_prints_where_things_are_and_what_to_try_next(shell: Shell, tmp_path: Path) -> None:
    result = shell("demo", "--out", tmp_path / "demo", "--limit", 1)
    assert result.code == 0, result.err
    assert str(tmp_path / "demo" / "report.html") in result.out
    assert "Try next" in result.out and "--model timm/deit_tiny_patch16_224" in result.out


def test_a_bank_holds_features_and_folder_labels_and_serves_daam(shell: Shell, tmp_path: Path) -> None:
    for index, label in enumerate(("one", "one", "two")):
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        photograph(seed=index).save(tmp_path / "photos" / label / f"{index}.png")
    (tmp_path / "photos" / "two" / "broken.jpg").write_bytes(b"")
    model = (
        "--model",
        "timm/vit_tiny_patch16_224",
        "--random-weights",
        "-M",
        "num_classes=0",
        "--image-size",
        "64",
    )
    file = tmp_path / "bank.safetensors"
    result = shell("bank", "build", tmp_path / "photos", *model, "--out", file, "--json")
    assert result.code == 3, result.err
    assert result.document["pictures"] == 3 and result.document["labels"] == ["one", "two"]
    bank = MemoryBank.load(file)
    assert bank.labels is not None and bank.labels.tolist() == [0, 0, 1]
    explained = shell(
        "explain", tmp_path / "photos" / "one" / "0.png", *model, "--method", "daam-self", "-o", f"bank={file}",
        "--no-draw", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert explained.code == 0, explained.err
    other = shell(
        "explain", tmp_path / "photos" / "one" / "0.png", "--model", "timm/vit_tiny_patch16_224", "--random-weights",
        "-M", "num_classes=0", "--image-size", "96", "--method", "daam-self", "-o", f"bank={file}", "--out", tmp_path,
    )  # fmt: skip
    assert other.code == 1 and "memory bank was made by" in other.error


def test_pictures_in_one_folder_have_no_labels() -> None:
    assert folder_labels([Path("a/1.jpg"), Path("a/2.jpg")]) == ([], [])
    assert folder_labels([Path("b/1.jpg"), Path("a/2.jpg")]) == ([1, 0], ["a", "b"])


def test_importing_the_facade_and_asking_for_help_loads_no_heavy_package() -> None:
    for code in ("import vitscope", "from vitscope.cli.application import run; run(['explain', '--help'])"):
        heavy = "{'torch', 'timm', 'matplotlib'} & set(sys.modules)"
        check = f"{code}; import sys; print('heavy' if {heavy} else 'light')"
        done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
        assert done.stdout.rstrip().endswith("light"), code
