"""A serial port made of a pseudo-terminal behind a symbolic link. It has no modem lines."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
import time
import tty
from pathlib import Path

from hut_ci.virtual.events import EventLog
from hut_ci.virtual.holders import holders_of_device
from hut_ci.virtual.inbox import FromHost, Inbox, PortClosed, PortOpened
from hut_ci.virtual.openings import Openings

_CHUNK = 65536
_BACKLOG_BYTES = 1 << 20
_TCGETS2 = 0x802C542A  # asm-generic: x86-64, aarch64, riscv
_TERMIOS2_SIZE = 44
_SCAN_EVERY_SECONDS = 0.2


class PtyLine:
    """The port of one board, reachable as `link`; without a link, by its /dev/pts name."""

    def __init__(self, inbox: Inbox, events: EventLog, link: Path | None = None) -> None:
        self._inbox = inbox
        self._events = events
        self._link = link
        self._names = 1
        self._master = -1
        self._slave_name = ""
        self._openers = 0
        self._backlog = bytearray()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake_up = -1
        self._last_scan = 0.0
        self._scan_due = False
        self._known_pairs: set[tuple[str, ...]] = set()
        self.writers: list[str] = []

    @property
    def address(self) -> str:
        return str(self._link) if self._link else self._slave_name

    def appear(self, renamed: bool = False) -> None:
        """A new pseudo-terminal behind the link; `renamed`: behind `<link>-2`, `<link>-3` ... instead."""
        if self._thread is not None:
            return
        self._master, slave = os.openpty()
        self._slave_name = os.ttyname(slave)
        tty.setraw(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        openings = Openings(self._slave_name)
        if renamed and self._link:
            self._names += 1
            self._link = self._link.with_name(f"{self._link.name.removesuffix(f'-{self._names - 1}')}-{self._names}")
        self._publish()
        wake, self._wake_up = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(
            target=self._serve, args=(openings, wake), name=f"line-{self._slave_name}", daemon=True
        )
        self._thread.start()

    def vanish(self) -> None:
        """The link and the device disappear; programs that have it open get a hang-up."""
        if self._thread is None:
            return
        if self._link and self._link.is_symlink():
            self._link.unlink()
        os.close(self._wake_up)
        self._thread.join()
        self._thread = None
        with self._lock:
            os.close(self._master)
            self._master = -1
            self._backlog.clear()

    def close(self) -> None:
        self.vanish()

    def send(self, data: bytes) -> None:
        """Dropped while nobody has the port open, as a UART bridge does."""
        with self._lock:
            if not self._openers or self._master < 0:
                return
            if not self._backlog:
                data = data[self._write_now(data) :]
            if len(self._backlog) > _BACKLOG_BYTES:
                self._events.record("overrun", "the program on the port does not read")
                return
            self._backlog += data
        if data:
            self._wake()

    def host_baud(self) -> int:
        """What the program on the port has set; Linux keeps it for the slave and answers on the master."""
        with self._lock:
            if self._master < 0:
                return 115200
            settings = fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2_SIZE))
        return int.from_bytes(settings[-4:], "little")

    def _publish(self) -> None:
        if self._link is None:
            return
        if self._link.is_symlink():
            self._link.unlink()
        self._link.symlink_to(self._slave_name)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_up, b"!")

    def _write_now(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: just closed
            return len(data)

    def _serve(self, openings: Openings, wake: int) -> None:
        try:
            while self._serve_once(openings, wake):
                pass
            if self._openers:
                self._closed(last=True)
        finally:
            openings.close()
            os.close(wake)

    def _serve_once(self, openings: Openings, wake: int) -> bool:
        poll = select.poll()
        poll.register(openings.fd, select.POLLIN)
        poll.register(wake, select.POLLIN)
        if self._openers:
            poll.register(self._master, select.POLLIN | (select.POLLOUT if self._backlog else 0))
        ready = dict(poll.poll())
        if wake in ready and not self._drain(wake):
            return False
        self._count(openings.read())
        if self._master in ready:
            with self._lock:
                del self._backlog[: self._write_now(bytes(self._backlog))]
            if self._receive():
                self._look_for_writers(openings)
            elif self._hung_up():
                self._count(openings.read())
                if self._openers and self._hung_up():  # merged closings
                    self._closed(last=True)
        return True

    @staticmethod
    def _drain(wake: int) -> bool:
        return bool(os.read(wake, 4096))

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._master, 0)
        return bool(poll.poll(0))

    def _count(self, openings: list[bool]) -> None:
        for opened in openings:
            if opened:
                self._opened()
            elif self._openers:
                self._closed(last=self._openers == 1)

    def _opened(self) -> None:
        self._openers += 1
        self._scan_due = True
        self._events.record("connected", self.address)
        if self._openers == 1:
            self._inbox.put(PortOpened())

    def _closed(self, last: bool) -> None:
        self._receive()  # what was written before the close
        self._openers = 0 if last else self._openers - 1
        self._events.record("disconnected", self.address)
        if last:
            with self._lock:
                self._backlog.clear()
            self._inbox.put(PortClosed())

    def _receive(self) -> bool:
        try:
            data = os.read(self._master, _CHUNK)
        except OSError:  # nothing there, or closed
            return False
        if data:
            self._inbox.put(FromHost(data, self.host_baud(), time.monotonic()))
        return bool(data)

    def _look_for_writers(self, openings: Openings) -> None:
        """Who writes cannot be told on a pty, but who could: looked up at the first traffic after every opening,
        and five times a second while several programs have the port open (reading all of /proc takes milliseconds).
        """
        now = time.monotonic()
        crowded = self._openers > 1 and now - self._last_scan >= _SCAN_EVERY_SECONDS
        if not (self._scan_due or crowded):
            return
        self._last_scan, self._scan_due = now, False
        holders = holders_of_device(self._slave_name)
        self.writers += [holder for holder in holders if holder not in self.writers]
        self._count(openings.read())  # what was just read may come from a program whose opening was not counted yet
        if len(holders) > 1:
            # A child between fork and exec also shows; it is gone at a second look.
            self._report_pair([holder for holder in holders_of_device(self._slave_name) if holder in holders])

    def _report_pair(self, holders: list[str]) -> None:
        if len(holders) < 2:
            return
        self._openers = max(self._openers, len(holders))  # openings that were merged
        if tuple(holders) not in self._known_pairs:
            self._known_pairs.add(tuple(holders))
            self._events.record("second_writer", ", ".join(holders))
