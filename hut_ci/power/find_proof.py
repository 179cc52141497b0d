"""Which proof of a power cycle a slot can give: found by cycling it and looking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hut_ci.deadline import Deadline
from hut_ci.model import Claim, Lab, PowerResult, Slot
from hut_ci.power.choose import Switch
from hut_ci.power.wiring import cycle_slot
from hut_ci.power.witness import PortWitness
from hut_ci.stages.power_cycle import WINDOWS, Windows

CYCLE_SECONDS = 120.0


def find_proof(
    lab: Lab,
    slot: Slot,
    claims: Mapping[str, Claim],
    switch: Switch,
    *,
    on_try: Callable[[str], None],
    windows: Windows = WINDOWS,
) -> tuple[str | None, PowerResult]:
    """(`port`, `banner` or `none`, the last cycle's result); (None, result) where the power could not be cycled.

    A vanishing port is the stronger proof and is tried first. At most two cycles, without cooldown between them.
    Without a port to begin with nothing is switched: a board that is not there shows neither proof, and `none` would
    be believed from then on.
    """
    if PortWitness(slot.serial).still_gone():
        return None, _absent(slot)
    once = replace(slot, power=replace(slot.power, cooldown_seconds=0.0, retries=0))
    for proof in ("port", "banner"):
        on_try(f"cutting the power of {slot.id}, watching for: {proof}")
        result = cycle_slot(lab, once, claims, switch, Deadline(CYCLE_SECONDS), proof=proof, windows=windows)
        if result.result == "ok":
            return proof, result
        if result.detail not in ("not_proven", "no_witness"):
            return None, result
    return "none", PowerResult("ok", "unproven", seconds=result.seconds)


def _absent(slot: Slot) -> PowerResult:
    names = ", ".join(slot.serial)
    text = f"{slot.id} has no port ({names}): nothing was switched. Plug the board in, or: hut-ci power on {slot.id}"
    return PowerResult("ha_error", "no_witness", text=text)
