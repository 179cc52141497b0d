"""Cut a slot's power and give it back, believing neither the service call nor its read-back.

exists → off → reads off → proof of off → wait → on → reads on → proof of on. A slot's proof is one of
- `port`: the device node vanishes, stays away until `on`, and returns (its USB bridge is powered with the board);
- `banner`: the port is kept open with its lines untouched, and an unprompted ROM banner of a power-on follows;
- `none`: there is no proof, and `ok` is marked unproven.
Where a slot has a proof, a cycle that does not show it ends as `ha_error` with detail `not_proven`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from hut_ci.deadline import Deadline
from hut_ci.errors import BoardError, PowerError, SlotError
from hut_ci.model import Claim, PowerResult, Slot
from hut_ci.stages.power_results import failure, may_retry, pause_before_retry

SHORTEST_OFF = 0.1
"""Seconds. Less does not empty the capacitors of any board; lab.yml asks for more (2 s by default)."""
LOOK_SECONDS = 0.05
"""Between two looks for life in the off time: a USB device that comes stays for longer, to be enumerated."""


class Switch(Protocol):
    """A power back end; `off` and `on` return when the state reads as asked, all raise PowerError."""

    def exists(self, deadline: Deadline) -> None: ...
    def off(self, deadline: Deadline) -> None: ...
    def on(self, deadline: Deadline) -> None: ...
    def is_on(self, deadline: Deadline) -> bool | None: ...


class Witness(Protocol):
    """Sees from the board's side whether power went and came; armed while its `with` block runs."""

    @property
    def proves(self) -> bool: ...
    def __enter__(self) -> object: ...
    def __exit__(self, *_: object) -> None: ...
    def gone(self, deadline: Deadline) -> bool: ...
    def still_gone(self) -> bool: ...
    def back(self, deadline: Deadline) -> bool: ...


class Guarded(Protocol):
    """Told how far the cycle has come, so that somebody switches on if this process does not."""

    def switching_off(self) -> None: ...
    def off_answered(self) -> None: ...
    def done(self) -> None: ...


class Cooldown(Protocol):
    """The time of the slot's last cycle, kept across processes."""

    def remaining(self) -> float: ...
    def stamp(self) -> None: ...


Guard = Callable[[], AbstractContextManager[Guarded]]
"""Makes the guard of one try; leaving its block without `done` switches the power on."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Seconds within which a board shows that its power went (USB removal, silence) and came (enumeration, boot)."""

    gone: float = 5.0
    back: float = 10.0


WINDOWS = Windows()


def power_cycle(
    claim: Claim,
    slot: Slot,
    switch: Switch,
    witness: Witness,
    *,
    guard: Guard,
    cooldown: Cooldown,
    deadline: Deadline,
    group: tuple[str, ...] = (),
    others: Mapping[str, Claim] | None = None,
    windows: Windows = WINDOWS,
    sleep: Callable[[float], None] = time.sleep,
) -> PowerResult:
    """Cycle the power of `slot`, trying at most `retries` more times.

    `group` names the slots behind the same plug; `claim` and `others` have to hold them all, else PowerError.
    Everything else that can go wrong is a PowerResult.
    """
    refuse_unclaimed(slot, group, {**(others or {}), claim.slot_id: claim})
    started = deadline.clock()
    tries = slot.power.retries + 1
    for number in range(1, tries + 1):
        try:
            _cycle_once(slot, switch, witness, guard, cooldown, deadline, windows, sleep)
        except (PowerError, BoardError, SlotError) as error:
            pause = pause_before_retry(error, number)
            if number < tries and may_retry(error) and pause < deadline.remaining:
                sleep(pause)
                continue
            return failure(error, deadline.clock() - started, number)
        detail = "ok" if witness.proves else "unproven"
        return PowerResult("ok", detail, witness.proves, round(deadline.clock() - started, 3))
    raise AssertionError("a cycle has at least one try")


