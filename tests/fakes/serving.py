"""Loopback servers for the fakes: every request is kept, and every way in which a network fails can be asked for."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlencode

LIMIT_FAULTS = ("rate_limit_primary", "rate_limit_secondary")
STATUS_FAULTS = ("401", "403", "404", "409", "410", "422", "429", "500", "502", "503", *LIMIT_FAULTS)
"""Faults that are answers: each forge words them as the live one does."""
BODY_FAULTS = ("truncated", "drip", "wrong_digest")
"""Faults of the bytes of an answer. Where the answer is a redirect to the blob store, the store commits them."""
LINE_FAULTS = ("slow", "garbage", "closed", "closed_after", "huge")
FAULTS = (*STATUS_FAULTS, *BODY_FAULTS, *LINE_FAULTS)

CREDENTIAL_HEADERS = ("authorization", "private-token", "job-token")
MAX_BODY = 1 << 24
BLOCK = 1 << 16


@dataclass
class Call:
    """One request as it arrived."""

    method: str
    target: str
    """Path and query, as sent."""
    path: str
    """Without the query, percent-encoded as sent."""
    query: dict[str, str]
    """Decoded; of a repeated name the last value."""
    headers: dict[str, str]
    """Names spelled as sent; values of a repeated name joined by commas."""
    body: bytes
    operation: str = ""
    described_path: str = ""
    """The path as an API description spells it: no prefix, path parameters percent-encoded."""
    fault: str = ""
    status: int = 0
    """0 until answered; stays 0 where the connection was closed without an answer."""

    def header(self, name: str) -> str:
        """The value of a header, whatever its case; "" where it was not sent."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)

    @property
    def raw(self) -> bytes:
        """Request line, headers and body as text on the wire: the place to look for what should not have been sent."""
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {text}" for name, text in self.headers.items())]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + self.body


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def redirects(self) -> bool:
        return self.status in (301, 302, 303, 307, 308)


