"""One attempt on a claimed slot (flash + suite), the steps between attempts, and the restoring at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hut_ci.board.line import open_line
from hut_ci.board.port_holder import named_holder
from hut_ci.deadline import Deadline
from hut_ci.errors import BoardError, FlashError, PowerError, SlotError
from hut_ci.esptool.progress import Progress
from hut_ci.model import (
    Claim,
    Evidence,
    FlashPlan,
    FlashResult,
    Lab,
    PowerResult,
    RecoveryEvent,
    Slot,
    Step,
    Suite,
    SuiteResult,
)
from hut_ci.record import Record, evidence_of
from hut_ci.stages import slot as slot_stage
from hut_ci.stages.flash import flash, next_baud
from hut_ci.stages.suite import run_suite
from hut_ci.units import utc_now

PORT_RETURNS_WITHIN = 10.0  # seconds; USB re-enumeration after a reset or a power cycle takes one to four
ALIVE_WITHIN = 2.0  # seconds; every ESP ROM prints its banner within 0.4 s of a reset
RESTORE_WITHIN = 60.0  # seconds for leaving the board in order, whatever became of the run
CANCELLED_WITHIN = 4.0  # the same for a cancelled run: GitHub's runner sends SIGKILL 10 s after SIGINT

PowerCycle = Callable[[Deadline], PowerResult]


@dataclass(frozen=True, slots=True)
class Bench:
    """A claimed slot and what may be done to its board; `power_cycle` is None where nothing can switch it."""

    lab: Lab
    slot: Slot
    claim: Claim
    work: Path
    deadline: Deadline
    power_cycle: PowerCycle | None

    @property
    def steps(self) -> frozenset[Step]:
        """The recovery steps that this slot offers."""
        steps = {Step.RESET, Step.REFLASH}
        if self.power_cycle is not None:
            steps.add(Step.POWER_CYCLE)
        if self.slot.golden is not None:
            steps.add(Step.GOLDEN)
        return frozenset(steps)


def attempt(bench: Bench, record: Record, plan: FlashPlan, suite: Suite, *, write: bool, baud: int) -> Evidence:
    """Flash `plan` (unless `write` is False: it is on the chip already) and run `suite`; never raises for the lab."""
    work = bench.work / f"attempt-{len(record.attempts) + 1}"
    work.mkdir(parents=True, exist_ok=True)
    flashed: FlashResult | None = None
    tested: SuiteResult | None = None
    try:
        if write:
            flashed = _flash(bench, record, plan, work, baud)
        evidence = flashed.evidence if flashed else None
        if evidence is None:
            tested = _suite(bench, record, plan, suite, work)
            evidence = tested.evidence
    except (BoardError, FlashError, SlotError) as error:
        evidence = evidence_of(error)
    record.end_attempt(evidence, flashed, tested)
    return evidence


def _flash(bench: Bench, record: Record, plan: FlashPlan, work: Path, baud: int) -> FlashResult:
    with record.stage("flash") as outcome:
        port = _returned_port(bench)
        record.say(f"flashing {plan.bytes_total // 1024} KiB at {baud} baud")
        result = flash(
            bench.claim,
            bench.slot,
            plan,
            port=port,
            work=work,
            deadline=bench.deadline,
            baud=baud,
            on_progress=lambda progress: record.say(progress.text, _percent(progress)),
            holder_of=named_holder,
        )
        if result.board is not None:
            record.know(board=result.board)
        if result.evidence is not None:
            outcome.append(result.evidence)
    return result


def _returned_port(bench: Bench) -> str:
    """The port, which was there when the slot was claimed: raises BoardError (port_gone) if it does not come back."""
    try:
        return slot_stage.wait_for_port(bench.slot, bench.deadline.within(PORT_RETURNS_WITHIN))
    except SlotError as error:
        names = " or ".join(bench.slot.serial)
        raise BoardError(
            error.what,
            why=error.why,
            todo=error.todo,
            fields={"reason": f"{names} did not return within {PORT_RETURNS_WITHIN:g} s"},
        ) from error


def _percent(progress: Progress) -> float | None:
    """How much of the whole plan is done; None for what is worth a line of its own."""
    if progress.stage in ("identify", "retry", "failed") or not progress.total:
        return None
    return 100.0 * progress.done / progress.total


def _suite(bench: Bench, record: Record, plan: FlashPlan | None, suite: Suite, work: Path) -> SuiteResult:
    with record.stage("suite") as outcome:
        port = _returned_port(bench)
        record.say("watching the boot")
        with open_line(port, suite.baud) as line:
            result = run_suite(
                bench.claim,
                line,
                suite,
                work=work,
                deadline=bench.deadline,
                plan=plan,
                log_limit=bench.lab.log_limit,
                on_line=lambda text: record.say(f"| {text}"),
            )
        outcome.append(result.evidence)
    return result


def take_step(bench: Bench, record: Record, step: Step, plan: FlashPlan, suite: Suite) -> Evidence:
    """Take one recovery step because of the last attempt's evidence, and answer what is seen after it."""
    last = record.attempts[-1]
    cause, start, clock = last.evidence, utc_now(), time.monotonic()
    on_chip = last.flash is None or last.flash.evidence is None
    baud = last.flash.baud if last.flash and last.flash.baud else bench.slot.baud
    record.say(f"recovering from {cause.id}: {step.value.replace('_', ' ')}")
    try:
        if step is Step.POWER_CYCLE:
            _cycle(bench, record)
    except PowerError as error:
        record.recovered_by(_event(step, start, clock, error.evidence, cause, error.what))
        return evidence_of(error)
    if step is Step.GOLDEN:
        return _ask_golden(bench, record, cause)
    if step is Step.REFLASH and cause.id == "link_error":
        baud = next_baud(baud) or baud
    evidence = attempt(bench, record, plan, suite, write=step is not Step.RESET or not on_chip, baud=baud)
    record.recovered_by(_event(step, start, clock, evidence.id, cause))
    return evidence


