"""From a forge's news to jobs: look, decide, and show whoever asked what became of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hut_ci.errors import ForgeUnavailable, PublishError
from hut_ci.model import Evidence, Watched
from hut_ci.stages import publish
from hut_ci.stages.comment import When, upsert
from hut_ci.stages.finding import Finding
from hut_ci.stages.news import findings, head_mark, nothing_pushed
from hut_ci.watch import plan
from hut_ci.watch.decide import HELP, IGNORED, REFUSED, RUN, decide
from hut_ci.watch.desk import Desk, each
from hut_ci.watch.forge import Forge
from hut_ci.watch.job import ASKED, WAITING

AGAIN = "Asked for again since, and tested."
"""What stands in the place of an earlier refusal."""
WHOLE = "hardware"
"""Where the answer to a push stands that no pair could be made of."""
UNDECIDED_SECONDS = 86400.0
"""After that, what cannot be decided is given up."""


def look(desk: Desk, watched: Watched, forge: Forge) -> None:
    """Keep what is new, together with the marks that say it was seen."""
    before = desk.store.marks(watched.address)
    seen = forge.watching.look(before, watched.events)
    found, marks = findings(seen, watched, before)
    if not before and not found and "push" in watched.events:
        desk.say(f"{watched.address}: nothing to test yet: {nothing_pushed(seen.builds or (), watched)}")
    desk.store.see(watched.address, found, marks, desk.clock())


def decide_all(desk: Desk, watched: Watched, forge: Forge) -> None:
    """Of what came while nothing could be decided, only the newest push of each line is."""
    desk.store.give_up(watched.address, desk.clock() - UNDECIDED_SECONDS)
    waiting = desk.store.undecided(watched.address)
    older = plan.catch_up(waiting)
    for finding in waiting:
        if by := older.get(finding.id):
            desk.store.decide(watched.address, finding, f"{IGNORED}: {by[:12]} came later", None, None)
    each([finding for finding in waiting if finding.id not in older], partial(_decide_one, desk, watched, forge))


def _decide_one(desk: Desk, watched: Watched, forge: Forge, finding: Finding) -> None:
    known = desk.store.jobs(watched.address)
    made = decide(finding, watched, desk.lab.slots, forge, forge.builds, known, desk.clock())
    desk.say(f"{watched.address}: {finding.line}, {finding.event.kind}: {made.outcome} {made.why}".rstrip())
    if made.moved:
        desk.store.see(watched.address, (), {head_mark(finding.line): ""}, desk.clock())
    desk.store.decide(watched.address, finding, f"{made.outcome}: {made.why}", made.reply, made.job)


def leave_traces(desk: Desk, watched: Watched, forge: Forge) -> None:
    """Answer whoever asked, show that a comment was understood, take the label off: one that is used up.

    A forge that does not let us changes nothing of what was decided.
    """
    for finding, outcome, reply in desk.store.unclosed(watched.address):
        try:
            _leave(finding, outcome, reply, forge)
        except ForgeUnavailable:
            raise
        except PublishError as error:
            desk.say(f"note: {error.what}")
        desk.store.close(watched.address, finding)


def _leave(finding: Finding, told: str, reply: str | None, forge: Forge) -> None:
    """A step that the forge refuses (a comment on a locked pull request) keeps no other from being done."""
    event, (outcome, _, why) = finding.event, told.partition(": ")
    number, comment, label = event.pull_request, event.comment_id, event.label
    steps: list[Callable[[], None]] = []
    if outcome == REFUSED and event.sender is None and event.commit_sha is not None:
        steps.append(partial(_tell_commit, forge, event.commit_sha, why, finding.url))
    if number is not None and event.sender is not None:
        # By asker: nobody's question takes the answer to somebody else away.
        if reply is not None and outcome in (HELP, REFUSED):
            steps.append(partial(_say, forge, number, reply, f"{outcome} {event.sender}", "always"))
        if outcome == RUN:
            steps.append(partial(_say, forge, number, AGAIN, f"{REFUSED} {event.sender}", "auto"))
    if outcome == RUN and comment is not None and number is not None:
        steps.append(partial(forge.watching.accept, number, comment))
    if label is not None and number is not None:
        steps.append(partial(forge.watching.drop_label, number, label))
    each(steps, lambda step: step())


def _tell_commit(forge: Forge, sha: str, why: str, url: str | None) -> None:
    publish.settle(forge.statuses, sha, WHOLE, Evidence("config", {"what": why}), url)


def _say(forge: Forge, number: int, text: str, about: str, when: When) -> None:
    """`auto` changes only what stands there already."""
    upsert(forge.conversation, number, text, failed=when == "always", when=when, about=about)


def drop_superseded(desk: Desk, watched: Watched) -> None:
    """What nobody knows of is dropped silently, what is pending is ended, what runs may end."""
    jobs = {job.id: job for job in desk.store.jobs(watched.address)}
    for job_id, by in plan.superseded(list(jobs.values())).items():
        if jobs[job_id].state == ASKED:
            desk.store.done(jobs[job_id])
        else:
            desk.answer(jobs[job_id], Evidence("superseded", {"by": by[:12]}), (WAITING,))
