"""The HTTP side of the virtual relay: Home Assistant's paths, status codes and bodies."""

from __future__ import annotations

import hmac
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Protocol

DOMAINS = ("switch", "input_boolean", "light", "outlet")
SERVICES = {"turn_on": True, "turn_off": False, "toggle": None}
MAX_BODY = 1 << 16


class Answer(NamedTuple):
    status: int
    body: object
    """A str goes out as text/plain, anything else as JSON."""


class Entities(Protocol):
    """What the HTTP side asks of a relay."""

    token: str
    slow_seconds: float
    states: dict[str, bool]

    def takes(self, name: str) -> bool: ...
    def switch(self, entity: str, on: bool, *, really: bool = True) -> None: ...
    def record(self, name: str, entity: str) -> None: ...


UNAUTHORIZED = Answer(401, "401: Unauthorized")
FORBIDDEN = Answer(403, "403: Forbidden")
BAD_REQUEST = Answer(400, "400: Bad Request")
NOT_FOUND = Answer(404, "404: Not Found")
NO_ENTITY = Answer(404, {"message": "Entity not found."})
TROUBLE = Answer(500, "500 Internal Server Error\n\nServer got itself in trouble")


def state_of(relay: Entities, entity: str, *, unavailable: bool = False) -> dict[str, Any]:
    """A state object as `GET /api/states/<entity>` shows it."""
    state = "unavailable" if unavailable else ("on" if relay.states[entity] else "off")
    return {"entity_id": entity, "state": state, "attributes": {"friendly_name": entity.partition(".")[2]}}


def read(relay: Entities, path: str) -> Answer:
    """The answer to an authorised GET."""
    if path == "/api/":
        return Answer(200, {"message": "API running."})
    if path == "/api/config":
        state = "STARTING" if relay.takes("starting") else "RUNNING"
        return Answer(200, {"state": state, "version": "2024.3.3", "location_name": "virtual lab"})
    if path == "/api/states":
        return Answer(200, [state_of(relay, entity) for entity in relay.states])
    if not path.startswith("/api/states/"):
        return NOT_FOUND
    entity = path.removeprefix("/api/states/")
    if entity not in relay.states or relay.takes("unknown") or relay.takes("starting"):
        return NO_ENTITY
    answer = Answer(200, state_of(relay, entity, unavailable=relay.takes("unavailable")))
    relay.record("state", entity)
    return answer


def call(relay: Entities, path: str, body: bytes, pause: threading.Event) -> Answer:
    """The answer to an authorised service call; `pause` cuts the slowness short when the relay ends."""
    parts = path.removeprefix("/api/services/").split("/")
    if not path.startswith("/api/services/") or len(parts) != 2:
        return NOT_FOUND
    if relay.takes("read_only"):
        return UNAUTHORIZED
    domain, service = parts
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return Answer(400, {"message": "Data should be valid JSON."})
    known = domain in DOMAINS and service in SERVICES and not relay.takes("no_service")
    if not isinstance(data, dict) or not known or set(data) != {"entity_id"}:
        return BAD_REQUEST
    entities = data["entity_id"] if isinstance(data["entity_id"], list) else [data["entity_id"]]
    if not all(isinstance(entity, str) for entity in entities):
        return TROUBLE
    changed: list[dict[str, Any]] = []
    for entity in entities:
        answer = _switch(relay, domain, service, entity, pause)
        if answer.status != 200:
            return answer
        assert isinstance(answer.body, list)
        changed += answer.body
    return Answer(200, changed)


def _switch(relay: Entities, domain: str, service: str, entity: str, pause: threading.Event) -> Answer:
    nothing = Answer(200, [])
    if entity not in relay.states or entity.partition(".")[0] != domain:
        return nothing
    wanted = SERVICES[service]
    on = (not relay.states[entity]) if wanted is None else wanted
    relay.record("call_on" if on else "call_off", entity)
    if any(relay.takes(fault) for fault in ("unknown", "starting", "unavailable", "ignored")):
        return nothing
    if relay.takes("stuck"):
        return Answer(200, [{"entity_id": "input_boolean.shadow", "state": "on" if on else "off", "attributes": {}}])
    if relay.takes("server_error") or (on and relay.takes("server_error_on")):
        return TROUBLE
    if relay.takes("slow"):
        pause.wait(relay.slow_seconds)
    if relay.states[entity] == on:
        return nothing
    lying = relay.takes("lying") or (not on and relay.takes("lying_off"))
    relay.switch(entity, on, really=not lying)
    return Answer(200, [state_of(relay, entity)])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def do_GET(self) -> None:
        self._reply(self._refusal() or read(self.server.relay, self.path.partition("?")[0]))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, MAX_BODY))
        refusal = self._refusal()
        self._reply(refusal or call(self.server.relay, self.path.partition("?")[0], body, self.server.ending))

    def _refusal(self) -> Answer | None:
        relay = self.server.relay
        if relay.takes("banned"):
            return FORBIDDEN
        given = self.headers.get("Authorization", "")
        wrong = not hmac.compare_digest(given.encode("latin-1"), f"Bearer {relay.token}".encode())
        return UNAUTHORIZED if wrong or relay.takes("unauthorized") else None

    def _reply(self, answer: Answer) -> None:
        text = isinstance(answer.body, str)
        payload = answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/plain; charset=utf-8" if text else "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(payload)
        except OSError:
            pass  # the caller was killed while its request was held: nobody is left to answer
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Silent: events are the log."""


def reserve_port(port: int = 0) -> socket.socket:
    """A bound loopback socket that does not listen: connections to it are refused until somebody listens."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


class Listener(ThreadingHTTPServer):
    """Serves a relay on a reserved socket from its creation until `close`."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, relay: Entities, reserved: socket.socket) -> None:
        super().__init__(reserved.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = reserved
        self.server_address = reserved.getsockname()
        self.relay = relay
        self.ending = threading.Event()
        self.server_activate()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="virtual relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving, let the requests in progress end, close the socket."""
        self.ending.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
