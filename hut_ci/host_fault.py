"""What this host lacks: room on a disk that it can write to. No setting is wrong then, and it may pass."""

from __future__ import annotations

import errno

from hut_ci.errors import ConfigError

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
PRIMARY = 0xFF
"""Of an extended result code: SQLITE_IOERR_WRITE is SQLITE_IOERR, too (https://sqlite.org/rescode.html)."""


def host_fault(error: BaseException, what: str) -> ConfigError | None:
    """`what` could not be done ("the spool cannot be written") for a reason of the host; None for any other error."""
    if isinstance(error, OSError) and error.errno in _SHORT:
        return ConfigError(
            f"{what}: {error.strerror}",
            why="this host, or this user, has no more of that for now",
            todo="look at `ulimit -a`, `free` and what else runs here, then try again",
        )
    if isinstance(error, OSError) and error.errno in _DISK:
        known = not error.filename or str(error.filename) in what
        reason = str(error.strerror) if known else f"{error.strerror}: {error.filename}"
    elif _is_of_sqlite(error):
        reason = str(error)
    else:
        return None
    return ConfigError(
        f"{what}: {reason}",
        why="the disk is full, read-only or failing; nothing that was written is lost",
        todo="look at it with `df -h` and `dmesg`, and make room",
    )


def _is_of_sqlite(error: BaseException) -> bool:
    """SQLite is not loaded for it: those who only claim a slot have no database."""
    if type(error).__module__ != "sqlite3":
        return False
    import sqlite3

    faults = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
    faults |= {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM}
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & PRIMARY in faults
