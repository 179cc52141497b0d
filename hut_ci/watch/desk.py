"""What every step of the publisher works with, and what several of them do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from hut_ci.errors import Cancelled, ForgeUnavailable, HutCiError
from hut_ci.model import Evidence, Lab, Request, Watched
from hut_ci.stages.request import from_document
from hut_ci.watch import plan
from hut_ci.watch.job import Job
from hut_ci.watch.own_report import report_of
from hut_ci.watch.refused import Refusal, Refusals
from hut_ci.watch.store import Store

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Desk:
    """`clock` returns Unix time and is replaced in tests by a clock that they own."""

    lab: Lab
    store: Store
    say: Callable[[str], None]
    clock: Callable[[], float]
    refusals: Refusals = field(default_factory=Refusals)

    @property
    def spool(self) -> Path:
        return self.lab.spool

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def answer(self, job: Job, why: Evidence, states: Sequence[str]) -> None:
        """Let `why` be the answer for every pair that is in one of the states."""
        request = request_of(job)
        found = [pair for pair in job.pairs if pair.state in states]
        reports = {p.number: report_of(request, request.pairs[p.number], why, self.lab.name) for p in found}
        self.store.answer(job, reports)

    def attempt(self, job: Job, what: Callable[[], None]) -> Refusal | None:
        """Let the forge be told of a job; what it refuses is tried again by itself. Raises ForgeUnavailable."""
        refused = self.refusals.attempt(job, self.clock(), what)
        if refused is not None:
            self.say(f"{job.repository}: {job.commit_sha[:12]}: {refused.what}; {refused.todo}")
        return refused

    def runs_left(self, watched: Watched) -> int:
        return plan.runs_left(self.store.begun(watched.address), watched.max_runs_per_day, self.clock())


def request_of(job: Job) -> Request:
    """Without its digest: each report is compared with the document of its own pair when it comes."""
    return replace(from_document(job.document, "the request"), digest=None)


def each(items: Iterable[Item], what: Callable[[Item], None]) -> None:
    """Do `what` for each; one that fails keeps no other from it, unless the forge is down or we are to end."""
    troubles: list[HutCiError] = []
    for item in items:
        try:
            what(item)
        except (Cancelled, ForgeUnavailable):
            raise
        except HutCiError as error:
            troubles.append(error)
    if troubles:
        raise troubles[0]
