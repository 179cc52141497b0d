"""Which slot a build runs on: those whose facts meet the needs, then whichever of them is free first."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hut_ci.board.port_holder import PortHolder
from hut_ci.deadline import Deadline
from hut_ci.errors import DoesNotFit, SlotError, UsageError
from hut_ci.firmware.fit import fit
from hut_ci.model import Claim, FlashPlan, Holder, Lab, Needs, Slot
from hut_ci.stages.selection import names_of, slots_named

# After a claim: a native-USB board that the last holder reset is away for about a second, and a killed holder's
# esptool is gone milliseconds after it.
SETTLE_SECONDS = 3.0
LOOK_SECONDS = 0.05  # /dev and /proc tell of no change that could be waited for
BY_ID = Path("/dev/serial/by-id")


@dataclass(frozen=True, slots=True)
class Note:
    """What a claimant tells everybody else about its claim; `deadline_utc` is when it will be done at the latest."""

    why: str = ""
    run_url: str | None = None
    repository: str | None = None
    commit_sha: str | None = None
    deadline_utc: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why there is no claim yet; `place` 1 is served next, `text` says it all in one sentence.

    `advice` is the part of it that says what the waiting one can do. `in_vain`: the holder waits for us.
    """

    slot_id: str
    holder: Holder | None
    place: int
    text: str
    advice: str = ""
    in_vain: bool = False


class Claims(Protocol):
    """What this stage needs of a claims engine."""

    def claim_any(
        self,
        lab: Lab,
        slots: Sequence[Slot],
        *,
        note: Note,
        deadline: Deadline,
        on_wait: Callable[[Waiting], None] | None = None,
    ) -> AbstractContextManager[Claim]:
        """Hold whichever of the slots is free first. Raises SlotError at the deadline."""

    def who_holds(self, path: str) -> PortHolder | None:
        """Another program that has the serial device open."""


def candidates(lab: Lab, wanted: str | None, plan: FlashPlan | None, needs: Needs) -> tuple[Slot, ...]:
    """The slots that may run this build, in lab.yml's order; never empty.

    `wanted` is a slot id, a label, a chip or a tag; None is any slot. Without a plan there is nothing that could
    fail to fit. Raises UsageError for a name that the lab does not know, DoesNotFit with what each slot lacks,
    SlotError (slot_quarantined) where only slots that are set aside would fit.
    """
    lacks: dict[str, DoesNotFit] = {}
    aside: list[str] = []
    free: list[Slot] = []
    for slot in _named(lab, wanted):
        if lack := _lack(slot, plan, needs):
            lacks[slot.id] = lack
        elif slot.quarantined is not None:
            aside.append(f"{slot.id} is quarantined: {slot.quarantined}")
        else:
            free.append(slot)
    if free:
        return tuple(free)
    reasons = "; ".join([*aside, *(f"{slot_id}: {lack}" for slot_id, lack in lacks.items())])
    if aside:
        raise SlotError(
            reasons,
            why="an operator set the only fitting board aside",
            todo="remove `quarantined` from lab.yml when the board is in order again, or name another slot",
            evidence="slot_quarantined",
        )
    raise DoesNotFit(
        f"no board fits: {reasons}" if len(lacks) > 1 else reasons,
        why=" ".join(dict.fromkeys(lack.why for lack in lacks.values())),
        todo=" ".join(dict.fromkeys(lack.todo for lack in lacks.values())),
    )


@contextmanager
def take(
    claims: Claims,
    lab: Lab,
    slots: Sequence[Slot],
    note: Note,
    deadline: Deadline,
    say: Callable[[str], None] = lambda _: None,
    settle: float = SETTLE_SECONDS,
    on_claim: Callable[[Claim, Slot], None] = lambda _claim, _slot: None,
) -> Iterator[tuple[Claim, Slot]]:
    """Claim the first of `slots` that is free and whose port is there and unused, queueing for all of them at once.

    `deadline` bounds the waiting. A slot whose board is absent or whose port another program keeps open for
    `settle` seconds is released again and the others are tried; with none left, SlotError (slot_absent or
    port_held) names the fault of each. At the deadline: SlotError (slot_busy). `on_claim` is called before the port
    is looked for: a board whose power a killed process left off has none until it is switched on again.
    """
    left, faults = list(slots), list[SlotError]()
    with ExitStack() as claimed:
        while left:
            held = claimed.enter_context(ExitStack())
            claim = held.enter_context(
                claims.claim_any(
                    lab, left, note=note, deadline=deadline, on_wait=lambda waiting: say(f"waiting: {waiting.text}")
                )
            )
            slot = next(slot for slot in left if slot.id == claim.slot_id)
            try:
                on_claim(claim, slot)
                _check_port(claims, slot, settle)
            except SlotError as fault:
                held.close()
                faults.append(fault)
                left.remove(slot)
                say(f"passed over: {fault}")
                continue
            yield claim, slot
            return
    raise _all(faults)


