"""A real Home Assistant on the loopback interface, whose switches cut the power of virtual boards.

Its switches run a small program that talks to `Plugs` in this process: honest ones, which read back, and every way of
failing that a house has to offer. By hand, until Ctrl-C:

    python tests/integration/real_home_assistant.py FOLDER      (after `make home-assistant`)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import secrets
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from hut_ci import process
from hut_ci.deadline import Deadline
from hut_ci.virtual.events import EventLog

STARTS_WITHIN = 240.0
"""Seconds; it takes 4 to 11 on an idle machine, the first time more."""
PORTS = range(20000, 32000)
"""Below those that the kernel gives to whoever asks for any: nobody takes one before Home Assistant has begun."""
LOOK_SECONDS = 0.1
SLOW_SECONDS = 2.5
_PLUG = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port} && echo "$*" >&3 && read -r -t 30 answer <&3 && echo "$answer"
[ "${{answer:-error}}" != error ]
"""
_FRONTEND = "async def async_setup(hass, config):\n    return True\n"


def environment() -> Path:
    """Where the Makefile puts Home Assistant: a virtual environment beside this one, of the same Python."""
    return Path(os.environ.get("HUT_CI_HOME_ASSISTANT", f"{sys.prefix}-ha")).absolute()


def missing() -> str | None:
    """Why there is no Home Assistant to test with; None where there is one."""
    reason = environment() / "missing.txt"
    if (environment() / "bin" / "hass").exists() and not reason.exists():
        return None
    return (
        reason.read_text().strip() if reason.exists() else f"no Home Assistant in {environment()}: make home-assistant"
    )


class Plugs:
    """A TCP server that switches boards: `NAME on`, `NAME off`, `NAME read`, each answered with one word.

    `lines` maps a plug's name to a callable that is told True (power on) or False. Its events, with the name as
    detail: `on`, `off`, `read`, `held`. `hold_at` keeps an answer back, as the relay of hut_ci.virtual does.
    """

    def __init__(self) -> None:
        self.lines: dict[str, Callable[[bool], None]] = {}
        self.states: dict[str, bool] = {}
        self.events = EventLog()
        self._held: str | None = None
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self)
        self.port = self._server.server_address[1]

    def wire(self, lines: Mapping[str, Callable[[bool], None]]) -> None:
        """From here on these boards hang on the plugs; all are on, also those without a board."""
        self.release()
        self.lines, self.events = dict(lines), EventLog()
        self.states = dict.fromkeys(("hut-01", "hut-02"), True)

    def hold_at(self, event: str) -> None:
        self._released.clear()
        self._held = event

    def release(self) -> None:
        self._held = None
        self._released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, words: list[str]) -> str:
        name, verb = words
        if name not in self.states:
            return "error"
        if verb.startswith("slow-"):
            time.sleep(SLOW_SECONDS)
            verb = verb.removeprefix("slow-")
        if verb in ("on", "off"):
            if self.states[name] is not (verb == "on"):
                self.lines.get(name, _nothing)(verb == "on")
                self.states[name] = verb == "on"
            self._record(verb, name)
        return "on" if self.states[name] else "off"

    def switched(self, name: str) -> list[str]:
        return [event.name for event in self.events.named("on", "off") if event.detail == name]

    def _record(self, event: str, name: str) -> None:
        self.events.record(event, name)
        if self._held == event:
            self._held = None
            self.events.record("held", name)
            self._released.wait(60.0)


