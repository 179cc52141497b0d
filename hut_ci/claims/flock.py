"""Claims on one host: flock(2) on `lock_dir/hut-01.lock`, queue in `lock_dir/hut-01.queue/`.

The lock is the claim; the note in the file only tells people about it. The kernel drops the lock when the last
descriptor of it closes, so a claim ends with its process. Descriptors are close-on-exec: no program that we start
inherits the lock (only a bare fork would), except the power guardian, which is handed `claim.lock_fd` and thereby
keeps the slot until the relay is on again. For that reason release closes and never unlocks. Lock files are never
unlinked: a waiter that holds the old file and a newcomer with a new one would both have the slot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from hut_ci import proc
from hut_ci.board.port_holder import who_holds
from hut_ci.claims import Waiter, notes, steals, tickets
from hut_ci.claims.lock_note import holder_of, program, read_holder, write_note
from hut_ci.claims.names import lock_name, queue_name
from hut_ci.claims.safe_files import inner_folder, lock_folder, open_existing
from hut_ci.claims.steals import Steal
from hut_ci.claims.waiting import first_free, place
from hut_ci.deadline import Deadline
from hut_ci.errors import Cancelled, HutCiError
from hut_ci.model import Claim, Holder, Lab, Slot
from hut_ci.stages.slot import Note, Waiting

__all__ = ["claim", "claim_any", "holder", "queue", "who_holds"]


@contextmanager
def claim(
    lab: Lab,
    slot: Slot,
    *,
    note: Note,
    deadline: Deadline,
    on_wait: Callable[[Waiting], None] | None = None,
    front: bool = False,
) -> Iterator[Claim]:
    """Exclusive hold on one slot, in order of arrival; a deadline of 0 s asks without waiting.

    `on_wait` is told who holds the slot and our place in the queue, at once and whenever either changes.
    Raises SlotError (slot_busy) at the deadline, ConfigError for lock files that cannot be trusted.
    """
    with claim_any(lab, (slot,), note=note, deadline=deadline, on_wait=on_wait, front=front) as claimed:
        yield claimed


@contextmanager
def claim_any(
    lab: Lab,
    slots: Sequence[Slot],
    *,
    note: Note,
    deadline: Deadline,
    on_wait: Callable[[Waiting], None] | None = None,
    front: bool = False,
) -> Iterator[Claim]:
    """The same for whichever slot is free first: a place in every queue, one lock, then the other places given up.

    Nobody waits for a lock while holding one, so this cannot deadlock. `front` is for the operator's steal alone: a
    place before all others. A claim that ends with Cancelled because it was stolen says so in that error.
    """
    with ExitStack() as held:
        with lock_folder(lab.lock_dir, create=True) as folder, ExitStack() as queues:
            waiter = holder_of(note)
            places = [queues.enter_context(place(folder, slot, waiter, front=front)) for slot in slots]
            ours = first_free(places, deadline, on_wait)
            fd = ours.detach()
            held.callback(_release, fd)
            us = holder_of(note)
            write_note(fd, us)
        claimed = Claim(ours.slot.id, us, ours.path, fd)
        with told_of_steal(lab, ours.slot, claimed):
            yield claimed


@contextmanager
def told_of_steal(lab: Lab, slot: Slot, claim: Claim) -> Iterator[None]:
    """A block that works with a claim: a Cancelled that leaves it says so if the claim was stolen."""
    try:
        yield
    except Cancelled as error:
        if steal := lost(lab, slot, claim):
            error.fields["name"] += f": {slot.id} was {steal.text}"
        raise


def lost(lab: Lab, slot: Slot, claim: Claim) -> Steal | None:
    """Whether an operator took this claim from us; if so, the record gets our side too. Never raises for the lab."""
    with suppress(HutCiError, OSError):
        if steal := steals.taken_from(lab, slot, claim.holder):
            steals.record(lab, slot, "lost", claim.holder, steal.by, steal.why)
            return steal
    return None


def kernel_owner(lab: Lab, slot: Slot) -> int | None:
    """The pid that took the lock, by the kernel's own list; None where nobody has it or the list does not show it."""
    with _lock_file(lab, slot) as fd:
        return None if fd is None else proc.flock_owner(fd)


def keepers(lab: Lab, slot: Slot) -> tuple[int, ...]:
    """The pids of the processes that keep the slot locked, those that inherited the lock included, if we may look.

    Where nobody has it exclusively, those with a shared lock: look twice, since a probe has one, too, for microseconds.
    """
    with _lock_file(lab, slot) as fd:
        return () if fd is None else proc.flock_holders(fd) or proc.flock_holders(fd, "READ")


def is_guardian(lab: Lab, pid: int) -> bool:
    """Whether the process is a power guardian: by a lock that it was handed; its name alone is anybody's."""
    if proc.name(pid) != proc.GUARDIAN:
        return False
    with suppress(HutCiError, PermissionError):  # a lock that cannot be trusted makes nobody a guardian
        return any(_keeps(lab, slot, pid) for slot in lab.slots)
    return False


def _keeps(lab: Lab, slot: Slot, pid: int) -> bool:
    with _lock_file(lab, slot) as fd:
        return fd is not None and proc.holds_flock(pid, fd)


def holder(lab: Lab, slot: Slot) -> Holder | None:
    """Who has the slot now; None when nobody has. Raises ConfigError for a lock file that cannot be trusted."""
    with _lock_file(lab, slot) as fd:
        found = None if fd is None else read_holder(fd)
        if fd is None or found != notes.UNNAMED:
            return found
        return program(min(proc.flock_holders(fd), default=0))


@contextmanager
def _lock_file(lab: Lab, slot: Slot) -> Iterator[int | None]:
    """A descriptor of the slot's lock file; None where nobody ever claimed it. Raises ConfigError."""
    try:
        with lock_folder(lab.lock_dir, create=False) as folder:
            fd = open_existing(folder, lock_name(slot.id))
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def queue(lab: Lab, slot: Slot) -> tuple[Waiter, ...]:
    """Who waits for the slot, the next one first. Raises ConfigError for ticket files that cannot be trusted."""
    try:
        with (
            lock_folder(lab.lock_dir, create=False) as folder,
            inner_folder(folder, queue_name(slot.id), create=False) as places,
        ):
            return tuple(Waiter(place, note) for place, note in enumerate(tickets.waiting(places), 1))
    except FileNotFoundError:
        return ()


def _release(fd: int) -> None:
    with suppress(OSError):
        os.ftruncate(fd, 0)
    os.close(fd)
