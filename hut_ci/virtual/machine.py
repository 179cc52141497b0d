"""The chip on a virtual board: power, reset lines, loader, boot and app, in one thread that nothing else enters."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from hut_ci.virtual import boot, second_stage
from hut_ci.virtual.app_script import Delay, Listen, Out, Remark, Restart, Step
from hut_ci.virtual.chips import ChipFacts, Mac, ResetReason, Revision
from hut_ci.virtual.events import EventLog
from hut_ci.virtual.faults import ByteFaults, FaultSet
from hut_ci.virtual.inbox import FromHost, Inbox, Lines, PortClosed, PortOpened, PowerSwitched, Stop
from hut_ci.virtual.loader import Loader
from hut_ci.virtual.loader_protocol import SYNC_PATTERN, AwaitFlash, Leave, Note, OccupyFlash, Send, SetBaud
from hut_ci.virtual.nor_flash import NorFlash

CONSOLE_BAUD = 115200
_BITS_PER_BYTE = 10
_BAUD_TOLERANCE = 0.03
_PACED_PIECE_SECONDS = 0.01
_PTY_RESET_PULSE_SECONDS = 0.1
_AWAY_SECONDS = 0.5
_HISTORY = 256
_MOST_INPUT = 65536


class SerialLine(Protocol):
    """What a chip needs of its port."""

    def appear(self, renamed: bool = False) -> None: ...
    def vanish(self) -> None: ...
    def send(self, data: bytes) -> None: ...
    def host_baud(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a board is built. `resets_on_reopen`: the port has no modem lines, so opening it after a loader session
    stands for the reset; `port_powered_by_board`: without power the port is gone, too."""

    chip: ChipFacts
    mac: Mac
    revision: Revision
    flash: NorFlash
    psram: bool
    port_powered_by_board: bool
    resets_on_reopen: bool
    pace: bool
    erase_times: bool
    boot_seconds: float
    recorded_log: bytes | None


@dataclass(slots=True)
class _Uart:
    """Paces one direction: when its last byte will be through."""

    free_at: float = 0.0

    def occupy(self, start: float, size: int, baud: int) -> float:
        self.free_at = max(self.free_at, start) + size * _BITS_PER_BYTE / baud
        return self.free_at


