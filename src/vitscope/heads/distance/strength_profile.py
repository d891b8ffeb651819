"""The result of `strength`: how far each head looks, as means and spreads over pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vitscope.errors import OutputError, StorageError
from vitscope.heads.distance.strength_parts import SCALARS
from vitscope.heads.errors import HeadsError
from vitscope.heads.frames import merged_metadata
from vitscope.heads.origin import HasOrigin, Origin, check_disjoint
from vitscope.heads.rankings.correlation import spearman
from vitscope.options.bounds import FilePath
from vitscope.options.door import checked
from vitscope.shown import drawn_by
from vitscope.storage import tensors
from vitscope.storage.notes import decoding
from vitscope.sums import poisson_bootstrap
from vitscope.sums.moments import Moments

KIND = "strength profile"


@dataclass(frozen=True, repr=False)
class StrengthProfile(HasOrigin):
    """How far each head looks: mean and spread over pictures of its attention by distance on the patch grid.

    Profiles by name, each (L, H, ...) with L the profiled blocks: ``mass`` (K), attention summed over the ring at
    each hop count, mean over queries; ``strength`` (K), mass divided by the number of patches in the ring;
    ``offsets`` (2h−1, 2w−1), attention by relative offset; ``expected_distance`` and ``patch_distance`` (hops);
    ``entropy`` (bits); ``to_prefix``, ``from_prefix``, ``prefix_self``, ``prefix_entropy``, attention to and from
    each prefix token.

    Args:
        moments: By name, count, sum and sum of squares over pictures, from which ``values`` and ``spreads`` come.
        uniform: By name, the same profile for uniform attention, without the first two axes.
        scalars: By name, (n, L, H) float32 per picture of the three scalars; empty above 100,000 pictures.
        blocks: The block index of each row, from 0.
        prefix: Names of the prefix tokens.
        grid: Height and width of the patch grid.
        distance: How hops are counted.
        pictures: The key of each picture; empty above 100,000 pictures.
        metadata: Model and options, as plain JSON values.
        origin: The recipe, content ids and skipped pictures.

    Example:
        >>> import vitscope as vs
        >>> vit = vs.open_model("bundled/shapes")
        >>> profile = vs.heads.strength(vit, vs.worlds.world("shapes").sample(2, seed=1).images())
        >>> profile
        <StrengthProfile: 6 blocks x 4 heads, 12 hops on 12x12, 2 pictures>
        >>> profile["mass"].shape, profile.uniform["mass"].shape
        ((6, 4, 12), (12,))
        >>> vs.heads.StrengthProfile.load(profile.save("strength")).blocks
        (0, 1, 2, 3, 4, 5)
    """

    moments: Mapping[str, Moments]
    uniform: Mapping[str, NDArray[np.float64]]
    scalars: Mapping[str, NDArray[np.float32]]
    blocks: tuple[int, ...]
    prefix: tuple[str, ...]
    grid: tuple[int, int]
    distance: str
    pictures: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    @property
    def count(self) -> int:
        """The number of pictures."""
        return next(iter(self.moments.values())).count

    @cached_property
    def values(self) -> Mapping[str, NDArray[np.float64]]:
        """Mean over pictures of every profile by name, (L, H, ...)."""
        return {name: moments.mean.numpy() for name, moments in self.moments.items()}

    @cached_property
    def spreads(self) -> Mapping[str, NDArray[np.float64]]:
        """Standard deviation over pictures (with n − 1) of every profile by name, (L, H, ...); NaN for one picture."""
        return {name: moments.spread().numpy() for name, moments in self.moments.items()}

    @checked(HeadsError)
    def merge(self, *others: StrengthProfile) -> StrengthProfile:
        """Join the profiles of shards of a data set: means and spreads are those of the whole.

        Args:
            others: Profiles of other pictures.

        Returns:
            The profile of all pictures.

        Raises:
            RecipeError: They were made in different ways; the message says what differs.
            HeadsError: A picture is in two of them, or they are of other blocks or grids.
        """
        parts = (self, *others)
        origin = self.origin.merge(*(other.origin for other in others), what="strength profiles")
        check_disjoint((part.pictures for part in parts), "strength profiles")
        for other in others:
            if (self.blocks, self.prefix, self.grid, self.distance) != (
                other.blocks, other.prefix, other.grid, other.distance,
            ):  # fmt: skip
                raise HeadsError(
                    f"expected profiles of the same blocks and grid, got {self.grid} and {other.grid}; make both alike"
                )
        moments = {name: Moments() for name in self.moments}
        for part in parts:
            for name, together in moments.items():
                together.merge(part.moments[name])
        few = sum(part.count for part in parts) <= poisson_bootstrap.EXACT
        kept = tuple(self.scalars) if few and all(len(part.pictures) == part.count for part in parts) else ()
        if not kept:
            origin = replace(origin, ids=())
        return StrengthProfile(
            moments,
            self.uniform,
            {name: np.concatenate([part.scalars[name] for part in parts]) for name in kept},
            self.blocks,
            self.prefix,
            self.grid,
            self.distance,
            tuple(key for part in parts for key in part.pictures) if kept else (),
            merged_metadata(*(part.metadata for part in parts)),
            origin,
        )

    def __repr__(self) -> str:
        L, H, K = self["mass"].shape
        grid = "x".join(map(str, self.grid))
        return f"<StrengthProfile: {L} blocks x {H} heads, {K} hops on {grid}, {self.count} pictures>"

    def _repr_html_(self) -> str:
        return str(drawn_by("heads.notebook", "strength_html")(self))

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """The mean over pictures of one profile, (L, H, ...). Raises HeadsError when there is none of this name."""
        if name not in self.values:
            raise HeadsError(
                f"expected one of {', '.join(self.values)}, got {name!r}; name a profile of this record"
            )
        return self.values[name]

    def to_pandas(self) -> pd.DataFrame:
        """The profiles by distance as a table, one row per head and hop count k.

        Returns:
            Columns: block, head, k, n, and for mass and strength the mean, NAME_std and NAME_uniform (uniform
            attention).
        """
        L, H, K = self["mass"].shape
        columns: dict[str, Any] = {
            "block": np.repeat(np.asarray(self.blocks), H * K),
            "head": np.tile(np.repeat(np.arange(H), K), L),
            "k": np.tile(np.arange(K), L * H),
            "n": self.count,
        }
        for name in ("mass", "strength"):
            columns[name] = self.values[name].ravel()
            columns[f"{name}_std"] = self.spreads[name].ravel()
            columns[f"{name}_uniform"] = np.tile(self.uniform[name], L * H)
        return pd.DataFrame(columns)

    def summary(self) -> pd.DataFrame:
        """One number per head and quantity, one row per head.

        Returns:
            Columns: block, head, n; for expected_distance, patch_distance (hops) and entropy (bits) the mean,
            NAME_std and NAME_uniform; for each prefix token the attention mass it gives to patches and takes from
            them, with spread.
        """
        L, H = self["expected_distance"].shape
        columns: dict[str, Any] = {
            "block": np.repeat(np.asarray(self.blocks), H),
            "head": np.tile(np.arange(H), L),
            "n": self.count,
        }
        for name in SCALARS:
            columns[name] = self.values[name].ravel()
            columns[f"{name}_std"] = self.spreads[name].ravel()
            columns[f"{name}_uniform"] = float(self.uniform[name])
        for position, token in enumerate(self.prefix):
            columns[f"{token}_given"] = self["from_prefix"][..., position].ravel()
            columns[f"{token}_given_std"] = self.spreads["from_prefix"][..., position].ravel()
            columns[f"{token}_taken"] = self["to_prefix"][..., position].ravel()
            columns[f"{token}_taken_std"] = self.spreads["to_prefix"][..., position].ravel()
        return pd.DataFrame(columns)

    def trend(self) -> pd.DataFrame:
        """How the distances change with depth, one row per block.

        Returns:
            Columns: block, and for expected_distance, patch_distance (hops) and entropy (bits) the mean over heads,
            NAME_low and NAME_high (the smallest and the largest head).
        """
        rows = []
        for index, block in enumerate(self.blocks):
            row: dict[str, Any] = {"block": block}
            for name in SCALARS:
                head = self.values[name][index]
                row.update({name: head.mean(), f"{name}_low": head.min(), f"{name}_high": head.max()})
            rows.append(row)
        return pd.DataFrame(rows)

    def trend_correlation(self, name: str = "expected_distance") -> float:
        """Spearman's correlation between block number and the block's mean of a scalar.

        Above 0, later blocks look further.

        Args:
            name: "expected_distance", "patch_distance" or "entropy".

        Returns:
            The correlation, in [−1, 1].
        """
        return spearman(np.asarray(self.blocks, dtype=np.float64), self.values[name].mean(1))

    def nearest_and_furthest(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The heads with the smallest and with the largest patch_distance, as (block, head) pairs from 0."""
        values = self.values["patch_distance"]
        low, high = (
            np.unravel_index(int(pick(values)), values.shape) for pick in (np.nanargmin, np.nanargmax)
        )
        return (self.blocks[low[0]], int(low[1])), (self.blocks[high[0]], int(high[1]))

    @checked(OutputError)
    def save(self, path: FilePath) -> Path:
        """Write everything to one safetensors file.

        Args:
            path: The file; ``.safetensors`` is added when missing.

        Returns:
            The path of the file.

        Raises:
            OutputError: It cannot be written.
        """
        arrays: dict[str, Any] = {}
        for name, moments in self.moments.items():
            arrays |= moments.tensors(f"moments.{name}")
        for group in ("uniform", "scalars"):
            arrays |= {f"{group}.{name}": np.asarray(array) for name, array in getattr(self, group).items()}
        note = {
            "profiles": list(self.moments),
            "blocks": self.blocks,
            "prefix": self.prefix,
            "grid": self.grid,
            "distance": self.distance,
            "pictures": self.pictures,
            "count": self.count,
            "metadata": self.metadata,
            **self.origin.note(),
        }
        return tensors.save(path, KIND, arrays, note)

    @classmethod
    @checked(StorageError)
    def load(cls, path: FilePath) -> StrengthProfile:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.

        Returns:
            The profile.

        Raises:
            StorageError: The file is damaged, or of another kind or version.
        """
        arrays, note = tensors.load(path, KIND)
        with decoding(path, KIND):
            pictures = tuple(str(key) for key in note["pictures"])
            count = int(note.get("count", len(pictures)))
            groups: dict[str, dict[str, Any]] = {"uniform": {}, "scalars": {}}
            for name, tensor in arrays.items():
                group, _, rest = name.partition(".")
                if group != "moments":
                    groups[group][rest] = tensor.numpy()
            found = cls(
                {
                    str(name): Moments.from_tensors(f"moments.{name}", count, arrays)
                    for name in note["profiles"]
                },
                groups["uniform"],
                groups["scalars"],
                tuple(int(block) for block in note["blocks"]),
                tuple(note["prefix"]),
                (int(note["grid"][0]), int(note["grid"][1])),
                str(note["distance"]),
                pictures,
                dict(note["metadata"]),
                Origin.from_note(note),
            )
            found.summary()  # every column that a profile has
            return found
