"""The note in a held lock file, written by its holder and read by everybody else."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from datetime import UTC, datetime

from hut_ci import proc
from hut_ci.claims import notes
from hut_ci.claims.locking import is_free
from hut_ci.model import Holder
from hut_ci.stages.slot import Note


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
        return None
    note = notes.decode(os.pread(fd, notes.MAX_BYTES, 0))
    owner = proc.flock_owner(fd)
    if note and (owner in (None, note.pid) or note.host != socket.gethostname()):
        return note
    if is_free(fd):
        return None
    if owner is None:
        return notes.UNNAMED
    return Holder(owner, proc.user(owner), socket.gethostname(), "", proc.program(owner))