class Machine:
    """Run `run` in a thread of its own; it ends at a Stop message."""

    def __init__(self, wiring: Wiring, line: SerialLine, inbox: Inbox, events: EventLog, faults: FaultSet) -> None:
        self._is = wiring
        self._line = line
        self._inbox = inbox
        self._events = events
        self._faults = faults
        self.powered = False
        self.held = threading.Event()
        self._hold_at: tuple[str, int] | None = None
        self._loader: Loader | None = None
        self._program: Iterator[Step] | None = None
        self._due: float | None = None
        self._reopened_reset_at: float | None = None
        self._in_reset = False
        self._baud = CONSOLE_BAUD
        self._rx, self._tx = _Uart(), _Uart()
        self._flash_free_at = 0.0
        self._from_host = ByteFaults(faults, "from_host")
        self._to_host = ByteFaults(faults, "to_host")
        self._silent = False
        self._mute = False
        self._heard = b""
        self._loader_used = False
        self._resident_stub: Loader | None = None
        self._resident_baud = CONSOLE_BAUD
        self._port_returns_at: float | None = None
        self._port_renamed = False
        self._history = boot.History()

    # The thread

    def run(self) -> None:
        self._switch_power(True)
        while True:
            message = self._inbox.get(self._next_deadline())
            match message:
                case Stop():
                    break
                case None:
                    self._on_time()
                case FromHost():
                    self._hear(message)
                case Lines():
                    self._drive(message)
                case PortOpened():
                    self._port_opened()
                case PortClosed():
                    self._port_closed()
                case PowerSwitched():
                    self._switch_power(message.on)
                    message.done.set()
        self._vanish()

    def hold_at(self, name: str, count: int) -> None:
        """From now on, at the `count`-th event of that name, stop answering until `release`."""
        self._hold_at = (name, count)

    def release(self) -> None:
        self._hold_at = None
        self.held.clear()
        self._inbox.poke()

    def _emit(self, name: str, detail: str = "") -> None:
        self._events.record(name, detail)
        if self._hold_at and self._hold_at[0] == name:
            left = self._hold_at[1] - 1
            self._hold_at = (name, left)
            if left == 0:
                self._hold_at = None
                self.held.set()
                self._events.record("held", name)
                self._inbox.wait_while(self.held)

    def _next_deadline(self) -> float | None:
        times = (self._due, self._port_returns_at, self._reopened_reset_at)
        return min((t for t in times if t is not None), default=None)

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._port_returns_at is not None and now >= self._port_returns_at:
            self._port_returns_at = None
            self._line.appear(self._port_renamed)
            self._emit("port_returned")
        if self._reopened_reset_at is not None and now >= self._reopened_reset_at:
            self._leave_reset(download=False)
        elif self._due is not None and now >= self._due:
            self._advance()

    # Power and reset

    def _switch_power(self, on: bool) -> None:
        if self.powered and self._faults.take("ignores_power"):
            self._emit("power_ignored", "on" if on else "off")
            return
        if on == self.powered:
            return
        self.powered = on
        self._halt()
        self._resident_stub = None
        if on:
            self._line.appear()
            self._emit("power_on")
            self._mute = bool(self._faults.take("mute"))
            self._restart(ResetReason.POWER_ON)
            return
        self.held.clear()
        if self._is.port_powered_by_board:
            self._vanish()
        if self._faults.take("needs_power_cycle") and self._faults.find("needs_power_cycle") is None:
            self._silent = False
        self._emit("power_off")

    def _halt(self) -> None:
        self._loader = self._program = self._due = self._reopened_reset_at = None
        self._heard = b""
        self._baud = CONSOLE_BAUD
        self._flash_free_at = 0.0
        self._tx = _Uart()

    def _drive(self, lines: Lines) -> None:
        """The auto-reset circuit: EN is low for RTS and not DTR, IO0 for DTR and not RTS.

        Both set is only ever passed on the way from one to the other (RFC 2217 changes them one at a time); the
        capacitor at EN rides through it, so it changes nothing here.
        """
        if lines.dtr and lines.rts:
            return
        enable_low = lines.rts and not lines.dtr
        if enable_low and not self._in_reset:
            self._in_reset = True
            self._halt()
            self._resident_stub = None
        elif not enable_low and self._in_reset:
            self._in_reset = False
            if self.powered:
                self._leave_reset(download=lines.dtr)

    def _leave_reset(self, download: bool) -> None:
        if download and self._faults.take("no_download_mode"):
            download = False
        elif not download and self._faults.take("wrong_boot_mode"):
            download = True
        if download:
            self._emit("reset", "download")
            self._enter_loader(self._new_loader())
            self._transmit(second_stage.download_banner(self._is.chip))
        else:
            self._mute = bool(self._faults.take("mute"))
            self._restart(ResetReason.POWER_ON)

    def _restart(self, reason: ResetReason) -> None:
        self._halt()
        self._resident_stub = None
        self._emit("reset", reason.name.lower())
        self._start(self._life(reason), time.monotonic())

    def _life(self, reason: ResetReason) -> Iterator[Step]:
        board = second_stage.BoardFacts(self._is.chip, self._is.revision, self._is.psram, self._is.boot_seconds)
        return boot.life(board, self._is.flash, reason, self._history, self._faults, self._is.recorded_log)

    # The port

    def _port_opened(self) -> None:
        self._from_host.restart()
        self._to_host.restart()
        dead = self._faults.find("needs_power_cycle") is not None
        self._silent = bool(self._faults.take("silent")) or dead
        if self._is.resets_on_reopen and self._loader_used and self.powered:
            self._loader_used = False
            if self._loader and self._loader.stub:
                self._resident_stub, self._resident_baud = self._loader, self._baud
            self._halt()
            self._reopened_reset_at = time.monotonic() + _PTY_RESET_PULSE_SECONDS

    def _port_closed(self) -> None:
        self._heard = b""

    def _lose_port(self, renamed: bool, seconds: float) -> None:
        self._emit("port_vanished")
        self._vanish()
        self._port_renamed = renamed
        self._port_returns_at = time.monotonic() + seconds

    def _vanish(self) -> None:
        self._inbox.lift_limit(True)  # the port's thread may be waiting to hand over bytes
        self._line.vanish()
        self._inbox.lift_limit(False)

    def _hear(self, message: FromHost) -> None:
        before = self._from_host.position
        data = self._from_host.apply(message.data)
        for name in ("port_vanishes", "port_renamed"):
            fault = self._faults.take(name, before, self._from_host.position)
            if fault:
                self._lose_port(name == "port_renamed", float(fault.value or _AWAY_SECONDS))
                return
        if self._silent or self._in_reset or not self.powered:
            return
        if self._is.pace and self._inbox.interrupted(self._rx.occupy(message.arrived, len(data), message.baud)):
            return
        if self._loader is None:
            self._hear_app(data, message.baud)
        elif self._same_baud(message.baud) or not self._loader.stub:
            self._serve(data, message.baud)

    def _hear_app(self, data: bytes, baud: int) -> None:
        """Without modem lines, a SYNC is taken for the reset that should have come before it."""
        if self._is.resets_on_reopen:
            self._heard = (self._heard + data)[-_HISTORY:]
            if SYNC_PATTERN in self._heard:
                stub = self._resident_stub
                alive = stub is not None and _close(baud, self._resident_baud)
                self._emit("reset", "download")
                start = self._heard.index(SYNC_PATTERN) - 9
                heard = self._heard[max(0, start) :]
                self._enter_loader(stub if stub is not None and alive else self._new_loader())
                self._baud = baud
                self._serve(heard, baud)
                return
        if self._same_baud(baud):
            self._history.input = (self._history.input + data)[-_MOST_INPUT:]
            if self._program is not None and self._due is None:
                self._advance()

    # The loader

    def _new_loader(self) -> Loader:
        self._resident_stub = None
        return Loader(self._is.chip, self._is.mac, self._is.revision, self._is.flash, self._spoil_md5)

    def _spoil_md5(self, digest: bytes) -> bytes:
        return digest[::-1] if self._faults.take("md5_mismatch") else digest

    def _enter_loader(self, session: Loader) -> None:
        self._mute = False
        self._program = self._due = self._reopened_reset_at = None
        self._loader = session
        self._heard = b""

    def _serve(self, data: bytes, baud: int) -> None:
        session = self._loader
        if session is None:
            return
        self._loader_used = True
        for action in session.receive(data):
            match action:
                case Send(reply):
                    self._transmit(reply)
                case Note(name, detail):
                    self._emit(name, detail)
                    if name == "loader_sync" and detail == "rom":
                        self._baud = baud  # the ROM measures the rate of what it hears
                case SetBaud(new):
                    self._baud = new
                    self._emit("baud_changed", str(new))
                case OccupyFlash(seconds) if self._is.erase_times:
                    self._flash_free_at = max(self._flash_free_at, time.monotonic()) + seconds
                case AwaitFlash() if self._flash_free_at:
                    self._inbox.interrupted(self._flash_free_at)
                case Leave(reason):
                    self._restart(reason)
                    return
            if not self.powered or self._loader is not session:
                return

    # The program: boot, then the app

    def _start(self, program: Iterator[Step], now: float) -> None:
        self._program = program
        self._due = now

    def _advance(self) -> None:
        """Runs the program up to its next pause."""
        program = self._program
        start = self._due if self._due is not None else time.monotonic()
        self._due = None
        if program is None:
            return
        for step in program:
            match step:
                case Out(text):
                    self._transmit(text)
                case Remark(name, detail):
                    self._emit(name, detail)
                case Delay(seconds):
                    self._due = max(start + seconds, time.monotonic() - 0.05)
                    return
                case Listen():
                    return
                case Restart(reason):
                    self._restart(reason)
                    return
            if self._program is not program:
                return

    # Sending

    def _transmit(self, data: bytes) -> None:
        if self._silent or self._mute or self._in_reset or not self.powered:
            return
        data = self._to_host.apply(data)
        if not self._same_baud(self._line.host_baud()):
            data = _garbled(data)
        if not self._is.pace:
            self._line.send(data)
            return
        size = max(1, int(self._baud / _BITS_PER_BYTE * _PACED_PIECE_SECONDS))
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            if self._inbox.interrupted(self._tx.occupy(time.monotonic(), len(piece), self._baud)):
                return
            self._line.send(piece)

    def _same_baud(self, host: int) -> bool:
        return _close(host, self._baud)


def _close(one: int, other: int) -> bool:
    return abs(one - other) <= other * _BAUD_TOLERANCE


def _garbled(data: bytes) -> bytes:
    """What a UART at another rate makes of it: not the same bytes, not the same number."""
    return bytes(byte >> 1 | 0x80 for byte in data[::2])
