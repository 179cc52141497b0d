"""The record that a slot's power is about to be cut, and switching on again what it says may be off."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError
from hut_ci.model import Lab, Slot
from hut_ci.power.choose import Switch, choose, relay_of
from hut_ci.power.state_file import read_trusted, remove_durably, state_path, write_durably
from hut_ci.stages.power_results import detail_of, pause_before_retry

RESTORE_SECONDS = 60.0
"""How long a relay is tried to be switched on, with the slot's lock held. Home Assistant restarts in 5 to 30."""
HOPELESS = frozenset({"unauthorized", "banned", "no_token", "forbidden_entity", "no_command", "no_switch"})
"""What does not pass by itself. All else may: while Home Assistant restarts, a proxy answers with pages of its own."""
RELAY_CHARACTERS = 2048


def intent_path(state_dir: Path, slot_id: str) -> Path:
    return state_path(state_dir, "power", slot_id)


def write_intent(state_dir: Path, slot_id: str, switch: Switch) -> Path:
    """Record that the power of `slot_id` is about to be cut by this process, and at which relay; raises PowerError."""
    path = intent_path(state_dir, slot_id)
    since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    record = {"slot": slot_id, "pid": os.getpid(), "since_utc": since, "relay": relay_of(switch)}
    write_durably(path, json.dumps(record) + "\n")
    return path


def needs_repair(lab: Lab, slot: Slot) -> bool:
    """Whether somebody cut this slot's power and died; call it with the slot claimed. Raises PowerError."""
    return read_trusted(intent_path(lab.state_dir, slot.id)) is not None


def repair(lab: Lab, slot: Slot, switch: Switch, deadline: Deadline) -> str | None:
    """Switch on what a killed process left off; the sentence that says so, None where there is nothing to repair.

    Call it with the slot claimed: a guardian that is still at work holds the claim. Raises PowerError, and keeps
    the record, while the relay cannot be switched on, and where lab.yml now names another one (`other_relay`).
    """
    path = intent_path(lab.state_dir, slot.id)
    record = read_trusted(path)
    if record is None:
        return None
    _refuse_other_relay(slot, path, _relay_in(record), relay_of(switch))
    switch_back(switch, deadline)
    remove_durably(path)
    return f"an earlier power cycle of {slot.id} was cut short; its relay is on again"


def repair_claimed(
    lab: Lab, slots: Iterable[Slot], environ: Mapping[str, str], say: Callable[[str], None]
) -> tuple[str, ...]:
    """Repair these claimed slots before anything else is done with them; the ids of those that needed it.

    `say` is told of each. Without a record no switch is chosen: a missing token keeps nobody from a slot that needs
    no repair. Raises PowerError as `repair` does, and for a token or a relay that is refused.
    """
    repaired: list[str] = []
    for slot in slots:
        if needs_repair(lab, slot) and (
            said := repair(lab, slot, choose(lab, slot, environ), Deadline(RESTORE_SECONDS))
        ):
            repaired.append(slot.id)
            say(said)
    return tuple(repaired)


def forget(lab: Lab, slot: Slot, switch: Switch) -> None:
    """Remove the record of an accident at the relay that was just switched on purpose; raises PowerError.

    Call it with the slot claimed. A record of another relay stays: nobody has looked after that one.
    """
    path = intent_path(lab.state_dir, slot.id)
    record = read_trusted(path)
    if record is not None and _relay_in(record) in ("", relay_of(switch)):
        remove_durably(path)


def _relay_in(record: str) -> str:
    """The relay that a record names; empty where it names none that a line of text can show."""
    try:
        found = json.loads(record)
    except (ValueError, RecursionError):
        return ""
    relay = found.get("relay") if isinstance(found, dict) else None
    shown = isinstance(relay, str) and relay.isprintable() and len(relay) <= RELAY_CHARACTERS
    return str(relay) if shown else ""


def _refuse_other_relay(slot: Slot, path: Path, cut: str, named: str) -> None:
    """Only lab.yml says what may be switched: a record, which others may write, never does."""
    if cut in ("", named):
        return
    raise PowerError(
        f"a power cycle of {slot.id} was cut short at {cut}, which lab.yml no longer names for it",
        why=f"That relay may still be off. lab.yml now names: {named or 'none'}.",
        todo=f"Switch {cut} on by hand, then remove {path}; or name it in lab.yml again: hut-ci power repair {slot.id}",
        fields={"detail": "other_relay"},
    )


def switch_back(
    switch: Switch, deadline: Deadline, *, settle: float = 0.0, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Switch on, trying until the deadline, and see it stay on for `settle` seconds. Raises the last PowerError."""
    for number in itertools.count(1):
        try:
            _ask_for_power(switch, deadline)
            if _stays_on(switch, deadline, settle, sleep):
                return
            raise PowerError("the switch did not stay on", fields={"detail": "stuck"})
        except PowerError as error:
            pause = pause_before_retry(error, number)
            if is_hopeless(error) or pause >= deadline.remaining:
                raise
            sleep(pause)


def is_hopeless(error: PowerError) -> bool:
    """Whether trying again to switch on is of no use."""
    return detail_of(error) in HOPELESS


def _ask_for_power(switch: Switch, deadline: Deadline) -> None:
    """A call that failed may have had its effect: a slow relay acts after the time-out."""
    try:
        switch.on(deadline)
    except PowerError as error:
        if is_hopeless(error) or switch.is_on(deadline) is not True:
            raise


def _stays_on(switch: Switch, deadline: Deadline, seconds: float, sleep: Callable[[float], None]) -> bool:
    settled, reads = deadline.within(seconds), None
    while not settled.expired:
        sleep(min(0.1, settled.remaining))
        reads = switch.is_on(deadline)
        if reads is False:
            return False
    if seconds and reads is None:  # nothing can be read back: a late `off` would have passed unseen
        switch.on(deadline)
    return True
