"""A process that claims slots, driven by hand or by a test over its standard streams.

    python tests/integration/claimant.py LOCK_DIR hut-01[,hut-02] [--wait S] [--hold S] [--user NAME] [--why TEXT]

It prints one JSON object per event (`waiting`, `held`, `released`, `refused`), each with `t`: CLOCK_MONOTONIC
seconds, which all processes of a host share. Without --hold it releases when a line arrives on its input, and the
words `spawn` and `guard` start a child that outlives it first; `guard` hands it the lock.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from hut_ci.claims import flock
from hut_ci.deadline import Deadline
from hut_ci.errors import HutCiError
from hut_ci.model import Lab, Slot
from hut_ci.stages.slot import Note


def lab_of(folder: Path, *slots: str) -> Lab:
    made = tuple(Slot(name, f"esp32-{name}", (f"/dev/serial/by-id/{name}",)) for name in slots)
    return Lab("bench", folder, folder / "state", made, folder / "lab.yml")


def say(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, "t": time.monotonic(), "pid": os.getpid(), **facts}), flush=True)


def become(name: str) -> None:
    """Drop root for good, groups included."""
    user = pwd.getpwnam(name)
    os.setgroups(os.getgrouplist(name, user.pw_gid))
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored from the start in a shell's background jobs
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("slots")
    parser.add_argument("--wait", type=float, default=60.0)
    parser.add_argument("--hold", type=float)
    parser.add_argument("--user")
    parser.add_argument("--why", default="test")
    parser.add_argument("--umask", type=lambda text: int(text, 8), default=0o022)
    parser.add_argument("--port", help="an rfc2217:// address to write to while holding")
    asked = parser.parse_args()
    os.umask(asked.umask)
    if asked.user:
        become(asked.user)
    lab = lab_of(asked.folder, *asked.slots.split(","))
    try:
        with flock.claim_any(
            lab,
            lab.slots,
            note=Note(asked.why),
            deadline=Deadline(asked.wait),
            on_wait=lambda waiting: say(
                "waiting",
                slot=waiting.slot_id,
                place=waiting.place,
                holder=waiting.holder.pid if waiting.holder else None,
                text=waiting.text,
            ),
        ) as claim:
            say("held", slot=claim.slot_id, fd=claim.lock_fd)
            with writing(asked.port):
                keep(asked.hold, claim.lock_fd)
            leaving = time.monotonic()
        say("released", slot=claim.slot_id, leaving=leaving)
    except HutCiError as error:
        say("refused", kind=type(error).__name__, what=error.what, todo=error.todo, evidence=error.evidence)
        return error.exit_code
    return 0


@contextmanager
def writing(port: str | None) -> Iterator[None]:
    """A connection to the board, on which something is written: it records whoever does so beside another."""
    if port is None:
        yield
        return
    address = urlsplit(port)
    with socket.socket() as connection:
        connection.settimeout(60)
        connection.connect((address.hostname, address.port))
        connection.sendall(b"x")
        say("writing")
        yield
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def keep(seconds: float | None, lock_fd: int) -> None:
    """Hold the claim for a time, or until a line arrives; `spawn` and `guard` start a child that stays behind."""
    if seconds is not None:
        time.sleep(seconds)
        return
    for line in sys.stdin:
        if line.strip() not in ("spawn", "guard"):
            return
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        if line.strip() == "guard":
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, pass_fds=(lock_fd,))
        else:  # only close-on-exec keeps the lock from it
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, close_fds=False)
        say("child", child=child.pid)
        child.returncode = 0  # left alone on purpose


if __name__ == "__main__":
    sys.exit(main())
