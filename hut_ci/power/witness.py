"""What the board's side shows of its power: the port that vanishes, or the ROM banner that nobody asked for."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from hut_ci.deadline import Deadline

POLL_SECONDS = 0.02
QUIET_SECONDS = 0.15
"""A board without power cannot write. A bridge may still hold what it wrote before: at 115200 baud, 1.7 KB by then."""
CONNECT_SECONDS = 2.0

# Every ESP ROM names its reset reason, 1 being power-on on all of them: `rst:0x1 (POWERON_RESET)` on the ESP32,
# `rst:0x1 (POWERON)` on later chips. A watchdog, a panic or a brownout has another number.
POWER_ON_BANNER = re.compile(rb"rst:0x0?1 \(POWERON")
KEEP = 4096


class Line(Protocol):
    """An open serial line whose DTR and RTS stay as they are; `read` answers b"" when nothing came in time."""

    def read(self, deadline: Deadline) -> bytes: ...


@dataclass(slots=True)
class NoWitness:
    """For slots without a proof: agrees to everything and proves nothing."""

    proves: bool = False

    def __enter__(self) -> NoWitness:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def gone(self, deadline: Deadline) -> bool:  # noqa: ARG002 (stages/power_cycle.py Witness)
        return True

    def still_gone(self) -> bool:
        return True

    def back(self, deadline: Deadline) -> bool:  # noqa: ARG002 (as above)
        return True


@dataclass(slots=True)
class PortWitness:
    """The device node vanishes and returns. `serial` are a slot's paths, or `rfc2217://host:port` addresses.

    A remote port counts as gone when its server refuses the connection.
    """

    serial: tuple[str, ...]
    proves: bool = True

    def __enter__(self) -> PortWitness:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def gone(self, deadline: Deadline) -> bool:
        return _until(lambda: not self._present(), deadline)

    def still_gone(self) -> bool:
        return not self._present()

    def back(self, deadline: Deadline) -> bool:
        return _until(self._present, deadline)

    def _present(self) -> bool:
        return any(_exists(name) for name in self.serial)


@dataclass(slots=True)
class BannerWitness:
    """The port stays open, its lines untouched; power went when the line fell silent and stayed so until `on`.

    `open_line` opens the slot's port, raising BoardError. Opening it may reset the board; that is why it happens
    before `off`, and why a port opened afterwards proves nothing.
    """

    open_line: Callable[[], AbstractContextManager[Line]]
    proves: bool = True
    _stack: ExitStack = field(default_factory=ExitStack)
    _line: Line | None = None

    def __enter__(self) -> BannerWitness:
        self._stack = ExitStack()
        self._line = self._stack.enter_context(self.open_line())
        return self

    def __exit__(self, *_: object) -> None:
        self._line = None
        self._stack.close()

    def gone(self, deadline: Deadline) -> bool:
        while deadline.remaining > QUIET_SECONDS:
            if not self._read(deadline.within(QUIET_SECONDS)):
                return True
        return False

    def still_gone(self) -> bool:
        return not self._read(Deadline(0.0))

    def back(self, deadline: Deadline) -> bool:
        seen = b""
        while not deadline.expired:
            seen = seen[-KEEP:] + self._read(deadline)
            if POWER_ON_BANNER.search(seen):
                return True
        return False

    def _read(self, deadline: Deadline) -> bytes:
        assert self._line is not None
        return self._line.read(deadline)


def _until(condition: Callable[[], bool], deadline: Deadline) -> bool:
    while not condition():
        if deadline.expired:
            return False
        time.sleep(min(POLL_SECONDS, deadline.remaining))  # a device node has nothing to wait on but its folder
    return True


def _exists(name: str) -> bool:
    if "://" not in name:
        return Path(name).exists()
    parts = urlsplit(name)
    with suppress(OSError), socket.create_connection((parts.hostname or "", parts.port or 0), CONNECT_SECONDS):
        return True
    return False
