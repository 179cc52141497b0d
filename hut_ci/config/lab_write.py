"""Replacing a lab.yml: one writer at a time, whole or not at all, readable for owner and group."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hut_ci.errors import ConfigError
from hut_ci.reports.atomic import Replacement

FILE_MODE = 0o640
"""Owner and lab group: the file names relays and programs, and is nobody else's to read."""
AS_ROOT = "use sudo, or --lab with a file of your own"


@contextmanager
def lab_text(path: Path, empty: str, todo: str = AS_ROOT) -> Iterator[tuple[str, Callable[[str], None]]]:
    """(the text of `path`, a function that replaces it), with nobody else adding meanwhile.

    A missing file reads as `empty`. The new file keeps owner and group where this user may set them, and a stricter
    mode; otherwise it is 0640. Raises ConfigError, with `todo` as its advice to whoever may not write there.
    """
    real = path.resolve()
    try:
        real.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _not_writable(path, error, todo) from error
    try:
        if not os.access(real.parent, os.W_OK):
            raise _not_writable(path, PermissionError(13, "Permission denied"), todo)
        _lock(folder, path)
        before = real.stat() if real.exists() else None
        yield real.read_text("utf-8") if before else empty, lambda text: _replace(real, text, before)
    finally:
        os.close(folder)


def _lock(folder: int, path: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"{path}: another `hut-ci slots add` is at work",
            why="it may be waiting for somebody to plug a board in",
            todo="end it or wait for it",
        ) from error


def _replace(path: Path, text: str, before: os.stat_result | None) -> None:
    mode = FILE_MODE & before.st_mode if before else FILE_MODE
    with Replacement(path, mode=mode or FILE_MODE) as file:
        file.write(text.encode())
        if before is not None:
            with suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)


def _not_writable(path: Path, error: OSError, todo: str) -> ConfigError:
    return ConfigError(
        f"{path}: cannot be written: {error.strerror}",
        why="the lab belongs to its operator",
        todo=todo,
    )
