"""Every way in which a virtual board can misbehave: one table, the notation, and the counting."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass

_NOTATION = re.compile(r"(?P<name>[a-z0-9_]+)(@(?P<at>\d+))?(=(?P<value>[\w.-]+))?(:(?P<count>\d+))?")


@dataclass(frozen=True, slots=True)
class FaultKind:
    """`counted`: what one of `count` is. `count` None: for ever, unless the notation says otherwise.

    `at` and `value` say what `@N` and `=VALUE` mean; None: not allowed. `pty_only`: it befalls a device file.
    """

    name: str
    meaning: str
    counted: str
    count: int | None = None
    at: str | None = None
    value: str | None = None
    pty_only: bool = False


_OFFSET = "bytes since the port was opened, from 0"

_KINDS = (
    FaultKind("silent", "the board neither sends nor hears anything", "openings of the port"),
    FaultKind(
        "mute", "nothing that is printed after a start arrives; download mode works", "starts, the first included"
    ),
    FaultKind("needs_power_cycle", "silent until its power was off and on again", "power cycles", 1),
    FaultKind("hang", "the app starts and then says nothing more", "app starts"),
    FaultKind("panic", "the app ends in a Guru Meditation and restarts", "app starts"),
    FaultKind("panic_every_second_boot", "the first, third, fifth ... app start panics", "panics"),
    FaultKind("boot_loop", "the app restarts soon after its start, without a panic", "app starts"),
    FaultKind("brownout", "the brownout detector restarts the chip soon after the app's start", "app starts"),
    FaultKind("console_spam", "the app prints without end", "app starts"),
    FaultKind("wrong_boot_mode", "a reset ends in download mode instead of the app", "resets"),
    FaultKind("no_download_mode", "a reset into download mode starts the app instead", "resets"),
    FaultKind("drop_byte_from_host", "one byte from the host gets lost", "losses", 1, at=_OFFSET),
    FaultKind("drop_byte_to_host", "one byte to the host gets lost", "losses", 1, at=_OFFSET),
    FaultKind("duplicate_byte_from_host", "one byte from the host arrives twice", "bytes", 1, at=_OFFSET),
    FaultKind("duplicate_byte_to_host", "one byte to the host arrives twice", "bytes", 1, at=_OFFSET),
    FaultKind("corrupt_byte_from_host", "one byte from the host arrives inverted", "bytes", 1, at=_OFFSET),
    FaultKind("corrupt_byte_to_host", "one byte to the host arrives inverted", "bytes", 1, at=_OFFSET),
    FaultKind("md5_mismatch", "the chip reports a wrong digest of its flash", "digests"),
    FaultKind(
        "port_vanishes",
        "the serial port disappears and comes back",
        "disappearances",
        1,
        at=_OFFSET + ", from the host",
        value="seconds away (0.5)",
    ),
    FaultKind(
        "port_renamed",
        "the serial port disappears and comes back under another name (pty only)",
        "disappearances",
        1,
        at=_OFFSET + ", from the host",
        value="seconds away (0.5)",
        pty_only=True,
    ),
    FaultKind("wrong_chip", "another chip is soldered on", "(always)", value="chip (esp32c3, or esp32 for a C3)"),
    FaultKind("wrong_mac", "a board with another MAC is plugged in", "(always)", value="MAC without colons"),
    FaultKind("ignores_power", "the plug switches, the board stays powered", "switchings"),
    FaultKind("port_held", "another program holds the port open (pty only)", "(always)", pty_only=True),
)

FAULTS = {kind.name: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a board. `at`: see FaultKind; `count` None: for ever."""

    name: str
    count: int | None = None
    at: int | None = None
    value: str | None = None


def parse_fault(text: str) -> Fault:
    """`name[@offset][=value][:count]` → Fault. ValueError says what is wrong and what there is."""
    match = _NOTATION.fullmatch(text)
    kind = FAULTS.get(match["name"]) if match else None
    if match is None or kind is None:
        raise ValueError(f"no fault {text!r}; write name[@offset][=value][:count], with one of: {', '.join(FAULTS)}")
    if match["at"] and kind.at is None:
        raise ValueError(f"fault {kind.name} takes no @offset")
    if match["value"] and kind.value is None:
        raise ValueError(f"fault {kind.name} takes no =value")
    at = int(match["at"]) if match["at"] else (0 if kind.at else None)
    count = int(match["count"]) if match["count"] else kind.count
    return Fault(kind.name, count, at, match["value"])


def describe_faults() -> str:
    """The table as text for `--help`: one line for each fault, notation first."""
    rows = [(_notation(kind), f"{kind.meaning}; counts {kind.counted}, {_times(kind)}") for kind in _KINDS]
    width = max(len(notation) for notation, _ in rows)
    return "\n".join(f"{notation.ljust(width)}  {text}" for notation, text in rows)


def _notation(kind: FaultKind) -> str:
    return kind.name + ("@N" if kind.at else "") + ("=VALUE" if kind.value else "")


def _times(kind: FaultKind) -> str:
    return "for ever if no :COUNT is given" if kind.count is None else f"{kind.count} if no :COUNT is given"


class FaultSet:
    """The faults that are left on one board. Safe across threads."""

    def __init__(self, faults: Iterable[Fault | str] = ()) -> None:
        self._left: list[list[Fault | int | None]] = []
        self._lock = threading.Lock()
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault | str) -> None:
        if isinstance(fault, str):
            fault = parse_fault(fault)
        with self._lock:
            self._left.append([fault, fault.count])

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def find(self, name: str) -> Fault | None:
        """The first fault of that name that is not used up, without counting it."""
        with self._lock:
            return self._find(name, None, None)

    def take(self, name: str, start: int | None = None, end: int | None = None) -> Fault | None:
        """Counts one occurrence and returns the fault; with a range, only if its `at` lies in [start, end)."""
        with self._lock:
            return self._find(name, start, end, count=True)

    def _find(self, name: str, start: int | None, end: int | None, count: bool = False) -> Fault | None:
        for entry in self._left:
            fault, left = entry
            if not isinstance(fault, Fault) or fault.name != name or left == 0:
                continue
            if start is not None and end is not None and not start <= (fault.at or 0) < end:
                continue
            if count and isinstance(left, int):
                entry[1] = left - 1
            return fault
        return None


class ByteFaults:
    """Loses, doubles and inverts bytes of one direction (`from_host`, `to_host`) at counted positions."""

    def __init__(self, faults: FaultSet, direction: str) -> None:
        self._faults = faults
        self._direction = direction
        self.position = 0

    def restart(self) -> None:
        """The port was opened: positions count from 0 again."""
        self.position = 0

    def apply(self, data: bytes) -> bytes:
        start, end = self.position, self.position + len(data)
        self.position = end
        for act in ("drop", "duplicate", "corrupt"):
            fault = self._faults.take(f"{act}_byte_{self._direction}", start, end)
            if fault is not None:
                index = (fault.at or 0) - start
                data = data[:index] + _spoilt(act, data[index : index + 1]) + data[index + 1 :]
        return data


def _spoilt(act: str, byte: bytes) -> bytes:
    if act == "drop":
        return b""
    return byte * 2 if act == "duplicate" else bytes(b ^ 0xFF for b in byte)
