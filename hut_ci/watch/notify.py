"""What systemd wants to hear of a service (sd_notify(3)): one datagram to the socket that it names."""

from __future__ import annotations

import socket
from contextlib import suppress


def notify(address: str | None, *lines: str) -> None:
    """Send lines such as `READY=1`, `WATCHDOG=1`, `STATUS=…`; without an address, or a listener, nobody hears them."""
    if not address or address[0] not in "/@":
        return
    # An abstract socket is written with an @ in place of its first byte, a zero.
    name = f"\0{address[1:]}" if address[0] == "@" else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.sendto("\n".join(lines).encode(), name)
