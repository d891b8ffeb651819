"""Two studies of the same pictures: matched by what is in the pictures, their scores paired picture by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vitscope.evaluation import Leaderboard, Protocol
from vitscope.evaluation.board.model_pairs import model_differences
from vitscope.evaluation.board.records import State
from vitscope.evaluation.metric_state import Metric
from vitscope.options.door import checked
from vitscope.studies.analyses.pictures import OK
from vitscope.studies.errors import StudyError
from vitscope.studies.manifest import Manifest, require_other
from vitscope.studies.read_study import ReadStudy

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class PairedStudies:
    """Two studies on the pictures that both have. Made by :func:`vitscope.studies.pair`.

    Args:
        names: What the two are called: by their models where these have other names, else by their places.
        ids: Of each picture that both have, the hash of its content; of the second of two equal ones, ``HASH-2``.
        rows: Of the same pictures, their rows in the first and in the second study.
        only: How many pictures only the first has, and how many only the second.
        first: The first study.
        second: The second.

    Example:
        >>> import vitscope as vs
        >>> for number, image in enumerate(vs.worlds.world("shapes").sample(3, seed=1).images()):
        ...     image.save(f"{number}.png")
        >>> one = vs.Study.create("one", model="bundled/shapes", images=".", methods=["daam"])
        >>> other = vs.Study.create("other", model="bundled/position", images=".", methods=["daam"])
        >>> whole = one.run().whole and other.run().whole
        >>> vs.studies.pair(one, other)
        <PairedStudies of shapes and position: 3 pictures in both>
    """

    names: tuple[str, str]
    ids: tuple[str, ...]
    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    only: tuple[int, int]
    first: ReadStudy
    second: ReadStudy

    def __repr__(self) -> str:
        return f"<PairedStudies of {self.names[0]} and {self.names[1]}: {len(self.ids)} pictures in both>"

    def boards(self) -> dict[str, Leaderboard]:
        """The scores of each study on the pictures that both have, by name; a picture has the first study's key.

        Returns:
            Two leaderboards without curves.

        Raises:
            StudyError: A study has no evaluation or is not finished, keeps sums, or was evaluated by another protocol.
        """
        given = [study.leaderboard() for study in (self.first, self.second)]
        _require_rows(given, self.names)
        _require_protocol(given, self.names)
        keys = [
            dict(study.table("pictures", columns=["picture", "key"]).itertuples(index=False, name=None))
            for study in (self.first, self.second)
        ]
        shown = [str(keys[0][int(row)]) for row in self.rows[0]]
        return {
            name: _only(board, dict(zip([str(own[int(row)]) for row in rows], shown, strict=True)))
            for name, board, own, rows in zip(self.names, given, keys, self.rows, strict=True)
        }

    def to_pandas(self, boards: Mapping[str, Leaderboard] | None = None) -> pd.DataFrame:
        """Tabulate the differences between the two, paired by picture.

        Args:
            boards: What :meth:`boards` gave; None asks it.

        Returns:
            The columns of :meth:`vitscope.evaluation.ModelComparison.to_pandas`: a row for each metric and method that
            both studies have with the same options.

        Raises:
            StudyError: As :meth:`boards`; or the studies have no method and metric in common.
        """
        found = self.boards() if boards is None else boards
        one, other = found.values()
        metrics = [name for name in one.metrics if name in other.metrics]
        methods = [name for name in one.names if name in other.names and not self.options_differ(name)]
        if not metrics or not methods:
            raise StudyError(
                f"{self.names[0]} and {self.names[1]} have no {'method' if metrics else 'metric'} in common "
                "that was scored with the same options; evaluate both by the same"
            )
        return model_differences(found, methods, metrics)

    def options_differ(self, method: str) -> list[str]:
        """How the options that a method was scored with differ between the two.

        Args:
            method: Its name in the tables.

        Returns:
            Such as ``norm: 'l1' against 'l2'``; empty where they are the same.
        """
        one, other = (_options(study.manifest, method) for study in (self.first, self.second))
        return [
            f"{name}: {one.get(name)!r} against {other.get(name)!r}"
            for name in dict.fromkeys((*one, *other))
            if one.get(name) != other.get(name)
        ]

    def notes(self) -> list[str]:
        """What is to be known before the two are held against each other.

        Returns:
            A sentence each: other label sets, predictions, targets, framing, units.
        """
        one, other = self.first.manifest, self.second.manifest
        found = []
        if one.model.identity.get("fingerprint") == other.model.identity.get("fingerprint"):
            found.append("both studies are of the same weights")
        elif all(_score_of(each) == "logit" for each in (one, other)):
            found.append(
                "scores are in units of each model's own logits; where these have other sizes, evaluate both with the "
                "score probability"
            )
        if one.model.classes != other.model.classes:
            found.append(
                f"other label sets: {self.names[0]} tells {one.model.classes} classes apart, {self.names[1]} "
                f"{other.model.classes}; each explains a class of its own"
            )
        elif (told := self._other_predictions()) is not None:
            found.append(told)
        targets = targets_of(self)
        if targets[0] != targets[1]:
            found.append(
                f"other targets: the maps of {self.names[0]} explain {targets[0]}, those of {self.names[1]} "
                f"{targets[1]}"
            )
        frames = [each.model.identity.get("preprocessing") or {} for each in (one, other)]
        if any(
            frames[0].get(name) != frames[1].get(name) for name in ("size", "resize", "resize_to", "crop")
        ):
            found.append(
                "the models frame pictures otherwise, so a place of one map is another place of the other"
            )
        return found

    def _other_predictions(self) -> str | None:
        """On how many pictures they predict other classes; None where they keep none, or always agree."""
        predicted = []
        for study, rows in ((self.first, self.rows[0]), (self.second, self.rows[1])):
            if "predictions" not in study.manifest.tables:
                return None
            table = study.table("predictions", columns=["picture", "rank", "class"]).query("rank == 0")
            predicted.append(table.set_index("picture")["class"].reindex(rows).to_numpy())
        count = int((predicted[0] != predicted[1]).sum())
        if not count:
            return None
        return (
            f"other predictions on {count:,} of {len(self.ids):,} pictures, where each explains its own class"
        )


@checked(StudyError)
def pair(first: ReadStudy, second: ReadStudy) -> PairedStudies:
    """Match two studies by what is in their pictures, whatever these are called and in whatever order they lie.

    Args:
        first: A study, which may still be growing.
        second: Another one, of the same pictures or of some of them.

    Returns:
        The pictures that both have, and how many each has alone; its scores are paired when they are asked for.

    Raises:
        StudyError: It is the same study twice, or no picture is in both.

    Example:
        >>> import vitscope as vs
        >>> for number, image in enumerate(vs.worlds.world("shapes").sample(6, seed=1).images()):
        ...     image.save(f"{number}.png")
        >>> chosen = {"evaluate": vs.studies.EvaluateChoice(methods=("daam",), protocol=vs.Protocol(steps=2))}
        >>> made = [
        ...     vs.Study.create(model, model=f"bundled/{model}", images=".", analyses=chosen, arrays=())
        ...     for model in ("shapes", "position")
        ... ]
        >>> whole = [study.run().whole for study in made]
        >>> table = vs.studies.pair(*made).to_pandas()
        >>> table.query("method == 'daam'")[["metric", "first", "second", "n"]].values.tolist()
        [['srg', 'shapes', 'position', 6]]
    """
    require_other(first.manifest, second.manifest)
    rows = [rows_by_id(study) for study in (first, second)]
    shared = [id for id in rows[0] if id in rows[1]]
    if not shared:
        raise StudyError(
            f"no picture is in both studies ({len(rows[0]):,} are computed at {first.place}, {len(rows[1]):,} at "
            f"{second.place}; they are matched by content); make both of the same pictures"
        )
    places = tuple(np.array([own[id] for id in shared], np.int64) for own in rows)
    only = (len(rows[0]) - len(shared), len(rows[1]) - len(shared))
    return PairedStudies(names_of(first, second), tuple(shared), (places[0], places[1]), only, first, second)


def rows_by_id(study: ReadStudy) -> dict[str, int]:
    """The rows of the pictures that were computed by their ids, in the order of the study."""
    table = study.table("pictures", columns=["picture", "status", "content"]).sort_values("picture")
    table = table[table["content"].fillna("").astype(bool)]
    again = table.groupby("content", observed=True).cumcount()
    return {
        str(content) if not place else f"{content}-{place + 1}": int(row)
        for row, status, content, place in zip(
            table["picture"], table["status"], table["content"], again, strict=True
        )
        if status == OK
    }


def names_of(first: ReadStudy, second: ReadStudy) -> tuple[str, str]:
    """What two studies are called: by the last parts of their models' names where these differ, else by the whole
    names, by the last parts of their places, by their places."""
    models = [str(each.manifest.model.identity.get("source") or "") for each in (first, second)]
    places = [each.place.rstrip("/") for each in (first, second)]
    for pair_of in (_last(models), models, _last(places), places):
        if pair_of[0] and pair_of[1] and pair_of[0] != pair_of[1]:
            return pair_of[0], pair_of[1]
    return "first", "second"


def _last(texts: Sequence[str]) -> list[str]:
    return [each.rpartition("/")[2] for each in texts]


def targets_of(paired: PairedStudies) -> tuple[str, str]:
    """What the maps of each study explain."""
    explained = [each.manifest.options_of("explain") or {} for each in (paired.first, paired.second)]
    one, other = (str(each.get("target", "top1")) for each in explained)
    return one, other


def _options(manifest: Manifest, method: str) -> dict[str, Any]:
    """The options that a method was scored with, as far as they were chosen."""
    rows = (manifest.options_of("evaluate") or {}).get("rows") or ()
    known: Mapping[str, Any] = next((row for row in rows if row["name"] == method), {})
    return {"method": known.get("method"), **(known.get("options") or {})}


def _score_of(manifest: Manifest) -> str:
    """What the scores of a study are of: logits, probabilities; empty where it has none."""
    return str(((manifest.options_of("evaluate") or {}).get("protocol") or {}).get("score", ""))


def _require_rows(boards: Sequence[Leaderboard], names: Sequence[str]) -> None:
    for board, name in zip(boards, names, strict=True):
        if board.ranges:
            raise StudyError(
                f"the scores of {name} are kept as sums, because there are more than 100,000 pictures, and cannot be "
                "paired; make studies of fewer pictures"
            )


def _require_protocol(boards: Sequence[Leaderboard], names: Sequence[str]) -> None:
    """Raise StudyError where the two were evaluated otherwise; models, pictures and the grid may differ."""
    one, other = (_chosen(board.protocol) for board in boards)
    if differences := one.differences(other):
        raise StudyError(
            f"the scores of {names[0]} and {names[1]} are not comparable ({'; '.join(differences)}); evaluate both by "
            "one protocol"
        )


def _chosen(protocol: Protocol) -> Protocol:
    """Without what is the model's own and not chosen."""
    return replace(protocol, grid=None, recipe=None)


def _only(board: Leaderboard, called: Mapping[str, str]) -> Leaderboard:
    """The board of some pictures, by the names that they get."""
    states: dict[tuple[str, str], State] = {}
    for place, state in board.states.items():
        assert isinstance(state, Metric)
        states[place] = state.only(called)
    return Leaderboard(board.protocol, board.methods, board.metrics, states)
