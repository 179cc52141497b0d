"""The queue between a board's port and its chip."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FromHost:
    """Serial bytes, sent with the host's UART at `baud`; `arrived` in monotonic seconds."""

    data: bytes
    baud: int
    arrived: float


@dataclass(frozen=True, slots=True)
class Lines:
    """The modem lines as the host drives them."""

    dtr: bool
    rts: bool


@dataclass(frozen=True, slots=True)
class PortOpened:
    """The first program opened the port."""


@dataclass(frozen=True, slots=True)
class PortClosed:
    """The last program closed the port."""


@dataclass(frozen=True, slots=True)
class PowerSwitched:
    on: bool
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Stop:
    pass


Message = FromHost | Lines | PortOpened | PortClosed | PowerSwitched | Stop

_MOST_BYTES = 256 * 1024


class Inbox:
    """First in, first out; what interrupts a chip (reset, power, stop) can be seen while waiting.

    `put` blocks while too many bytes are queued: a UART bridge stops taking them, too.
    """

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._urgent = 0
        self._closed = False
        self._unlimited = False

    def put(self, message: Message) -> None:
        with self._changed:
            if isinstance(message, FromHost):
                self._changed.wait_for(lambda: self._bytes < _MOST_BYTES or self._closed or self._unlimited)
                self._bytes += len(message.data)
            self._urgent += _is_urgent(message)
            self._closed = self._closed or isinstance(message, Stop)
            self._queue.append(message)
            self._changed.notify_all()

    def get(self, deadline: float | None) -> Message | None:
        """The next message, or None at `deadline` (monotonic seconds; None: no deadline)."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue), _left(deadline))
            if not self._queue:
                return None
            message = self._queue.popleft()
            if isinstance(message, FromHost):
                self._bytes -= len(message.data)
                self._changed.notify_all()
            self._urgent -= _is_urgent(message)
            return message

    def interrupted(self, deadline: float) -> bool:
        """Waits until `deadline`; True at once when something urgent is queued."""
        with self._changed:
            return self._changed.wait_for(lambda: self._urgent > 0, _left(deadline))

    def lift_limit(self, lifted: bool) -> None:
        """While lifted, `put` does not block: for a consumer that waits for its producer to end."""
        with self._changed:
            self._unlimited = lifted
            self._changed.notify_all()

    def wait_while(self, held: threading.Event) -> None:
        """Waits while `held` is set, and no power switch or stop is queued."""
        with self._changed:
            self._changed.wait_for(lambda: not held.is_set() or self._must_yield())

    def poke(self) -> None:
        """Lets waiting threads look again."""
        with self._changed:
            self._changed.notify_all()

    def _must_yield(self) -> bool:
        return any(isinstance(message, (PowerSwitched, Stop)) for message in self._queue)


def _is_urgent(message: Message) -> bool:
    """Of the line changes, only those that pull EN low."""
    if isinstance(message, Lines):
        return message.rts and not message.dtr
    return isinstance(message, (PowerSwitched, Stop))


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