def json_answer(status: int, document: object, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps(document).encode()
    return Answer(status, body, {"Content-Type": "application/json; charset=utf-8"} | (headers or {}))


class Checker(Protocol):
    """What compares requests and answers with an API description; each returns what is wrong, in words."""

    def check_request(self, call: Call) -> list[str]: ...
    def check_response(self, call: Call, answer: Answer) -> list[str]: ...


# --- faults -------------------------------------------------------------------------------------------------


@dataclass
class _Fault:
    operation: str
    name: str
    left: int | None
    used: bool = False

    @property
    def pending(self) -> bool:
        return not self.used if self.left is None else self.left > 0

    def __str__(self) -> str:
        return f"{self.operation}: {self.name} ({'always' if self.left is None else f'{self.left} left'})"


class Faults:
    """The faults that were asked for, used up in the order of asking."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    def add(self, operation: str, name: str, times: int | None = 1) -> None:
        if name not in FAULTS:
            raise ValueError(f"no such fault: {name!r}; there are {', '.join(FAULTS)}")
        with self._lock:
            self._faults.append(_Fault(operation, name, times))

    def take(self, operation: str) -> str:
        """The fault that the next call of an operation suffers, or ""."""
        with self._lock:
            for fault in self._faults:
                if fault.operation in (operation, "*") and fault.left != 0:
                    fault.left = None if fault.left is None else fault.left - 1
                    fault.used = True
                    return fault.name
        return ""

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    @property
    def pending(self) -> list[str]:
        with self._lock:
            return [str(fault) for fault in self._faults if fault.pending]


# --- the server ---------------------------------------------------------------------------------------------


class FakeServer:
    """A threaded HTTP/1.1 server on a loopback address, with keep-alive. It serves from `with` to its end.

    A kind of server says what an operation is (`operation_of`), answers (`answer`) and words failures (`failure`).
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.slow_seconds = 30.0
        """How long the fault `slow` holds an answer back."""
        self.drip_seconds = 0.2
        """Between two bytes of the fault `drip`."""
        self.huge_bytes = 1 << 30
        """Where the fault `huge` gives up, so that a client without a limit fails rather than fills the memory."""
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.checker: Checker | None = None
        self.faults = Faults()
        self.ending = threading.Event()
        self.lock = threading.RLock()
        """Held while an answer is made: the state is changed by one request at a time."""
        self._port = port
        self._listener: _Listener | None = None

    def __enter__(self) -> Self:
        self.ending.clear()
        self._listener = _Listener(self, self.host, self._port)
        self._port = self._listener.server_port
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    @property
    def origin(self) -> str:
        """`http://HOST:PORT`. Known from the first `with` on, also after the server has ended."""
        assert self._port, "the server has not been started"
        return f"http://{self.host}:{self._port}"

    @property
    def url(self) -> str:
        return self.origin

    def fail(self, operation: str, fault: str, times: int | None = 1) -> None:
        """The next `times` calls (None: all) of an operation ("*": any) suffer a fault."""
        self.faults.add(operation, fault, times)

    @property
    def pending_faults(self) -> list[str]:
        """Faults that were asked for and did not happen as often as asked."""
        return self.faults.pending

    def operations(self) -> list[str]:
        """The operations of all calls so far, in order of arrival."""
        return [call.operation for call in list(self.calls)]

    def reset_calls(self) -> None:
        self.calls.clear()

    def operation_of(self, call: Call) -> str:
        """The name of the operation that is called, "unknown" where there is none."""
        raise NotImplementedError

    def answer(self, call: Call) -> Answer:
        """Do what is asked. Called with `lock` held."""
        raise NotImplementedError

    def failure(self, fault: str, call: Call) -> Answer:
        """A fault of STATUS_FAULTS in the words of this server."""
        raise NotImplementedError

    def finish(self, call: Call, answer: Answer) -> None:
        """Add to any answer, faults included, what every answer of this server has."""

    gives_etags = False
    """Whether what is asked for again is answered 304 while it is the same."""

    def pass_on(self, fault: str) -> None:
        """Commit a fault of the bytes where a redirect leads; nowhere, unless the server has a store."""

    # --- one request

    def respond(self, call: Call) -> tuple[Answer | None, str]:
        """The answer to a call (None: close without one) and the fault that is left for its transmission."""
        self._arrived(call)
        fault = call.fault = self.faults.take(call.operation)
        if fault == "slow" and self.ending.wait(self.slow_seconds):
            return None, ""
        if fault == "closed":
            return None, ""
        answer = self._answer(call, fault)
        if fault == "closed_after":
            return None, ""
        if fault in BODY_FAULTS and answer.redirects:
            self.pass_on(fault)
            fault = ""
        if call.method == "GET" and answer.status == 200 and self.gives_etags:
            answer = _unless_known(call, answer)
        self.finish(call, answer)
        call.status = answer.status
        return answer, fault

    def _arrived(self, call: Call) -> None:
        with self.lock:
            call.operation = self.operation_of(call)
            self.calls.append(call)
        if call.operation == "unknown":
            self.violations.append(f"{call.method} {call.path}: not an operation of this fake")
        elif self.checker is not None:
            self.violations += self.checker.check_request(call)

    def _answer(self, call: Call, fault: str) -> Answer:
        if fault in STATUS_FAULTS:
            return self.failure(fault, call)
        if fault in ("garbage", "huge"):
            return Answer(200, b"<html>}{ no JSON\n", {"Content-Type": "application/json; charset=utf-8"})
        try:
            with self.lock:
                answer = self.answer(call)
        except Exception:  # a fault of the fake: the test has to hear of it
            self.violations.append(f"{call.method} {call.target}: {traceback.format_exc()}")
            return self.failure("500", call)
        if self.checker is not None and call.operation != "unknown":
            self.violations += self.checker.check_response(call, answer)
        return answer


def _unless_known(call: Call, answer: Answer) -> Answer:
    """The answer with its ETag, or 304 where the client says that it has it."""
    etag = f'W/"{hashlib.sha256(answer.body).hexdigest()}"'
    if call.header("If-None-Match") == etag:
        return Answer(304, b"", {"ETag": etag})
    return Answer(answer.status, answer.body, answer.headers | {"ETag": etag})


class _Listener(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, fake: FakeServer, host: str, port: int) -> None:
        self.fake = fake
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), name=f"fake {host}", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no error; anything else is one of the fake."""
        if not isinstance(sys.exception(), OSError):
            self.fake.violations.append(traceback.format_exc())

    def close(self) -> None:
        """Stop serving, cut the connections that clients keep open, wait for their threads."""
        self.shutdown()
        self._thread.join()
        with self._open_lock:
            for connection in self._open:
                with suppress(OSError):  # the client was quicker
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        try:
            answer, fault = self.server.fake.respond(self._read())
            if answer is None:
                self.close_connection = True
            else:
                self._send(answer, fault)
        except OSError:
            self.close_connection = True  # the client went away: nobody is left to answer

    def _read(self) -> Call:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, MAX_BODY))
        path, _, query = self.path.partition("?")
        headers: dict[str, str] = {}
        for name, text in self.headers.items():
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        fields = dict(parse_qsl(query, keep_blank_values=True))
        return Call(self.command, self.path, path, fields, headers, body)

    def _send(self, answer: Answer, fault: str) -> None:
        if fault == "huge":
            self._send_endlessly(answer)
            return
        body = _other_bytes(answer.body) if fault == "wrong_digest" else answer.body
        head = self._head(answer, {"Content-Length": str(len(body))})
        shown = b"" if self.command == "HEAD" else body
        if fault == "truncated":
            self.close_connection = True
            self.wfile.write(head + shown[: len(shown) // 2])
        elif fault == "drip":
            self._drip(head, shown)
        else:
            self.wfile.write(head + shown)

    def _head(self, answer: Answer, more: dict[str, str]) -> bytes:
        own = {"Date": self.date_time_string()}
        lines = [f"{name}: {text}" for name, text in (own | answer.headers | more).items()]
        first = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"
        return "\r\n".join([first, *lines, "", ""]).encode("latin-1", "replace")

    def _drip(self, head: bytes, body: bytes) -> None:
        self.wfile.write(head)
        for at in range(len(body)):
            if self.server.fake.ending.wait(self.server.fake.drip_seconds):
                break
            self.wfile.write(body[at : at + 1])
        else:
            return
        self.close_connection = True

    def _send_endlessly(self, answer: Answer) -> None:
        self.close_connection = True
        self.wfile.write(self._head(answer, {"Connection": "close"}))
        for _ in range(self.server.fake.huge_bytes // BLOCK):
            if self.server.fake.ending.is_set():
                break
            self.wfile.write(b" " * BLOCK)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: `calls` is the log."""


