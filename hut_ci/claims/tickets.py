"""Places in a slot's queue: numbered files, each locked by its owner for as long as it waits.

A ticket whose lock is free belongs to a process that has died: it counts for nothing, and the next arrival sweeps
it away. Numbers are given behind the folder's door, so a ticket is locked before anybody can see it without one,
and a higher number came later. They begin at 1000: below is room for an operator who has to be served first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hut_ci.claims import notes
from hut_ci.claims.locking import door, is_free, try_exclusive
from hut_ci.claims.safe_files import Folder, create_file, open_existing
from hut_ci.errors import SlotError
from hut_ci.model import Holder

FIRST = 1000
_NAME = re.compile(r"([0-9]{8})\.ticket\Z")


class Ticket:
    """Our place. Only the nearest living ticket ahead is watched, so that waiting costs one call per look."""

    def __init__(self, folder: Folder, number: int) -> None:
        self._folder = folder
        self._number = number
        self._ahead = _nearest(folder, number)

    def is_next(self) -> bool:
        """Whether everybody in front has been served, has given up or has died."""
        if self._ahead is not None and not is_free(self._ahead):
            return False
        self.close()
        self._ahead = _nearest(self._folder, self._number)
        return self._ahead is None

    def place(self) -> int:
        """1 for the next one to be served."""
        return 1 + sum(1 for number in _numbers(self._folder) if number < self._number and _alive(self._folder, number))

    def in_front(self) -> Holder | None:
        """The note of whoever is served just before us."""
        if self.is_next() or self._ahead is None:
            return None
        return notes.decode(os.pread(self._ahead, notes.MAX_BYTES, 0)) or notes.UNNAMED

    def close(self) -> None:
        if self._ahead is not None:
            os.close(self._ahead)
            self._ahead = None


@contextmanager
def ticket(folder: Folder, note: Holder, *, front: bool = False) -> Iterator[Ticket]:
    """Stand in line, at its end or at its front. Raises ConfigError or SlotError."""
    number, fd = _take(folder, note, front)
    try:
        ours = Ticket(folder, number)
        try:
            yield ours
        finally:
            ours.close()
    finally:
        if os.fstat(fd).st_nlink:  # else a person removed it, and the number may be another's by now
            _remove(folder, number)
        os.close(fd)


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


def _nearest(folder: Folder, number: int) -> int | None:
    """A descriptor of the nearest living ticket before `number`, None when there is none."""
    for ahead in reversed([other for other in _numbers(folder) if other < number]):
        fd = _open(folder, ahead)
        if fd is None:
            continue
        if not is_free(fd):
            return fd
        os.close(fd)
    return None


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
