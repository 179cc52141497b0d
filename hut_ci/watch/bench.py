"""The process that holds boards and relays: it runs what lies in the spool, one child process for each slot.

It holds no token of a forge and opens no connection to one; hut.yml and artifact lie beside each request.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hut_ci.errors import Cancelled, HutCiError
from hut_ci.model import Lab, Slot
from hut_ci.watch import spool
from hut_ci.watch.away import sign_of_life

MOST_TRIES = 3
"""Of a job whose child, or whose bench, was killed: one that kills this host must not do so for ever."""
TRIES = "tries"
ENDED = "ended"
"""Left by a run that came to its own end, the lab's baseline and all; one that was cancelled leaves none."""
END_SECONDS = 20.0


class Child(Protocol):
    """A run that was started; `subprocess.Popen` is one."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...


Start = Callable[[str, Path], Child]
"""Begins the run of the job NAME, whose report goes to a folder."""


@dataclass(frozen=True, slots=True)
class Running:
    """`about` says to a person which run it is."""

    name: str
    about: str
    child: Child


@dataclass(slots=True)
class Bench:
    """`is_held` tells whether somebody else holds a slot: the job waits in the spool, and blocks no process.

    `check` raises HutCiError where lab.yml cannot be read now: no run could be begun, and that is no run's fault.
    """

    lab: Lab
    start: Start
    is_held: Callable[[Slot], bool]
    say: Callable[[str], None]
    check: Callable[[], object] = lambda: None
    clock: Callable[[], float] = time.time
    running: dict[str, Running] = field(default_factory=dict)
    """By slot."""
    told: dict[str, str] = field(default_factory=dict)
    """What is in the way of which job."""

    @property
    def folder(self) -> Path:
        return self.lab.spool

    def round(self) -> None:
        """End what has ended, begin what can begin."""
        sign_of_life(self.folder, self.clock())
        self._reap()
        spool.clear(self.folder)
        known = {*spool.ready(self.folder, spool.REPORTS), *(run.name for run in self.running.values())}
        waiting = [name for name in spool.ready(self.folder, spool.JOBS) if name not in known]
        for name in waiting:
            self._consider(name)
        self.told = {name: what for name, what in self.told.items() if name in waiting}

    def stop(self) -> None:
        """End all runs properly; the next bench begins them again, and this was none of their tries."""
        for run in self.running.values():
            run.child.terminate()
        for run in self.running.values():
            with suppress(OSError):  # on a full disk it was a try
                out = spool.begin(self.folder, run.name)
                (out / TRIES).write_text(str(self._tries(out) - 1))
            with suppress(subprocess.TimeoutExpired):
                run.child.wait(END_SECONDS)

    def _consider(self, name: str) -> None:
        """Begin a job whose slot is free. One that is refused is left to its time limit."""
        try:
            request = spool.read_request(self.folder, name)
            slot_id = request.pairs[0].slot
            slot = self.lab.slot(slot_id)
            if slot_id in self.running or (slot is not None and self.is_held(slot)):
                return
            self.check()
        except Cancelled:
            raise
        except HutCiError as error:
            if self.told.get(name) != error.what:
                self.told[name] = error.what
                self.say(f"{name}: {error.what}")
            return
        about = f"{request.repository} {request.commit_sha[:12]} on {slot_id}"
        out = spool.begin(self.folder, name)
        if (out / ENDED).exists() and _is_whole(out):
            self.say(f"{about}: had ended")
            spool.finish(self.folder, name)
            return
        if self._tries(out) >= MOST_TRIES:
            self.say(f"{about}: given up after {MOST_TRIES} tries")
            spool.finish(self.folder, name)
            return
        (out / TRIES).write_text(str(self._tries(out) + 1))
        self.say(f"{about}: begins")
        self.running[slot_id] = Running(name, about, self.start(name, out))

    def _reap(self) -> None:
        for slot_id, run in list(self.running.items()):
            code = run.child.poll()
            if code is None:
                continue
            del self.running[slot_id]
            out = spool.begin(self.folder, run.name)
            if _is_whole(out) or self._tries(out) >= MOST_TRIES:
                spool.finish(self.folder, run.name)
                self.say(f"{run.about}: ended with {code}")
            else:
                self.say(f"{run.about}: ended with {code} and no report; it is begun again")

    def _tries(self, out: Path) -> int:
        with suppress(OSError, ValueError):
            return int((out / TRIES).read_text())
        return 0


def _is_whole(out: Path) -> bool:
    """Whether a run has come to its own end there."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads((out / spool.REPORT).read_bytes())["hardware"]["partial"] is False
    return False
