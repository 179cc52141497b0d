"""Standing in line before one slot or several, until the first lock is ours or the deadline is over."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hut_ci import proc
from hut_ci.claims import notes, tickets
from hut_ci.claims.lock_note import is_above_us, is_own_hold, read_holder
from hut_ci.claims.locking import POLL_SECONDS, is_free, try_exclusive
from hut_ci.claims.names import lock_name, queue_name
from hut_ci.claims.safe_files import Folder, inner_folder, open_file
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.model import Holder, Slot
from hut_ci.stages.slot import Waiting

REFRESH_SECONDS = 0.25  # how soon a waiting person learns of a new holder or place
NEAR = 10  # places; whoever stands farther from the head looks less often, so that a crowd leaves the holder its cores
# A waiter takes a free lock within milliseconds; for so long only one that is stopped or hangs leaves it lying. Each
# of those before us has so long, so that only the first of us passes over the one at the head.
PASS_SECONDS = 5.0


class Place:
    """Our place before one slot: its open lock file and our ticket."""

    def __init__(self, folder: Folder, slot: Slot, ticket: tickets.Ticket) -> None:
        self.slot = slot
        self.path: Path = folder.path / lock_name(slot.id)
        self._folder = folder
        self._ticket = ticket
        self._fd: int | None = open_file(folder, self.path.name)
        self._left_lying: tuple[int, Deadline] | None = None  # our place, and since when nobody took the free lock
        self._next_look = Deadline(0)
        self._stranger = 0  # who took the lock when we last asked whether we are its child, and are not

    @property
    def fd(self) -> int:
        assert self._fd is not None
        return self._fd

    def acquire(self) -> bool:
        """Lock without waiting, if it is our turn; a file that somebody removed meanwhile locks nothing."""
        while not self._ticket.is_next():
            if not self._passes_over():
                return False
        if not try_exclusive(self.fd):
            return False
        if not self._ticket.is_next():  # the operator stepped in front meanwhile
            fcntl.flock(self.fd, fcntl.LOCK_UN)
            return False
        if os.fstat(self.fd).st_nlink:
            return True
        self.close()
        self._fd = open_file(self._folder, self.path.name)
        return self.acquire()

    def _passes_over(self) -> bool:
        """Whether somebody before us left the free lock lying and has lost the place for that."""
        if not self._next_look.expired:
            return False
        if is_free(self.fd):
            place = self._ticket.place()
            if self._left_lying is None or self._left_lying[0] != place:  # somebody was served between two looks
                self._left_lying = (place, Deadline(PASS_SECONDS * (place - 1)))
            if self._ticket.pass_over(late=self._left_lying[1].expired):
                return True
        else:
            self._left_lying = None
        self._next_look = Deadline(REFRESH_SECONDS)
        return False

    def patience(self) -> float:
        """How many times the usual pause to wait until the next look, by the number of tickets in front: 1 or more.

        With 10 ms from one holder to the next, the queue moves by a fifth of it meanwhile.
        """
        return max(1.0, self._ticket.in_front_at_most() / NEAR)

    def look(self) -> Waiting:
        found, place, in_front = read_holder(self.fd), self._ticket.place(), self._ticket.in_front()
        today = datetime.now(UTC).date().isoformat()
        text = notes.held_sentence(self.slot.id, found, place, in_front, today)
        owner = proc.flock_owner(self.fd)
        if owner and owner != self._stranger:  # asked once of each, because the answer costs a look at every ancestor
            if is_above_us(owner, self.fd):
                why = "it started this command, or this command was started with its lock"
                return Waiting(self.slot.id, found, place, f"{text}; {why}", notes.IN_VAIN, in_vain=True)
            self._stranger = owner
        advice = self._advice(found, owner)
        return Waiting(self.slot.id, found, place, f"{text}; {advice}" if advice else text, advice)

    def _advice(self, found: Holder | None, owner: int | None) -> str:
        """What can be done about a holder that will not let go by itself soon; `owner` is who took the lock."""
        if owner and proc.is_stopped(owner):
            return notes.is_stopped(self.slot.id, owner)
        return notes.own_hold(self.slot.id) if found and is_own_hold(found) else ""

    def detach(self) -> int:
        """The locked descriptor, from now on the caller's to close."""
        fd, self._fd = self.fd, None
        return fd

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextmanager
def place(folder: Folder, slot: Slot, waiter: Holder, *, front: bool = False) -> Iterator[Place]:
    """Stand in the slot's queue, at its end or its front. Raises ConfigError for files that cannot be trusted."""
    with (
        inner_folder(folder, queue_name(slot.id), create=True) as places,
        tickets.ticket(places, waiter, front=front) as ticket,
    ):
        ours = Place(folder, slot, ticket)
        try:
            yield ours
        finally:
            ours.close()


def first_free(places: Sequence[Place], deadline: Deadline, on_wait: Callable[[Waiting], None] | None) -> Place:
    """The first place whose lock is ours. Raises SlotError (slot_busy) at the deadline, naming every holder.

    At once where each of them is a process that started us: it waits for us.
    """
    told: dict[str, Waiting] = {}
    next_look = Deadline(0)
    while True:
        for ours in places:
            if ours.acquire():
                return ours
        if deadline.expired:
            raise _busy([ours.look() for ours in places], deadline)
        if next_look.expired:
            looks = [ours.look() for ours in places]
            if _is_in_vain(looks):
                raise _busy(looks, deadline)
            for seen in looks:
                if on_wait and told.get(seen.slot_id) != seen:
                    told[seen.slot_id] = seen
                    on_wait(seen)
            # Looking costs as much as the queue is long, and whoever is far from its head is not in a hurry.
            next_look = Deadline(REFRESH_SECONDS * max(ours.patience() for ours in places))
        time.sleep(min(POLL_SECONDS * min(ours.patience() for ours in places), deadline.remaining))


def _length(seconds: float) -> str:
    """`600 s`, `1.5 s`, `0.1 s`: whole seconds, and two digits where that would hide a part of a short wait."""
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _is_in_vain(seen: Sequence[Waiting]) -> bool:
    return bool(seen) and all(waiting.in_vain for waiting in seen)


def _busy(seen: Sequence[Waiting], deadline: Deadline) -> SlotError:
    why = f"it was not released within {_length(deadline.seconds)}" if deadline.seconds else ""
    if _is_in_vain(seen):
        why = "it waits for this command to end, and this command would wait for it"
    advice = "; ".join(dict.fromkeys(waiting.advice for waiting in seen if waiting.advice))
    return SlotError(
        "; ".join(waiting.text.removesuffix(f"; {waiting.advice}") for waiting in seen),
        why=why,
        todo=advice or "allow a longer wait, or look at `hut-ci slots status`",
        evidence="slot_busy",
    )
