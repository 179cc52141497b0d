"""How a file of the spool is opened: what lies there may have been put there by somebody else.

Names are checked before they become paths, nothing is opened through a link, and a file is judged by what was opened.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hut_ci.claims.safe_files import Folder, fault, inner_folder, lock_folder
from hut_ci.errors import ConfigError

NAME = re.compile(r"[a-z0-9]{8,64}-[0-9]{1,3}\Z")
DOCUMENT_LIMIT = 1 << 20
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
FILE_MODE = 0o640


def inside(spool: Path, side: str, name: str) -> Path:
    """Where a job's folder is on that side. Raises ConfigError for what is no name of one."""
    if not NAME.match(name):
        raise refused(name, "this is no name of a job")
    return spool / side / name


@contextmanager
def opened(spool: Path, side: str, name: str) -> Iterator[Folder]:
    """A job's folder on that side, each step on the way looked at. Raises ConfigError."""
    inside(spool, side, name)
    try:
        with (
            lock_folder(spool, create=False) as outer,
            inner_folder(outer, side, create=False) as middle,
            inner_folder(middle, name, create=False) as folder,
        ):
            yield folder
    except FileNotFoundError as error:
        raise refused(name, "it is gone, or not whole") from error


def document(folder: Folder, name: str) -> Any:
    """What a small file holds as JSON. Raises ConfigError, FileNotFoundError."""
    try:
        return json.loads(read(folder, name, DOCUMENT_LIMIT))
    except (ValueError, RecursionError) as error:
        raise refused(folder.path.name, f"{name} is no JSON") from error


def read(folder: Folder, name: str, limit: int) -> bytes:
    with file(folder, name, limit) as source:
        data: bytes = source.read(limit + 1)
    return data


@contextmanager
def file(folder: Folder, name: str, limit: int) -> Iterator[Any]:
    """A file that can only be what the other side wrote. Raises ConfigError, FileNotFoundError."""
    try:
        descriptor = os.open(name, OPEN, dir_fd=folder.fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise refused(folder.path.name, f"{name} cannot be opened: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as opened_file:
        found = os.fstat(descriptor)
        if wrong := fault(found, folder.group):
            raise refused(folder.path.name, f"{name} {wrong}")
        if found.st_size > limit:
            raise refused(folder.path.name, f"{name} has {found.st_size} bytes")
        yield opened_file


def write(path: Path, data: bytes) -> None:
    """A new file, on the disk when this returns."""
    with new_file(path) as target:
        target.write(data)
        sync(target)


def new_file(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb")


def sync(target: Any) -> None:
    target.flush()
    os.fsync(target.fileno())


def refused(name: str, wrong: str) -> ConfigError:
    return ConfigError(
        f"the job {name[:80]!r} is refused: {wrong}",
        why="something else than the other process of `hut-ci watch` wrote to the spool, or it was interrupted",
        todo="look at the folder `spool_dir` of lab.yml, and who may write to it",
    )
