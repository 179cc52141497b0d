"""What becomes of a finding: a job, a refusal, an explanation, or nothing. By the gate's rules and lab.yml's limits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hut_ci.errors import ArtifactError, ConfigError, Refused, SlotError, UsageError
from hut_ci.model import Slot, Watched
from hut_ci.stages import spoken
from hut_ci.stages.finding import Finding
from hut_ci.stages.gate import request_document
from hut_ci.stages.news import branch_of
from hut_ci.stages.project_source import Files, project_at
from hut_ci.stages.reply import refusal
from hut_ci.stages.request import from_document
from hut_ci.stages.selection import select, slots_named
from hut_ci.stages.trigger import Forge, allow
from hut_ci.watch.job import DONE, Job, JobPair, job_id

DISCUSSED = (Refused, UsageError, ConfigError, SlotError, ArtifactError)
"""What whoever asked can do something about, and is told."""
ANSWER_SECONDS = 6 * 3600.0
"""From the moment when a run may begin to the moment when its pending status counts as lost."""
RUN, IGNORED, HELP, REFUSED = "run", "ignored", "help", "refused"


class Asked(Forge, Protocol):
    """A forge, as far as permissions and branches are concerned."""

    def head(self, branch: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Decision:
    """`reply` is Markdown for whoever asked, None where nobody did: a refused push is told so by a status.

    Only a run has a job. `moved` is one that its branch has left, and may return to.
    """

    outcome: str
    why: str = ""
    reply: str | None = field(default=None)
    job: Job | None = None
    moved: bool = False


def decide(
    finding: Finding,
    watched: Watched,
    slots: Sequence[Slot],
    forge: Asked,
    files: Files,
    known: Collection[Job],
    now: float,
) -> Decision:
    """Raises ForgeUnavailable, or ArtifactError of evidence forge_error, where the forge does not answer now.

    `known` are the jobs of the repository that are not done, `now` is Unix time.
    """
    event = finding.event
    if event.command.help:
        return Decision(HELP, reply=spoken.help_text())
    try:
        if gone := _moved(finding, forge):
            return Decision(IGNORED, gone, moved=True)
        job = _job(finding, watched, slots, forge, files, now)
    except DISCUSSED as error:
        if error.evidence == "forge_error":
            raise
        if event.sender is None:  # the head moved while it was built: its own build asks again
            return Decision(IGNORED if isinstance(error, Refused) else REFUSED, error.what)
        return Decision(REFUSED, error.what, reply=refusal(error))
    if _is_asked_for(job, known):
        return Decision(IGNORED, "this is being tested already")
    return Decision(RUN, job=job)


def _moved(finding: Finding, forge: Asked) -> str:
    """Why a push is not tested any more; empty if it is. Another push's own build asks for that one."""
    branch = branch_of(finding.line)
    if branch is None:
        return ""
    head = forge.head(branch)
    if head is None:
        return "the branch was deleted"
    return "" if head == finding.event.commit_sha else "the branch has another head now"


def _job(finding: Finding, watched: Watched, slots: Sequence[Slot], forge: Forge, files: Files, now: float) -> Job:
    ask = allow(finding.event, forge, "asked" if watched.forks == "asked" else "never")
    found = project_at(files, ask.commit_sha, ask.pull_request, ask.base_ref)
    choices = select(allowed(slots, watched), found.project, ask.names)
    document = request_document(
        ask,
        choices,
        found.project,
        builds=watched.address,
        publish_to=[watched.address],
        run_url=finding.url,
        answer_within=ANSWER_SECONDS,
        base_ref=found.base_ref,
    )
    request = from_document(document, "the request")
    return Job(
        id=job_id(watched.address, finding.id),
        repository=watched.address,
        line=finding.line,
        commit_sha=ask.commit_sha,
        document=document,
        pairs=tuple(JobPair(number, pair.slot) for number, pair in enumerate(request.pairs)),
        created=now,
    )


def allowed(slots: Sequence[Slot], watched: Watched) -> list[Slot]:
    """The slots that this repository may use."""
    named = [slot for name in watched.slots for slot in slots_named(slots, name)]
    return [slot for slot in slots if not watched.slots or slot in named]


def _is_asked_for(job: Job, known: Collection[Job]) -> bool:
    """Whether an open job answers for every pair of it, by the names of their statuses."""
    wanted = _contexts(job)
    same = [other for other in known if other.commit_sha == job.commit_sha and other.line == job.line]
    return any(wanted <= _contexts(other) for other in same if other.state != DONE and other.id != job.id)


def _contexts(job: Job) -> set[str]:
    return {pair.context for pair in from_document(job.document, "the request").pairs}
