"""What has happened so far in one run, and the report that can be made of it at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hut_ci.errors import HutCiError
from hut_ci.model import (
    Attempt,
    Evidence,
    FlashResult,
    RecoveryEvent,
    Report,
    Slot,
    StageRecord,
    SuiteResult,
)
from hut_ci.stages.verdict import judge, sentence, table
from hut_ci.units import utc_now


def evidence_of(error: HutCiError) -> Evidence:
    """What an expected error means for a run, with its likely cause and its remedy for the report."""
    advice = {"likely": error.why, "todo": error.todo}
    return Evidence(error.evidence, {**error.fields, **{name: text for name, text in advice.items() if text}})


@dataclass(frozen=True, slots=True)
class Event:
    """One step of progress for people and machines; `percent` is 0 to 100, or None where it means nothing."""

    stage: str
    text: str
    percent: float | None = None
    slot: str | None = None
    attempt: int = 0


@dataclass(slots=True)
class Record:
    """The notebook of one run: stages, attempts and recovery steps in the order in which they happened.

    `on_event` is told of every step; `save` gets a partial report and the name of each stage that begins,
    so that a killed run leaves a report that names the stage it died in.
    """

    head: Report
    on_event: Callable[[Event], None]
    save: Callable[[Report, str], object]
    started: float = field(default_factory=time.monotonic)
    stages: list[StageRecord] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    recovery: list[RecoveryEvent] = field(default_factory=list)
    power_cycles: int = 0
    stage_now: str = "start"

    def say(self, text: str, percent: float | None = None) -> None:
        self.on_event(Event(self.stage_now, text, percent, self.head.slot, len(self.attempts) + 1))

    def know(self, **facts: Any) -> None:
        """Add what has become known to the report: slot, artifact, plan, board, …"""
        self.head = replace(self.head, **facts)

    def hold(self, slot: Slot) -> None:
        self.know(slot=slot.id, label=slot.label, lock_key=slot.id)

    def enter(self, name: str) -> None:
        """From here on, a run that is killed was killed during `name`."""
        self.stage_now = name
        self.save(self.so_far(), name)

    def so_far(self) -> Report:
        """The report that stands if the run is killed now."""
        return self.report(Evidence("killed", {"stage": self.stage_now}), partial=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[Evidence]]:
        """One timed stage; evidence appended to the yielded list is its outcome, none means `ok`."""
        outcome: list[Evidence] = []
        start, clock = utc_now(), time.monotonic()
        self.enter(name)
        try:
            yield outcome
        except HutCiError as error:
            outcome.append(evidence_of(error))
            raise
        except BaseException as error:
            outcome.append(Evidence("bug", {"what": f"{type(error).__name__}: {error}"}))
            raise
        finally:
            seen = outcome[-1] if outcome else None
            failed = seen is not None and seen.id != "passed"
            self.stages.append(
                StageRecord(
                    name,
                    start,
                    round(time.monotonic() - clock, 3),
                    seen.id if seen and failed else "ok",
                    sentence(seen) if seen and failed else "",
                )
            )

    def end_attempt(
        self, evidence: Evidence, flash: FlashResult | None = None, suite: SuiteResult | None = None
    ) -> None:
        """Close the current attempt with everything since the last one."""
        self.attempts.append(Attempt(len(self.attempts) + 1, tuple(self.stages), evidence, flash, suite))
        self.stages.clear()

    def recovered_by(self, event: RecoveryEvent) -> None:
        self.recovery.append(event)

    @property
    def firmware_failures(self) -> int:
        """Attempts so far that ended with the firmware's own evidence."""
        return sum(table()[attempt.evidence.id].blame == "firmware" for attempt in self.attempts)

    def report(self, evidence: Evidence, *, partial: bool = False) -> Report:
        """The report as if the run ended now with `evidence`."""
        attempts = tuple(self.attempts)
        if self.stages:
            attempts += (Attempt(len(attempts) + 1, tuple(self.stages), evidence),)
        verdict = judge(evidence, recovery=self.recovery, firmware_failures=self.firmware_failures)
        return replace(
            self.head,
            end_utc=utc_now(),
            seconds=round(time.monotonic() - self.started, 3),
            verdict=verdict,
            attempts=attempts,
            recovery=tuple(self.recovery),
            power_cycles=self.power_cycles,
            partial=partial,
        )
