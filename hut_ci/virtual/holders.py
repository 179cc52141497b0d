"""Which processes hold a device or a loopback connection open, read from /proc."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


def holders_of_device(path: str) -> list[str]:
    """`name[pid]` of every process, this one apart, that has `path` (no symlink) open and lets us look."""
    return sorted({_name(pid) for pid, target in _open_files() if target == path})


def holder_of_local_port(port: int) -> str | None:
    """`name[pid]` of the process whose loopback TCP socket has that local port, if it can be found."""
    inode = _inode_of_local_port(port)
    if inode is None:
        return None
    return next((_name(pid) for pid, target in _open_files() if target == f"socket:[{inode}]"), None)


def hold_device(path: str) -> subprocess.Popen[bytes]:
    """Another program (`cat`) that has `path` open and locked until its input is closed, or we die."""
    device = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[device])
    finally:
        os.close(device)


def _inode_of_local_port(port: int) -> str | None:
    try:
        rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return None
    for row in rows:
        fields = row.split()
        if fields[1].endswith(f":{port:04X}") and fields[9] != "0":
            return fields[9]
    return None


def _open_files() -> Iterator[tuple[int, str]]:
    me = os.getpid()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == me:
            continue
        try:
            links = list((entry / "fd").iterdir())
        except OSError:  # gone, or not ours to see
            continue
        for link in links:
            try:
                yield int(entry.name), str(link.readlink())
            except OSError:
                continue


def _name(pid: int) -> str:
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()}[{pid}]"
    except OSError:
        return f"?[{pid}]"
