"""Files that exist whole or not at all: written beside their name, then renamed."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import IO

FILE_MODE = 0o644
FOLDER_MODE = 0o755


class Replacement:
    """`with Replacement(path) as file:` gives a binary file that takes `path`'s place at the end of the block.

    An exception, or a kill at any moment, leaves the old content. `durable` asks the disk too: after a
    power cut the name shows the old bytes or the new ones, never none.
    """

    def __init__(self, path: Path, *, mode: int = FILE_MODE, durable: bool = True) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._mode = mode
        self._durable = durable
        self._file: IO[bytes] | None = None

    def __enter__(self) -> IO[bytes]:
        self._part.unlink(missing_ok=True)  # what a killed predecessor left; O_EXCL then refuses planted links
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self._mode)
        os.fchmod(descriptor, self._mode)  # the umask has no say in what a CI job's next user may read
        self._file = os.fdopen(descriptor, "wb")
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        with self._file:
            if kind is None:
                self._file.flush()
                if self._durable:
                    os.fsync(self._file.fileno())
        if kind is not None:
            self._part.unlink(missing_ok=True)
            return
        self._part.replace(self._path)
        if self._durable:
            sync_folder(self._path.parent)


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Give `path` the content `data`, mode 0644."""
    with Replacement(path, durable=durable) as file:
        file.write(data)


def make_folder(path: Path) -> Path:
    """`path` as a folder; one that is made here gets mode 0755, one that exists keeps its own."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(FOLDER_MODE)
    return path


def sync_folder(path: Path) -> None:
    """Make the names in `path` last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
