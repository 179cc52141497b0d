"""The slots behind one plug: which they are, and claiming all of them without keeping a free one from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.model import Claim, Lab, Slot
from hut_ci.stages.slot import Note, Waiting

GROUP_WAIT_SECONDS = 10.0
"""How long somebody who holds one slot waits for another one behind the plug: for a flash to end, not for a run."""


class ClaimSlot(Protocol):
    """What is asked of a claims engine: one slot, exclusively. Raises SlotError at the deadline."""

    def __call__(
        self,
        lab: Lab,
        slot: Slot,
        *,
        note: Note,
        deadline: Deadline,
        on_wait: Callable[[Waiting], None] | None = None,
    ) -> AbstractContextManager[Claim]: ...


def group_of(lab: Lab, slot: Slot) -> tuple[str, ...]:
    """The ids of all slots behind the same plug as `slot`, itself included, in the order of claiming."""
    if slot.power.group is None:
        return (slot.id,)
    return tuple(sorted(other.id for other in lab.slots if other.power.group == slot.power.group))


@contextmanager
def claim_group(
    lab: Lab,
    slot: Slot,
    held: Mapping[str, Claim],
    claim_slot: ClaimSlot,
    why: str,
    deadline: Deadline,
    on_wait: Callable[[Waiting], None] | None = None,
    patience: float = GROUP_WAIT_SECONDS,
) -> Iterator[Mapping[str, Claim]]:
    """All slots behind the plug of `slot`, those in `held` and the others.

    Only one slot is queued for at a time, by somebody who has claimed nothing for it yet; whoever has waits
    `patience` seconds for the rest, then gives all back and queues for the one that was missing. So nobody keeps a
    free slot from others for long, and two who want the same slots do not wait for each other for ever. Raises
    SlotError where one is not free by `deadline`.
    """
    members = [other for name in group_of(lab, slot) if (other := lab.slot(name)) and name not in held]
    with ExitStack() as stack:
        claims = dict(held)
        while members:
            tried = stack.enter_context(ExitStack())
            wait, missing = deadline, members[0]
            try:
                for missing in members:
                    claims[missing.id] = tried.enter_context(
                        claim_slot(lab, missing, note=Note(why=why), deadline=wait, on_wait=on_wait)
                    )
                    wait = deadline.within(patience)
                break
            except SlotError:
                tried.close()
                if missing is members[0] or deadline.expired:
                    raise
                members.sort(key=lambda other: (other.id != missing.id, other.id))
        yield claims