def refuse_unclaimed(slot: Slot, group: tuple[str, ...], claims: Mapping[str, Claim]) -> None:
    """The claim is the power permission: raises PowerError unless all slots behind the plug are claimed."""
    missing = [name for name in sorted({slot.id, *group}) if name not in claims]
    if missing:
        raise PowerError(
            f"cutting the power of {slot.id} would also cut {', '.join(missing)}, which is not claimed",
            why=f"These slots share one plug (power group {slot.power.group!r})." if slot.power.group else "",
            todo="Claim all slots of the group, in the order of their ids, before the cycle.",
            fields={"detail": "failed"},
        )


def _cycle_once(
    slot: Slot,
    switch: Switch,
    witness: Witness,
    guard: Guard,
    cooldown: Cooldown,
    deadline: Deadline,
    windows: Windows,
    sleep: Callable[[float], None],
) -> None:
    off_seconds = max(SHORTEST_OFF, slot.power.off_seconds)
    switch.exists(deadline)
    _cool_down(cooldown.remaining(), deadline, sleep)
    if deadline.remaining < off_seconds + slot.power.on_seconds:
        raise _failed("deadline", f"not enough time left to cycle the power of {slot.id}: nothing was switched")
    with witness, guard() as guarded:
        guarded.switching_off()
        cooldown.stamp()
        _switch_off(switch, guarded, deadline)
        guarded.off_answered()
        if not witness.gone(deadline.within(windows.gone)):
            raise _unproven(f"{slot.id} was switched off, but its board kept its power")
        _stay_off(slot, witness, off_seconds, deadline, sleep)
        if switch.is_on(deadline) is True:
            raise _failed("stuck", f"the switch of {slot.id} did not stay off for {off_seconds:g} s")
        _refuse_life(slot, witness)  # last thing before `on`: asking the switch took its time
        switch.on(deadline)
        if switch.is_on(deadline) is False:
            raise _failed("stuck", f"the switch of {slot.id} did not stay on")
        guarded.done()
        switched = deadline.clock()
        if not witness.back(deadline.within(windows.back)):
            raise _unproven(f"{slot.id} was switched on, but its board did not show a power-on")
        sleep(max(0.0, min(slot.power.on_seconds - (deadline.clock() - switched), deadline.remaining)))


def _switch_off(switch: Switch, guarded: Guarded, deadline: Deadline) -> None:
    """A call that was refused as a whole leaves nothing to guard: asking for power would be refused just so."""
    try:
        switch.off(deadline)
    except PowerError as error:
        if error.fields.get("untouched"):
            guarded.done()
        raise


def _stay_off(slot: Slot, witness: Witness, seconds: float, deadline: Deadline, sleep: Callable[[float], None]) -> None:
    """Wait out the off time, looking all the while: a board that restarts in step with it is gone at both its ends."""
    _need(seconds, deadline, "deadline")
    over = deadline.within(seconds)
    while not over.expired:
        sleep(min(LOOK_SECONDS, over.remaining))
        _refuse_life(slot, witness)


def _refuse_life(slot: Slot, witness: Witness) -> None:
    if not witness.still_gone():
        raise _unproven(f"{slot.id} was switched off, but its board showed life before it was switched on")


def _cool_down(seconds: float, deadline: Deadline, sleep: Callable[[float], None]) -> None:
    _need(seconds, deadline, "cooldown")
    if seconds > 0:
        sleep(seconds)


def _need(seconds: float, deadline: Deadline, detail: str) -> None:
    if seconds > deadline.remaining:
        reason = "the cooldown between two cycles" if detail == "cooldown" else "the off time"
        raise _failed(detail, f"{reason} needs {seconds:.1f} s, and only {deadline.remaining:.1f} s are left")


def _failed(detail: str, what: str) -> PowerError:
    return PowerError(what, fields={"detail": detail})


def _unproven(what: str) -> PowerError:
    return PowerError(
        what,
        why="The plug switches something else, the relay is stuck, or the board is fed from elsewhere (USB).",
        todo="hut-ci power test SLOT finds out which proof this slot can give.",
        fields={"detail": "not_proven"},
    )
