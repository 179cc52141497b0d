"""What /proc tells of a process to a person who has to find it: the program and the user. Linux, proc(5)."""

from __future__ import annotations

import os
import pwd
from pathlib import Path, PurePath

PROC = Path("/proc")


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
    """The pid that took the exclusive flock on the file open as `fd`; None where /proc/locks does not show it.

    The kernel hides locks taken in other pid namespaces, and names the taker even when it has died and a child
    keeps the lock. Format: `1: FLOCK  ADVISORY  WRITE 123 00:1a:456 0 EOF`, device numbers in hex.
    """
    found = os.fstat(fd)
    key = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        lines = (PROC / "locks").read_text("utf-8").splitlines()
    except OSError:
        return None
    held = (words for line in lines if (words := line.split())[1:4:2] == ["FLOCK", "WRITE"] and words[5] == key)
    return next((int(words[4]) for words in held), None)


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
