"""Which other program has a serial device open: a board that two programs talk to belongs to neither."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hut_ci import proc


@dataclass(frozen=True, slots=True)
class PortHolder:
    """Another process that has a serial device open; `program` may be empty."""

    pid: int
    program: str
    user: str


PTY_SLAVE_MAJORS = range(136, 144)  # Linux devices.txt: Unix98 pty slaves
PTY_MASTER = os.makedev(5, 2)  # /dev/ptmx


def who_holds(path: str) -> PortHolder | None:
    """The first other process that has the device behind `path` (a node or a link to one) open, by pid.

    None where there is none, for a network port such as `rfc2217://…`, and for a path that does not exist.
    Processes that we may not look into are passed over. The process at the far end of a pty is the board, not a
    rival, even if it keeps the near end open too (it has to, to survive our closing it).
    """
    if "://" in path:
        return None
    try:
        wanted = Path(path).stat()
    except OSError:
        return None
    for pid in _others():
        files = list(_open_files(pid))
        if any(_same(wanted, found) for _, found in files) and not _is_far_end(pid, files, wanted):
            return PortHolder(pid, proc.program(pid), proc.user(pid))
    return None


def named_holder(path: str) -> tuple[str, str]:
    """The program and the pid of `who_holds`, in words where nothing can be found out."""
    holder = who_holds(path)
    return (holder.program or "a program", str(holder.pid)) if holder else ("another program", "unknown")


def _others() -> list[int]:
    pids = sorted(int(entry.name) for entry in proc.PROC.iterdir() if entry.name.isdigit())
    return [pid for pid in pids if pid != os.getpid()]


def _open_files(pid: int) -> Iterator[tuple[str, os.stat_result]]:
    """(descriptor number, stat of the file behind it); nothing for a process that is gone or not ours to see."""
    folder = f"{proc.PROC}/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 (thousands of calls)
    except OSError:
        return
    for name in names:
        try:
            yield name, os.stat(f"{folder}/{name}")  # noqa: PTH116 (the same; never opens the device)
        except OSError:
            continue


def _same(wanted: os.stat_result, found: os.stat_result) -> bool:
    """The same device under any name, in any container's /dev; pty numbers mean one thing per devpts mount only."""
    if not stat.S_ISCHR(wanted.st_mode) or _is_pty(wanted):
        return (wanted.st_dev, wanted.st_ino) == (found.st_dev, found.st_ino)
    return stat.S_ISCHR(found.st_mode) and wanted.st_rdev == found.st_rdev


def _is_pty(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) in PTY_SLAVE_MAJORS


def _is_far_end(pid: int, files: list[tuple[str, os.stat_result]], wanted: os.stat_result) -> bool:
    """Whether the process has the pty's master open; /proc/PID/fdinfo names the pair as `tty-index`."""
    if not _is_pty(wanted):
        return False
    number = (os.major(wanted.st_rdev) - PTY_SLAVE_MAJORS.start) * 256 + os.minor(wanted.st_rdev)
    masters = (name for name, found in files if stat.S_ISCHR(found.st_mode) and found.st_rdev == PTY_MASTER)
    return any(_tty_index(pid, name) == number for name in masters)


def _tty_index(pid: int, fd: str) -> int | None:
    try:
        lines = (proc.PROC / str(pid) / "fdinfo" / fd).read_text("utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split(":")[1]) for line in lines if line.startswith("tty-index")), None)
