"""Starting a keeper, and ending the process that holds a slot: the command line's side of holds."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hut_ci import proc, process
from hut_ci.claims import flock, notes
from hut_ci.claims.keeper import NAME
from hut_ci.deadline import Deadline
from hut_ci.errors import ConfigError, HutCiError, SlotError
from hut_ci.model import Holder, Lab, Slot

_START = "import sys; sys.path.insert(0, sys.argv[1]); from hut_ci.claims.keeper import main; main()"
_ERRORS: dict[str, type[HutCiError]] = {"ConfigError": ConfigError}
END_SECONDS = 5.0
"""For a keeper to end, or for the kernel to show that a killed process is gone."""


@dataclass(slots=True)
class Keeper:
    """A running keeper process. `until` waits for what it says, `release` makes it let go, `detach` leaves it alone."""

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
        """Make a keeper that does not stay let go; it then says `released`."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def detach(self) -> None:
        """Leave it alone: it stays when this process ends."""
        self.detached = True
        self.process.returncode = 0  # it is not ours to wait for, and Popen would warn


@contextmanager
def keeper(
    lab: Lab, slot: Slot, why: str, *, seconds: float | None, wait: float, stay: bool = False, front: bool = False
) -> Iterator[Keeper]:
    """Start a keeper; it is ended with the block unless it was detached.

    `seconds` is how long it holds at most, `wait` how long it queues, `front` gives it a place before all others.
    """
    orders: dict[str, object] = {"lock_dir": str(lab.lock_dir), "slot": slot.id, "why": why}
    orders |= {"seconds": seconds, "wait": wait, "stay": stay, "front": front}
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


def end_hold(lab: Lab, slot: Slot, holder: Holder) -> None:
    """End a hold of `hut-ci slots hold`, and return when it has let go.

    Raises SlotError where a run or another program has the slot, or a process that is not ours to end.
    """
    with _holding_process(lab, slot, holder) as pidfd:
        if proc.name(holder.pid) != NAME:
            raise SlotError(
                f"{slot.id} is held by {notes.who(holder)}, which is no hold",
                why="only what `hut-ci slots hold` made is released like this; a run ends by itself",
                todo=f"cancel that program (Ctrl-C, `kill {holder.pid}`), or as the operator: hut-ci slots steal",
            )
        _signal(pidfd, signal.SIGTERM, slot, holder)
        if not _gone(pidfd, END_SECONDS):
            raise SlotError(f"{slot.id}: the hold (pid {holder.pid}) does not end", todo=f"kill -KILL {holder.pid}")


def end_holder(lab: Lab, slot: Slot, holder: Holder, grace: float, announce: Callable[[], None]) -> str:
    """End whatever process holds the slot: SIGTERM, `grace` seconds for an orderly end, then SIGKILL.

    `announce` is called once it is certain that we may. The answer is the name of the signal that did it. Raises
    SlotError where the process is not ours to end, or not this host's.
    """
    with _holding_process(lab, slot, holder) as pidfd:
        _signal(pidfd, 0, slot, holder)
        announce()
        _signal(pidfd, signal.SIGTERM, slot, holder)
        if _gone(pidfd, grace):
            return "SIGTERM"
        _signal(pidfd, signal.SIGKILL, slot, holder)
        if not _gone(pidfd, END_SECONDS):
            raise SlotError(
                f"{slot.id}: pid {holder.pid} does not end, not even by SIGKILL",
                why="the kernel waits for its device; only unplugging it, or a reboot, helps",
            )
        return "SIGKILL"


@contextmanager
def _holding_process(lab: Lab, slot: Slot, holder: Holder) -> Iterator[int]:
    """A pidfd of the process that holds the lock by the kernel's word: a note alone may name anybody's pid."""
    try:
        pidfd = os.pidfd_open(holder.pid)
    except (OSError, ValueError, OverflowError):
        pidfd = -1
    if pidfd < 0 or flock.kernel_owner(lab, slot) != holder.pid:
        if pidfd >= 0:
            os.close(pidfd)
        raise SlotError(
            f"{slot.id}: the process that holds it cannot be ended from here: {notes.who(holder)}",
            why="it is in another container, has just ended, or is a power guardian that switches on again first",
            todo="look again with `hut-ci slots status`; end it where it runs",
        )
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _signal(pidfd: int, number: int, slot: Slot, holder: Holder) -> None:
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
    except PermissionError as error:
        raise SlotError(
            f"{slot.id} is held by {notes.who(holder)}, whose processes are not yours to end",
            why="only that user and root may",
            todo=f"ask {holder.user}, or call this command as root (sudo)",
        ) from error


def _gone(pidfd: int, seconds: float) -> bool:
    deadline = Deadline(seconds)
    return bool(select.select([pidfd], [], [], deadline.remaining)[0])
