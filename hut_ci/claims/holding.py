"""Starting a keeper: the command line's side of a hold that stays, and of the self-test's claimants."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hut_ci import process
from hut_ci.claims.keeper import STAY
from hut_ci.errors import ConfigError, HutCiError, SlotError
from hut_ci.model import Lab, Slot

_START = "import sys; sys.path.insert(0, sys.argv[1]); from hut_ci.claims.keeper import main; main()"
_ERRORS: dict[str, type[HutCiError]] = {"ConfigError": ConfigError}
END_SECONDS = 5.0
"""For a killed keeper to be gone."""


@dataclass(slots=True)
class Keeper:
    """A running keeper process. `until` waits for what it says, `release` makes it let go, `detach` lets it stay."""

    process: subprocess.Popen[bytes]
    detached: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def events(self) -> Iterator[dict[str, Any]]:
        """What it says, as it says it: `waiting`, `held`, `released`. Raises what it was refused with."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "refused":
                kind = _ERRORS.get(event["kind"], SlotError)
                raise kind(event["what"], why=event["why"], todo=event["todo"])
            yield event

    def until(self, name: str, on_other: Callable[[dict[str, Any]], object] = lambda _event: None) -> dict[str, Any]:
        """The next event of this name; `on_other` is told those before it. Raises SlotError where none comes."""
        for event in self.events():
            if event["event"] == name:
                return event
            on_other(event)
        raise SlotError(
            "the process that was to hold the slot ended",
            why=f"its exit code is {self.process.wait(END_SECONDS)}; was it killed, or is this host out of memory?",
            todo="try again",
        )

    def release(self) -> None:
        """Make it let go; it then says `released`."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def detach(self) -> None:
        """Let it stay when this process ends. Raises SlotError where it has ended before."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(STAY)
            self.process.stdin.flush()
        self.until("stays")
        self.detached = True
        self.process.returncode = 0  # it is not ours to wait for, and Popen would warn


@contextmanager
def keeper(lab: Lab, slot: Slot, why: str, *, seconds: float, wait: float, front: bool = False) -> Iterator[Keeper]:
    """Start a keeper; it is ended with the block unless it was detached.

    `seconds` is how long it holds at most, `wait` how long it queues, `front` gives it a place before all others.
    """
    orders: dict[str, object] = {"lock_dir": str(lab.lock_dir), "slot": slot.id, "why": why}
    orders |= {"seconds": seconds, "wait": wait, "front": front}
    with process.unwarned_fork():
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, str(Path(__file__).resolve().parents[2])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=process.clean_environment(),
            start_new_session=True,
            preexec_fn=process.dies_with_us(signal.SIGKILL),  # noqa: PLW1509 (see process.py)
        )
    started = Keeper(child)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        with suppress(BrokenPipeError):
            child.stdin.write(json.dumps(orders).encode() + b"\n")
            child.stdin.flush()
        yield started
    finally:
        with suppress(OSError):
            child.stdin.close()
        if not started.detached:
            child.kill()
            child.wait(END_SECONDS)
        child.stdout.close()
