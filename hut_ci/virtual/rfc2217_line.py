"""A serial port served over RFC 2217 on the loopback interface: data, baud rate and modem lines."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time

from hut_ci.virtual import telnet
from hut_ci.virtual.events import EventLog
from hut_ci.virtual.holders import holder_of_local_port
from hut_ci.virtual.inbox import FromHost, Inbox, Lines, PortClosed, PortOpened

_CHUNK = 65536
_BACKLOG_BYTES = 1 << 20
_TCP_ESTABLISHED = 1
_HOST = "127.0.0.1"


class _Client:
    """One connection. `send` may be called from any thread, the rest belongs to the line's thread."""

    def __init__(self, connection: socket.socket, peer_port: int) -> None:
        self.socket = connection
        self.peer_port = peer_port
        self.who = f"{_HOST}:{peer_port}"
        self.session = telnet.TelnetSession()
        self._backlog = bytearray()
        self._lock = threading.Lock()

    def send(self, raw: bytes) -> bool:
        """False when the client has not read for so long that bytes had to be dropped."""
        with self._lock:
            if not self._backlog:
                raw = raw[self._send_now(raw) :]
            if len(self._backlog) > _BACKLOG_BYTES:
                return False
            self._backlog += raw
            return True

    def flush(self) -> None:
        with self._lock:
            del self._backlog[: self._send_now(bytes(self._backlog))]

    @property
    def waiting(self) -> bool:
        return bool(self._backlog)

    @property
    def alive(self) -> bool:
        """False as soon as the peer has closed, even if its last bytes are still unread."""
        state = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state[0] == _TCP_ESTABLISHED

    def _send_now(self, raw: bytes) -> int:
        try:
            return self.socket.send(raw, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:  # the reader will notice the end of this connection
            return len(raw)


class Rfc2217Line:
    """The port of one board. Keeps its TCP port number while it is vanished."""

    def __init__(self, inbox: Inbox, events: EventLog) -> None:
        self._inbox = inbox
        self._events = events
        self._reservation = _bound_socket(0)
        self._port: int = self._reservation.getsockname()[1]
        self.address = f"rfc2217://{_HOST}:{self._port}"
        self._clients: list[_Client] = []
        self._lines = Lines(dtr=False, rts=False)
        self._baud = 115200
        self._thread: threading.Thread | None = None
        self._wake_up: socket.socket | None = None
        self.writers: list[str] = []

    def appear(self, renamed: bool = False) -> None:
        """Starts to listen. A TCP port is not renamed."""
        del renamed
        if self._thread is not None:
            return
        listener = _bound_socket(self._port)
        listener.listen(8)
        self._wake_up, wake = socket.socketpair()
        self._thread = threading.Thread(
            target=self._serve, args=(listener, wake), name=f"line-{self._port}", daemon=True
        )
        self._thread.start()

    def vanish(self) -> None:
        """Ends all connections and refuses new ones. Not to be called from the line's own thread."""
        if self._thread is None or self._wake_up is None:
            return
        self._wake_up.close()
        self._thread.join()
        self._thread = self._wake_up = None

    def close(self) -> None:
        self.vanish()
        self._reservation.close()

    def send(self, data: bytes) -> None:
        """To every client, as a second reader of a port also gets bytes."""
        raw = telnet.escape(data)
        for client in list(self._clients):
            if not client.send(raw):
                self._events.record("overrun", f"{client.who} does not read")
            if client.waiting:
                self._wake()

    def host_baud(self) -> int:
        return self._baud

    def _wake(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._wake_up.send(b"!", socket.MSG_DONTWAIT)  # type: ignore[union-attr]  # None is suppressed as well

    def _serve(self, listener: socket.socket, wake: socket.socket) -> None:
        with listener, wake, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while self._serve_once(selector, listener, wake):
                pass
            for client in list(self._clients):
                self._disconnect(selector, client)

    def _serve_once(self, selector: selectors.BaseSelector, listener: socket.socket, wake: socket.socket) -> bool:
        for client in self._clients:
            interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.waiting else 0)
            selector.modify(client.socket, interest, client)
        for key, ready in selector.select():
            if key.fileobj is wake:
                if not wake.recv(4096):
                    return False
            elif key.fileobj is listener:
                self._accept(selector, listener)
            elif isinstance(key.data, _Client) and key.data in self._clients:
                if ready & selectors.EVENT_WRITE:
                    key.data.flush()
                if ready & selectors.EVENT_READ:
                    self._receive(selector, key.data)
        return True

    def _accept(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        connection, (_, peer_port) = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(connection, peer_port)
        others = [other for other in self._clients if other.alive]
        if others:
            self._events.record("second_writer", _violation(client, others))
        was_open = bool(self._clients)
        self._clients.append(client)
        selector.register(connection, selectors.EVENT_READ, client)
        self._events.record("connected", client.who)
        if not was_open:
            self._inbox.put(PortOpened())

    def _receive(self, selector: selectors.BaseSelector, client: _Client) -> None:
        try:
            raw = client.socket.recv(_CHUNK)
        except OSError:
            raw = b""
        if not raw:
            self._disconnect(selector, client)
            return
        for piece in client.session.feed(raw):
            self._take(client, piece)
        if client.session.answers:
            client.send(bytes(client.session.answers))
            client.session.answers.clear()

    def _take(self, client: _Client, piece: telnet.Piece) -> None:
        match piece:
            case telnet.Data(data):
                if client.who not in self.writers:
                    self.writers.append(client.who)
                self._inbox.put(FromHost(data, self._baud, time.monotonic()))
            case telnet.BaudChanged(baud):
                self._baud = baud
            case telnet.LinesChanged(dtr, rts):
                old = self._lines
                self._drive(Lines(old.dtr if dtr is None else dtr, old.rts if rts is None else rts))

    def _drive(self, lines: Lines) -> None:
        if lines != self._lines:
            self._lines = lines
            self._inbox.put(lines)

    def _disconnect(self, selector: selectors.BaseSelector, client: _Client) -> None:
        selector.unregister(client.socket)
        client.socket.close()
        self._clients.remove(client)
        self._events.record("disconnected", client.who)
        if not self._clients:
            self._drive(Lines(dtr=False, rts=False))
            self._inbox.put(PortClosed())


def _bound_socket(port: int) -> socket.socket:
    """SO_REUSEADDR on both lets the reservation and the listener share the port while only one listens."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((_HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def _violation(client: _Client, others: list[_Client]) -> str:
    names = [f"{one.who} {holder_of_local_port(one.peer_port) or ''}".strip() for one in (client, *others)]
    return f"{names[0]} while connected: {', '.join(names[1:])}"
