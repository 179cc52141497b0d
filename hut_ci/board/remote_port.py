"""pyserial's RFC 2217 port, which can be opened while its board talks faster than it is read."""

from __future__ import annotations

from queue import Queue

from serial.rfc2217 import PURGE_RECEIVE_BUFFER, Serial
from serial.serialutil import PortNotOpenError


class RemotePort(Serial):
    """`serial.rfc2217.Serial` (pyserial 3.5), but for its way to empty what was received, which may never end."""

    _read_buffer: Queue[bytes]

    def reset_input_buffer(self) -> None:
        """Throw away what has come; what comes meanwhile stays. Raises SerialException for a port that is closed."""
        if not self.is_open:
            raise PortNotOpenError
        self.rfc2217_send_purge(PURGE_RECEIVE_BUFFER)
        for _ in range(self._read_buffer.qsize()):
            self._read_buffer.get()