def retry(bench: Bench, record: Record, plan: FlashPlan, suite: Suite) -> Evidence:
    """Watch the same firmware once more after it failed; only a project that asks for it gets here."""
    cause, start, clock = record.attempts[-1].evidence, utc_now(), time.monotonic()
    evidence = attempt(bench, record, plan, suite, write=False, baud=bench.slot.baud)
    record.recovered_by(RecoveryEvent("retry", start, round(time.monotonic() - clock, 3), evidence.id, cause.id))
    return evidence


def _ask_golden(bench: Bench, record: Record, cause: Evidence) -> Evidence:
    """Flash the slot's known-good image: it boots → the firmware under test is to blame, else the lab."""
    from hut_ci import firmware

    assert bench.slot.golden is not None
    start, clock = utc_now(), time.monotonic()
    plan = firmware.load(bench.slot.golden, bench.work / "golden")
    seen = attempt(bench, record, plan, Suite(), write=True, baud=bench.slot.baud)
    record.recovered_by(_event(Step.GOLDEN, start, clock, seen.id, cause))
    return Evidence("golden_fail") if seen.id == "passed" else cause


def _cycle(bench: Bench, record: Record, *, deadline: Deadline | None = None) -> PowerResult:
    """Cycle the slot's power; anything but `ok` raises PowerError."""
    assert bench.power_cycle is not None
    record.enter("power cycle")
    result = bench.power_cycle(deadline or bench.deadline)
    record.say(f"power cycle: {result.result}{'' if result.proven else ' (unproven)'}")
    if result.result != "ok":
        raise PowerError(
            result.text or result.detail,
            evidence="power_timeout" if result.result == "timeout" else "power_failed",
        )
    record.power_cycles += 1
    return result


def restore(bench: Bench, record: Record, cause: Evidence) -> None:
    """Leave the board running for whoever claims it next: reset it, and power-cycle it when it stays silent.

    Never raises for the lab and never changes the verdict; each step stands in the report.
    """
    deadline = Deadline(CANCELLED_WITHIN if cause.id == "cancelled" else RESTORE_WITHIN)
    start, clock = utc_now(), time.monotonic()
    alive = _reset_answers(bench, deadline)
    record.recovered_by(_event(Step.RESET, start, clock, "ok" if alive else "silence", cause, restoring=True))
    if alive or bench.power_cycle is None or _power_is_tried(record) or cause.id == "cancelled":
        return
    start, clock = utc_now(), time.monotonic()
    try:
        _cycle(bench, record, deadline=deadline)
        outcome = "ok" if _reset_answers(bench, deadline) else "silence"
    except PowerError as error:
        outcome = error.evidence
    record.recovered_by(_event(Step.POWER_CYCLE, start, clock, outcome, cause, restoring=True))


def _power_is_tried(record: Record) -> bool:
    """Whether the last thing done to the board was a power cycle: a second one would only wear the relay."""
    return bool(record.recovery[:-1]) and record.recovery[-2].step == Step.POWER_CYCLE


def _reset_answers(bench: Bench, deadline: Deadline) -> bool:
    """Whether any byte follows a reset."""
    try:
        port = slot_stage.wait_for_port(bench.slot, deadline.within(PORT_RETURNS_WITHIN))
        with open_line(port, 115200) as line:
            line.reset()
            return bool(line.read(deadline.within(ALIVE_WITHIN)))
    except (BoardError, SlotError):
        return False


def _event(
    step: Step, start: str, clock: float, outcome: str, cause: Evidence, detail: str = "", *, restoring: bool = False
) -> RecoveryEvent:
    return RecoveryEvent(
        step.value, start, round(time.monotonic() - clock, 3), outcome, cause.id, detail, restoring=restoring
    )