def _nothing(_on: bool) -> None:
    """A plug without a board."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], plugs: Plugs) -> None:
        self.plugs = plugs
        super().__init__(address, _Request)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Request(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        words = self.rfile.readline().decode().split()
        if len(words) == 2:
            with suppress(OSError):  # Home Assistant was killed while it waited
                self.wfile.write(f"{self.server.plugs.answer(words)}\n".encode())


class HomeAssistant:
    """One instance in `folder`, as a context manager; `token` may do everything, `looking` may only look.

    Its entities: `switch.slot_1` and `switch.slot_2` are honest and read back; what the others do stands in `SWITCHES`.
    """

    def __init__(self, folder: Path, plugs: Plugs, *, ban_after: int = -1) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        plug = folder / "plug"
        plug.write_text(_PLUG.format(port=plugs.port))
        plug.chmod(0o755)
        stub = folder / "custom_components" / "frontend"
        stub.mkdir(parents=True)
        manifest = {"domain": "frontend", "name": "frontend", "version": "1.0.0", "codeowners": []}
        more = {
            "requirements": [],
            "dependencies": [],
            "documentation": "https://example.org",
            "iot_class": "local_push",
        }
        (stub / "manifest.json").write_text(json.dumps({**manifest, **more}))
        (stub / "__init__.py").write_text(_FRONTEND)
        document = configuration(str(plug), self.port, ban_after)
        (folder / "configuration.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        self.token, self.looking = _tokens(folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()

    def start(self, *, wait: bool = True) -> None:
        """Start it; without `wait` it is not yet there when this returns."""
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [str(environment() / "bin" / "python"), "-m", "homeassistant", "-c", str(self.folder), "--skip-pip"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=process.clean_environment(self.folder),
                start_new_session=True,
                preexec_fn=process.dies_with_us(signal.SIGKILL),  # noqa: PLW1509 (see hut_ci/process.py)
            )
        if wait:
            self.wait_until("RUNNING")

    def wait_until(self, state: str) -> None:
        """Until it says `RUNNING`, or answers at all (`""`)."""
        deadline = Deadline(STARTS_WITHIN)
        while (seen := self._state()) is None or not seen.startswith(state):
            assert self._process is not None
            assert self._process.poll() is None, f"Home Assistant ended:\n{self.log[-3000:]}"
            assert not deadline.expired, f"Home Assistant is {seen}:\n{self.log[-3000:]}"
            time.sleep(LOOK_SECONDS)

    def wait_until_all_on(self) -> None:
        """Until the switches that read back have seen that their boards have power."""
        deadline = Deadline(STARTS_WITHIN)
        for entity in READING_BACK:
            while self._ask(f"/api/states/{entity}").get("state") != "on":
                assert not deadline.expired, f"{entity} does not read on"
                time.sleep(LOOK_SECONDS)

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        return (self.folder / "output.txt").read_text("utf-8", "replace")

    def _state(self) -> str | None:
        """None where nobody answers; empty where it does not know yet."""
        try:
            return str(self._ask("/api/config").get("state", ""))
        except requests.RequestException:
            return None

    def _ask(self, path: str) -> dict[str, Any]:
        """What it answers; nothing where it is no 200."""
        answer = requests.get(self.url + path, headers={"Authorization": f"Bearer {self.token}"}, timeout=5)
        found: dict[str, Any] = answer.json() if answer.ok else {}
        return found


READING_BACK = ("switch.slot_1", "switch.slot_2", "switch.deaf", "switch.failing", "switch.slow")
SWITCHES = {
    "switch.deaf": "its commands do nothing and end well; it reads back what is so",
    "switch.failing": "its commands fail; it reads back what is so",
    "switch.slow": "its commands take longer than anybody waits, and then act",
    "switch.lying": "a template that shows whatever was asked of it; nothing is switched",
    "switch.stuck": "a template that switches something else",
    "switch.gone": "a template that is unavailable",
    "switch.broken": "a template whose service raises an error",
    "sensor.fixed": "reads on, and is of a domain that has no switch",
}


def configuration(plug: str, port: int, ban_after: int) -> dict[str, Any]:
    """configuration.yaml as a mapping; the syntax of 2024 and 2025, in which template switches are a platform."""

    def commands(name: str, on: str, off: str) -> dict[str, Any]:
        words = {"command_on": f"{plug} {on}", "command_off": f"{plug} {off}", "command_state": f"{plug} hut-01 read"}
        return {
            "switch": {
                "name": name,
                "unique_id": name,
                **words,
                "value_template": "{{ value == 'on' }}",
                "scan_interval": 1,
                "command_timeout": 30,
            }
        }

    def flips(name: str, action: str) -> list[dict[str, Any]]:
        return [{"service": f"input_boolean.{action}", "target": {"entity_id": f"input_boolean.{name}"}}]

    slots = []
    for number in (1, 2):
        one = commands(f"slot_{number}", f"hut-0{number} on", f"hut-0{number} off")
        one["switch"]["command_state"] = f"{plug} hut-0{number} read"
        slots.append(one)
    return {
        "homeassistant": {
            "name": "lab", "latitude": 0, "longitude": 0, "elevation": 0, "unit_system": "metric", "time_zone": "UTC",
            "auth_providers": [{"type": "homeassistant"}],
        },
        "http": {
            "server_host": "127.0.0.1", "server_port": port,
            "ip_ban_enabled": ban_after > 0, "login_attempts_threshold": ban_after,
        },
        "frontend": None,
        "api": None,
        "logger": {"default": "warning"},
        "input_boolean": {"shadow": {"initial": True}, "lie": {"initial": True}},
        "rest_command": {"nobody": {"url": "http://127.0.0.1:9/", "timeout": 2}},
        "command_line": [
            *slots,
            commands("deaf", "hut-01 read", "hut-01 read"),
            commands("failing", "nobody on", "nobody off"),
            commands("slow", "hut-01 slow-on", "hut-01 slow-off"),
        ],
        "sensor": [{"platform": "template", "sensors": {"fixed": {"value_template": "on"}}}],
        "switch": [{"platform": "template", "switches": {
            "lying": {
                "value_template": "{{ is_state('input_boolean.lie', 'on') }}",
                "turn_on": flips("lie", "turn_on"), "turn_off": flips("lie", "turn_off"),
            },
            "stuck": {
                "value_template": "{{ true }}",
                "turn_on": flips("shadow", "toggle"), "turn_off": flips("shadow", "toggle"),
            },
            "gone": {
                "value_template": "{{ true }}", "availability_template": "{{ false }}",
                "turn_on": flips("shadow", "toggle"), "turn_off": flips("shadow", "toggle"),
            },
            "broken": {
                "value_template": "{{ true }}",
                "turn_on": flips("shadow", "toggle"), "turn_off": [{"service": "rest_command.nobody"}],
            },
        }}],
    }  # fmt: skip


def _tokens(folder: Path) -> tuple[str, str]:
    """Write two users with long-lived tokens into the storage, as its onboarding would: an owner and an onlooker."""
    users, tokens, signed = [], [], []
    for name, group in (("hut-ci", "system-admin"), ("onlooker", "system-read-only")):
        user, refresh, key = secrets.token_hex(16), secrets.token_hex(16), secrets.token_hex(64)
        users.append(
            {"id": user, "group_ids": [group], "is_owner": group == "system-admin", "is_active": True, "name": name,
             "system_generated": False, "local_only": False}
        )  # fmt: skip
        now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        tokens.append(
            {"id": refresh, "user_id": user, "client_id": None, "client_name": name, "client_icon": None,
             "token_type": "long_lived_access_token", "created_at": now, "access_token_expiration": 315360000.0,
             "token": secrets.token_hex(64), "jwt_key": key, "last_used_at": None, "last_used_ip": None,
             "expire_at": None, "credential_id": None, "version": None}
        )  # fmt: skip
        signed.append(_signed(refresh, key))
    groups = [{"id": f"system-{name}", "name": title} for name, title in
              (("admin", "Administrators"), ("users", "Users"), ("read-only", "Read Only"))]  # fmt: skip
    data = {"users": users, "groups": groups, "credentials": [], "refresh_tokens": tokens}
    storage = folder / ".storage"
    storage.mkdir()
    document = {"version": 1, "minor_version": 1, "key": "auth", "data": data}
    (storage / "auth").write_text(json.dumps(document))
    return signed[0], signed[1]


def _signed(refresh: str, key: str) -> str:
    issued = int(time.time())
    claims = {"iss": refresh, "iat": issued, "exp": issued + 315360000}
    text = f"{_base64({'alg': 'HS256', 'typ': 'JWT'})}.{_base64(claims)}"
    mac = hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _base64(document: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _free_port() -> int:
    for port in random.sample(PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("a hundred ports are taken")


def main() -> None:
    plugs = Plugs()
    plugs.wire(dict.fromkeys(("hut-01", "hut-02"), print))
    with HomeAssistant(Path(sys.argv[1]), plugs) as server:
        print(f"url: {server.url}\ntoken: {server.token}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
