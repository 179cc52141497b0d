"""Small files of a slot in the lab's state folder, which several users of a lab group may share."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from hut_ci.claims.safe_files import fault
from hut_ci.errors import PowerError

SLOT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.IGNORECASE)
SIZE_LIMIT = 1 << 16


def state_path(state_dir: Path, kind: str, slot_id: str) -> Path:
    """`STATE_DIR/KIND-SLOT.json`; ValueError for an id that must not become a path."""
    if not SLOT_ID.fullmatch(slot_id):
        raise ValueError(f"not a slot id: {slot_id!r}")
    return state_dir / f"{kind}-{slot_id}.json"


def write_durably(path: Path, text: str) -> None:
    """Write by rename and flush to the disk, so that a reader after a crash sees all or nothing.

    Raises PowerError (detail `state_file`) where the folder does not let us.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o660), "w", encoding="utf-8") as file:
            if path.parent.stat().st_mode & stat.S_ISGID:  # the lab group's, whatever this user's umask takes away
                os.fchmod(file.fileno(), 0o660)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def read_trusted(path: Path) -> str | None:
    """The text of `path`, None where it does not exist.

    Raises PowerError (detail `state_file`) for a link, a device, a second hard link, a file that anybody may write,
    or one that belongs neither to root, nor to us, nor to a member of the lab group (that of a setgid folder).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    try:
        folder = path.parent.stat()
        group = folder.st_gid if folder.st_mode & stat.S_ISGID else None
        if wrong := fault(os.fstat(descriptor), group):
            raise _refused(path, f"it {wrong}")
        return os.read(descriptor, SIZE_LIMIT).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def remove_durably(path: Path) -> None:
    """Remove `path` if it exists; raises PowerError (detail `state_file`) where the folder does not let us."""
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, problem: str) -> PowerError:
    return PowerError(
        f"the state file {path} is refused: {problem}",
        why="Somebody who can replace it could hide a relay that was left off, or undo a cooldown.",
        todo="Look who made it, remove it, and check the owner and mode of its folder.",
        fields={"detail": "state_file"},
    )
