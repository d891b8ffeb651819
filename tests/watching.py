"""What tests pass as ``progress``: it keeps what it was told, and stops a run where it is asked to."""

from __future__ import annotations

from dataclasses import dataclass, field

UNITS = (
    "pictures",
    "heads of pictures",
    "answers",
    "explanations",
    "epochs",
    "numbers of clusters",
    "steps",
    "frames",
)


@dataclass
class Stage:
    """One stage: what it was announced as, and by how much it advanced."""

    name: str
    total: int
    done: int
    advanced: list[int] = field(default_factory=list)

    @property
    def reached(self) -> int:
        return self.done + sum(self.advanced)


@dataclass
class Recorder:
    """Keeps every stage. ``interrupt``: raise KeyboardInterrupt when told for this time (counted from 1, of stages and
    steps together). ``cancel``: be cancelled from this question on (counted from 1)."""

    interrupt: int = 0
    cancel: int = 0
    stages: list[Stage] = field(default_factory=list)
    told: int = 0
    asked: int = 0

    def stage(self, name: str, total: int, done: int = 0, unit: str = "pictures") -> None:
        assert unit in UNITS and name and 0 <= done <= total
        self.stages.append(Stage(name, total, done))
        self._tell()

    def advance(self, steps: int = 1) -> None:
        assert steps > 0
        self.stages[-1].advanced.append(steps)
        self._tell()

    def _tell(self) -> None:
        self.told += 1
        if self.told == self.interrupt:
            raise KeyboardInterrupt

    def cancelled(self) -> bool:
        self.asked += 1
        return 0 < self.cancel <= self.asked

    @property
    def resumed(self) -> int:
        """Steps that a stopped run had done."""
        return sum(stage.done for stage in self.stages)

    @property
    def steps(self) -> int:
        """Steps of this run."""
        return sum(sum(stage.advanced) for stage in self.stages)

    def check_whole(self) -> None:
        """Every stage was announced once, and ended at its total."""
        for stage in self.stages:
            assert stage.reached == stage.total, stage
