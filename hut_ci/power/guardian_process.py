"""The guardian: a small process that switches on again when the one that switched off cannot.

Deaf to SIGTERM and SIGINT, it reads a pipe. At `done` it removes the record; at end-of-file after `off` it switches
on, then removes it. A process that is stopped or hangs closes no pipe: when the cycle's time is over the guardian
switches on, and again when that process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError
from hut_ci.power.choose import Switch, unpack
from hut_ci.power.intent import RESTORE_SECONDS, is_hopeless, switch_back
from hut_ci.power.state_file import remove_durably

IN_FLIGHT_SECONDS = (1.0, 30.0)
"""An `off` without an answer may still be on its way: the state is watched after `on` for as long as a call may take
(the slot's `timeout`), but at least and at most so long, because the slot is held meanwhile."""


def main() -> None:
    """Read settings and progress from stdin until `done` or end-of-file; runs as its own process."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    settings: Mapping[str, Any] = json.loads(next_line(0) or "")
    switch = unpack(settings["switch"])
    _say("ready")
    stage = _watch(switch, Deadline(settings["seconds"]))
    try:
        if stage in ("off", "cut"):
            settle = in_flight(switch) if stage == "off" else 0.0
            switch_back(switch, Deadline(RESTORE_SECONDS), settle=settle)
        for path in settings["intents"]:
            remove_durably(Path(path))
        _say("on")
    except PowerError as error:
        _say(f"failed {error.fields.get('detail', '')}")


def in_flight(switch: Switch) -> float:
    """Seconds for which an `off` that nobody answered may still arrive."""
    least, most = IN_FLIGHT_SECONDS
    return min(most, max(least, getattr(switch, "timeout", 0.0)))


def _watch(switch: Switch, deadline: Deadline) -> str:
    """How far the cycle came by its end: empty, `off`, `cut` or `done`.

    One that overstays its deadline gets its power at once. It keeps its record and is watched to its end: it may go on.
    """
    stage = ""
    patience: Deadline | None = deadline
    while stage != "done":
        line = next_line(0, patience)
        if line is None:
            patience = _rescue(switch)
        elif not line:
            break
        else:
            stage = line
    return stage


def _rescue(switch: Switch) -> Deadline | None:
    """Switch on; when to try again, None for never."""
    try:
        switch_back(switch, Deadline(RESTORE_SECONDS))
    except PowerError as error:
        return None if is_hopeless(error) else Deadline(RESTORE_SECONDS)
    return None


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
