"""What a process of `hut-ci watch` has for itself: a folder that nobody else writes to, and its one place."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hut_ci.errors import ConfigError
from hut_ci.host_fault import host_fault


def private_folder(folder: Path) -> Path:
    """`folder`, made if need be. Raises ConfigError where others may write to it."""
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise host_fault(error, f"{folder} cannot be made") or ConfigError(
            f"{folder} cannot be made: {error.strerror}",
            why="this user may not write there",
            todo="name another folder: `--state`",
        ) from error
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ConfigError(
            f"{folder} is not this user's alone",
            why="whoever can write there could make the publisher say anything",
            todo="give it to the publisher's user with mode 700, or name another: `--state`",
        )
    return folder


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Held by one process at a time, gone with it. Raises ConfigError where another one is there.

    It is its folder's owner's alone: who could read it could hold it. One that root makes does not keep that user out.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise host_fault(error, f"{lock} cannot be opened") or ConfigError(
            f"{lock} cannot be opened: {error.strerror}",
            why="this process of `hut-ci watch` is another user's here",
            todo="start it as that user, or name another `spool_dir` in lab.yml",
        ) from error
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, lock.parent.stat().st_uid, -1)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(
            "this process of `hut-ci watch` runs already",
            why=f"somebody holds {lock}",
            todo="`hut-ci watch status` tells what it does; stop it first",
        ) from error
    finally:
        os.close(descriptor)
