"""A board that talks faster than its RFC 2217 port is read keeps nobody from opening it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hut_ci.board.line import open_line
from hut_ci.deadline import Deadline
from hut_ci.esptool.call import SHIM

PATIENCE = 60.0
pytestmark = pytest.mark.real


@pytest.fixture
def loud() -> Iterator[str]:
    server = Path(__file__).with_name("loud_port.py")
    with subprocess.Popen(
        [sys.executable, server], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        yield f"rfc2217://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@pytest.mark.timeout(PATIENCE)
def test_we_open_it(loud: str) -> None:
    with open_line(loud) as line:
        assert line.read(Deadline(PATIENCE)).strip(b"x") == b""


def test_esptool_opens_it(loud: str) -> None:
    code = "import sys, serial; serial.serial_for_url(sys.argv[1]).close(); print('opened')"
    env = {"PATH": os.defpath, "PYTHONPATH": str(SHIM), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, loud],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == "opened\n"
