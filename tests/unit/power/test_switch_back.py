"""Giving a relay its power back: for as long as there is hope, and no longer."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError
from hut_ci.power.command import CommandSwitch
from hut_ci.power.intent import HOPELESS, RESTORE_SECONDS, switch_back
from hut_ci.stages.power_results import RESULTS


@dataclass(frozen=True, slots=True)
class Moody(CommandSwitch):
    """Fails in these ways, one after the other, and is then a switch like any other; `calls` counts."""

    fails: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def on(self, deadline: Deadline) -> None:
        self.calls.append("on")
        self.is_on(deadline)

    def is_on(self, deadline: Deadline) -> bool | None:  # noqa: ARG002 (CommandSwitch)
        if self.fails:
            raise PowerError("moody", fields={"detail": self.fails.pop(0)})
        return True


@pytest.mark.parametrize("detail", sorted(RESULTS.keys() - HOPELESS - {"ok", "unproven"}))
def test_power_comes_back_after_whatever_passes(detail: str) -> None:
    """WS9-9: a proxy's page while Home Assistant restarts is not the end, though a cycle would not begin with it."""
    moody = Moody({}, fails=[detail] * 5)
    switch_back(moody, Deadline(RESTORE_SECONDS), sleep=lambda _: None)
    assert moody.fails == []


@pytest.mark.parametrize("detail", sorted(HOPELESS))
def test_what_only_a_person_can_mend_is_asked_once(detail: str) -> None:
    """The control; with a bad token each further call would bring a ban nearer."""
    moody = Moody({}, fails=[detail] * 5)
    with pytest.raises(PowerError):
        switch_back(moody, Deadline(RESTORE_SECONDS), sleep=lambda _: None)
    assert moody.calls == ["on"]
    assert len(moody.fails) == 4


def test_the_time_for_it_is_bounded() -> None:
    now = 0.0

    def clock() -> float:
        return now

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    moody = Moody({}, fails=["bad_answer"] * 1000)
    with pytest.raises(PowerError):
        switch_back(moody, Deadline(RESTORE_SECONDS, clock), sleep=sleep)
    assert 0.8 * RESTORE_SECONDS < now <= RESTORE_SECONDS
