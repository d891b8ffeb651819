"""The model of a study, opened again as it was, and refused when it is another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitscope.storage.recipe import digest_of, plain
from vitscope.studies.errors import OtherStudyError, StudyError
from vitscope.studies.manifest import Manifest
from vitscope.tracing import Vit, open_model
from vitscope.tracing.recipe import model_identity


@dataclass(frozen=True)
class Placed:
    """Where the model of a study is opened. device: None is the CPU. weights: their file, if it is another now."""

    device: str | None = None
    weights: str | None = None


def opened_for(manifest: Manifest, placed: Placed = Placed(), given: Vit | None = None) -> Vit:
    """The opened model of a study: ``given``, or opened anew from what the manifest says.

    Raises StudyError for a model that only the maker of the study has, OtherStudyError when it has other weights,
    preprocessing or anatomy than the study was made with.
    """
    vit = given
    if vit is None:
        if manifest.model.name is None:
            raise StudyError(
                "this study was made with a model that only its maker has; pass it: vs.Study.open(place, vit=vit)"
            )
        arguments = dict(manifest.model.opening)
        if placed.weights is not None:
            arguments["weights"] = placed.weights
        if isinstance(arguments.get("image_size"), list):
            arguments["image_size"] = tuple(arguments["image_size"])
        vit = open_model(manifest.model.name, device=placed.device or "cpu", **arguments)
    require_same(vit, manifest)
    return vit


def require_same(vit: Vit, manifest: Manifest) -> None:
    """Raise OtherStudyError unless this is the model that the study was made with."""
    mine: dict[str, Any] = plain(model_identity(vit))
    known = manifest.model.identity
    # A name may be written in several ways; what counts is the weights and how pictures are prepared.
    differing = [name for name in known if name != "source" and mine.get(name) != known[name]]
    if anatomy_digest(vit) != manifest.model.anatomy:
        differing.append("anatomy")
    if differing:
        raise OtherStudyError(
            f"'{vit.source}' is not the model of this study (other {', '.join(differing)}); "
            f"give the one that it was made with ({known['source']}), or make another study"
        )


def anatomy_digest(vit: Vit) -> str:
    """Over what the probe found of blocks, heads and tokens."""
    layout_of = vit.anatomy.layout
    return digest_of(
        {
            "blocks": [[block.heads, block.kind] for block in vit.anatomy.blocks],
            "layout": None if layout_of is None else [list(layout_of.prefix), list(layout_of.grid)],
            "classes": vit.anatomy.classes,
        }
    )
