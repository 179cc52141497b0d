"""One moment by which a wait has to end; every wait takes one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, `seconds` after its creation.

    `clock` returns seconds and is replaced in tests by a clock that they own.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    started: float = field(default=-1.0)

    def __post_init__(self) -> None:
        if self.started < 0:
            object.__setattr__(self, "started", self.clock())

    @property
    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.started + self.seconds - self.clock())

    @property
    def expired(self) -> bool:
        return self.remaining <= 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the deadline was set."""
        return self.clock() - self.started

    def within(self, seconds: float) -> Deadline:
        """A deadline `seconds` from now, or this one where it comes first."""
        return Deadline(min(seconds, self.remaining), self.clock)


def call_within(seconds: float, call: Callable[[threading.Event], Result]) -> Result:
    """What `call` answers, if it does within `seconds`. Raises TimeoutError, or whatever `call` raises.

    For calls that take no deadline themselves: a socket's time-out starts again with every byte, so a server that
    drips its headers outlasts it. `call` runs in a thread that is left behind when the time is over; it gets an event
    that is set then, to write nothing any more.
    """
    answers: list[Result] = []
    errors: list[BaseException] = []
    over = threading.Event()

    def work() -> None:
        try:
            answers.append(call(over))
        except BaseException as error:  # handed over to whoever waits
            errors.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    late = True
    try:
        worker.join(seconds)
        late = worker.is_alive()
    finally:
        over.set()
    if late:  # whatever it still says: it was told to stop, and has not done its work
        raise TimeoutError("the answer did not end in time")
    if errors:
        raise errors[0]
    return answers[0]
