"""A command at a terminal of its own, and what a person sees and types there."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from console_script import SCRIPT, HutCi

from hut_ci.deadline import Deadline

PATIENCE = 60.0


@contextmanager
def at_a_terminal(
    hut_ci: HutCi, *argv: object, program: object = SCRIPT
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command in the foreground of a terminal of its own; yields it and the terminal's other end."""
    master, slave = pty.openpty()
    code = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(program), *map(str, argv)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=hut_ci.folder,
        env=hut_ci.environ,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield process, master
    finally:
        process.kill()
        process.wait()
        os.close(master)


def read_until(master: int, text: bytes) -> bytes:
    seen, deadline = b"", Deadline(PATIENCE)
    while text not in seen:
        ready = select.select([master], [], [], deadline.remaining)[0]
        assert ready, seen
        seen += os.read(master, 4096)
    return seen


def press(master: int, key: int) -> None:
    """`key` is one of termios' special characters, such as VINTR for Ctrl-C."""
    os.write(master, termios.tcgetattr(master)[6][key])
