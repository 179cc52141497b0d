"""The virtual relay answers as Home Assistant 2024.3, 2025.4 and 2026.11 do, and really switches."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from hut_ci.errors import UsageError
from hut_ci.virtual.relay import FAULTS, Relay

ENTITY = "switch.slot_1"


class House:
    """A relay, the switchings that it really made, and a client without proxies."""

    def __init__(self, stack: ExitStack, *faults: str) -> None:
        self.power: list[bool] = []
        self.relay = stack.enter_context(Relay({ENTITY: self.power.append}, faults=faults, slow_seconds=0.2))
        self.session = stack.enter_context(requests.Session())
        self.session.trust_env = False

    def ask(self, method: str, path: str, *, token: str | None = None, **more: object) -> requests.Response:
        header = {"Authorization": f"Bearer {token or self.relay.token}"}
        return self.session.request(method, self.relay.url + path, headers=header, timeout=60, **more)  # type: ignore[arg-type]

    def turn(self, service: str, data: object = None, domain: str = "switch") -> requests.Response:
        return self.ask("POST", f"/api/services/{domain}/{service}", json=data or {"entity_id": ENTITY})

    def state(self) -> str:
        return str(self.ask("GET", f"/api/states/{ENTITY}").json()["state"])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_switching(stack: ExitStack) -> None:
    """WS9-6: the state follows, the list holds what changed, and a second call changes nothing."""
    house = House(stack)
    assert house.ask("GET", "/api/").json() == {"message": "API running."}
    assert house.ask("GET", "/api/config").json()["state"] == "RUNNING"
    assert [state["entity_id"] for state in house.ask("GET", "/api/states").json()] == [ENTITY]
    assert house.state() == "on"
    answer = house.turn("turn_off")
    assert (answer.status_code, answer.json()[0]["state"]) == (200, "off")
    assert house.state() == "off"
    assert house.turn("turn_off").json() == []
    assert house.turn("turn_on").json()[0]["state"] == "on"
    assert house.power == [False, True]
    assert house.relay.switched(ENTITY) == ["off", "on"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("switch/turn_off", b'{"entity_id": "switch.nobody"}', 200, "[]"),
        ("light/turn_off", b'{"entity_id": "switch.slot_1"}', 200, "[]"),
        ("switch/turn_off", b"{}", 400, "400: Bad Request"),
        ("switch/turn_off", b'{"entity_id": "switch.slot_1", "extra": 1}', 400, "400: Bad Request"),
        ("switch/explode", b'{"entity_id": "switch.slot_1"}', 400, "400: Bad Request"),
        ("nothing/turn_off", b'{"entity_id": "switch.slot_1"}', 400, "400: Bad Request"),
        ("switch/turn_off", b"[]", 400, "400: Bad Request"),
        ("switch/turn_off", b"{", 400, '{"message": "Data should be valid JSON."}'),
        ("switch/turn_off", b'{"entity_id": 5}', 500, "500 Internal Server Error\n\nServer got itself in trouble"),
    ],
)
def test_service_answers(stack: ExitStack, path: str, body: bytes, status: int, text: str) -> None:
    house = House(stack)
    answer = house.ask("POST", f"/api/services/{path}", data=body)
    assert (answer.status_code, answer.text) == (status, text)
    assert house.power == []


def test_unknown_entity(stack: ExitStack) -> None:
    answer = House(stack).ask("GET", "/api/states/switch.nobody")
    assert (answer.status_code, answer.json()) == (404, {"message": "Entity not found."})


@pytest.mark.parametrize("token", ["wrong", "x" * 3000])
def test_wrong_token(stack: ExitStack, token: str) -> None:
    house = House(stack)
    for path in ("/api/", f"/api/states/{ENTITY}"):
        answer = house.ask("GET", path, token=token)
        assert (answer.status_code, answer.text) == (401, "401: Unauthorized")
    no_token = house.session.get(house.relay.url + "/api/", timeout=60)
    assert no_token.status_code == 401


@pytest.mark.parametrize(
    ("fault", "status", "body", "state", "power"),
    [
        ("unauthorized", 401, "401: Unauthorized", None, []),
        ("read_only", 401, "401: Unauthorized", "on", []),
        ("no_service", 400, "400: Bad Request", "on", []),
        ("banned", 403, "403: Forbidden", None, []),
        ("unknown", 200, "[]", None, []),
        ("starting", 200, "[]", None, []),
        ("unavailable", 200, "[]", "unavailable", []),
        ("ignored", 200, "[]", "on", []),
        ("stuck", 200, "input_boolean.shadow", "on", []),
        ("slow", 200, ENTITY, "off", [False]),
        ("lying", 200, ENTITY, "off", []),
        ("lying_off", 200, ENTITY, "off", []),
        ("server_error", 500, "Server got itself in trouble", "on", []),
        ("server_error_on", 200, ENTITY, "off", [False]),
    ],
)
def test_faults(stack: ExitStack, fault: str, status: int, body: str, state: str | None, power: list[bool]) -> None:
    """WS9-7: each fault has one deterministic answer."""
    house = House(stack, fault)
    answer = house.turn("turn_off")
    assert answer.status_code == status
    assert body in answer.text
    assert house.power == power
    if state is not None:
        assert house.state() == state


def test_every_fault_is_tried_here() -> None:
    tried = next(mark for mark in test_faults.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert {row[0] for row in tried.args[1]} | {"refused"} == set(FAULTS)


def test_refused_and_healed(stack: ExitStack) -> None:
    house = House(stack, "refused")
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            house.state()
        house.relay.heal()
        assert house.state() == "on"
        house.relay.fail("refused")


def test_counted_faults_end(stack: ExitStack) -> None:
    house = House(stack, "server_error:2")
    assert [house.turn("turn_off").status_code for _ in range(3)] == [500, 500, 200]


@pytest.mark.parametrize("fault", ["nonsense", "slow:x", ""])
def test_unknown_faults_are_refused(fault: str) -> None:
    with pytest.raises(UsageError), Relay({}, faults=[fault]):
        pass


def test_hold_and_release(stack: ExitStack) -> None:
    """The barrier of the kill tests: power is off, and nobody has been told."""
    house = House(stack)
    house.relay.hold_at("off")
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(house.turn("turn_off").status_code))
    caller.start()
    house.relay.wait_for("held", 60)
    assert house.power == [False]
    assert answers == []
    house.relay.release()
    caller.join(60)
    assert answers == [200]


def test_by_hand() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "hut_ci.virtual.relay", "--entity", ENTITY], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url, token = process.stdout.readline().strip(), process.stdout.readline().split()[1]
        answer = requests.get(f"{url}/api/states/{ENTITY}", headers={"Authorization": f"Bearer {token}"}, timeout=60)
        assert answer.json()["state"] == "on"
        process.terminate()


def test_nothing_listens_after_the_end(stack: ExitStack) -> None:
    with Relay({}) as relay:
        port = relay.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1).close()
