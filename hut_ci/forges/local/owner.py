"""Which process posted a pending status, so that a later one can tell whether it still runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GONE = frozenset("ZXx")  # proc(5): zombie and dead; a zombie will post nothing more


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from later ones with its number; `start` is in clock ticks since boot (proc(5), field 22).

    `pid_namespace` is there because two containers may share the folder but not the process numbers.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    start: int


def this_process() -> Owner:
    """The owner that this process is."""
    pid = os.getpid()
    return Owner(
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=pid,
        start=_start_and_state(pid)[0],
    )


def from_document(entry: Mapping[str, Any]) -> Owner:
    """The owner that a status file holds. Raises KeyError or TypeError for one that is not complete."""
    return Owner(
        str(entry["host"]), str(entry["boot_id"]), str(entry["pid_namespace"]), int(entry["pid"]), int(entry["start"])
    )


def is_gone(owner: Owner) -> bool | None:
    """True: it has ended. False: it runs. None: it cannot be seen from here (another host or container)."""
    if owner.boot_id != _boot_id():
        return True if owner.host == socket.gethostname() else None
    if owner.pid_namespace != _pid_namespace():
        return None
    try:
        start, state = _start_and_state(owner.pid)
    except (FileNotFoundError, ProcessLookupError):
        return True
    return start != owner.start or state in _GONE


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _start_and_state(pid: int) -> tuple[int, str]:
    """Fields 22 and 3 of /proc/PID/stat; field 2 is the program's name and may hold spaces and brackets."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[19]), fields[0].decode("ascii")
