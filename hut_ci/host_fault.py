"""What this host lacks: room on a disk that it can write to. No setting is wrong then, and it may pass."""

from __future__ import annotations

import errno
import sqlite3

from hut_ci.errors import ConfigError

_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_SQLITE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
                     sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM})  # fmt: skip
PRIMARY = 0xFF
"""Of an extended result code: SQLITE_IOERR_WRITE is SQLITE_IOERR, too (https://sqlite.org/rescode.html)."""


def host_fault(error: BaseException, what: str) -> ConfigError | None:
    """`what` could not be done ("the spool cannot be written") for a reason of the host; None for any other error."""
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        reason = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    elif isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & PRIMARY in _SQLITE:
        reason = str(error)
    else:
        return None
    return ConfigError(
        f"{what}: {reason}",
        why="the disk is full, read-only or failing; nothing that was written is lost",
        todo="look at it with `df -h` and `dmesg`, and make room",
    )
