"""Artifact → report for one (variant, slot): one loop over a pure `next_step`, one place where everything ends."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hut_ci import firmware
from hut_ci.attempt import Bench, PowerCycle, attempt, restore, retry, take_step
from hut_ci.cancellation import cancellation
from hut_ci.deadline import Deadline
from hut_ci.errors import Cancelled, HutCiError, SlotError, UsageError
from hut_ci.model import (
    Artifact,
    Claim,
    Evidence,
    FlashPlan,
    Lab,
    Project,
    Report,
    Slot,
    Step,
    Suite,
    Variant,
    VerdictName,
)
from hut_ci.record import Event, Record, evidence_of
from hut_ci.stages import artifact as artifact_stage
from hut_ci.stages import slot as slot_stage
from hut_ci.stages.build_choice import Wanted, selector_of, wanted_of
from hut_ci.stages.project_source import Found
from hut_ci.stages.recover import next_step
from hut_ci.stages.report import partial
from hut_ci.stages.tested import Tested, tested_key
from hut_ci.stages.variant import choose_variant
from hut_ci.stages.verdict import table
from hut_ci.units import utc_now


@dataclass(frozen=True, slots=True)
class Order:
    """What one run is asked; every path is absolute, times are seconds.

    `build` is None when the artifact of `commit_sha` comes from a forge. `slot` is an id, a label, a chip or
    a tag. `wait` bounds the queue for a slot, `limit` the whole run; after the instant `not_after` nobody waits for
    the answer any more. `base_ref` is the branch that the pull request went into when it was asked for.
    `request_digest` is that of the document that asked. `run_id` names the build's run, `allow_fork` and `skip_tested`
    were asked for explicitly.
    """

    lab: Lab
    job_id: str
    work: Path
    build: Path | None
    hut: Path | None
    slot: str | None
    variant: str | None
    commit_sha: str | None
    repository: str | None
    run_url: str | None
    wait: float
    limit: float
    pull_request: int | None = None
    base_ref: str | None = None
    run_id: str | None = None
    allow_fork: bool = False
    skip_tested: bool = False
    not_after: str | None = None
    request_digest: str | None = None


Find = Callable[[Wanted, Path, Deadline, Callable[[str, float | None], None]], Artifact]


@dataclass(frozen=True, slots=True)
class Tools:
    """The collaborators that a run is handed: who claims, who switches power, where builds are, who listens.

    `project` reads hut.yml, from the disk or through a forge; `find` fetches the artifact of a commit into a folder.
    `checkpoint` keeps what would be known of a run killed in the named stage, `write` the final report. `announce`
    tells the forge what the run waits for, `deliver` how it ended.
    """

    claims: slot_stage.Claims
    power: Callable[[Lab, Slot, Claim], PowerCycle | None]
    project: Callable[[], Found]
    find: Find | None
    on_event: Callable[[Event], None]
    checkpoint: Callable[[Report, str], object]
    write: Callable[[Report], object]
    announce: Callable[[Report, str], None]
    deliver: Callable[[Report], None]


def run(order: Order, tools: Tools) -> Report:
    """The whole path for one slot; whatever happens, the answer is a written and published report."""
    record = Record(new_report(order), tools.on_event, tools.checkpoint)
    with cancellation() as decided:
        try:
            evidence = _evidence(order, tools, record)
            decided()  # a signal that comes later finds a verdict, and must not cost its report or status
        except Cancelled as error:
            evidence = Evidence(error.evidence, error.fields)
        report = record.report(evidence)
        try:
            tools.write(report)
        finally:
            tools.deliver(report)  # a report that cannot be written must not leave the commit pending
    return report


def _evidence(order: Order, tools: Tools, record: Record) -> Evidence:
    """What the path ended with; raises Cancelled only."""
    try:
        return _path(order, tools, record)
    except Cancelled:
        raise
    except HutCiError as error:
        return evidence_of(error)
    except Exception as error:
        with suppress(OSError):  # the disk may be what is wrong
            (order.work / "bug.txt").write_text(traceback.format_exc(), "utf-8")
        return Evidence("bug", {"what": f"{type(error).__name__}: {error}"})


def _path(order: Order, tools: Tools, record: Record) -> Evidence:
    deadline = Deadline(order.limit)
    _refuse_late(order)
    with record.stage("artifact"):
        if order.slot and order.lab.slot(order.slot):
            tools.announce(record.so_far(), "waiting for a board")
        found = tools.project()
        project, variant = found.project, choose_variant(found.project, order.variant)
        artifact, plan = _firmware(order, tools, found, variant, record, deadline)
        record.know(variant=variant.name, artifact=artifact, plan=plan, built_sha=artifact.built_sha)
        record.know(project_digest=project.digest, project_changed=found.changed)
        record.know(notes=(*found.notes, *artifact.notes))
        slots = slot_stage.candidates(order.lab, order.slot, plan, variant.needs)
    with ExitStack() as claimed:
        with record.stage("slot"):
            bench = claimed.enter_context(_bench(order, tools, record, slots, deadline))
            _refuse_late(order)
        tested = _tested(order, bench, plan, project)
        if order.skip_tested and tested and (when := tested.passed_at()):
            return Evidence("already_passed", {"when": when})
        tools.announce(record.so_far(), "flashing and testing")
        evidence = _attempts(bench, record, plan, project)
        if tested and evidence.id == "passed" and not record.firmware_failures:
            tested.remember()
        return evidence


def _refuse_late(order: Order) -> None:
    """Raise SlotError where nobody waits for the answer any more."""
    if order.not_after is not None and datetime.fromisoformat(order.not_after) < datetime.now(UTC):
        raise SlotError(f"the request was over at {order.not_after}", evidence="too_late")


def _tested(order: Order, bench: Bench, plan: FlashPlan, project: Project) -> Tested | None:
    """The note that this has passed here; a build of no known commit leaves none."""
    if order.commit_sha is None:
        return None
    return Tested(order.lab.state_dir / "tested", tested_key(order.commit_sha, bench.slot, plan, project))


def _attempts(bench: Bench, record: Record, plan: FlashPlan, project: Project) -> Evidence:
    """Attempts with recovery between them until the evidence is final; the board is left in order after a failure."""
    evidence = Evidence("bug", {"what": "no attempt was made"})
    try:
        evidence = _ladder(bench, record, plan, project)
    except Cancelled as error:
        evidence = evidence_of(error)
        raise
    finally:
        if table()[evidence.id].verdict is not VerdictName.PASS:
            record.enter("restore")
            record.say("leaving the board in order")
            restore(bench, record, evidence)
    return evidence


def _ladder(bench: Bench, record: Record, plan: FlashPlan, project: Project) -> Evidence:
    history: list[Step] = []
    suite = project.suite
    evidence = attempt(bench, record, plan, suite, write=True, baud=project.flash.baud or bench.slot.baud)
    while True:
        if _may_retry(record, evidence, suite):
            evidence = retry(bench, record, plan, suite)
            continue
        step = next_step(evidence, history, bench.steps)
        if step is None:
            return evidence
        history.append(step)
        evidence = take_step(bench, record, step, plan, suite)


def _may_retry(record: Record, evidence: Evidence, suite: Suite) -> bool:
    """Whether the project wants this firmware watched once more; never after the golden image took its place."""
    if table()[evidence.id].blame != "firmware" or record.attempts[-1].evidence != evidence:
        return False
    return record.firmware_failures <= suite.retry_failures


@contextmanager
def _bench(order: Order, tools: Tools, record: Record, slots: tuple[Slot, ...], deadline: Deadline) -> Iterator[Bench]:
    """The claimed slot; only waiting is bounded by `order.wait`."""
    note = slot_stage.Note(
        why="hut-ci run",
        run_url=order.run_url,
        repository=order.repository,
        commit_sha=order.commit_sha,
    )
    waiting = deadline.within(order.wait)
    cycles: dict[str, PowerCycle | None] = {}

    def prepare(claim: Claim, slot: Slot) -> None:
        cycles[slot.id] = tools.power(order.lab, slot, claim)

    take = slot_stage.take(tools.claims, order.lab, slots, note, waiting, record.say, on_claim=prepare)
    with take as (claim, slot):
        record.hold(slot)
        yield Bench(order.lab, slot, claim, order.work, deadline, cycles[slot.id])


def _firmware(
    order: Order, tools: Tools, found: Found, variant: Variant, record: Record, deadline: Deadline
) -> tuple[Artifact, FlashPlan]:
    if order.build is not None:
        artifact = artifact_stage.local_build(order.build, order.commit_sha)
    else:
        artifact = _from_forge(order, tools, found.project, variant, record, deadline)
        artifact_stage.refuse_own_judge(artifact, read_from_commit=found.of_commit)
    chip, settings = variant.needs.chip, found.project.flash
    inside = selector_of(found.project, variant).path
    plan = firmware.load(artifact.path, order.work / "firmware", settings, chip=chip, inside=inside)
    return artifact_stage.of_plan(artifact, plan), plan


def _from_forge(
    order: Order,
    tools: Tools,
    project: Project,
    variant: Variant,
    record: Record,
    deadline: Deadline,
) -> Artifact:
    if tools.find is None or order.commit_sha is None:
        raise UsageError(
            "neither a build was given, nor a commit and the forge to fetch one from",
            todo="`hut-ci run build/`, or `hut-ci run --commit $(git rev-parse HEAD) --forge github:OWNER/NAME`",
        )
    wanted = wanted_of(project, variant, order.commit_sha, allow_fork=order.allow_fork, run_id=order.run_id)
    return tools.find(wanted, order.work, deadline, record.say)


def new_report(order: Order) -> Report:
    """A report of nothing yet; `record` fills it."""
    return partial(
        order.job_id,
        utc_now(),
        lab=order.lab.name,
        slot=order.slot,
        lock_key=order.slot or "none",
        commit_sha=order.commit_sha,
        repository=order.repository,
        request_digest=order.request_digest,
    )
