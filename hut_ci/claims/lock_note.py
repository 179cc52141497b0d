"""The note in a held lock file, written by its holder and read by everybody else."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime

from hut_ci import proc
from hut_ci.claims import notes
from hut_ci.claims.locking import PROBE_SECONDS, is_free
from hut_ci.model import Holder
from hut_ci.stages.slot import Note

HOLDS = "hut-ci-hold"
"""What /proc, `ps` and `top` call the process of a hold; at most 15 bytes (prctl(2), PR_SET_NAME)."""
SHARED_LOOKS = 4


def holder_of(note: Note) -> Holder:
    return Holder(
        pid=os.getpid(),
        user=proc.user_name(os.geteuid()),
        host=socket.gethostname(),
        since_utc=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        why=note.why,
        run_url=note.run_url,
        repository=note.repository,
        commit_sha=note.commit_sha,
        deadline_utc=note.deadline_utc,
    )


def write_note(fd: int, holder: Holder) -> None:
    with suppress(OSError):  # a full disk costs the note, not the claim
        os.ftruncate(fd, 0)
        os.pwrite(fd, notes.encode(holder), 0)


def read_holder(fd: int) -> Holder | None:
    """The holder of an open lock file. A note counts only while the lock is held, and only if it is the holder's:

    a killed holder leaves its note behind, and `flock FILE command` writes none. Notes from another host name
    (a container) are believed, because the pids in them are not ours to compare.
    """
    if is_free(fd):
        return _sharer(fd)
    note = notes.decode(os.pread(fd, notes.MAX_BYTES, 0))
    owner = proc.flock_owner(fd)
    if note and (owner in (None, note.pid) or note.host != socket.gethostname()):
        return note
    kept = owner is not None and _holds(owner, fd)
    if is_free(fd):
        return None
    if owner is None or not kept:  # its number may be anybody's by now
        return notes.UNNAMED
    return program(owner)


def program(pid: int, remark: str = "") -> Holder:
    """A process that has a lock and left no note; 0 for one that we cannot see."""
    if not pid:
        return notes.UNNAMED
    name = proc.program(pid)
    return Holder(pid, proc.user(pid), socket.gethostname(), "", ", ".join(part for part in (name, remark) if part))


def is_own_hold(holder: Holder) -> bool:
    """Whether it is a hold of the user who asks, so that `hut-ci slots release` ends it."""
    ours = (proc.user_name(os.geteuid()), socket.gethostname())
    return (holder.user, holder.host) == ours and proc.name(holder.pid) == HOLDS


def is_above_us(owner: int, fd: int) -> bool:
    """Whether who keeps the lock that `owner` took started us, or started us with it: it, or we, wait for our end.

    By the kernel's list, not by the note: a pid in another container's means another process here. A shell's
    `flock 9` takes the lock for the shell and whatever that starts, and has ended by now.
    """
    above = proc.ancestors(os.getpid())
    if owner in above or not _holds(owner, fd):
        return any(_holds(pid, fd, unseen=pid == owner) for pid in above) or proc.inherited_flock(fd)
    return owner == os.getpid() and proc.inherited_flock(fd)


def _holds(pid: int, fd: int, *, unseen: bool = True) -> bool:
    """`unseen` is the answer for another user's process (sudo), whose number is all there is to go by."""
    try:
        return proc.holds_flock(pid, fd)
    except PermissionError:
        return unseen


def _sharer(fd: int) -> Holder | None:
    """Another program's shared lock (`flock -s`), which no claim of ours goes beside; probes do not last as long."""
    found = proc.flock_owners(fd, "READ")
    for _ in range(SHARED_LOOKS):
        if not found:
            return None
        time.sleep(PROBE_SECONDS)
        found &= proc.flock_owners(fd, "READ")
    return program(min(found), "a shared lock") if found else None
