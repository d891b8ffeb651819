"""Every kind of saved result, and what makes one: the remedy when a file of it cannot be read."""

from __future__ import annotations

MADE_BY = {
    "explanation": "vitscope explain",
    "memory bank": "vitscope bank build",
    "calibration": "vitscope calibrate",
    "head table": "vitscope heads importance",
    "strength profile": "vitscope heads strength",
    "head look": "vitscope heads look",
    "pattern atlas": "vitscope heads patterns",
    "joint effect": "vs.heads.joint_effect",
    "mean head outputs": "vs.heads.mean_outputs",
    "sample of maps": "vs.heads.collect_maps",
    "pattern mapping": "atlas.map_pictures",
    "agreement": "vitscope heads agreement",
    "partial pruning": "vitscope heads importance --dissect",
    "cumulative pruning": "vitscope heads importance --cumulative",
    "pruned model": "vitscope heads prune",
    "leaderboard": "vitscope evaluate",
    "model comparison": "vs.compare_models",
}
"""The command, or the function of the library, that makes this kind."""


def remedy(kind: str) -> str:
    """What to do about a file of this kind that cannot be read."""
    return f"make one with {MADE_BY[kind]}" if kind in MADE_BY else "make it anew"
