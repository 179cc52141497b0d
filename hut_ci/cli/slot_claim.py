"""A claimed slot for the commands that work on its board."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hut_ci.cli.slot_options import tell

if TYPE_CHECKING:
    from hut_ci.model import Claim, Lab, Slot


@contextmanager
def held(lab: Lab, slot: Slot, why: str, wait: float) -> Iterator[Claim]:
    """`slot`, claimed within `wait` seconds, its relay on and its port there and unused. Raises SlotError."""
    from hut_ci.claims import flock
    from hut_ci.deadline import Deadline
    from hut_ci.stages.slot import Note, take

    def prepare(_claim: Claim, slot: Slot) -> None:
        switch_on_again(lab, slot)

    with take(flock, lab, (slot,), Note(why), Deadline(wait), tell, on_claim=prepare) as (claim, _slot):
        yield claim


def switch_on_again(lab: Lab, slot: Slot) -> None:
    """Repair what a killed power cycle of this claimed slot left off, and say so. Raises PowerError."""
    from hut_ci.power.intent import repair_claimed

    repair_claimed(lab, (slot,), os.environ, tell)