def _other_bytes(body: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in body)


# --- the object storage that downloads redirect to ----------------------------------------------------------


@dataclass
class _Blob:
    content: bytes
    filename: str
    content_type: str
    links: dict[str, datetime] = field(default_factory=dict)
    """Signature → until when it counts."""


class BlobStore(FakeServer):
    """Object storage on another host: it answers to links that were signed for one object and a short time.

    Its operation is `get_blob`. It looks at no credential: `credentials_received` tells what a client sent it.
    """

    def __init__(self, host: str = "127.0.0.2", port: int = 0) -> None:
        super().__init__(host, port)
        self.strict = False
        """Refuse a request that carries a credential header, as Azure's storage does beside a signed link."""
        self.link_seconds = 600.0
        self._blobs: dict[str, _Blob] = {}

    def put(self, content: bytes, filename: str, content_type: str = "application/zip") -> str:
        """Keep an object; its key."""
        key = f"{secrets.token_hex(8)}/{hashlib.sha256(content).hexdigest()[:16]}"
        self._blobs[key] = _Blob(content, filename, content_type)
        return key

    def link(self, key: str) -> str:
        """A new signed link to an object."""
        until = datetime.now(UTC) + timedelta(seconds=self.link_seconds)
        signature = secrets.token_urlsafe(24)
        blob = self._blobs[key]
        blob.links[signature] = until
        disposition = f'attachment; filename="{blob.filename}"'
        expiry = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        query = urlencode({"rscd": disposition, "se": expiry, "sp": "r", "sv": "2025-11-05", "sig": signature})
        return f"{self.origin}/{key}?{query}"

    @property
    def credentials_received(self) -> list[str]:
        """`HEADER: value` of every credential header that any request carried."""
        return [
            f"{name}: {text}"
            for call in list(self.calls)
            for name, text in call.headers.items()
            if name.lower() in CREDENTIAL_HEADERS
        ]

    def operation_of(self, call: Call) -> str:
        return "get_blob" if call.method in ("GET", "HEAD") else "unknown"

    def answer(self, call: Call) -> Answer:
        blob = self._blobs.get(call.path.removeprefix("/"))
        if call.method not in ("GET", "HEAD") or blob is None:
            return _storage_error(404, "BlobNotFound")
        if self.strict and any(call.header(name) for name in CREDENTIAL_HEADERS):
            return _storage_error(400, "InvalidAuthenticationInfo")
        until = blob.links.get(call.query.get("sig", ""))
        if until is None or until < datetime.now(UTC):
            return _storage_error(403, "AuthenticationFailed")
        headers = {
            "Content-Type": blob.content_type,
            "Content-Disposition": call.query.get("rscd", "attachment"),
            "ETag": f'"0x{hashlib.sha256(blob.content).hexdigest()[:15].upper()}"',
            "Accept-Ranges": "bytes",
        }
        return _part(blob.content, call.header("Range"), headers)

    def failure(self, fault: str, call: Call) -> Answer:
        status = int(fault) if fault.isdigit() else 503  # storage that is asked too much is busy
        return _storage_error(status, "ServerBusy" if status == 503 else f"Failed {call.method}")


