"""The process that holds the token: it asks the forges, decides, hands over, and answers. It touches no board.

A round may be cut off anywhere and is begun again: what was done is in the store, what was half done is done once more
and comes out the same (a status that stands there is not posted again, a comment is found by its marker).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from hut_ci.artifact_cache import ArtifactCache
from hut_ci.deadline import Deadline
from hut_ci.errors import BuildRunning, ForgeUnavailable, HutCiError, PublishError
from hut_ci.model import Evidence, Lab, Request, Watched
from hut_ci.record import evidence_of
from hut_ci.stages import gate, publish
from hut_ci.stages.build_choice import NoRun
from hut_ci.stages.comment import upsert
from hut_ci.stages.deliver import aggregate, discuss, results_of
from hut_ci.stages.finding import Finding
from hut_ci.stages.news import findings
from hut_ci.stages.publish import StatusSink
from hut_ci.stages.request import from_document
from hut_ci.stages.serving import evidence
from hut_ci.watch import plan, spool
from hut_ci.watch.away import absent
from hut_ci.watch.decide import ANSWER_SECONDS, HELP, IGNORED, REFUSED, RUN, decide
from hut_ci.watch.forge import Forge
from hut_ci.watch.handing import hand_over
from hut_ci.watch.job import ANNOUNCING, ANSWERED, ASKED, HANDED, OPEN, WAITING, Job
from hut_ci.watch.own_report import report_of
from hut_ci.watch.plan import Turn
from hut_ci.watch.store import Store, unanswered

LOOK_SECONDS = 30.0
LONGEST_PAUSE = 900.0
ROUND_SECONDS = 600.0
"""For everything that one round asks of one repository's forge, a download aside."""
DOWNLOAD_SECONDS = 600.0
UNDECIDED_SECONDS = 86400.0
"""After that, what cannot be decided is given up."""
NEW = (ASKED, ANNOUNCING)
PASSING = frozenset({"forge_error", "download_failed"})

Item = TypeVar("Item")
OpenForge = Callable[[Watched, Deadline], Forge]


@dataclass(slots=True)
class Pause:
    """When a repository is looked at next, and how often in a row its forge failed; times are Unix time."""

    look: float = 0.0
    serve: float = 0.0
    failures: int = 0
    trouble: str = ""


