"""The sections of the page that are about what heads look at: distance and patterns."""

from __future__ import annotations

from vitscope.heads.atlas.atlas import PatternAtlas
from vitscope.heads.atlas.mapping import PatternMapping
from vitscope.heads.distance.strength_profile import StrengthProfile
from vitscope.rendering.pages.page import Column, Page
from vitscope.reports import words
from vitscope.reports.heads import plots


def strength_section(page: Page, found: StrengthProfile) -> None:
    """Distance by block, strength by hop, offsets, and the profile of every head."""
    near, far = found.nearest_and_furthest()
    hops = {
        head: float(found["patch_distance"][found.blocks.index(head[0]), head[1]]) for head in (near, far)
    }
    rho = found.trend_correlation("patch_distance")
    trend = "rises" if rho > 0.3 else "falls" if rho < -0.3 else "shows no steady trend"
    page.section(
        "How far they look",
        f"Distances are {found.distance} hops on the {found.grid[0]} x {found.grid[1]} patch grid; uniform attention "
        f"would look {float(found.uniform['patch_distance']):.2f} hops far. The most local head is "
        f"{near[0]}.{near[1]} ({hops[near]:.2f} hops), the furthest {far[0]}.{far[1]} ({hops[far]:.2f}). "
        + (f"Over the blocks the mean distance {trend} (rank correlation {rho:.2f})." if rho == rho else ""),
    )
    page.figures(
        [
            (plots.distance_trend(found), "distance by block", "One dot per head; the line is the mean."),
            (
                plots.strength_curves(found, "strength"),
                "strength by distance",
                "Border-corrected: attention per existing key at k hops; grey: all other heads; "
                "bands: spread over pictures.",
            ),
        ]
    )
    page.figure(plots.offset_grid(found), alt="relative-offset maps of all heads")
    frame = found.summary()
    shown = [c for c in frame.columns if not c.endswith(("_std", "_uniform"))]
    page.table(
        [Column("head"), *(Column(c.replace("_", " "), numeric=True) for c in shown[2:])],
        [
            [words.head_name(row["block"], row["head"]), *(row[c] for c in shown[2:])]
            for row in frame.to_dict("records")
        ],
        caption="Means over pictures; given and taken: attention mass of a prefix token to and from patches. "
        "Spreads are in the table file.",
    )


def patterns_section(page: Page, atlas: PatternAtlas) -> None:
    """The verdict, the prototypes with their names, the mix of each head, and the null where there is one."""
    page.section(
        "Which patterns they have",
        f"{len(atlas.maps)} maps were coded and clustered into {len(atlas.patterns)} patterns "
        f"({atlas.report['cluster_rule']}). {atlas.verdict}",
    )
    page.figure(plots.prototype_grid(atlas), alt="prototypes")
    page.table(
        [
            Column("pattern"),
            Column("maps", numeric=True),
            Column("depends on content", numeric=True),
            Column("because"),
        ],
        [
            [
                name,
                p.maps,
                None if p.content_dependence != p.content_dependence else p.content_dependence,
                p.because,
            ]
            for name, p in zip(atlas.names, atlas.patterns, strict=True)
        ],
        caption="Names are given by rule. Depends on content: variance over pictures at a fixed query, 0 to 1.",
    )
    page.figures(
        [
            (plots.pattern_mix(atlas), "mix of patterns per head", "Share of a head's maps in each pattern."),
            (
                plots.code_map(atlas),
                "codes in two dimensions",
                "For looking only; nothing is computed from it.",
            ),
        ]
    )
    if atlas.null is None:
        return
    trained = atlas.heads.groupby("pattern").size().to_dict()
    random = atlas.null.groupby("pattern").size().to_dict()
    page.text(
        "The null: the same architecture with shuffled weights, seen through the same patterns. A pattern "
        "that the null has too owes nothing to learning."
    )
    page.table(
        [Column("pattern"), Column("heads, trained", numeric=True), Column("heads, shuffled", numeric=True)],
        [
            [name, int(trained.get(name, 0)), int(random.get(name, 0))]
            for name in dict.fromkeys([*atlas.names, *random])
        ],
    )


def placed_section(page: Page, atlas: PatternAtlas, placed: PatternMapping) -> None:
    """Maps of other pictures, or of another model, among the patterns of an atlas."""
    own, new = float(atlas.maps["distance"].median()), float(placed.maps["distance"].median())
    page.section(
        "Where these maps fall among the patterns of the atlas",
        f"{len(placed.maps)} maps were placed; nothing was fitted again. Their median distance from the centre of "
        f"their pattern is {new:.3g}; for the maps that the atlas was made of it is {own:.3g}. Where the new maps lie "
        "much further away, the patterns' names say little about them.",
    )
    page.figure(plots.prototype_grid(atlas), alt="prototypes of the atlas")
    page.figure(plots.pattern_mix(atlas, placed), alt="mix of patterns per head")
    page.table(
        [
            Column("head"),
            Column("pattern"),
            Column("share", numeric=True),
            Column("depends on content", numeric=True),
        ],
        [
            [words.head_name(r["block"], r["head"]), r["pattern"], r["purity"], r["content_dependence"]]
            for r in placed.heads.to_dict("records")
        ],
        caption="The commonest pattern of every head.",
    )
