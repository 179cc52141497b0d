"""A virtual board: what tests and the virtual lab hold in their hands."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from hut_ci.errors import UsageError
from hut_ci.virtual.chips import CHIPS, Revision, chip_named, parse_mac
from hut_ci.virtual.events import Event, EventLog
from hut_ci.virtual.faults import FAULTS, Fault, FaultSet
from hut_ci.virtual.holders import hold_device
from hut_ci.virtual.inbox import Inbox, PowerSwitched, Stop
from hut_ci.virtual.machine import Machine, Wiring
from hut_ci.virtual.nor_flash import NorFlash
from hut_ci.virtual.pty_line import PtyLine
from hut_ci.virtual.rfc2217_line import Rfc2217Line

_POWER_SECONDS = 10.0


class VirtualBoard:
    """An ESP board behind a serial port, for the real esptool and the real serial code.

    As a context manager it runs from entry to exit. `power_wiring`: `with_board`: the port disappears when the power
    is off; `self_powered`: the USB bridge stays and the chip behind it is dead. `pace` and `erase_times` make
    transfers and flash writes as slow as on real hardware; `boot_seconds` is the time from reset to app_main.
    `flash`: what is in it from address 0 on; blank otherwise. Raises UsageError for a fault that needs a pty.
    """

    def __init__(
        self,
        name: str = "board-1",
        chip: str = "esp32",
        mac: str = "24:6f:28:00:00:01",
        revision: Revision | None = None,
        flash_size: int = 4 << 20,
        psram: bool = False,
        transport: Literal["rfc2217", "pty"] = "rfc2217",
        link: Path | None = None,
        power_wiring: Literal["with_board", "self_powered"] = "with_board",
        faults: Iterable[Fault | str] = (),
        pace: bool = False,
        erase_times: bool = False,
        boot_seconds: float = 0.05,
        recorded_log: Path | None = None,
        flash: bytes = b"",
    ) -> None:
        self.name = name
        self.faults = FaultSet(faults)
        if transport != "pty":
            self._refuse_pty_only()
        self._events = EventLog()
        self._flash = NorFlash(flash_size)
        self._flash.program(0, flash)
        facts = chip_named(_swapped_chip(chip, self.faults))
        wiring = Wiring(
            chip=facts,
            mac=_swapped_mac(parse_mac(mac), self.faults),
            revision=revision or facts.default_revision,
            flash=self._flash,
            psram=psram,
            port_powered_by_board=power_wiring == "with_board",
            resets_on_reopen=transport == "pty",
            pace=pace,
            erase_times=erase_times,
            boot_seconds=boot_seconds,
            recorded_log=recorded_log.read_bytes() if recorded_log else None,
        )
        self._inbox = Inbox()
        self._line: PtyLine | Rfc2217Line = (
            PtyLine(self._inbox, self._events, link) if transport == "pty" else Rfc2217Line(self._inbox, self._events)
        )
        self._machine = Machine(wiring, self._line, self._inbox, self._events, self.faults)
        self._thread: threading.Thread | None = None
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _refuse_pty_only(self) -> None:
        if name := next((name for name, kind in FAULTS.items() if kind.pty_only and self.faults.find(name)), None):
            raise UsageError(
                f"{self.name}: the fault {name} needs a pty",
                why="it befalls a device file, and a port over RFC 2217 has none",
                todo="use the transport pty (`--transport pty`), or another fault",
            )

    def start(self) -> None:
        """Powers the board; its port exists when this returns."""
        self._line.appear()
        if self.faults.find("port_held"):
            self._holder = hold_device(self.serial)
        self._thread = threading.Thread(target=self._machine.run, name=self.name, daemon=True)
        self._thread.start()
        self._events.wait_for("power_on", _POWER_SECONDS)

    def stop(self) -> None:
        """Ends all threads and removes the port."""
        self._machine.release()
        if self._thread is not None:
            self._inbox.put(Stop())
            self._thread.join()
            self._thread = None
        if self._holder is not None:
            self._holder.communicate()
            self._holder = None
        self._line.close()

    @property
    def serial(self) -> str:
        """The port as lab.yml names it: `rfc2217://127.0.0.1:PORT` or the path of the link."""
        return self._line.address

    @property
    def flash(self) -> bytes:
        """A copy of the flash content."""
        return self._flash.read(0, self._flash.size)

    @property
    def powered(self) -> bool:
        return self._machine.powered

    def power(self, on: bool) -> None:
        """Switches the supply; when this returns the port is gone, or back. TimeoutError after ten seconds."""
        message = PowerSwitched(on)
        self._inbox.put(message)
        if not message.done.wait(_POWER_SECONDS):
            raise TimeoutError(f"{self.name}: the power did not switch {'on' if on else 'off'}")

    @property
    def events(self) -> list[Event]:
        """All that happened so far, oldest first."""
        return self._events.all()

    def wait_for(
        self, name: str, deadline_seconds: float, count: int = 1, detail: str | None = None, after: float = 0.0
    ) -> Event:
        """See EventLog.wait_for."""
        return self._events.wait_for(name, deadline_seconds, count, detail, after)

    def hold_at(self, name: str, count: int = 1) -> None:
        """At the `count`-th event of that name from now on, the board stops answering until `release`.

        The event `held` is recorded when it has stopped. Cutting the power ends the hold, too.
        """
        self._machine.hold_at(name, count)

    def release(self) -> None:
        self._machine.release()

    @property
    def writers_seen(self) -> list[str]:
        """Everyone who wrote to the port: `host:port` over RFC 2217, `name[pid]` on a pty."""
        return list(self._line.writers)

    @property
    def violations(self) -> list[Event]:
        """Every time that a second program could write to the port while a first one had it."""
        return self._events.named("second_writer")


def _swapped_chip(chip: str, faults: FaultSet) -> str:
    fault = faults.find("wrong_chip")
    if fault is None:
        return chip
    return fault.value or next(name for name in ("esp32c3", *CHIPS) if name != chip)


def _swapped_mac(mac: bytes, faults: FaultSet) -> bytes:
    fault = faults.find("wrong_mac")
    if fault is None:
        return mac
    return parse_mac(fault.value) if fault.value else mac[:-1] + bytes([mac[-1] ^ 0xFF])