def _part(content: bytes, wanted: str, headers: dict[str, str]) -> Answer:
    """All of it, or the part from a byte on that a client which resumes asks for."""
    start = wanted.removeprefix("bytes=").removesuffix("-")
    if not wanted or not start.isdecimal():
        return Answer(200, content, headers)
    first = int(start)
    if first >= len(content):
        return Answer(416, b"", headers | {"Content-Range": f"bytes */{len(content)}"})
    span = f"bytes {first}-{len(content) - 1}/{len(content)}"
    return Answer(206, content[first:], headers | {"Content-Range": span})


def _storage_error(status: int, code: str) -> Answer:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>'.encode()
    return Answer(status, body, {"Content-Type": "application/xml", "x-ms-error-code": code})


class FakeForge(FakeServer):
    """A forge's API with the blob store that its downloads redirect to."""

    gives_etags = True

    def __init__(self, port: int = 0, checker: Checker | None = None) -> None:
        super().__init__("127.0.0.1", port)
        self.checker = checker
        self.blobs = BlobStore()

    def __enter__(self) -> Self:
        self.blobs.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.blobs.__exit__(kind, error, trace)

    def fail(self, operation: str, fault: str, times: int | None = 1) -> None:
        """As of any server; `get_blob` is the operation of the store."""
        (self.blobs.faults if operation == "get_blob" else self.faults).add(operation, fault, times)

    def pass_on(self, fault: str) -> None:
        self.blobs.fail("get_blob", fault)

    @property
    def pending_faults(self) -> list[str]:
        return self.faults.pending + self.blobs.faults.pending

    def every_call(self) -> Iterator[Call]:
        """The calls of the API and of the store."""
        yield from list(self.calls)
        yield from list(self.blobs.calls)
