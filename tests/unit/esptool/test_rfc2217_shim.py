"""The shim changes one property of one class, in our esptool's process, and nothing where pyserial has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hut_ci.esptool.call import SHIM

SET_A_TIMEOUT = """
from serial import rfc2217
port = rfc2217.Serial()
port.is_open = True
port._reconfigure_port = lambda: print("negotiates")
port.timeout = 3
port.is_open = False
print(port.timeout)
"""


def python(code: str, *path: Path) -> list[str]:
    env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return done.stdout.split()


def test_a_timeout_stays_on_this_side() -> None:
    assert python(SET_A_TIMEOUT, SHIM) == ["3"]
    assert python(SET_A_TIMEOUT) == ["negotiates", "3"], "if pyserial no longer negotiates, the shim can go"


@pytest.mark.parametrize(
    "changed",
    [
        "",
        "class Serial: timeout = 5",
        "class Serial:\n    timeout = property(lambda port: 'new')\n    def read(self): return self.other",
        "raise RuntimeError('broken')",
    ],
)
def test_a_pyserial_that_has_changed_is_left_alone(tmp_path: Path, changed: str) -> None:
    package = tmp_path / "serial"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rfc2217.py").write_text(changed)
    ask = "try:\n    from serial.rfc2217 import Serial\n    print(Serial().timeout)\nexcept Exception: print('none')"
    assert python(ask, SHIM, tmp_path) == python(ask, tmp_path)
