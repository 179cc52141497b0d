"""From jobs to statuses: pending ones with a time limit, final ones from the reports of the bench or from our own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from hut_ci.errors import ForgeUnavailable, PublishError
from hut_ci.model import Evidence, Request, Watched
from hut_ci.stages import deliver, gate, publish
from hut_ci.stages.aggregate import Result
from hut_ci.stages.deliver import aggregate, discuss, results_of
from hut_ci.stages.request import from_document
from hut_ci.stages.serving import evidence
from hut_ci.watch import plan, spool
from hut_ci.watch.decide import ANSWER_SECONDS
from hut_ci.watch.desk import Desk, each, request_of
from hut_ci.watch.forge import Forge
from hut_ci.watch.job import ANNOUNCING, ANSWERED, ASKED, HANDED, OPEN, POSTED, WAITING, Job, JobPair
from hut_ci.watch.own_report import report_of
from hut_ci.watch.store import unanswered

NEW = (ASKED, ANNOUNCING)
UNTOLD = timedelta(days=1)


# --- before ------------------------------------------------------------------------------------------------------


def announce(desk: Desk, watched: Watched, forge: Forge, away: str | None) -> None:
    """Post what stands until the answer, or why there will be none; `away` is until when the lab is."""
    each(desk.store.jobs(watched.address), partial(_announce_one, desk, watched, forge, away))


def _announce_one(desk: Desk, watched: Watched, forge: Forge, away: str | None, job: Job) -> None:
    states = {pair.state for pair in job.pairs}
    if away is not None and WAITING in states <= {WAITING, POSTED}:
        desk.attempt(job, partial(_tell_away, desk, watched, forge, job, away))
    elif job.state in NEW and not unanswered(job):
        desk.store.announced(job)  # all was decided before anybody was told
    elif job.state == ASKED and _is_too_much(desk, watched, job):
        desk.answer(job, Evidence("runs_used_up", {"limit": str(watched.max_runs_per_day)}), (WAITING,))
        desk.store.announced(job)
    elif job.state in NEW:
        refused = desk.attempt(job, partial(_post_pending, desk, watched, forge, job))
        if refused is None:
            return
        desk.store.refused(job, desk.clock())
        if job.refused is not None and desk.clock() - job.refused > UNTOLD.total_seconds():
            desk.answer(job, Evidence("publish_failed", {"what": refused.what}), (WAITING,))


def _is_too_much(desk: Desk, watched: Watched, job: Job) -> bool:
    jobs = [other for other in desk.store.jobs(watched.address) if other.state == OPEN]
    queued = sum(pair.state == WAITING for other in jobs for pair in other.pairs)
    return len(job.pairs) > desk.runs_left(watched) - queued


def _post_pending(desk: Desk, watched: Watched, forge: Forge, job: Job) -> None:
    """With a time limit that counts from when the run may begin; pairs that are blocked get their answer at once.

    What was answered before the lab went away stands.
    """
    until = plan.limit(watched.hours, desk.now.astimezone(), ANSWER_SECONDS).astimezone(UTC)
    document = {**job.document, "not_after": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
    desk.store.announce(job, document)
    request = replace(from_document(document, "the request"), digest=None)
    blocked = {number: pair for number, pair in enumerate(request.pairs) if pair.blocked is not None}
    told = {n: report_of(request, pair, evidence(pair), desk.lab.name) for n, pair in blocked.items()}
    desk.store.answer(job, told)
    left = tuple(request.pairs[pair.number] for pair in job.pairs if pair.state != POSTED)
    gate.announce_all(replace(request, pairs=left), forge.statuses)
    desk.store.announced(job)
    desk.store.see(watched.address, (), {_told(job.line): ""}, desk.clock())


def _tell_away(desk: Desk, watched: Watched, forge: Forge, job: Job, away: str) -> None:
    """One `blocked` for each line, then silence; the newest job of each waits until the lab is back."""
    if job.state != ASKED or not desk.store.marks(watched.address).get(_told(job.line)):
        request, why = request_of(job), Evidence("lab_away", {"until": away})
        reports = [
            pair.report or report_of(request, request.pairs[pair.number], why, desk.lab.name) for pair in job.pairs
        ]
        for pair in unanswered(job):
            deliver.answer(request, request.pairs[pair.number], reports[pair.number], forge.statuses)
        if request.aggregate:
            aggregate(request, results_of(request, reports), forge.statuses, request.aggregate)
    desk.store.recall(job)
    desk.store.see(watched.address, (), {_told(job.line): away}, desk.clock())


def _told(line: str) -> str:
    return f"away:{line}"


# --- after -------------------------------------------------------------------------------------------------------


def collect(desk: Desk) -> None:
    """Take the reports of the bench; what is no valid answer to its request counts as none."""
    there: set[str] = set()
    with suppress(OSError):  # whatever the bench did to its folder: what it does not answer ends at its time
        there.update(spool.ready(desk.spool, spool.REPORTS))
    for job in desk.store.jobs():
        for pair in job.pairs:
            if pair.state != HANDED or job.place(pair) not in there:
                continue
            document = spool.read_report(desk.spool, job.place(pair))
            asked = from_document(job.document_of(pair), "the request")
            wrong = publish.refusal(document, job.commit_sha, pair.slot, asked)
            if wrong is not None or not isinstance(document, dict):
                why = Evidence("publish_failed", {"what": wrong or "there is no report"})
                document = dict(report_of(asked, asked.pairs[0], why, desk.lab.name))
            desk.store.answer(job, {pair.number: document})


def take_back(desk: Desk, away: str | None) -> None:
    """What is gone from the spool, unanswered, is handed over once more: its slots would be busy with nothing.

    So is, later, what nobody has begun when the lab goes away: it waited for a slot that somebody holds.
    """
    there = set(spool.ready(desk.spool, spool.JOBS))
    for job in desk.store.jobs():
        for name, pair in [(job.place(pair), pair) for pair in job.pairs if pair.state == HANDED]:
            if away is not None and not spool.is_begun(desk.spool, name):
                spool.withdraw(desk.spool, name)
                desk.store.take_back(job, pair)
            elif name not in there:
                desk.store.take_back(job, pair)


def end_overdue(desk: Desk) -> None:
    """A pending status never outlives its time, however long this host was off."""
    for job in desk.store.jobs():
        if job.state != ASKED and _late(desk, job) > timedelta(0):
            desk.answer(job, Evidence("no_answer", {"by": job.not_after}), (WAITING, HANDED))


def end_former(desk: Desk) -> set[str]:
    """End what was asked for by repositories that lab.yml no longer names; those that have to be told so."""
    former = [job for job in desk.store.jobs() if desk.lab.watched(job.repository) is None]
    for job in former:
        if job.state == ASKED:
            desk.store.done(job)
        elif _late(desk, job) > UNTOLD:
            _give_up(desk, job, "not within a day after its time")
        else:
            desk.answer(job, Evidence("not_watched"), (WAITING, HANDED))
            desk.store.announced(job)
    return {job.repository for job in desk.store.jobs()} & {job.repository for job in former}


def _late(desk: Desk, job: Job) -> timedelta:
    return desk.now - datetime.fromisoformat(job.not_after)


def answer(desk: Desk, watched: Watched, forge: Forge) -> None:
    """Post the final status of every pair that was answered, and what is said of all once the last one was."""
    jobs = [job for job in desk.store.jobs(watched.address) if job.state == OPEN]
    _older_first(desk, jobs)
    each(jobs, partial(_answer_one, desk, forge))


def _older_first(desk: Desk, jobs: Sequence[Job]) -> None:
    """Answers to one commit share its statuses: whenever a newer one is tried, so is an older one that was refused.

    Else that one would be posted over it when its pause is over. `jobs` are in the order of asking.
    """
    now = desk.clock()
    for place, job in enumerate(jobs):
        answered = not unanswered(job) or any(pair.state == ANSWERED for pair in job.pairs)
        if answered and not desk.refusals.rests(job, now):
            desk.refusals.wake([older for older in jobs[:place] if older.commit_sha == job.commit_sha], now)


def _answer_one(desk: Desk, forge: Forge, job: Job) -> None:
    """What the forge still refuses a day after its time will not be told any more."""
    refused = desk.attempt(job, partial(_tell, desk, forge, job))
    if refused is not None and _late(desk, job) > UNTOLD:
        _give_up(desk, job, refused.what)


def _give_up(desk: Desk, job: Job, why: str) -> None:
    desk.say(f"{job.repository}: nobody could be told about {job.commit_sha[:12]}: {why}")
    desk.store.done(job)


def _tell(desk: Desk, forge: Forge, job: Job) -> None:
    """One status that is refused keeps no other of the job from being posted."""
    request = request_of(job)
    answered = [partial(_tell_pair, desk, forge, job, request, pair) for pair in job.pairs if pair.state == ANSWERED]
    whole = [] if unanswered(job) else [partial(_tell_whole, desk, forge, job, request)]
    each([*answered, *whole], lambda step: step())
    if whole:
        desk.store.done(job)


def _tell_pair(desk: Desk, forge: Forge, job: Job, request: Request, pair: JobPair) -> None:
    deliver.answer(request, request.pairs[pair.number], pair.report, forge.statuses)
    desk.store.posted(job, pair)


def _tell_whole(desk: Desk, forge: Forge, job: Job, request: Request) -> None:
    results = results_of(request, [pair.report for pair in job.pairs])
    if request.aggregate:
        aggregate(request, results, forge.statuses, request.aggregate)
    _discuss(desk, forge, request, results)
    desk.say(f"{job.repository}: {job.commit_sha[:12]}: {', '.join(f'{it.slot} {it.key}' for it in results)}")


def _discuss(desk: Desk, forge: Forge, request: Request, results: Sequence[Result]) -> None:
    """A pull request that takes no comment (a locked one, say) has its statuses nevertheless."""
    try:
        discuss(request, results, forge.conversation, "auto")
    except ForgeUnavailable:
        raise
    except PublishError as error:
        desk.say(f"note: {error.what}")