@dataclass(slots=True)
class Publisher:
    lab: Lab
    store: Store
    cache: ArtifactCache
    open_forge: OpenForge
    say: Callable[[str], None]
    clock: Callable[[], float] = time.time
    look_seconds: float = LOOK_SECONDS
    pauses: dict[str, Pause] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.lab.spool

    def round(self) -> None:
        """Everything that there is to do now."""
        self._collect()
        self._end_overdue()
        away = absent(self.folder, self.clock())
        for watched in self.lab.projects:
            self._guarded(watched, lambda watched=watched: self._serve(watched, away))  # type: ignore[misc]
        if away is None:
            self._hand_over()
        self._tidy()

    def _guarded(self, watched: Watched, what: Callable[[], None]) -> None:
        """Do `what` unless the forge asked for a pause; a failure makes one, twice as long each time."""
        pause = self.pauses.setdefault(watched.address, Pause())
        if self.clock() < pause.serve:
            return
        try:
            what()
        except HutCiError as error:
            pause.failures += 1
            asked = error.pause if isinstance(error, ForgeUnavailable) else None
            seconds = max(asked or 0.0, min(self.look_seconds * 2 ** (pause.failures - 1), LONGEST_PAUSE))
            pause.serve, pause.trouble = self.clock() + seconds, error.what
            self.say(f"{watched.address}: {error.what}; again in {seconds:.0f} s")
        else:
            pause.failures, pause.trouble = 0, ""

    # --- from the bench

    def _collect(self) -> None:
        """Take the reports of the bench; what is no valid one counts as none."""
        there = set(spool.ready(self.folder, spool.REPORTS))
        for job in self.store.jobs():
            request = _request(job)
            for pair in job.pairs:
                name = job.place(pair)
                if pair.state != HANDED or name not in there:
                    continue
                document, asked = spool.read_report(self.folder, name), request.pairs[pair.number]
                of_pair = from_document(job.document_of(pair), "the request")
                wrong = publish.refusal(document, job.commit_sha, pair.slot, of_pair)
                if wrong is not None or not isinstance(document, dict):
                    why = Evidence("publish_failed", {"what": wrong or "there is no report"})
                    document = dict(report_of(request, asked, why, self.lab.name))
                self.store.answer(job, {pair.number: document})

    def _end_overdue(self) -> None:
        """A pending status never outlives its time."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        for job in self.store.jobs():
            if job.state != ASKED and datetime.fromisoformat(job.not_after) < now:
                self._answer_all(job, Evidence("no_answer", {"by": job.not_after}), (WAITING, HANDED))

    def _answer_all(self, job: Job, why: Evidence, states: Sequence[str]) -> None:
        request = _request(job)
        found = [pair for pair in job.pairs if pair.state in states]
        reports = {p.number: report_of(request, request.pairs[p.number], why, self.lab.name) for p in found}
        self.store.answer(job, reports)

    def _tidy(self) -> None:
        """Take from the spool whatever no open job waits for."""
        wanted = {job.place(pair) for job in self.store.jobs() for pair in job.pairs if pair.state == HANDED}
        for name in spool.ready(self.folder, spool.JOBS):
            if name not in wanted:
                spool.withdraw(self.folder, name)
        self._give_up()
        self.store.forget(self.clock())

    def _give_up(self) -> None:
        """What could not be told for a day after its time will not be told any more."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        for job in self.store.jobs():
            if (
                datetime.fromisoformat(job.not_after) + timedelta(seconds=UNDECIDED_SECONDS) < now
                and job.state != ASKED
            ):
                self.say(f"{job.repository}: nobody could be told about {job.commit_sha[:12]}")
                self.store.done(job)

    # --- with one forge

    def _serve(self, watched: Watched, away: str | None) -> None:
        forge = self.open_forge(watched, Deadline(ROUND_SECONDS))
        self._publish(watched, forge)
        self._look(watched, forge)
        self._decide(watched, forge)
        self._leave_traces(watched, forge)
        self._drop_superseded(watched)
        self._announce(watched, forge, away)
        self._publish(watched, forge)

    def _look(self, watched: Watched, forge: Forge) -> None:
        pause, now = self.pauses[watched.address], self.clock()
        if now < pause.look:
            return
        before = self.store.marks(watched.address)
        found, marks = findings(forge.watching.look(before, watched.events), watched, before)
        self.store.see(watched.address, found, marks, now)
        pause.look = now + self.look_seconds

    def _decide(self, watched: Watched, forge: Forge) -> None:
        self.store.give_up(watched.address, self.clock() - UNDECIDED_SECONDS)
        waiting = self.store.undecided(watched.address)
        older = plan.catch_up(waiting)
        for finding in waiting:
            if by := older.get(finding.id):
                self.store.decide(watched.address, finding, f"{IGNORED}: {by[:12]} came later", None, None)
        _each([finding for finding in waiting if finding.id not in older], partial(self._decide_one, watched, forge))

    def _decide_one(self, watched: Watched, forge: Forge, finding: Finding) -> None:
        known = self.store.jobs(watched.address)
        made = decide(finding, watched, self.lab.slots, forge, forge.builds, known, self.clock())
        self.say(f"{watched.address}: {finding.line}, {finding.event.kind}: {made.outcome} {made.why}".rstrip())
        self.store.decide(watched.address, finding, f"{made.outcome}: {made.why}", made.reply, made.job)

    def _leave_traces(self, watched: Watched, forge: Forge) -> None:
        """Answer whoever asked, show that a comment was understood, take the label off: one that is used up.

        A forge that does not let us changes nothing of what was decided.
        """
        for finding, outcome, reply in self.store.unclosed(watched.address):
            try:
                _leave(finding, outcome.partition(":")[0], reply, forge)
            except ForgeUnavailable:
                raise
            except PublishError as error:
                self.say(f"note: {error.what}")
            self.store.close(watched.address, finding)

    def _drop_superseded(self, watched: Watched) -> None:
        """What nobody knows of is dropped silently, what is pending is ended, what runs may end."""
        jobs = self.store.jobs(watched.address)
        for job_id, by in plan.superseded(jobs).items():
            job = next(job for job in jobs if job.id == job_id)
            if job.state == ASKED:
                self.store.done(job)
            else:
                self._answer_all(job, Evidence("superseded", {"by": by[:12]}), (WAITING,))

    def _announce(self, watched: Watched, forge: Forge, away: str | None) -> None:
        _each(self.store.jobs(watched.address), partial(self._tell, watched, forge, away))

    def _tell(self, watched: Watched, forge: Forge, away: str | None, job: Job) -> None:
        if away is not None and all(pair.state == WAITING for pair in job.pairs):
            self._tell_away(watched, forge, job, away)
        elif job.state in NEW and not unanswered(job):
            self.store.announced(job)  # all was decided before anybody was told
        elif job.state == ASKED and self._is_too_much(watched, job):
            self._answer_all(job, Evidence("runs_used_up", {"limit": str(watched.max_runs_per_day)}), (WAITING,))
            self.store.announced(job)
        elif job.state in NEW:
            self._announce_one(watched, forge, job)

    def _is_too_much(self, watched: Watched, job: Job) -> bool:
        jobs = [other for other in self.store.jobs(watched.address) if other.state == OPEN]
        queued = sum(pair.state == WAITING for other in jobs for pair in other.pairs)
        return len(job.pairs) > self._runs_left(watched) - queued

    def _announce_one(self, watched: Watched, forge: Forge, job: Job) -> None:
        """Pending statuses, with a time limit that counts from when the run may begin."""
        begin = plan.open_at(watched.hours, self._local())
        until = begin.astimezone(UTC) + timedelta(seconds=ANSWER_SECONDS)
        document = {**job.document, "not_after": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
        self.store.announce(job, document)
        request = replace(from_document(document, "the request"), digest=None)
        blocked = {number: pair for number, pair in enumerate(request.pairs) if pair.blocked is not None}
        told = {n: report_of(request, pair, evidence(pair), self.lab.name) for n, pair in blocked.items()}
        self.store.answer(job, told)
        gate.announce_all(request, forge.statuses)
        self.store.announced(job)
        self.store.see(watched.address, (), {_told(job.line): ""}, self.clock())

    def _tell_away(self, watched: Watched, forge: Forge, job: Job, away: str) -> None:
        """One `blocked` for each line, then silence; the newest job of each waits until the lab is back."""
        if job.state != ASKED or not self.store.marks(watched.address).get(_told(job.line)):
            request = _request(job)
            why = Evidence("lab_away", {"until": away})
            reports = [report_of(request, pair, why, self.lab.name) for pair in request.pairs]
            for number, report in enumerate(reports):
                self._post(request, number, report, forge.statuses)
            if request.aggregate:
                aggregate(request, results_of(request, reports), forge.statuses, request.aggregate)
        self.store.recall(job)
        self.store.see(watched.address, (), {_told(job.line): away}, self.clock())

    # --- the answers

    def _publish(self, watched: Watched, forge: Forge) -> None:
        _each([job for job in self.store.jobs(watched.address) if job.state == OPEN], partial(self._publish_one, forge))

    def _publish_one(self, forge: Forge, job: Job) -> None:
        request = _request(job)
        for pair in job.pairs:
            if pair.state == ANSWERED:
                self._post(request, pair.number, pair.report, forge.statuses)
                self.store.posted(job, pair)
        if not unanswered(job):
            self._conclude(job, request, forge)
            self.store.done(job)

    def _post(self, request: Request, number: int, report: object, sink: StatusSink) -> None:
        pair = request.pairs[number]
        publish.publish(
            report,
            sink,
            sha=request.commit_sha,
            slot=pair.slot,
            context=pair.context,
            target_url=request.run_url,
            request=request,
        )

    def _conclude(self, job: Job, request: Request, forge: Forge) -> None:
        """The status of all slots, and the comment on the pull request."""
        results = results_of(request, [pair.report for pair in job.pairs])
        if request.aggregate:
            aggregate(request, results, forge.statuses, request.aggregate)
        discuss(request, results, forge.conversation, "auto")

    # --- to the bench

    def _hand_over(self) -> None:
        """One pair for each free slot, fairly; a pair whose build is not there yet leaves its turn to another."""
        while chosen := self._next_turns():
            before = self.store.jobs()
            for turn in chosen:
                watched = self.lab.watched(turn.job.repository)
                assert watched is not None
                self._guarded(watched, lambda watched=watched, turn=turn: self._take_turn(watched, turn))  # type: ignore[misc]
            if self.store.jobs() == before:
                return

    def _next_turns(self) -> list[Turn]:
        now, local = self.clock(), self._local()
        ready, served, limits = [], {}, {}
        for watched in self.lab.projects:
            address = watched.address
            if now < self.pauses.setdefault(address, Pause()).serve or plan.open_at(watched.hours, local) != local:
                continue
            builds = self.store.marks(address).get("etag-runs", "")
            jobs = [job for job in self.store.jobs(address) if job.state == OPEN]
            ready += [job for job in jobs if not job.looked or job.looked != builds]
            served[address] = max(self.store.begun(address), default=0.0)
            limits[address] = self._runs_left(watched)
        busy = [job for job in self.store.jobs() if job not in ready]
        return plan.turns(ready, served, limits, busy)

    def _take_turn(self, watched: Watched, turn: Turn) -> None:
        deadline = Deadline(DOWNLOAD_SECONDS)
        forge, request = self.open_forge(watched, deadline), _request(turn.job)
        try:
            hand_over(turn, request, forge.builds, self.cache, self.folder, deadline, lambda _text, _percent: None)
        except (BuildRunning, NoRun):
            self.store.looked(turn.job, self.store.marks(watched.address).get("etag-runs", "") or "none")
        except HutCiError as error:
            if isinstance(error, ForgeUnavailable) or error.evidence in PASSING:
                raise
            report = report_of(request, request.pairs[turn.pair.number], evidence_of(error), self.lab.name)
            self.store.answer(turn.job, {turn.pair.number: report})
        else:
            self.store.hand_over(turn.job, turn.pair, self.clock())

    def _runs_left(self, watched: Watched) -> int:
        return plan.runs_left(self.store.begun(watched.address), watched.max_runs_per_day, self.clock())

    def _local(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC).astimezone()


def _each(items: Iterable[Item], what: Callable[[Item], None]) -> None:
    """Do `what` for each; one that fails does not keep the others from it, unless the forge is down."""
    troubles: list[HutCiError] = []
    for item in items:
        try:
            what(item)
        except ForgeUnavailable:
            raise
        except HutCiError as error:
            troubles.append(error)
    if troubles:
        raise troubles[0]


def _leave(finding: Finding, outcome: str, reply: str | None, forge: Forge) -> None:
    event = finding.event
    if reply is not None and event.pull_request is not None and outcome in (HELP, REFUSED):
        upsert(forge.conversation, event.pull_request, reply, failed=True, when="always", about=outcome)
    if outcome == RUN and event.comment_id is not None and event.pull_request is not None:
        forge.watching.accept(event.pull_request, event.comment_id)
    if event.label is not None and event.pull_request is not None:
        forge.watching.drop_label(event.pull_request, event.label)


def _request(job: Job) -> Request:
    """Without its digest: each report was compared with the document of its own pair when it came."""
    return replace(from_document(job.document, "the request"), digest=None)


def _told(line: str) -> str:
    return f"away:{line}"
