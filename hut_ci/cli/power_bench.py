"""A claimed slot and its switch, for the commands of `hut-ci power`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hut_ci.cli.slot_options import tell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hut_ci.model import Claim, Lab, Slot
    from hut_ci.power.choose import Switch


@dataclass(frozen=True, slots=True)
class PowerBench:
    """`members` are the slots behind the plug, `repaired` the ids of those whose last power cycle was cut short."""

    switch: Switch
    claims: Mapping[str, Claim]
    members: tuple[Slot, ...]
    repaired: tuple[str, ...]


@contextmanager
def claimed(lab: Lab, slot: Slot, wait: float, why: str, *, repairing: bool = True) -> Iterator[PowerBench]:
    """`slot` and all others behind its plug, claimed within `wait` seconds. Raises SlotError or PowerError.

    With `repairing`, an earlier accident to any of them is repaired; who wants the power off wants nothing on first.
    """
    from hut_ci.cancellation import cancellation
    from hut_ci.claims.flock import claim
    from hut_ci.deadline import Deadline
    from hut_ci.power.choose import choose
    from hut_ci.power.group import claim_group
    from hut_ci.power.intent import repair_claimed

    switch = choose(lab, slot, os.environ)
    with (
        cancellation(),
        claim_group(lab, slot, {}, claim, why, Deadline(wait), lambda seen: tell(seen.text)) as claims,
    ):
        members = tuple(other for other in lab.slots if other.id in claims)
        repaired = repair_claimed(lab, members, os.environ, tell) if repairing else ()
        yield PowerBench(switch, claims, members, repaired)
