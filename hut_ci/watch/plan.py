"""Which pairs go to the bench next, and which jobs are not wanted any more. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hut_ci.stages.finding import Finding
from hut_ci.watch.job import DONE, HANDED, WAITING, Job, JobPair

DAY = 86400.0
LONGEST_PAUSE = 900.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Turn:
    job: Job
    pair: JobPair


def superseded(jobs: Sequence[Job]) -> dict[str, str]:
    """Jobs on whose line another commit was asked for since, with that commit; `jobs` are in the order of asking."""
    newest = {(job.repository, job.line): job for job in jobs}
    return {
        job.id: newest[job.repository, job.line].commit_sha
        for job in jobs
        if job.state != DONE and newest[job.repository, job.line].commit_sha != job.commit_sha
    }


def catch_up(findings: Sequence[Finding]) -> dict[str, str]:
    """Of several pushes to one line that were found while nothing could be decided, all but the newest."""
    pushed = [finding for finding in findings if finding.event.sender is None]
    newest = {finding.line: finding for finding in pushed}
    return {
        finding.id: str(newest[finding.line].event.commit_sha)
        for finding in pushed
        if newest[finding.line].id != finding.id
    }


def turns(
    jobs: Iterable[Job], served: Mapping[str, float], limits: Mapping[str, int], others: Iterable[Job] = ()
) -> list[Turn]:
    """One pair for each free slot: of the repository that was served the longest ago, what was asked for first.

    `served` says when (Unix time), `limits` how many more runs a repository may begin, where that is limited. `others`
    are jobs that have no turn now, but may keep slots busy.
    """
    listed = list(jobs)
    busy = {pair.slot for job in (*listed, *others) for pair in job.pairs if pair.state == HANDED}
    left: dict[str, float] = dict(limits)
    last = dict(served)
    chosen: list[Turn] = []
    waiting = [Turn(job, pair) for job in listed for pair in job.pairs if pair.state == WAITING and job.state != DONE]
    while ready := [
        turn for turn in waiting if turn.pair.slot not in busy and left.get(turn.job.repository, math.inf) > 0
    ]:
        turn = min(ready, key=lambda turn: (last.get(turn.job.repository, 0.0), turn.job.created, turn.pair.number))
        chosen.append(turn)
        busy.add(turn.pair.slot)
        last[turn.job.repository] = math.inf
        left[turn.job.repository] = left.get(turn.job.repository, math.inf) - 1
    return chosen


def open_at(hours: tuple[int, int] | None, local: datetime) -> datetime:
    """The first moment from `local` on that lies within the hours (minutes of the day, the end excluded)."""
    if hours is None:
        return local
    first, last = hours
    now = 60 * local.hour + local.minute
    inside = first <= now < last if first < last else now >= first or now < last
    if inside:
        return local
    opening = local.replace(hour=first // 60, minute=first % 60, second=0, microsecond=0)
    return opening if now < first else opening + timedelta(days=1)


def limit(hours: tuple[int, int] | None, local: datetime, seconds: float) -> datetime:
    """When a run that is asked for at `local` counts as lost: so long after it may begin.

    Where the hours end before that it may begin once more when the next ones do, and has as long from there.
    """
    begin = open_at(hours, local)
    end = begin + timedelta(seconds=seconds)
    if hours is None or end <= (close := _close_after(hours, begin)):
        return end
    return open_at(hours, close) + timedelta(seconds=seconds)


def _close_after(hours: tuple[int, int], local: datetime) -> datetime:
    """When the hours end that `local` lies within."""
    closing = local.replace(hour=hours[1] // 60 % 24, minute=hours[1] % 60, second=0, microsecond=0)
    return closing if closing > local else closing + timedelta(days=1)


def pause_seconds(failures: int, first: float) -> float:
    """Before the next try after so many failures in a row: twice as long each time, up to a quarter of an hour."""
    return float(min(first * 2 ** min(failures - 1, 16), LONGEST_PAUSE))


def runs_left(begun: Collection[float], most: int, now: float) -> int:
    """How many more may begin; `begun` is when earlier ones did (Unix time), by a clock that may have been wrong."""
    return most - sum(now - DAY < moment <= now for moment in begun)
