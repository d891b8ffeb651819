"""docs/leaderboard says what the boards say; boards grow to what one run gives; verdicts follow from differences."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch
from PIL import Image

import vitscope as vs
from vitscope.evaluation import MethodRecord, Metric

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "leaderboard"
DOCS = ROOT / "docs" / "leaderboard"


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    """leaderboard_claims and leaderboard_page of benchmarks."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import leaderboard_claims
        import leaderboard_page

        yield leaderboard_claims, leaderboard_page
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_the_page_is_what_the_data_say(modules: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    _, page = modules
    page.write_page(RESULTS, tmp_path)
    remedy = "run `python benchmarks/leaderboard.py page`"
    for name in ("README.md", "claims.csv", "scores.csv"):
        there = (DOCS / name).read_text(encoding="utf-8")
        assert there == (tmp_path / name).read_text(encoding="utf-8"), remedy
    assert len((DOCS / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
    drawn = [Image.open(folder / "scores.png").text["figures"] for folder in (DOCS, tmp_path)]  # type: ignore[attr-defined]
    assert drawn[0] == drawn[1], remedy
    assert not list(DOCS.glob("*.html"))


def board_of(values: dict[str, torch.Tensor], metric: str) -> vs.Leaderboard:
    """A board with these scores per picture."""
    states = {(method, metric): Metric(metric) for method in values}
    for (method, _), state in states.items():
        rows = torch.stack([values[method].double(), torch.ones(len(values[method]), dtype=torch.float64)], 1)
        state.update_rows([f"{place:03d}" for place in range(len(rows))], rows)
    return vs.Leaderboard(vs.Protocol(), [MethodRecord(method) for method in values], [metric], {**states})


def test_verdicts_by_hand(modules: tuple[ModuleType, ModuleType]) -> None:
    claims, page = modules
    noise = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = torch.zeros(40, dtype=torch.float64)
    better = noise + 1
    even = noise + torch.tensor([1.0, -1.0] * 20, dtype=torch.float64)
    claim = claims.Claim("a beats b and c", "by hand", [("a", "b"), ("a", "c")], claims.REMOVALS[:1])
    cases = {
        "holds": {"a": better, "b": noise, "c": noise - 1},
        "fails": {"a": noise, "b": better, "c": noise - 1},
        "undecided": {"a": noise, "b": noise - 1, "c": even},
    }
    for verdict, values in cases.items():
        (found,) = claims.findings(claim, {"deit-mask": board_of(values, "srg")}, (), ["deit"])
        assert found.verdict == verdict
        assert found.closest.second == ("c" if verdict == "undecided" else "b")
    # Where less is better the signs turn.
    less = claims.Claim("a", "by hand", [("a", "b")], [("deletion", "probability", "deletion-patch")])
    values = {"a": noise - 1, "b": noise}
    (found,) = claims.findings(less, {"deit-probability": board_of(values, "deletion-patch")}, (), ["deit"])
    assert found.verdict == "holds"
    # Pictures for choosing are left out of claims about our own methods: here all that speaks for it lies there.
    mixed = {"a": torch.cat([level[:20] + 5 + noise[:20], -1 + 0.1 * noise[:20]]), "b": level}
    ours = claims.Claim("a", "by hand", [("a", "b")], claims.REMOVALS[:1], ours=True)
    chosen_on = {f"{place:03d}" for place in range(20)}
    boards = {"deit-mask": board_of(mixed, "srg")}
    (found,) = claims.findings(ours, boards, chosen_on, ["deit"])
    assert (found.verdict, found.differences[0].n) == ("fails", 20)
    (found,) = claims.findings(ours, boards, (), ["deit"])
    assert (found.verdict, found.differences[0].n) == ("holds", 40)
    # A board or a method that is not there decides nothing.
    nothing = claims.findings(claim, {"deit-mask": board_of(values, "srg")}, (), ["deit", "augreg"])
    assert [each.verdict for each in nothing] == ["not measured", "not measured"]
    assert page.overall(nothing) == "not measured"


def test_the_correction_is_over_the_whole_claim(modules: tuple[ModuleType, ModuleType]) -> None:
    claims, _ = modules
    noise = torch.randn(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    level = torch.zeros(30, dtype=torch.float64)
    boards = {
        f"deit-{kind}": board_of({"a": 0.45 + noise, "b": level}, "srg") for kind in ("mask", "mean", "blur")
    }
    claim = claims.Claim("a", "by hand", [("a", "b")], claims.REMOVALS)
    found = claims.findings(claim, boards, (), ["deit"])
    alone = boards["deit-mask"].difference("a", "b", "srg").p
    assert [each.differences[0].p_holm for each in found] == pytest.approx([3 * alone] * 3)
    told = claims.table([claim], boards, ())
    assert isinstance(told, pd.DataFrame)
    assert set(told["model"]) == {"DeiT-Tiny"}
    assert told["p_holm"].tolist() == pytest.approx([3 * alone] * 3)


def test_boards_grow_and_take_methods_in_to_what_one_run_gives(
    modules: tuple[ModuleType, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import leaderboard
    from leaderboard_boards import Board

    vit = vs.open_model("bundled/shapes")
    data = vs.evaluation.world_set("shapes", 5)
    protocol = vs.Protocol(removal="drop", target="label", steps=3, random_draws=2)

    def board(methods: list[str], count: int) -> Board:
        return Board(
            "tried", methods, ["mass", "srg"], protocol, lambda _: vit, lambda _: data.part(0, count)
        )

    run = leaderboard.Run(leaderboard.Machine("cpu", 2, 8), tmp_path / "results", float("inf"))
    run.complete(board(["gae", "rollout"], 3))
    run.complete(board(["gae", "rollout"], 5))
    run.complete(board(["gae", "rollout", "daam", "gae:nothing=1", "no-such-method"], 5))
    assert "gae:nothing=1 left out" in capsys.readouterr().out
    (run.results / leaderboard.PARTS).write_text('{"development": []}')
    leaderboard.pack(run.results, tmp_path / "packed.zip")
    leaderboard.unpack(tmp_path / "elsewhere", tmp_path / "packed.zip")
    grown = vs.Leaderboard.load(tmp_path / "elsewhere" / "tried")
    whole = vs.evaluate(vit, data, None, ["gae", "rollout", "daam"], ["mass", "srg"], protocol)
    assert set(grown.names) == set(whole.names)
    assert grown.protocol.images == whole.protocol.images
    for name in whole.names:
        for metric in ("mass", "srg"):
            assert grown.interval(name, metric).n == 5 or "inverse" in name
            assert grown.interval(name, metric).value == pytest.approx(
                whole.interval(name, metric).value, abs=1e-5, nan_ok=True
            )


def test_heads_that_look_farther_by_hand(modules: tuple[ModuleType, ModuleType]) -> None:
    _, page = modules
    rising, mixed = [0.8, 0.9, 1.0], [-0.5, 0.5, 0.0]
    told = page.farther({"deit": rising, "augreg": rising})
    assert "it holds everywhere" in told and "0.90 [0.80, 1.00], n = 3" in told
    told = page.farther({"deit": [-each for each in rising], "augreg": mixed})
    assert "fails; undecided" in told and "−0.90 [−1.00, −0.80]" in told
    assert "AugReg ViT-Tiny: not measured" in page.farther({"deit": rising})
