"""Artifact → report for one (variant, slot): one loop over a pure `next_step`, one place where everything ends."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hut_ci import config, firmware
from hut_ci.attempt import Bench, PowerCycle, attempt, restore, retry, take_step
from hut_ci.cancellation import cancellation
from hut_ci.deadline import Deadline
from hut_ci.errors import Cancelled, HutCiError
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
from hut_ci.stages.recover import next_step
from hut_ci.stages.report import partial
from hut_ci.stages.variant import choose_variant
from hut_ci.stages.verdict import table
from hut_ci.units import utc_now


@dataclass(frozen=True, slots=True)
class Order:
    """What one run is asked; every path is absolute, times are seconds.

    `build` is None when the artifact of `commit_sha` comes from a forge. `slot` is an id, a label, a chip or
    a tag. `wait` bounds the queue for a slot, `limit` the whole run.
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


@dataclass(frozen=True, slots=True)
class Tools:
    """The collaborators that a run is handed: who claims, who switches power, where builds are, who listens.

    `checkpoint` keeps what would be known of a run killed in the named stage, `write` the final report;
    `publish` tells the forge, once at the start with a partial report and once at the end.
    """

    claims: slot_stage.Claims
    power: Callable[[Lab, Slot, Claim], PowerCycle | None]
    builds: artifact_stage.Builds | None
    on_event: Callable[[Event], None]
    checkpoint: Callable[[Report, str], object]
    write: Callable[[Report], object]
    publish: Callable[[Report], None]


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
            tools.publish(report)  # a report that cannot be written must not leave the commit pending
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
        (order.work / "bug.txt").write_text(traceback.format_exc(), "utf-8")
        return Evidence("bug", {"what": f"{type(error).__name__}: {error}"})


def _path(order: Order, tools: Tools, record: Record) -> Evidence:
    deadline = Deadline(order.limit)
    with record.stage("artifact"):
        project, variant = _project(order)
        artifact, plan = _firmware(order, tools, project, variant)
        record.know(variant=variant.name, artifact=artifact, plan=plan, project_digest=project.digest)
        slots = slot_stage.candidates(order.lab, order.slot, plan, variant.needs)
    with ExitStack() as claimed:
        with record.stage("slot"):
            bench = claimed.enter_context(_bench(order, tools, record, slots, deadline))
        tools.publish(record.report(Evidence("killed", {"stage": "flash"}), partial=True))
        return _attempts(bench, record, plan, project)


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


def _project(order: Order) -> tuple[Project, Variant]:
    project = config.load_project(order.hut)
    return project, choose_variant(project, order.variant)


def _firmware(order: Order, tools: Tools, project: Project, variant: Variant) -> tuple[Artifact, FlashPlan]:
    if order.build is not None:
        artifact = artifact_stage.local_build(order.build, order.commit_sha)
    else:
        artifact = artifact_stage.from_forge(tools.builds, order.commit_sha, variant.name)
    plan = firmware.load(artifact.path, order.work / "firmware", project.flash, chip=variant.needs.chip)
    return artifact_stage.of_plan(artifact, plan), plan


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
    )
