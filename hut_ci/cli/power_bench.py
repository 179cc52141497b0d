"""A claimed slot and its switch, for the commands of `hut-ci power`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.cli.composition import lab_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hut_ci.model import Claim, Lab, Slot
    from hut_ci.power.choose import Switch

REPAIR_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class PowerBench:
    lab: Lab
    slot: Slot
    switch: Switch
    claims: Mapping[str, Claim]
    repaired: bool


@contextmanager
def claimed(
    slot_id: str, lab_file: Path | None, wait: float, why: str, *, repairing: bool = True
) -> Iterator[PowerBench]:
    """The slot and all others behind its plug, claimed in the order of their ids.

    With `repairing`, an earlier accident to any of them is repaired; who wants the power off wants nothing on first.
    """
    from hut_ci.cancellation import cancellation
    from hut_ci.claims.flock import claim
    from hut_ci.deadline import Deadline
    from hut_ci.power.choose import choose
    from hut_ci.power.intent import repair
    from hut_ci.power.wiring import claim_group

    lab = lab_at(lab_file)
    slot = slot_of(lab, slot_id)
    switch = choose(lab, slot, os.environ)
    with (
        cancellation(),
        claim_group(lab, slot, {}, claim, why, Deadline(wait), lambda seen: tell(seen.text)) as claims,
    ):
        members = [other for other in lab.slots if repairing and other.id in claims]
        repaired = [said for other in members if (said := repair(lab, other, switch, Deadline(REPAIR_WITHIN)))]
        for said in repaired:
            tell(said)
        yield PowerBench(lab, slot, switch, claims, bool(repaired))


def slot_of(lab: Lab, slot_id: str) -> Slot:
    from hut_ci.errors import UsageError

    slot = lab.slot(slot_id)
    if slot is None:
        known = ", ".join(slot.id for slot in lab.slots)
        raise UsageError(f"{lab.path} has no slot {slot_id!r}", todo=f"choose one of: {known}")
    return slot


def tell(text: str) -> None:
    click.echo(text, err=True)
