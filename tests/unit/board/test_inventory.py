"""What is plugged in, from folders of links such as udev makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hut_ci.board.inventory import Inventory, take_inventory
from hut_ci.board.serial_links import serial_links
from hut_ci.model import Slot


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two boards with names of their own, two CP2102 that share the factory name, and a link to nowhere."""
    root = tmp_path / "serial"
    for kind in ("by-id", "by-path"):
        (root / kind).mkdir(parents=True)
    for number in range(4):
        (tmp_path / f"ttyUSB{number}").touch()
        (root / "by-path" / f"pci-0-usb-0:{number}:1.0-port0").symlink_to(tmp_path / f"ttyUSB{number}")
    names = {
        "usb-Silicon_Labs_CP2102N_8ea5-if00-port0": "ttyUSB0",
        "usb-Espressif_USB_JTAG_serial_debug_unit_24:6F-if00": "ttyUSB1",
        "usb-Silicon_Labs_CP2102_USB_to_UART_Bridge_Controller_0001-if00-port0": "ttyUSB2",
        "usb-gone-if00": "ttyUSB9",
    }
    for name, device in names.items():
        (root / "by-id" / name).symlink_to(tmp_path / device)
    return root


def taken_from(root: Path, *args: Any) -> Inventory:
    """The files of `root` stand for devices; what is one is another test's matter."""
    return take_inventory(serial_links(root, Path.exists), *args)


def slot(slot_id: str, serial: Path | str) -> Slot:
    return Slot(slot_id, f"esp32-{slot_id}", (str(serial),))


def test_each_fault_is_named(machine: Path, tmp_path: Path) -> None:
    """WS8-5, WS8-9, WS8-13: only what has a by-id link to a device that exists is counted."""
    known = [
        slot("hut-01", machine / "by-id" / "usb-Silicon_Labs_CP2102N_8ea5-if00-port0"),
        slot("hut-02", machine / "by-path" / "pci-0-usb-0:0:1.0-port0"),
        slot("hut-03", machine / "by-id" / "usb-gone-if00"),
        slot("hut-04", "rfc2217://10.0.0.5:4000"),
    ]
    taken = taken_from(machine, known, 2)
    assert (taken.by_id_count, taken.blocked, taken.absent) == (3, False, ("hut-03",))
    text = "\n".join(taken.problems)
    assert "usb-gone-if00 leads nowhere" in text
    assert "Controller_0001-if00-port0 is a factory name" in text
    assert "ttyUSB0 belongs to hut-01 and hut-02" in text
    assert "usb-0:3:1.0-port0 has no by-id name" in text
    assert "hut-03 is absent" in text
    assert taken_from(machine, known, 4).blocked


def test_a_device_with_two_names(machine: Path, tmp_path: Path) -> None:
    (machine / "by-id" / "usb-other-name-if00").symlink_to(tmp_path / "ttyUSB1")
    taken = taken_from(machine, ())
    assert taken.by_id_count == 3, "a second name is no second board"
    assert any("has 2 by-id names" in problem for problem in taken.problems)


def test_nothing_wrong_is_nothing_said(tmp_path: Path) -> None:
    """The negative control."""
    (tmp_path / "by-id").mkdir()
    (tmp_path / "tty").touch()
    (tmp_path / "by-id" / "usb-Silicon_Labs_CP2102N_8ea5-if00-port0").symlink_to(tmp_path / "tty")
    taken = taken_from(tmp_path, ())
    assert (taken.by_id_count, taken.problems, taken.blocked) == (1, (), False)


def test_only_character_devices_are_boards(tmp_path: Path) -> None:
    """WS8-9, WS8-13: a file, a folder or a pipe under a board's name is named, and not counted."""
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, target in {"usb-A-if00": "/dev/null", "usb-B-if00": "file", "usb-C-if00": "pipe", "usb-D": "."}.items():
        (by_id / name).symlink_to(tmp_path / target)
    (by_id / "usb-E-if00").touch()
    taken = take_inventory(serial_links(tmp_path), ())
    assert (taken.by_id_count, [device.device for device in taken.devices]) == (1, ["/dev/null"])
    assert [problem.split()[0] for problem in taken.problems] == [
        str(by_id / f"usb-{n}") for n in ("B-if00", "C-if00", "D", "E-if00")
    ]
    assert taken.dangling == ()


@pytest.fixture
def plugged(tmp_path: Path) -> Path:
    """Three names for three real devices; they are only looked at."""
    by_id = tmp_path / "plugged" / "by-id"
    by_id.mkdir(parents=True)
    for device in ("null", "zero", "full"):
        (by_id / f"usb-{device}-if00").symlink_to(f"/dev/{device}")
    return by_id.parent


def inventory(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "hut_ci", "slots", "inventory", *words]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=home, env=env, check=False)


def test_fewer_boards_than_asked_is_blocked(plugged: Path, tmp_path: Path) -> None:
    """WS8-13: identities are never made up; the count is in the answer, the exit code is 4."""
    done = inventory(tmp_path, "--from", str(plugged), "--expect", "4", "--json")
    assert done.returncode == 4, done.stderr
    document = json.loads(done.stdout)
    assert (document["result"], document["by_id_count"], document["expected"]) == ("blocked", 3, 4)
    told = inventory(tmp_path, "--from", str(tmp_path / "nothing"), "--expect", "1")
    assert told.returncode == 4
    assert "by_id_count=0, 1 expected: blocked" in told.stdout
    assert "blocked: 0 of 1 boards are there" in told.stderr
    assert "do:" in told.stderr


def test_evidence_is_a_file_with_its_instant_in_its_name(plugged: Path, tmp_path: Path) -> None:
    """WS8-9."""
    done = inventory(tmp_path, "--from", str(plugged), "--expect", "2", "--evidence", "evidence")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "evidence").iterdir()
    assert re.fullmatch(r"runner_hil_topo_inventory_\d{8}_\d{6}_utc\.log", file.name)
    assert "by_id_count=3, 2 expected: ok" in file.read_text()
    assert str(file.relative_to(tmp_path)) in done.stdout
