"""A loopback relay with Home Assistant's REST shape that really cuts the power of virtual boards.

Status codes and bodies are those that Home Assistant 2024.3, 2025.4 and 2026.11 gave to the same requests; the
HTTP side is in relay_http.py. By hand: `python -m hut_ci.virtual.relay --fault slow --entity switch.slot_1`.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from hut_ci.errors import UsageError
from hut_ci.virtual.events import Event, EventLog
from hut_ci.virtual.relay_http import Listener, reserve_port

FAULTS: dict[str, str] = {
    "unauthorized": "every request is answered 401, as with a wrong or expired token",
    "read_only": "service calls are answered 401, as for a user who may only look",
    "no_service": "service calls are answered 400, as for a domain that cannot be switched",
    "banned": "every request is answered 403, as after too many bad tokens from this address",
    "unknown": "the entity does not exist: 404 for its state, 200 [] for a service call",
    "starting": "as while it starts: 404 for the entity, 200 [] for a service call, its own state is STARTING",
    "unavailable": "the entity's state is `unavailable`, service calls answer 200 [] and do nothing",
    "ignored": "service calls answer 200 [] and do nothing; the state stays right",
    "stuck": "service calls report another entity's change; the switch never moves",
    "slow": "service calls act and answer only after `slow_seconds`",
    "lying": "service calls answer and read back as asked, but the power does not change",
    "lying_off": "`turn_off` reads back `off` but cuts nothing; `turn_on` is honest",
    "server_error": "service calls are answered 500, nothing is switched",
    "server_error_on": "`turn_on` is answered 500, `turn_off` works",
    "refused": "nobody listens: connections are refused",
}
"""Name → what it does. `NAME:COUNT` limits a fault to that many requests; without a count it stays."""

PowerLine = Callable[[bool], None]
HELD_SECONDS = 60.0


class Relay:
    """`boards` maps entity ids to a callable that is told True (power on) or False.

    `url` (from entry on) and `token` are what lab.yml needs. All entities start `on`. Its events, with the entity as
    detail: `state` (a read), `call_on`/`call_off` (a service call arrived), `on`/`off` (the power changed), `held`.
    """

    def __init__(
        self,
        boards: Mapping[str, PowerLine],
        *,
        faults: Iterable[str] = (),
        token: str | None = None,
        port: int = 0,
        slow_seconds: float = 3.0,
    ) -> None:
        self.boards = dict(boards)
        self.token = token or secrets.token_urlsafe(32)
        self.slow_seconds = slow_seconds
        self.states: dict[str, bool] = dict.fromkeys(self.boards, True)
        self._events = EventLog()
        self._held: str | None = None
        self._released = threading.Event()
        self._changed = threading.Lock()
        self._faults: dict[str, int | None] = {}
        self.port = port
        self._socket: socket.socket | None = None
        self._listener: Listener | None = None
        for fault in faults:
            self.fail(fault)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- life -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._reserve()
        if "refused" not in self._faults:
            self._listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
        self._stop_listening()

    def _reserve(self) -> None:
        self._socket = reserve_port(self.port)
        self.port = self._socket.getsockname()[1]

    def _listen(self) -> None:
        if self._listener is None and self._socket is not None:
            self._listener = Listener(self, self._socket)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- faults ---------------------------------------------------------------------------------------------

    def fail(self, fault: str) -> None:
        """Switch on the fault `NAME` or `NAME:COUNT`; UsageError for a name that FAULTS does not have."""
        name, _, count = fault.partition(":")
        if name not in FAULTS:
            raise UsageError(
                f"there is no relay fault {name!r}",
                todo="choose one of: " + ", ".join(FAULTS),
            )
        if count and not count.isdigit():
            raise UsageError(f"the count of relay fault {fault!r} is not a number", todo=f"write {name}:2")
        self._faults[name] = int(count) if count else None
        if name == "refused" and self._listener is not None:
            self._stop_listening()
            self._reserve()

    def heal(self) -> None:
        """Remove every fault."""
        self._faults.clear()
        self._listen()

    def takes(self, name: str) -> bool:
        """Whether fault `name` applies to this request; counts it down."""
        with self._changed:
            if name not in self._faults:
                return False
            left = self._faults[name]
            if left is not None:
                if left <= 0:
                    return False
                self._faults[name] = left - 1
            return True

    # --- what happens ---------------------------------------------------------------------------------------

    def switch(self, entity: str, on: bool, *, really: bool = True) -> None:
        """Set the state of `entity` and, if `really`, the power behind it."""
        if really:
            self.boards[entity](on)
        self.states[entity] = on
        if really:
            self.record("on" if on else "off", entity)

    def record(self, name: str, entity: str) -> None:
        """Append an event and wake the waiters; where `hold_at(name)` waits for it, stay until `release`."""
        self._events.record(name, entity)
        with self._changed:
            held = self._held == name
            if held:
                self._held = None
                self._released.clear()
        if held:
            self._events.record("held", entity)
            self._released.wait(HELD_SECONDS)

    @property
    def events(self) -> list[Event]:
        """All that happened so far, oldest first."""
        return self._events.all()

    def wait_for(
        self, name: str, deadline_seconds: float, count: int = 1, detail: str | None = None, after: float = 0.0
    ) -> Event:
        """See EventLog.wait_for."""
        return self._events.wait_for(name, deadline_seconds, count, detail, after)

    def hold_at(self, name: str) -> None:
        """The next request that causes `name` gets no answer until `release`, though it took effect.

        The event `held` is recorded when it waits: the barrier of kill tests.
        """
        with self._changed:
            self._held = name

    def release(self) -> None:
        with self._changed:
            self._held = None
        self._released.set()

    def switched(self, entity: str | None = None) -> list[str]:
        """The order in which the power of `entity` (or of any) went `off` and `on`."""
        return [event.name for event in self._events.named("off", "on") if entity in (None, event.detail)]


def main() -> None:
    """Serve entities without boards until Ctrl-C."""
    import argparse

    parser = argparse.ArgumentParser(description="A relay with Home Assistant's REST shape, on the loopback.")
    parser.add_argument("--entity", action="append", metavar="switch.slot_1")
    parser.add_argument("--fault", action="append", default=[], help=", ".join(FAULTS))
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()

    def board(entity: str) -> PowerLine:
        return lambda on: print(f"{entity} {'on' if on else 'off'}", flush=True)

    entities = options.entity or ["switch.slot_1"]
    with Relay({e: board(e) for e in entities}, faults=options.fault, port=options.port) as relay:
        print(f"{relay.url}\ntoken {relay.token}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
