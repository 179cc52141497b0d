"""A full disk is told from a wrong setting, from damage and from a bug."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hut_ci.host_fault import host_fault


def full() -> OSError:
    """What the kernel says of a device that is always full."""
    with pytest.raises(OSError) as caught, open("/dev/full", "wb", buffering=0) as file:  # noqa: PTH123
        file.write(b"x")
    return caught.value


def sqlite_error(path: Path, words: str) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as caught, closing(sqlite3.connect(path)) as db:
        db.execute(words)
    return caught.value


def test_a_full_disk_is_one() -> None:
    fault = host_fault(full(), "the spool cannot be written")
    assert fault is not None
    assert fault.what == f"the spool cannot be written: {os.strerror(errno.ENOSPC)}"


def test_a_database_that_finds_no_room_or_no_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "small.db").touch()
    assert host_fault(sqlite_error(tmp_path, "SELECT 1"), "x") is not None  # a folder
    with closing(sqlite3.connect(tmp_path / "small.db")) as db:
        db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError, match="full") as caught:
            db.execute("CREATE TABLE t (a)")
    assert host_fault(caught.value, "x") is not None


def test_too_many_open_files_are_no_full_disk() -> None:
    fault = host_fault(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "the spool cannot be written")
    assert fault is not None
    assert ("ulimit" in fault.todo, "disk" in fault.why) == (True, False)


def test_everything_else_is_none(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"no database at all" * 100)
    for error in (
        FileNotFoundError(errno.ENOENT, "gone"),
        PermissionError(errno.EACCES, "denied"),
        ValueError("x"),
        sqlite_error(tmp_path / "text.db", "SELECT * FROM sqlite_master"),
        sqlite_error(tmp_path / "new.db", "SELECT wrong"),
    ):
        assert host_fault(error, "x") is None, error
