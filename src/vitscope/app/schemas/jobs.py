"""What is being computed."""

from __future__ import annotations

from pydantic import BaseModel

from vitscope.app.schemas.about import CacheState
from vitscope.app.work.job import Job, State


class JobAbout(BaseModel):
    """One question on its way. ``expected`` and ``seconds``: how long it should and did take."""

    id: int
    what: str
    picture: str
    stage: str
    done: int
    total: int
    state: State
    message: str
    expected: float
    seconds: float | None

    @classmethod
    def of(cls, job: Job) -> JobAbout:
        """What is told of a job."""
        return cls(
            id=job.number,
            what=job.asked.what,
            picture=job.asked.picture.key,
            stage=job.stage,
            done=job.done,
            total=job.total,
            state=job.state,
            message=job.message,
            expected=job.expected,
            seconds=job.seconds,
        )


class Jobs(BaseModel):
    """Those on their way and the last ones that are over, the newest last."""

    jobs: list[JobAbout]
    cache: CacheState


class Problem(BaseModel):
    """Why there is no answer, in one line; ``remedy``: what mends it."""

    title: str
    status: int
    remedy: str | None = None
