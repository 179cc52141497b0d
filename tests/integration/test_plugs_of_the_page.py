"""The `command:` examples of docs/slots-and-power.md, with the real curl, against plugs that speak as theirs do."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from hut_ci.claims.flock import claim
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.power.choose import choose
from hut_ci.power.wiring import cycle_slot
from hut_ci.stages.slot import Note

PAGE = (Path(__file__).parents[2] / "docs" / "slots-and-power.md").read_text("utf-8")
LABS = {text.split()[1].rstrip(":"): text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)}
PATIENCE = 60.0
QUICK = "".join(f"      {line}\n" for line in ("off: 0.1", "on: 0", "cooldown: 0", "retries: 0"))


class _Plug(BaseHTTPRequestHandler):
    """Tasmota's /cm and Shelly's /rpc, as far as the page uses them."""

    server: Plug

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        answers = {"/cm": self._tasmota, "/rpc/Switch.Set": self._set, "/rpc/Switch.GetStatus": self._status}
        body = json.dumps(answers[address.path](asked)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _tasmota(self, asked: dict[str, str]) -> dict[str, object]:
        word, _, state = asked["cmnd"].partition(" ")
        assert word == "Power"
        self._turn({"": None, "On": True, "Off": False}[state])
        return {"POWER": "ON" if self.server.on else "OFF"}

    def _set(self, asked: dict[str, str]) -> dict[str, object]:
        before = self.server.on
        self._turn({"true": True, "false": False}[asked["on"]])
        return {"was_on": before}

    def _status(self, asked: dict[str, str]) -> dict[str, object]:
        assert asked == {"id": "0"}
        return {"id": 0, "source": "HTTP_in", "output": self.server.on, "apower": 3.1}

    def _turn(self, on: bool | None) -> None:
        if on is not None and not self.server.stuck:
            self.server.on = on
            self.server.turned.append(on)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


class Plug(HTTPServer):
    def __init__(self, *, stuck: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Plug)
        self.on, self.stuck = True, stuck
        self.turned: list[bool] = []


@contextmanager
def plugged_in(*, stuck: bool) -> Iterator[Plug]:
    with Plug(stuck=stuck) as plug:
        thread = threading.Thread(target=plug.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield plug
        finally:
            plug.shutdown()
            thread.join()


@pytest.mark.real
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("kind", "stuck", "timeout", "result"),
    [("Tasmota", False, 15, "ok"), ("Shelly,", False, 15, "ok"), ("Shelly,", True, 1.5, "timeout")],
)
def test_a_plug_of_the_page_is_switched(tmp_path: Path, kind: str, stuck: bool, timeout: float, result: str) -> None:
    """WS9-6: off, on, and each read back; a plug that does not move is found out."""
    with plugged_in(stuck=stuck) as plug:
        text = re.sub(r"192\.168\.1\.4[01]", f"127.0.0.1:{plug.server_port}", LABS[kind])
        text = text.replace("power:\n", f"power:\n{QUICK}      timeout: {timeout}\n")
        path = tmp_path / "lab.yml"
        path.write_text(f"lock_dir: {tmp_path}/locks\nstate_dir: {tmp_path}/state\n{text}")
        lab = load_lab(path)
        (slot,) = lab.slots
        with claim(lab, slot, note=Note("test"), deadline=Deadline(PATIENCE)) as held:
            found = cycle_slot(lab, slot, {slot.id: held}, choose(lab, slot, {}), Deadline(PATIENCE))
        assert (found.result, found.proven) == (result, False), found
        assert plug.turned == ([] if stuck else [False, True])
        assert plug.on
