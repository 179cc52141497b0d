"""Slots that an operator took from their holders: `lock_dir/hut-01.steals`, one JSON line by each of the two sides.

`taken` is written by the operator's process before the holder is told to end, `lost` by the holder when it ends, `told`
when its user has been told.
The file is only ever appended to. It lies beside the lock because that is the folder that all users of a lab share.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from hut_ci.claims import notes
from hut_ci.claims.names import lock_name, steals_name
from hut_ci.claims.safe_files import lock_folder, open_existing, open_file
from hut_ci.errors import ConfigError
from hut_ci.model import Holder, Lab, Slot
from hut_ci.units import utc_now

TAIL = 1 << 16
"""Bytes at the end of the file that are looked at: some hundred steals."""


@dataclass(frozen=True, slots=True)
class Steal:
    """One line: `event` is `taken`, `lost` or `told`; `pid` and `since_utc` are the claim that ended."""

    event: str
    at_utc: str
    pid: int
    since_utc: str
    user: str
    by: str
    why: str

    @property
    def text(self) -> str:
        return f"taken by {self.by}: {self.why}"


def operators(lab: Lab, slot: Slot) -> frozenset[int]:
    """The ids of the users who may take the slot from its holder: root, and the owner of the lock folder.

    Where the folder is no group's (/var/lock), also the owner of the lock file, who alone can use it. lab.yml does not
    say: anybody can write one that names these locks. Raises ConfigError.
    """
    try:
        with lock_folder(lab.lock_dir, create=False) as folder:
            found = {0, os.fstat(folder.fd).st_uid}
            if folder.group is None:
                fd = open_existing(folder, lock_name(slot.id))
                found.add(os.fstat(fd).st_uid)
                os.close(fd)
    except FileNotFoundError:
        return frozenset({0})
    return frozenset(found)


def record(lab: Lab, slot: Slot, event: str, victim: Holder, by: str, why: str) -> None:
    """Append one line. Raises ConfigError where the file cannot be trusted or written, a full disk included."""
    entry = {"event": event, "at_utc": utc_now(), "pid": victim.pid, "since_utc": victim.since_utc}
    entry |= {"user": victim.user, "by": notes.plain(by), "why": notes.plain(why)}
    line = (json.dumps(entry) + "\n").encode("ascii")
    with lock_folder(lab.lock_dir, create=True) as folder:
        fd = open_file(folder, steals_name(slot.id), os.O_APPEND)
        try:
            if os.write(fd, b"\n" + line if _is_torn(fd) else line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            path = folder.path / steals_name(slot.id)
            raise ConfigError(f"{path} cannot be written: {error.strerror}", todo="look at `df -h`") from error
        finally:
            os.close(fd)


def _is_torn(fd: int) -> bool:
    """Whether a full disk cut the last line short."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"


def taken_from(lab: Lab, slot: Slot, victim: Holder) -> Steal | None:
    """The record that this very claim was taken; None where there is none. Raises ConfigError."""
    mine = (victim.pid, victim.since_utc)
    return next((steal for steal in _read(lab, slot) if (steal.pid, steal.since_utc) == mine), None)


def untold(lab: Lab, slot: Slot, user: str) -> Steal | None:
    """The newest record of a claim of `user` that was taken and that nobody was told of yet. Raises ConfigError."""
    steal = next((steal for steal in reversed(list(_read(lab, slot))) if steal.user == user), None)
    return None if steal is None or steal.event == "told" else steal


def tell_once(lab: Lab, slot: Slot, steal: Steal) -> None:
    """Remember that the user was told. Where that is not possible the user will be told again."""
    with suppress(ConfigError):
        record(lab, slot, "told", Holder(steal.pid, steal.user, "", steal.since_utc), steal.by, steal.why)


def _read(lab: Lab, slot: Slot) -> Iterator[Steal]:
    try:
        with lock_folder(lab.lock_dir, create=False) as folder:
            fd = open_existing(folder, steals_name(slot.id))
    except FileNotFoundError:
        return
    try:
        text = os.pread(fd, TAIL, max(0, os.fstat(fd).st_size - TAIL)).decode("ascii", "replace")
    finally:
        os.close(fd)
    yield from filter(None, map(_decode, text.splitlines()))


def _decode(line: str) -> Steal | None:
    """Every member of the lab group may write here: what is no whole record is passed over."""
    try:
        entry = json.loads(line)
        pid = int(entry["pid"])
        texts = {name: notes.plain(str(entry[name])) for name in ("event", "at_utc", "since_utc", "user", "by", "why")}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return Steal(pid=pid, **texts)
