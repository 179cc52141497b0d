"""Places in a slot's queue: numbered files, each locked by its owner for as long as it waits.

A ticket whose lock is free belongs to a process that has died: it counts for nothing, and the next arrival sweeps
it away. Numbers are given behind the folder's door, so a ticket is locked before anybody can see it without one,
and a higher number came later. They begin at 1000: below is room for an operator who has to be served first.

Whoever is stopped at the head of the queue would starve all others: the next one takes its ticket away when the lock
is free, and it stands in line anew when it goes on. That costs it its place at worst; the lock alone is the claim.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from hut_ci import proc
from hut_ci.claims import notes
from hut_ci.claims.locking import door, is_free, try_exclusive
from hut_ci.claims.safe_files import Folder, create_file, open_existing
from hut_ci.errors import SlotError
from hut_ci.model import Holder

FIRST, LAST = 1000, 99_999_999
_NAME = re.compile(r"([0-9]{8})\.ticket\Z")


class Ticket:
    """Our place. Only the nearest living ticket ahead is watched, so that waiting costs one call per look."""

    def __init__(self, folder: Folder, note: Holder, *, front: bool = False) -> None:
        self._folder, self._note, self._front = folder, note, front
        self._number, self._fd = _take(folder, note, front)
        self._ahead = _nearest(folder, self._number)

    def is_next(self) -> bool:
        """Whether everybody in front has been served, has given up, has died or was passed over."""
        self._stand_again()
        if self._ahead is not None and os.fstat(self._ahead[1]).st_nlink and not is_free(self._ahead[1]):
            return False
        self._look_away()
        self._ahead = _nearest(self._folder, self._number)
        return self._ahead is None

    def pass_over(self, *, late: bool) -> bool:
        """Take away the ticket just ahead if its owner is stopped (Ctrl-Z) or `late`; call while the lock is free.

        Its owner notices when it goes on, and stands at the end again.
        """
        if self._ahead is None:
            return False
        number, fd = self._ahead
        owner = proc.flock_owner(fd)
        if not late and not (owner and proc.is_stopped(owner)):
            return False
        with door(self._folder.fd, self._folder.path):
            if _is_file(self._folder, number, fd):
                _remove(self._folder, number)
        return True

    def place(self) -> int:
        """1 for the next one to be served."""
        return 1 + sum(1 for number in _numbers(self._folder) if number < self._number and _alive(self._folder, number))

    def in_front_at_most(self) -> int:
        """How many tickets are in front, those of the dead included: cheaper than our place, and never less."""
        return sum(number < self._number for number in _numbers(self._folder))

    def in_front(self) -> Holder | None:
        """The note of whoever is served just before us."""
        if self.is_next() or self._ahead is None:
            return None
        return notes.decode(os.pread(self._ahead[1], notes.MAX_BYTES, 0)) or notes.UNNAMED

    def close(self) -> None:
        """Leave the queue."""
        self._look_away()
        if os.fstat(self._fd).st_nlink:  # else somebody removed it, and the number may be another's by now
            _remove(self._folder, self._number)
        os.close(self._fd)

    def _stand_again(self) -> None:
        """Take a new place where ours was taken away while we were stopped."""
        if os.fstat(self._fd).st_nlink:
            return
        self._look_away()
        gone, (self._number, self._fd) = self._fd, _take(self._folder, self._note, self._front)
        os.close(gone)
        self._ahead = _nearest(self._folder, self._number)

    def _look_away(self) -> None:
        if self._ahead is not None:
            os.close(self._ahead[1])
            self._ahead = None


@contextmanager
def ticket(folder: Folder, note: Holder, *, front: bool = False) -> Iterator[Ticket]:
    """Stand in line, at its end or at its front. Raises ConfigError or SlotError."""
    with closing(Ticket(folder, note, front=front)) as ours:
        yield ours


def waiting(folder: Folder) -> Iterator[Holder]:
    """The notes of the living tickets, in order."""
    for number in _numbers(folder):
        fd = _open(folder, number)
        if fd is None:
            continue
        try:
            if not is_free(fd):
                yield notes.decode(os.pread(fd, notes.MAX_BYTES, 0)) or notes.UNNAMED
        finally:
            os.close(fd)


def _take(folder: Folder, note: Holder, front: bool) -> tuple[int, int]:
    with door(folder.fd, folder.path):
        for dead in _numbers(folder):
            if not _alive(folder, dead):
                _remove(folder, dead)
        taken = _numbers(folder)
        if not front and LAST in taken:
            taken = _without_far(folder, taken)
        number = min(taken, default=FIRST) - 1 if front else max([*taken, FIRST - 1]) + 1
        if number < 0:
            raise SlotError(f"{folder.path} has no place left in front", todo="wait until the others in front are done")
        fd = create_file(folder, _name(number))
        try:
            with suppress(OSError):  # a full disk costs the note, not the place
                os.pwrite(fd, notes.encode(note), 0)
            try_exclusive(fd)  # nobody but a probe can be before us
        except BaseException:
            os.close(fd)
            raise
    return number, fd


def _without_far(folder: Folder, taken: list[int]) -> list[int]:
    """Take away the tickets in the upper half of all numbers, living ones too; those that are left.

    An empty queue begins at FIRST again, so nobody gets there by waiting: somebody wrote a ticket by hand. Whoever
    came after that one stands in line anew.
    """
    for number in taken:
        if number > LAST // 2:
            _remove(folder, number)
    return [number for number in taken if number <= LAST // 2]


def _nearest(folder: Folder, number: int) -> tuple[int, int] | None:
    """The nearest living ticket before `number` and a descriptor of it, None when there is none."""
    for ahead in reversed([other for other in _numbers(folder) if other < number]):
        fd = _open(folder, ahead)
        if fd is None:
            continue
        if not is_free(fd):
            return ahead, fd
        os.close(fd)
    return None


def _is_file(folder: Folder, number: int, fd: int) -> bool:
    """Whether the name still leads to the open file: its number may be another's by now."""
    try:
        named = os.stat(_name(number), dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def _alive(folder: Folder, number: int) -> bool:
    fd = _open(folder, number)
    if fd is None:
        return False
    try:
        return not is_free(fd)
    finally:
        os.close(fd)


def _open(folder: Folder, number: int) -> int | None:
    try:
        return open_existing(folder, _name(number))
    except FileNotFoundError:
        return None


def _remove(folder: Folder, number: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(_name(number), dir_fd=folder.fd)


def _numbers(folder: Folder) -> list[int]:
    names = os.listdir(folder.fd)  # noqa: PTH208 (pathlib cannot list an open folder)
    return sorted(int(match[1]) for name in names if (match := _NAME.match(name)))


def _name(number: int) -> str:
    return f"{number:08d}.ticket"
