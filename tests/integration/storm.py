"""Many claimants of one board, of two users, in a known order; the board, which sees everybody, is the witness.

Each claimant is claimant.py; while it holds, it connects to the board's port over the network, where nothing but the
claim keeps two of them apart, and the board records a `second_writer` if somebody writes there beside another.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hut_ci.virtual.board import VirtualBoard

PROGRAM = Path(__file__).with_name("claimant.py")
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`served` are the waiters' numbers in the order in which they held; `hand_overs` seconds between two holders."""

    served: tuple[int, ...]
    killed: int
    hand_overs: tuple[float, ...]


class Waiter:
    """One claimant that has taken its place before the next one starts."""

    def __init__(self, folder: Path, board: VirtualBoard, hold: float, user: str | None) -> None:
        options = ["--port", board.serial, "--hold", str(hold), "--wait", "600", "--umask", "007"]
        options += ["--user", user] if user else []
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), "hut-01", *options], stdout=subprocess.PIPE
        )

    def next(self, name: str) -> dict[str, object] | None:
        """Its next event of this name; None where it ended without."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, object] = json.loads(line)
            if event["event"] == name:
                return event
        return None

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


def storm(
    folder: Path, count: int, users: Sequence[str | None], *, kills: int = 0, hold: float = 0.0, seed: int = 0
) -> Outcome:
    """`count` waiters, of whom `kills` are killed while they hold; fails on a second holder or a wrong order."""
    chance = random.Random(seed)
    doomed = set(chance.sample(range(count), kills))
    with ExitStack() as running:
        board = running.enter_context(VirtualBoard("hut-01"))
        first = Waiter(folder, board, 600.0, users[0])
        running.callback(first.close)
        assert first.next("writing")
        waiters = []
        for number in range(count):
            waiters.append(Waiter(folder, board, 600.0 if number in doomed else hold, users[number % len(users)]))
            running.callback(waiters[-1].close)
            assert waiters[-1].next("waiting"), "a waiter was refused"
        served, hand_overs = [], []
        left = _end(first)
        for number, waiter in enumerate(waiters):
            held = waiter.next("held")
            assert held, f"waiter {number} was not served"
            served.append((float(str(held["t"])), number))
            hand_overs.append(float(str(held["t"])) - left)
            if number in doomed:
                assert waiter.next("writing")
                left = _end(waiter, chance.uniform(0.0, 0.01))
            else:
                released = waiter.next("released")
                assert released, f"waiter {number} did not end"
                left = float(str(released["leaving"]))
        assert board.violations == [], "the board saw two holders"
        seen = sum(event.name == "connected" for event in board.events)
        assert seen == count + 1, f"{seen} connections of {count + 1} claimants"
    return Outcome(tuple(number for _, number in sorted(served)), kills, tuple(hand_overs))


def _end(waiter: Waiter, after: float = 0.0) -> float:
    """Kill it while it holds; the moment (monotonic) of that."""
    time.sleep(after)  # a random moment of its holding: that is the point
    moment = time.monotonic()
    waiter.process.send_signal(signal.SIGKILL)
    waiter.process.wait(PATIENCE)
    return moment
