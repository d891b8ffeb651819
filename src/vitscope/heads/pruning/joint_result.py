"""What removing a set of heads together did to each picture, beside the sum of removing each alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.errors import OutputError, StorageError
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import write_frame
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.storage import tables, tensors
from vitscope.storage.notes import decoding

KIND = "joint effect"
Values = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, repr=False)
class JointEffect(HasOrigin):
    """What removing a set of heads together does to each picture, beside the sum of removing each alone.

    Made by :func:`joint_effect`.

    Args:
        heads: (block, head) pairs, both from 0.
        joint: By the name of each metric, (n,) float32: the change without all the heads.
        singles: By the name of each metric, (n,) float32: the sum of the changes without each head alone.
        pictures: The key of each picture.
        origin: The recipe, content ids and skipped pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> pictures = vs.worlds.world("shapes").sample(2, seed=1).images()
        >>> found = vs.heads.joint_effect(vit, pictures, [(0, 1), (3, 2)])
        >>> found
        <JointEffect of 2 heads: 6 metrics, 2 pictures>
        >>> vs.heads.JointEffect.load(found.save("joint")).heads
        ((0, 1), (3, 2))
    """

    heads: tuple[tuple[int, int], ...]
    joint: Values
    singles: Values
    pictures: tuple[str, ...]
    origin: Origin = field(default_factory=Origin)

    def __repr__(self) -> str:
        return f"<JointEffect of {len(self.heads)} heads: {len(self.joint)} metrics, {len(self.pictures)} pictures>"

    @property
    def metrics(self) -> list[str]:
        """The names of the output metrics."""
        return list(self.joint)

    def to_pandas(self) -> pd.DataFrame:
        """The means over pictures, one row per metric.

        Returns:
            Columns: metric, joint, sum_of_singles, interaction (joint minus sum; above 0 the heads stand in for
            each other, below 0 they share one effect), interaction_std (over pictures), n.
        """
        rows = []
        for name in self.metrics:
            joint, singles = (side[name].astype(np.float64) for side in (self.joint, self.singles))
            difference = np.sort(
                joint - singles
            )  # sorted values have one sum, whatever the order of the pictures
            rows.append(
                {
                    "metric": name,
                    "joint": float(np.sort(joint).mean()),
                    "sum_of_singles": float(np.sort(singles).mean()),
                    "interaction": float(difference.mean()),
                    "interaction_std": float(difference.std(ddof=1)) if len(joint) > 1 else float("nan"),
                    "n": len(joint),
                }
            )
        return pd.DataFrame(rows)

    def per_picture(self) -> pd.DataFrame:
        """All values, one row per picture and metric: picture, metric, joint, sum_of_singles."""
        frames = [
            pd.DataFrame(
                {
                    "picture": list(self.pictures),
                    "metric": name,
                    "joint": self.joint[name],
                    "sum_of_singles": self.singles[name],
                }
            )
            for name in self.metrics
        ]
        return pd.concat(frames, ignore_index=True)

    @checked(HeadsError)
    def merge(self, *others: JointEffect) -> JointEffect:
        """Join the effects of shards of a data set.

        Args:
            others: Effects on other pictures.

        Returns:
            The effect on all pictures.

        Raises:
            RecipeError: They were made in different ways (other heads, replacement, model); the message says what
                differs.
            HeadsError: A picture is in two of them, or their metrics differ.
        """
        parts = (self, *others)
        origin = self.origin.merge(*(other.origin for other in others), what="joint effects")
        check_disjoint((part.pictures for part in parts), "joint effects")
        if any((part.heads, set(part.joint)) != (self.heads, set(self.joint)) for part in others):
            raise HeadsError("expected effects of the same heads and metrics, got others; make both alike")
        joint, singles = (
            {name: np.concatenate([getattr(part, side)[name] for part in parts]) for name in self.metrics}
            for side in ("joint", "singles")
        )
        pictures = tuple(key for part in parts for key in part.pictures)
        return JointEffect(self.heads, joint, singles, pictures, origin)

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write everything to one safetensors file, or the table alone as .csv or .parquet.

        Args:
            path: The file; ``.safetensors`` is added when there is no ending.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        if Path(path).suffix in (".csv", tables.ENDING):
            return write_frame(self.to_pandas(), Path(path))
        arrays: dict[str, Any] = {f"joint.{name}": value for name, value in self.joint.items()}
        arrays |= {f"singles.{name}": value for name, value in self.singles.items()}
        note = {"heads": self.heads, "pictures": self.pictures, **self.origin.note()}
        return tensors.save(path, KIND, arrays, note)

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> JointEffect:
        """Read what :meth:`save` wrote as .safetensors.

        Args:
            path: The file.

        Returns:
            The effect.

        Raises:
            StorageError: The file is damaged, or of another kind.
        """
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            sides: dict[str, dict[str, NDArray[np.float32]]] = {"joint": {}, "singles": {}}
            for place, values in arrays.items():
                side, _, name = place.partition(".")
                sides[side][name] = values.numpy()
            pictures = tuple(str(key) for key in note["pictures"])
            if list(sides["joint"]) != list(sides["singles"]):
                raise ValueError("it has not both effects of every metric")
            if any(values.shape != (len(pictures),) for values in arrays.values()):
                raise ValueError("it has not one effect per picture")
            heads = tuple((int(block), int(head)) for block, head in note["heads"])
            return cls(heads, sides["joint"], sides["singles"], pictures, Origin.from_note(note))
