"""What /proc tells of a process to a person who has to find it: the program and the user. Linux, proc(5)."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePath

PROC = Path("/proc")
GUARDIAN = "hut-ci-guardian"
"""What a power guardian calls itself: whoever ends processes leaves it alone, for it has a relay to switch on again.

Anybody can take the name, so it is never enough: a guardian also keeps a slot's lock, and not for long.
"""


def program(pid: int) -> str:
    """The program's name; for an interpreter the script or module it runs. Empty for a process that is gone.

    Arguments are never shown: they may hold secrets, and the name ends in public reports.
    """
    try:
        argv = (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        name = (PROC / str(pid) / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""
    return _plain(_script(argv) if PurePath(argv[0]).name.startswith("python") else "") or _plain(name)


def name(pid: int) -> str:
    """What the process calls itself (PR_SET_NAME), else its program, in 15 characters; empty for one that is gone."""
    try:
        return _plain((PROC / str(pid) / "comm").read_text("utf-8", "replace").strip())
    except OSError:
        return ""


def is_stopped(pid: int) -> bool:
    """Whether a signal (Ctrl-Z) or a debugger has stopped the process: states T and t of proc(5)."""
    try:
        return (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return False


def family() -> dict[int, tuple[int, int]]:
    """Every process that we can see: pid → (parent's pid, process group)."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                found[int(entry.name)] = (int(words[1]), int(words[2]))
    return found


def children(pid: int) -> set[int]:
    return {child for child, (parent, _group) in family().items() if parent == pid}


def descendants(pid: int, family: Mapping[int, tuple[int, int]]) -> set[int]:
    """The children of a process, their children, and so on."""
    found: set[int] = set()
    newest = {pid}
    while newest := {child for child, (parent, _group) in family.items() if parent in newest} - found:
        found |= newest
    return found


def ancestors(pid: int) -> list[int]:
    """The process that started it, the one that started that, and so on, as far as we may look."""
    found: list[int] = []
    with suppress(OSError):
        while pid := int((PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1]):
            found.append(pid)
    return found


def is_hidden(pid: int) -> bool:
    """Whether the process is there and we may not look into it: another user's."""
    return (PROC / str(pid)).exists() and not os.access(PROC / str(pid) / "fdinfo", os.R_OK)


def user(pid: int) -> str:
    """The login name of the process's owner, else the number; empty for a process that is gone."""
    try:
        uid = (PROC / str(pid)).stat().st_uid
    except OSError:
        return ""
    return user_name(uid)


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def flock_owner(fd: int) -> int | None:
    """The pid that took the exclusive flock on the file open as `fd`; None where /proc/locks does not show it."""
    return min(flock_owners(fd, "WRITE"), default=None)


def flock_owners(fd: int, kind: str) -> set[int]:
    """The pids that took a flock on the file open as `fd`: `WRITE` is the exclusive one, `READ` are shared ones.

    The kernel hides locks taken in other pid namespaces, and names the taker even when it has died and a child
    keeps the lock: by then the number may be anybody's. Format: `1: FLOCK  ADVISORY  WRITE 123 00:1a:456 0 EOF`,
    device numbers in hex.
    """
    try:
        lines = (PROC / "locks").read_text("utf-8").splitlines()
    except OSError:
        return set()
    file = os.fstat(fd)
    return {int(words[4]) for line in lines if _is_lock_on(words := line.split(), file, kind)}


def holds_flock(pid: int, fd: int, kind: str = "WRITE") -> bool:
    """Whether the process has the very open file by which a flock on `fd`'s file is held.

    False for a process that is gone. Raises PermissionError where we may not look into it.
    """
    return any(_holding_descriptors(pid, fd, kind))


def inherited_flock(fd: int) -> bool:
    """Whether we were started with a descriptor that holds the flock on `fd`'s file: one not to be closed by exec."""
    return any(os.get_inheritable(int(name)) for name in _holding_descriptors(os.getpid(), fd, "WRITE"))


def _holding_descriptors(pid: int, fd: int, kind: str) -> Iterator[str]:
    """/proc/PID/fdinfo names the locks of each open file in lines `lock: 1: FLOCK  ADVISORY  WRITE …`."""
    wanted = os.fstat(fd)
    folder = PROC / str(pid) / "fdinfo"
    try:
        names = [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for name in names:
        with suppress(FileNotFoundError, ProcessLookupError):
            lines = (folder / name).read_text("utf-8").splitlines()
            if any(line.startswith("lock:") and _is_lock_on(line.split()[1:], wanted, kind) for line in lines):
                yield name


def flock_holders(fd: int, kind: str = "WRITE") -> tuple[int, ...]:
    """Every process that keeps a flock on `fd`'s file, as far as we may look."""
    found = []
    for pid in sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
        with suppress(PermissionError):
            if holds_flock(pid, fd, kind):
                found.append(pid)
    return tuple(found)


def _is_lock_on(words: list[str], file: os.stat_result, kind: str) -> bool:
    key = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    return words[1:4:2] == ["FLOCK", kind] and words[5] == key


def _script(argv: list[str]) -> str:
    """`/x/idf_monitor.py -p …` and `-m serial.tools.miniterm …` → `idf_monitor.py`, `serial.tools.miniterm`."""
    operands = iter(argv[1:])
    for word in operands:
        if word == "-m":
            return next(operands, "")
        if word == "-c":
            return ""
        if word and not word.startswith("-"):
            return PurePath(word).name
    return ""


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:80])
