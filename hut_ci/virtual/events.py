"""What happened on a virtual board, for tests to wait on."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple


class Event(NamedTuple):
    """`seconds` is time.monotonic() at the moment it happened."""

    seconds: float
    name: str
    detail: str


class EventLog:
    """Append-only and safe across threads."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._changed = threading.Condition()

    def record(self, name: str, detail: str = "") -> Event:
        event = Event(time.monotonic(), name, detail)
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()
        return event

    def all(self) -> list[Event]:
        with self._changed:
            return list(self._events)

    def named(self, *names: str) -> list[Event]:
        return [event for event in self.all() if event.name in names]

    def wait_for(
        self, name: str, deadline_seconds: float, count: int = 1, detail: str | None = None, after: float = 0.0
    ) -> Event:
        """The `count`-th event of that name since `after` (monotonic seconds), past ones included.

        With `detail`, only events whose detail contains it. TimeoutError names what did happen instead.
        """
        deadline = time.monotonic() + deadline_seconds
        with self._changed:
            while True:
                found = [e for e in self._events if _matches(e, name, detail, after)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(self._missed(name, count, len(found), deadline_seconds))
                self._changed.wait(left)

    def _missed(self, name: str, count: int, found: int, seconds: float) -> str:
        last = ", ".join(f"{event.name}({event.detail})" for event in self._events[-8:]) or "none"
        return f"{found} of {count} {name!r} events within {seconds:g} s; the last events were: {last}"


def _matches(event: Event, name: str, detail: str | None, after: float) -> bool:
    return event.name == name and event.seconds >= after and (detail is None or detail in event.detail)
