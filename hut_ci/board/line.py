"""A board's serial line: opened exclusively, reset by its modem lines, read in chunks.

Local devices are read with poll and os.read (30–50 MB/s; pyserial's readline manages 0.1 MB/s), remote ones
(`rfc2217://host:port`) through pyserial's queue.
"""

from __future__ import annotations

import errno
import os
import select
import warnings
from types import TracebackType
from typing import Any, Self

import serial

from hut_ci.board.port_holder import named_holder
from hut_ci.deadline import Deadline
from hut_ci.errors import BoardError, SlotError

CHUNK = 65536
RESET_SECONDS = 0.1
"""How long EN is held low; esptool's hard reset takes as long on a UART bridge."""
REMOTE_POLL_SECONDS = 0.05
"""A remote port's read time-out is set once: every change of it is a new negotiation with the server."""
REMOTE_REST_SECONDS = 5.0
"""For reading what a remote port had received when its chip was stopped."""


class Line:
    """An open serial port; `open_line` makes one. Raises BoardError (`port_gone`) once the port has vanished.

    `resets` is False where the port has no modem lines (a pty): opening it is what boots a virtual board.
    """

    def __init__(self, port: str, device: Any, descriptor: int | None) -> None:
        self.port = port
        self.resets = True
        self._device = device
        self._descriptor = descriptor

    def read(self, deadline: Deadline) -> bytes:
        """What has come, at most 64 KiB; waits for the first byte, and is empty when the deadline comes first.

        A remote port may take 0.05 s longer than the deadline.
        """
        try:
            return self._read_remote(deadline) if self._descriptor is None else self._read_local(deadline)
        except (OSError, TypeError) as error:  # SerialException is an OSError; TypeError: closed under our feet
            raise self._gone(error) from error

    def _read_local(self, deadline: Deadline) -> bytes:
        assert self._descriptor is not None
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while poll.poll(deadline.remaining * 1000):
            try:
                data = os.read(self._descriptor, CHUNK)
            except BlockingIOError:
                continue
            if not data:  # a device that is gone is always ready and never has anything
                raise OSError(errno.EIO, "the device is gone")
            return data
        return b""

    def _read_remote(self, deadline: Deadline) -> bytes:
        while True:
            data = bytes(self._device.read(min(CHUNK, max(1, self._device.in_waiting))))
            if data or deadline.expired:
                return data

    def write(self, data: bytes, deadline: Deadline | None = None) -> None:
        """Send all of `data`; a port that takes nothing more for 5 s counts as gone."""
        until = deadline or Deadline(5.0)
        try:
            if self._descriptor is None:
                self._device.write(data)
            else:
                self._write_local(self._descriptor, data, until)
        except (OSError, TypeError) as error:
            raise self._gone(error) from error

    @staticmethod
    def _write_local(descriptor: int, data: bytes, deadline: Deadline) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while data:
            if not poll.poll(deadline.remaining * 1000):
                raise TimeoutError("it takes no more bytes")
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                continue

    def reset(self, hold: float = RESET_SECONDS) -> bytes:
        """Hold EN low for `hold` seconds and release it; what came before the chip was stopped.

        Everything read after this call belongs to the new boot. Does nothing where `resets` is False.
        """
        if not self.resets:
            return b""
        try:
            self._device.rts = True
            before = self._drain(Deadline(hold))
            self._device.rts = False
        except OSError as error:
            raise self._gone(error) from error
        return before

    def _drain(self, deadline: Deadline) -> bytes:
        """Everything that arrives until the deadline, of which the last 64 KiB are kept.

        A remote port may have more of it by then than can be read in that time: what came before the server's answer
        to the reset (RFC 2217) is in our buffer, and all of it is of the chip that was stopped.
        """
        data = b""
        while not deadline.expired:
            data = (data + self.read(deadline))[-CHUNK:]
        rest = Deadline(REMOTE_REST_SECONDS)
        while self._descriptor is None and self._device.in_waiting and not rest.expired:
            data = (data + self.read(rest))[-CHUNK:]
        return data

    def close(self) -> None:
        self._device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _gone(self, error: Exception) -> BoardError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return port_gone(self.port, reason)


def port_gone(port: str, reason: str) -> BoardError:
    """The error for a port that is not there or does not work."""
    return BoardError(
        f"{port}: {reason}",
        why="the board or its USB bridge lost power, was unplugged, or came back under another name",
        todo="check the cable and the slot's serial name in lab.yml",
        evidence="port_gone",
        fields={"reason": reason},
    )


def open_line(port: str, baud: int = 115200) -> Line:
    """Open `port` (a device path or `rfc2217://host:port`) for this process alone, with DTR and RTS released.

    On real hardware opening alone may reset the board, because the kernel raises both lines before they can be
    released. What an earlier user of the port left unread is thrown away. Raises SlotError (`port_held`) for a port
    in use, BoardError (`port_gone`) for one that is missing.
    """
    if "://" in port:
        return _open_remote(port, baud)
    return _open_local(port, baud)


def _open_local(port: str, baud: int) -> Line:
    device = serial.Serial(baudrate=baud, exclusive=True)
    device.port = port
    device.dtr = device.rts = False
    try:
        device.open()
    except (OSError, ValueError) as error:
        raise _not_opened(port, error) from error
    line = Line(port, device, device.fileno())
    try:
        device.rts = False
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):
            line.close()
            raise port_gone(port, error.strerror or str(error)) from error
        line.resets = False
    return line


def _open_remote(url: str, baud: int) -> Line:
    from hut_ci.board.remote_port import RemotePort  # few labs have one

    device = RemotePort(baudrate=baud, timeout=REMOTE_POLL_SECONDS)
    try:
        device.port = url
        device.dtr = device.rts = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pyserial 3.5 calls Thread.setDaemon
            device.open()
    except (OSError, ValueError) as error:
        raise _not_opened(url, error) from error
    return Line(url, device, None)


def _not_opened(port: str, error: Exception) -> BoardError | SlotError:
    code = getattr(error, "errno", None)
    if code in (errno.EAGAIN, errno.EBUSY):
        return _port_held(port)
    reasons = {
        errno.ENOENT: "there is no such device",
        errno.EACCES: "this user may not open it (group dialout?)",
        errno.ENXIO: "the device is not connected",
        errno.EIO: "the device does not answer",
    }
    return port_gone(port, reasons.get(code, str(error)) if code else str(error))


def _port_held(port: str) -> SlotError:
    program, pid = named_holder(port)
    return SlotError(
        f"{port} is held by {program} (pid {pid})",
        why="a serial port can have one user at a time",
        todo="end that program, or wait for it",
        evidence="port_held",
        fields={"port": port, "program": program, "pid": pid},
    )