def present(slot: Slot) -> str:
    """The first of the slot's serial names that exists; a network port counts as existing.

    Raises SlotError (slot_absent), naming the devices that are there.
    """
    for name in slot.serial:
        if "://" in name or Path(name).exists():
            return name
    names = " and ".join(_absence(name) for name in slot.serial)
    raise SlotError(
        f"the board of {slot.id} is absent: {names}; {_devices()}",
        why="it is unplugged or unpowered, its USB bridge has another serial number, or its cable carries no data",
        todo="plug it in, then compare `ls -l /dev/serial/by-id` with the slot's `serial` in lab.yml",
        evidence="slot_absent",
    )


def wait_for_port(slot: Slot, deadline: Deadline) -> str:
    """`present`, for as long as the deadline allows: a port comes back seconds after a reset or a power cycle."""
    while True:
        try:
            return present(slot)
        except SlotError:
            if deadline.expired:
                raise
        time.sleep(min(LOOK_SECONDS, deadline.remaining))


def _named(lab: Lab, wanted: str | None) -> tuple[Slot, ...]:
    if wanted is None:
        if not lab.slots:
            raise UsageError(f"{lab.path} has no slot", why="nobody added one yet", todo="run `hut-ci slots add`")
        return lab.slots
    if matches := slots_named(lab.slots, wanted):
        return tuple(matches)
    known = names_of(lab.slots)
    near = difflib.get_close_matches(wanted, known, 1)
    raise UsageError(
        f"{lab.name} has no slot, label, chip or tag {wanted!r}{f'; did you mean {near[0]!r}?' if near else ''}",
        why=f"{lab.path} knows {', '.join(known) or 'no slot at all'}",
        todo="name one of these, or add the slot with `hut-ci slots add`",
    )


def _lack(slot: Slot, plan: FlashPlan | None, needs: Needs) -> DoesNotFit | None:
    if plan is None:
        return None
    try:
        fit(plan, slot.facts, needs)
    except DoesNotFit as lack:
        return lack
    return None


def _check_port(claims: Claims, slot: Slot, settle: float) -> None:
    deadline = Deadline(settle)
    port = wait_for_port(slot, deadline)
    while (holder := claims.who_holds(port)) is not None:
        if deadline.expired:
            raise SlotError(
                f"{slot.id}: {port} is held by {holder.program} (pid {holder.pid}, user {holder.user})",
                why="two programs on one serial line lose each other's bytes and reset each other's board",
                todo=f"end that program (`kill {holder.pid}`), or claim the slot before a manual session",
                evidence="port_held",
                fields={"port": port, "program": holder.program or "another program", "pid": str(holder.pid)},
            )
        time.sleep(min(LOOK_SECONDS, deadline.remaining))


def _all(faults: Sequence[SlotError]) -> SlotError:
    if len(faults) == 1:
        return faults[0]
    return SlotError(
        "; ".join(fault.what for fault in faults),
        why="; ".join(dict.fromkeys(fault.why for fault in faults)),
        todo="; ".join(dict.fromkeys(fault.todo for fault in faults)),
        evidence="slot_absent",
    )


def _absence(name: str) -> str:
    return f"{name} is a dangling link" if Path(name).is_symlink() else f"{name} does not exist"


def _devices() -> str:
    try:
        found = sorted(entry.name for entry in BY_ID.iterdir() if entry.exists())
    except OSError:
        found = []
    return f"{BY_ID} has {', '.join(found)}" if found else f"{BY_ID} has no device"
