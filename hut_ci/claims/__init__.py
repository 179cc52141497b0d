"""Who may use a slot now. An engine is a module with four functions; `flock` is the one for a single host.

    claim(lab, slot, *, note, deadline, on_wait)       acquire one slot, release at the end of the `with`
    claim_any(lab, slots, *, note, deadline, on_wait)  the same for whichever of several slots is free first
    holder(lab, slot) → Holder | None                  who has it now
    queue(lab, slot) → tuple[Waiter, ...]              who waits for it, in order of arrival

and `who_holds(port)`, which names the program that has a serial device open. Every engine keeps three promises:
the claim ends with the process that made it, however that process ends; who comes first is served first, the
operator's steal apart; asking (`holder`, `queue`) never costs anybody a place or a claim. What a stage needs of an
engine stands in `stages/slot.py` as a Protocol.

On top of the engine: `keeper` and `holding` (a process that holds for a person), `command` (somebody's program on a
held slot), `steals` (what was taken from whom), `selftest`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hut_ci.model import Holder


@dataclass(frozen=True, slots=True)
class Waiter:
    """One live ticket: `place` 1 is served next; `note.since_utc` is when the waiting began."""

    place: int
    note: Holder
