"""flock(2) as the claims use it: whole-file, advisory, owned by the open file, gone when its last descriptor closes.

A probe takes a *shared* lock for a few microseconds. Other probes are not disturbed by that, a waiter that polls
does not notice, and `try_exclusive` tells it apart from a holder. There is no way to ask without locking that
works everywhere: F_OFD_GETLK does not see flock locks, /proc/locks hides other containers' processes.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError

# flock(2) cannot wait with a deadline without taking SIGALRM or a thread that nobody can stop, so a waiter asks
# fifty times a second. Measured with ten waiters: hand-over in 5 to 21 ms, killed holders too; each waiter costs
# under 1 % of a core.
POLL_SECONDS = 0.02
PROBE_SECONDS = 0.001
DOOR_SECONDS = 5.0  # the longest anybody keeps a door is the creation of a few files


def is_free(fd: int) -> bool:
    """Whether nobody holds the file exclusively; leaves `fd` unlocked."""
    if not _try(fd, fcntl.LOCK_SH):
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def try_exclusive(fd: int) -> bool:
    """Lock `fd` exclusively without waiting for a holder, but outlasting probes, which are not holders."""
    patience = Deadline(1.0)
    while not _try(fd, fcntl.LOCK_EX):
        if not is_free(fd) or patience.expired:
            return False
        time.sleep(PROBE_SECONDS)
    return True


@contextmanager
def door(fd: int, path: object) -> Iterator[None]:
    """One process at a time inside the folder open as `fd`: for creating files and taking numbers.

    Raises SlotError when somebody keeps it longer than DOOR_SECONDS, which only a stopped process does.
    """
    patience = Deadline(DOOR_SECONDS)
    while not _try(fd, fcntl.LOCK_EX):
        if patience.expired:
            raise SlotError(
                f"{path} has been locked for {DOOR_SECONDS:.0f} s",
                why="a hut-ci process was stopped (Ctrl-Z, a debugger) while it was taking its place in a queue",
                todo=f"find it with `fuser {path}`, then continue or end it",
            )
        time.sleep(PROBE_SECONDS)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
