"""The guardian's process: deaf to SIGTERM and SIGINT, it hears by a pipe how far a power cycle is.

At `done` it removes the record; at end-of-file after `off` it switches on, then removes it. A process that is stopped
or hangs closes no pipe: when the cycle's time is over the guardian switches on, and again when that process ends. It
is ready as soon as it is deaf and knows its switch; what it needs for its work (rescue.py) it loads while the cycle
goes on, because a tenth of a second for that would be lost at every cycle.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hut_ci.proc import GUARDIAN

if TYPE_CHECKING:
    from hut_ci.deadline import Deadline


def main() -> None:
    """Read settings and progress from stdin until `done` or end-of-file; runs as its own process."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    Path("/proc/self/comm").write_text(GUARDIAN)
    settings: dict[str, Any] = json.loads(next_line(0) or "")
    _say("ready")
    from hut_ci.power.rescue import guard

    _say(guard(settings, lambda deadline: next_line(0, deadline)))
    os._exit(0)  # it holds the slot's lock, and an orderly end of Python takes a while


def next_line(descriptor: int, deadline: Deadline | None = None) -> str | None:
    """The next line of a pipe, empty at its end, None where the deadline comes first."""
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], deadline.remaining if deadline else None)[0]:
            return None
        byte = os.read(descriptor, 1)
        if not byte:
            return ""
        line += byte
    return line.decode().strip()


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the other end may have been killed
        os.write(1, text.encode() + b"\n")
