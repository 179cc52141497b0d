"""The relays: each is asked for its state, none is switched; and whoever is to switch on what was left off."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from hut_ci.deadline import Deadline
from hut_ci.doctor.finding import Finding, failed, missing, ok, warn
from hut_ci.errors import PowerError
from hut_ci.model import Lab, Slot
from hut_ci.power.choose import choose
from hut_ci.power.home_assistant import HomeAssistantSwitch

OF_ONE_ENTITY = frozenset({"unknown_entity", "unavailable", "forbidden_entity"})
"""What is wrong with one relay; anything else is wrong with Home Assistant, which is not asked again: it bans."""
TIMER = "hut-ci-power-repair.timer"
ENABLED = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system")


def relays(lab: Lab, environ: Mapping[str, str], deadline: Deadline) -> list[Finding]:
    """One finding for each slot whose power can be switched."""
    findings: list[Finding] = []
    for slot in lab.slots:
        if slot.power.backend == "command":
            findings += _programs(slot)
        elif slot.power.entity:
            try:
                findings.append(_entity(lab, slot, environ, deadline))
            except PowerError as error:
                findings.append(failed(error))
                if error.fields["detail"] not in OF_ONE_ENTITY:
                    break
    return findings or [ok("no slot has a power switch: recovery by power is not available")]


def repair_timer(lab: Lab, root: Path = Path("/")) -> list[Finding]:
    """Whether somebody looks for relays that a crash left off; nothing to say where nothing can be switched."""
    if all(slot.power.backend == "none" for slot in lab.slots):
        return []
    if any(os.path.lexists(root / folder / "timers.target.wants" / TIMER) for folder in ENABLED):
        return [ok(f"{TIMER} is enabled")]
    what = "nobody switches on what a crash of this host leaves off"
    return [warn(what, f"install examples/systemd and `systemctl enable --now {TIMER}`")]


def _entity(lab: Lab, slot: Slot, environ: Mapping[str, str], deadline: Deadline) -> Finding:
    switch = choose(lab, slot, environ)
    assert isinstance(switch, HomeAssistantSwitch)  # the slot names an entity
    switch.exists(deadline)
    return _proven(slot, f"{slot.id}: {slot.power.entity} is {'on' if switch.is_on(deadline) else 'off'}")


def _programs(slot: Slot) -> Iterator[Finding]:
    missed = [argv[0] for argv in slot.power.command.values() if not os.access(argv[0], os.X_OK)]
    for name in dict.fromkeys(missed):
        yield missing(f"{slot.id}: {name}, which switches its power, cannot be run", "install it, or correct lab.yml")
    if not missed:
        yield _proven(slot, f"{slot.id}: its power is switched by {next(iter(slot.power.command.values()))[0]}")


def _proven(slot: Slot, told: str) -> Finding:
    if slot.power.proof == "none":
        return warn(f"{told}; that its board loses power is not proven", f"hut-ci power test {slot.id} --write")
    return ok(told)
