"""Boot a build a few times on a claimed slot and propose what a passing board prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hut_ci import firmware
from hut_ci.attempt import Bench, attempt, restore
from hut_ci.cancellation import cancellation
from hut_ci.deadline import Deadline
from hut_ci.errors import BoardError
from hut_ci.model import Claim, Evidence, Expect, Slot, Suite
from hut_ci.record import Event, Record
from hut_ci.run import Order, new_report
from hut_ci.stages import slot as slot_stage
from hut_ci.stages.learn import propose
from hut_ci.stages.variant import choose_variant
from hut_ci.stages.verdict import sentence


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the boots had in common; `slot` is where they took place."""

    slot: str
    expect: tuple[Expect, ...]


def learn(
    order: Order,
    claims: slot_stage.Claims,
    boots: int,
    settle: float,
    on_event: Callable[[Event], None],
    on_claim: Callable[[Claim, Slot], None] = lambda _claim, _slot: None,
) -> Lesson:
    """Flash once, boot `boots` times and watch each for `settle` seconds; raises BoardError where one does not boot.

    `on_claim` is told the claimed slot before its port is looked for.
    """
    from hut_ci import config

    assert order.build is not None
    project = config.load_project(order.hut)
    variant = choose_variant(project, order.variant)
    plan = firmware.load(order.build, order.work / "firmware", project.flash, chip=variant.needs.chip)
    slots = slot_stage.candidates(order.lab, order.slot, plan, variant.needs)
    record = Record(new_report(order), on_event, lambda _report, _stage: None)
    deadline = Deadline(order.limit)
    note = slot_stage.Note(why="hut-ci learn")
    with (
        cancellation(),
        slot_stage.take(claims, order.lab, slots, note, deadline.within(order.wait), record.say, on_claim=on_claim) as (
            claim,
            slot,
        ),
    ):
        record.hold(slot)
        bench = Bench(order.lab, slot, claim, order.work, deadline, None)
        evidence = Evidence("killed", {"stage": "learn"})
        try:
            for number in range(boots):
                record.say(f"boot {number + 1} of {boots}")
                evidence = attempt(bench, record, plan, Suite(settle=settle), write=number == 0, baud=slot.baud)
                if evidence.id != "passed":
                    raise BoardError(
                        f"boot {number + 1} of {boots} did not pass: {sentence(evidence)}",
                        why="what a broken build prints is nothing to expect of a good one",
                        todo="`hut-ci run` on the same build keeps its serial log",
                    )
        finally:
            if evidence.id != "passed":
                restore(bench, record, evidence)
    logs = [seen.suite.log.read_text("utf-8").splitlines() for seen in record.attempts if seen.suite and seen.suite.log]
    return Lesson(slot.id, propose(logs))
