"""What a forge does not take, job by job: each is tried again by itself, and keeps nothing else waiting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from hut_ci.errors import ForgeUnavailable, PublishError
from hut_ci.watch.job import Job
from hut_ci.watch.plan import pause_seconds

FIRST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """`what` was refused and what to do about it; how often, and when it is tried again (Unix time)."""

    repository: str
    commit_sha: str
    what: str
    todo: str
    again: float
    tries: int = 1


@dataclass(slots=True)
class Refusals:
    """Kept in memory alone: a publisher that begins anew tries each of them at once."""

    known: dict[str, Refusal] = field(default_factory=dict)

    def attempt(self, job: Job, now: float, what: Callable[[], None]) -> Refusal | None:
        """Do `what`, unless it was refused lately; the refusal where it is refused now.

        Raises ForgeUnavailable: a forge that is down refuses nothing.
        """
        if self.rests(job, now):
            return None
        before = self.known.get(job.id)
        try:
            what()
        except ForgeUnavailable:
            raise
        except PublishError as error:
            tries = before.tries + 1 if before is not None else 1
            self.known[job.id] = Refusal(
                *(job.repository, job.commit_sha, error.what, error.todo),
                again=now + pause_seconds(tries, FIRST_SECONDS),
                tries=tries,
            )
            return self.known[job.id]
        self.known.pop(job.id, None)
        return None

    def rests(self, job: Job, now: float) -> bool:
        """Whether it was refused so lately that it is not tried now."""
        return job.id in self.known and now < self.known[job.id].again

    def wake(self, jobs: Iterable[Job], now: float) -> None:
        """Let what was refused of these be tried at once."""
        for job in jobs:
            if job.id in self.known:
                self.known[job.id] = replace(self.known[job.id], again=now)

    def keep(self, jobs: Collection[str]) -> None:
        """Forget what is about other jobs."""
        for job in self.known.keys() - set(jobs):
            del self.known[job]
