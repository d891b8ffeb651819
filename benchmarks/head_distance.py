"""Do heads look farther in later blocks, on two real models? (Li et al., arXiv 2303.13731)

    python benchmarks/head_distance.py [--out benchmarks/results/head_distance.json]

For each photograph alone: Spearman's ρ over the blocks of the mean distance, in hops, at which the heads of a block
look at patches. The leaderboard's page tells the mean over photographs with its bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from splits import MODELS, ROOT, open_real, photographs

import vitscope as vs

OUT = ROOT / "benchmarks" / "results" / "head_distance.json"
METRIC = "patch_distance"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for model in MODELS:
        vit = open_real(model)
        found[model] = {}
        for each in photographs("sample", "confirmation"):
            profile = vs.heads.strength(vit, [each.path])
            blocks = [round(value, 4) for value in profile.trend()[METRIC].tolist()]
            found[model][each.key] = [round(profile.trend_correlation(METRIC), 4), *blocks]
        print(model, len(found[model]), "photographs", flush=True)
    options.out.write_text(json.dumps({"metric": METRIC, "rho, then hops by block": found}) + "\n")


if __name__ == "__main__":
    main()
