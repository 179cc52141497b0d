"""Puts a slot's switch, witness, guardian and cooldown together: what a run and the command line call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from hut_ci.board.line import open_line
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.model import Claim, Lab, PowerResult, Slot
from hut_ci.power.choose import Switch, choose
from hut_ci.power.cooldown import SlotCooldown
from hut_ci.power.group import GROUP_WAIT_SECONDS, ClaimSlot, claim_group, group_of
from hut_ci.power.guardian import Guardian
from hut_ci.power.intent import repair_claimed
from hut_ci.power.witness import BannerWitness, Line, NoWitness, PortWitness
from hut_ci.stages.power_cycle import WINDOWS, Windows, Witness, power_cycle, refuse_unclaimed

ROM_BAUD = 115200
"""Every ESP ROM with a 40 MHz crystal prints its banner at this rate, whatever the application uses."""


def witness_of(slot: Slot, proof: str) -> Witness:
    """The witness for `proof`: `port`, `banner` or `none`."""
    if proof == "port":
        return PortWitness(slot.serial)
    if proof == "banner":
        return BannerWitness(lambda: _open_first(slot))
    return NoWitness()


def cycle_slot(
    lab: Lab,
    slot: Slot,
    claims: Mapping[str, Claim],
    switch: Switch,
    deadline: Deadline,
    *,
    proof: str | None = None,
    windows: Windows = WINDOWS,
) -> PowerResult:
    """Cycle the power of `slot` under a guardian; `claims` hold every slot of its power group.

    `proof` overrides lab.yml's, for finding out which one the slot can give. Raises PowerError where a slot of the
    group is not claimed; everything else that goes wrong is a PowerResult.
    """
    group = group_of(lab, slot)
    refuse_unclaimed(slot, group, claims)
    guardians: list[Guardian] = []

    def guard() -> Guardian:
        lock_fds = tuple(claims[member].lock_fd for member in group)
        guardians.append(Guardian(lab.state_dir, group, switch, lock_fds, deadline))
        return guardians[-1]

    result = power_cycle(
        claims[slot.id],
        slot,
        switch,
        witness_of(slot, proof or slot.power.proof),
        guard=guard,
        cooldown=SlotCooldown(lab.state_dir, group[0], slot.power.cooldown_seconds),
        deadline=deadline,
        group=group,
        others=claims,
        windows=windows,
    )
    if guardians and not guardians[-1].restored:
        left = f"the relay of {slot.id} may still be off, and the next command on this slot switches it on"
        return replace(result, text=f"{result.text}; {left}" if result.text else left)
    return result


def cycle_for_run(
    lab: Lab,
    slot: Slot,
    claim: Claim,
    environ: Mapping[str, str],
    claim_slot: ClaimSlot,
    on_repair: Callable[[str], None] = lambda _: None,
    group_wait: float = GROUP_WAIT_SECONDS,
) -> Callable[[Deadline], PowerResult] | None:
    """What a run recovers with: None where lab.yml gives the slot no switch.

    Call it with the slot claimed: a relay that a killed process left off is switched on first, and `on_repair` is
    told so. The other slots behind the plug are claimed with `claim_slot` for the length of each cycle; where one is
    in use for `group_wait` seconds the answer is `timeout` (`group_busy`), and nothing is switched. Raises PowerError
    for a refused token or a relay that cannot be repaired, before anything is flashed.
    """
    if slot.power.backend == "none":
        return None
    switch = choose(lab, slot, environ)
    repair_claimed(lab, (slot,), environ, on_repair)

    def cycle(deadline: Deadline) -> PowerResult:
        waiting = deadline.within(group_wait)
        try:
            with claim_group(lab, slot, {slot.id: claim}, claim_slot, f"power cycle of {slot.id}", waiting) as claims:
                return cycle_slot(lab, slot, claims, switch, deadline)
        except SlotError as busy:
            text = f"the plug of {slot.id} also feeds a slot in use: {busy.what}"
            return PowerResult("timeout", "group_busy", seconds=round(waiting.elapsed, 3), text=text)

    return cycle


def _open_first(slot: Slot) -> AbstractContextManager[Line]:
    """The slot's port under the first of its names that exists."""
    present = [name for name in slot.serial if "://" in name or Path(name).exists()]
    return open_line((present or list(slot.serial))[0], ROM_BAUD)
