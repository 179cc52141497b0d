"""Ending the processes that hold a slot: one's own hold, or, for an operator, whatever it is."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from hut_ci import proc
from hut_ci.claims import flock, notes
from hut_ci.claims.lock_note import HOLDS
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.model import Holder, Lab, Slot

GUARDIAN_SECONDS = 180.0
"""For a guardian whose cycle was killed: a try at `on` (60) that it is at, another one, and an `off` in flight (30)."""
END_SECONDS = 5.0
"""For a hold to end, or for the kernel to show that a killed process is gone."""


def end_hold(lab: Lab, slot: Slot, holder: Holder) -> None:
    """End a hold of `hut-ci slots hold`, and return when it has let go.

    Raises SlotError where a run or another program has the slot, or a process that is not ours to end.
    """
    with _holding_processes(lab, slot, holder) as pidfds:
        if proc.name(holder.pid) != HOLDS or holder.pid not in pidfds:
            raise SlotError(
                f"{slot.id} is held by {notes.who(holder)}, which is no hold",
                why="only what `hut-ci slots hold` made is released like this; a run ends by itself",
                todo=f"cancel that program (Ctrl-C, `kill {holder.pid}`), or as the operator: hut-ci slots steal",
            )
        _signal(pidfds.values(), signal.SIGTERM, slot, holder)
        if not _gone(pidfds.values(), END_SECONDS):
            raise SlotError(f"{slot.id}: the hold (pid {holder.pid}) does not end", todo=f"kill -KILL {holder.pid}")


def end_holder(lab: Lab, slot: Slot, holder: Holder, grace: float, announce: Callable[[], None]) -> str:
    """End whatever processes hold the slot: SIGTERM, `grace` seconds for an orderly end, then SIGKILL.

    There are several where the lock was inherited: `flock FILE COMMAND` and its command. `announce` is called once
    it is certain that we may. The answer is the name of the signal that did it. Raises SlotError where a process is
    not ours to end, or not this host's.
    """
    with _holding_processes(lab, slot, holder) as found:
        pidfds = found.values()
        _signal(pidfds, 0, slot, holder)
        announce()
        _signal(pidfds, signal.SIGTERM, slot, holder)
        _signal(pidfds, signal.SIGCONT, slot, holder)  # one that was stopped (Ctrl-Z) would never learn of it
        if _gone(pidfds, grace):
            return "SIGTERM"
        _signal(pidfds, signal.SIGKILL, slot, holder)
        if not _gone(pidfds, END_SECONDS):
            raise SlotError(
                f"{slot.id}: pid {holder.pid} does not end, not even by SIGKILL",
                why="the kernel waits for its device; only unplugging it, or a reboot, helps",
            )
        return "SIGKILL"


@contextmanager
def _holding_processes(lab: Lab, slot: Slot, holder: Holder) -> Iterator[dict[int, int]]:
    """The pidfds, by pid, of the processes that have the locked file open: a number alone may be anybody's by now.

    A guardian is left alone: it lets go as soon as the relay is on again. Where nobody else is left it is named, for
    an operator to judge: only by its time is it told from a program that took its name.
    """
    with ExitStack() as opened:
        pidfds: dict[int, int] = {}
        guardians: list[int] = []
        for pid in flock.keepers(lab, slot):
            if proc.name(pid) == proc.GUARDIAN:
                guardians.append(pid)
            else:
                with suppress(OSError):
                    pidfds[pid] = os.pidfd_open(pid)
                    opened.callback(os.close, pidfds[pid])
        still = flock.keepers(lab, slot)  # the descriptor pins the process only from when it was opened
        pidfds = {pid: pidfd for pid, pidfd in pidfds.items() if pid in still}
        if not pidfds:
            raise _guarded(slot, guardians[0]) if guardians else _out_of_reach(lab, slot, holder)
        yield pidfds


def _out_of_reach(lab: Lab, slot: Slot, holder: Holder) -> SlotError:
    if flock.kernel_owner(lab, slot) == holder.pid and proc.is_hidden(holder.pid):
        return _not_ours(slot, holder)
    return SlotError(
        f"{slot.id}: the process that holds it cannot be ended from here: {notes.who(holder)}",
        why="it is in another container, or has just ended",
        todo="look again with `hut-ci slots status`; end it where it runs",
    )


def _guarded(slot: Slot, pid: int) -> SlotError:
    return SlotError(
        f"{slot.id}: a power guardian (pid {pid}) has it, which switches on again what a killed power cycle left off",
        why=f"it lets go by itself, at the latest after {GUARDIAN_SECONDS / 60:.0f} minutes",
        todo=f"wait for it; what is still there then is no guardian, or hangs: `kill -KILL {pid}`, then "
        f"`hut-ci power repair {slot.id}`",
    )


def _not_ours(slot: Slot, holder: Holder) -> SlotError:
    return SlotError(
        f"{slot.id} is held by {notes.who(holder)}, whose processes are not yours to end",
        why="only that user and root may",
        todo=f"ask {holder.user}, or call this command as root (sudo)",
    )


def _signal(pidfds: Iterable[int], number: int, slot: Slot, holder: Holder) -> None:
    try:
        for pidfd in pidfds:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
    except PermissionError as error:
        raise _not_ours(slot, holder) from error


def _gone(pidfds: Iterable[int], seconds: float) -> bool:
    """Whether all of them have ended within that time."""
    deadline = Deadline(seconds)
    return all(select.select([pidfd], [], [], deadline.remaining)[0] for pidfd in pidfds)
