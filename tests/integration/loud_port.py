"""An RFC 2217 server, run as a program, whose board talks faster than anybody reads; it prints its port number."""

from __future__ import annotations

import itertools
import socket
import threading

import serial
from serial.rfc2217 import PortManager

PURGE_RECEIVED = b"\xff\xfa\x2c\x0c\x01"  # IAC SB COM-PORT-OPTION PURGE-DATA 1 (RFC 2217)
CHUNK = b"x" * (1 << 12)


class Answers:
    """What the manager of the port sends, and the board's text, one at a time."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._lock:
            self._peer.sendall(data)


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        peer, _ = listener.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(CHUNK))  # an answer does not queue behind a megabyte
    answers = Answers(peer)
    manager = PortManager(serial.serial_for_url("loop://"), answers)
    talking = threading.Thread(target=lambda: [answers.write(CHUNK) for _ in itertools.count()], daemon=True)
    while data := peer.recv(4096):
        purges = PURGE_RECEIVED in data
        if purges:  # something is in the client's buffer when it begins to empty it
            answers.write(32 * CHUNK)
        for _ in manager.filter(data):
            pass
        if purges and not talking.is_alive():
            talking.start()


if __name__ == "__main__":
    main()
