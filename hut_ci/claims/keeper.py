"""A small process that holds one slot: for a person at the bench, and as a claimant of the self-test.

A claim ends with its process, so a slot that a person holds needs one that stays when the command line returns. It
reads its orders from stdin (one JSON line), says what happens as JSON lines, and holds until its stdin ends. On STAY it
lets go of both pipes and holds until a signal comes (`hut-ci slots release`). In either case its time is bounded, and
until it stays it dies with the process that started it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hut_ci import prctl
from hut_ci.claims import flock
from hut_ci.claims.lock_note import HOLDS, write_note
from hut_ci.deadline import Deadline
from hut_ci.errors import HutCiError
from hut_ci.model import Claim, Lab, Slot
from hut_ci.stages.slot import Note, Waiting

STAY = b"stay\n"
ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOOK_SECONDS = 5.0
"""How long after a suspended host wakes up its holds end at the latest: no wait of the kernel counts that time."""


def main() -> None:
    """Claim, hold, release; runs as its own process. The exit code is that of the error."""
    orders: Mapping[str, Any] = json.loads(sys.stdin.buffer.readline())
    slot = Slot(orders["slot"], orders["slot"], ())
    lab = Lab("", Path(orders["lock_dir"]), Path(orders["lock_dir"]), (slot,), Path())
    try:
        with flock.claim(
            lab,
            slot,
            note=Note(orders["why"]),
            deadline=Deadline(orders["wait"]),
            on_wait=_say_waiting,
            front=orders["front"],
        ) as claim:
            _hold(lab, slot, claim, orders["seconds"])
            leaving = time.monotonic()
        _say("released", t=leaving, utc=_utc())
    except HutCiError as error:
        _say("refused", kind=type(error).__name__, what=error.what, why=error.why, todo=error.todo)
        sys.exit(error.exit_code)


def _hold(lab: Lab, slot: Slot, claim: Claim, seconds: float) -> None:
    held, over = time.monotonic(), Deadline(seconds, _clock)
    until = _utc(seconds)
    write_note(claim.lock_fd, replace(claim.holder, deadline_utc=until))
    _say("held", t=held, utc=_utc(), until=until)
    if not select.select([0], [], [], over.remaining)[0] or os.read(0, len(STAY)) != STAY:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    prctl.signal_when_parent_ends(0)
    Path("/proc/self/comm").write_text(HOLDS)
    _say("stays")
    _let_go_of_pipes()
    while not over.expired:
        if signal.sigtimedwait(ENDINGS, min(over.remaining, LOOK_SECONDS)) is not None:
            break
    flock.lost(lab, slot, claim)


def _clock() -> float:
    """Seconds, those that the host is suspended for included: a laptop's lid must not keep a board over a weekend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _let_go_of_pipes() -> None:
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)


def _say_waiting(waiting: Waiting) -> None:
    holder = waiting.holder
    _say(
        "waiting",
        t=time.monotonic(),
        utc=_utc(),
        place=waiting.place,
        holder=holder.pid if holder else None,
        text=waiting.text,
    )


def _say(event: str, **facts: object) -> None:
    with suppress(OSError):  # nobody listens any more
        os.write(1, (json.dumps({"event": event, "pid": os.getpid(), **facts}) + "\n").encode("ascii"))


def _utc(later: float = 0.0) -> str:
    instant = datetime.now(UTC) + timedelta(seconds=later)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
