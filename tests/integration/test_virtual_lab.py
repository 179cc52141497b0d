"""The virtual lab: what it writes is a lab that the product accepts, and what it starts it also ends."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.errors import UsageError
from hut_ci.power.choose import choose
from hut_ci.virtual.faults import FAULTS as BOARD_FAULTS
from hut_ci.virtual.lab import VirtualLab
from hut_ci.virtual.relay import FAULTS as RELAY_FAULTS

HUT_CI = Path(sys.executable).with_name("hut-ci")
PATIENCE = 60.0


@pytest.mark.parametrize("transport", ["pty", "rfc2217"])
def test_its_lab_yml_describes_it(tmp_path: Path, transport: Any) -> None:
    with VirtualLab(3, folder=tmp_path, transport=transport, power_wiring={"hut-02": "self_powered"}) as virtual:
        lab = load_lab(virtual.lab_yml)
        assert [slot.id for slot in lab.slots] == ["hut-01", "hut-02", "hut-03"] == list(virtual.boards)
        assert [slot.power.proof for slot in lab.slots] == ["port", "banner", "port"]
        assert [slot.serial for slot in lab.slots] == [(board.serial,) for board in virtual.boards.values()]
        assert len({slot.facts.mac for slot in lab.slots}) == 3
        assert {lab.lock_dir.parent, lab.state_dir.parent} == {tmp_path}
        switch = choose(lab, lab.slots[1], {})
        switch.off(Deadline(PATIENCE))
        assert [board.powered for board in virtual.boards.values()] == [True, False, True]


def test_its_token_is_private(tmp_path: Path) -> None:
    """Security 18."""
    with VirtualLab(1, folder=tmp_path) as virtual:
        lab = load_lab(virtual.lab_yml)
        assert lab.home_assistant is not None
        assert lab.home_assistant.token_file is not None
        assert stat.S_IMODE(lab.home_assistant.token_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(lab.home_assistant.token_file.parent.stat().st_mode) == 0o700
        assert virtual.relay.token not in virtual.lab_yml.read_text()


def test_it_ends_what_it_started_and_starts_again(tmp_path: Path) -> None:
    for _ in range(2):
        with VirtualLab(1, folder=tmp_path, transport="pty") as virtual:
            address = urlsplit(virtual.relay.url)
            link = Path(virtual.boards["hut-01"].serial)
            assert link.exists()
        assert not link.exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname or "", address.port or 0), 1).close()


def test_overrides(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "faults": {"hut-01": ("silent:1",)},
        "relay_faults": ["slow:1"],
        "power": {"cooldown": 7},
        "settings": {"hut-02": {"baud": 460800}},
        "chips": {"hut-02": "esp32s3"},
    }
    with VirtualLab(2, folder=tmp_path, **options) as virtual:
        lab = load_lab(virtual.lab_yml)
        assert [slot.power.cooldown_seconds for slot in lab.slots] == [7, 7]
        assert [slot.baud for slot in lab.slots] == [921600, 460800]
        assert [slot.facts.chip for slot in lab.slots] == ["esp32", "esp32s3"]
        assert virtual.boards["hut-01"].faults.find("silent") is not None
        assert virtual.boards["hut-02"].faults.find("silent") is None


@pytest.mark.parametrize(
    "options",
    [
        {"faults": {"hut-09": ("silent",)}},
        {"faults": {"hut-01": ("nonsense",)}},
        {"relay_faults": ["nonsense"]},
        {"settings": {"hut-09": {}}},
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused, VirtualLab(1, folder=tmp_path, **options):
        pass
    assert refused.value.todo or "one of" in refused.value.what


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_command_line(tmp_path: Path, number: signal.Signals) -> None:
    argv = [str(HUT_CI), "virtual-lab", "--slots", "1", "--transport", "pty", "--folder", str(tmp_path / "lab")]
    argv += ["--fault", "hut-01=silent:1", "--relay-fault", "slow:1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line)
            if "Ctrl-C" in line:
                break
        lab = load_lab(tmp_path / "lab" / "lab.yml")
        link = Path(lab.slots[0].serial[0])
        assert link.exists()
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    assert not link.exists()
    assert f"# {lab.path}\n" in shown
    assert any("hut-ci run" in line for line in shown)
    assert (tmp_path / "lab" / "lab.yml").read_text() in "".join(shown)


def test_list_faults_shows_them_all() -> None:
    listed = subprocess.run([str(HUT_CI), "virtual-lab", "--list-faults"], capture_output=True, text=True, check=True)
    first_words = {line.partition(" ")[0].partition("@")[0].partition("=")[0] for line in listed.stdout.splitlines()}
    assert {*BOARD_FAULTS, *RELAY_FAULTS} <= first_words


@pytest.mark.real
@pytest.mark.parametrize("argv", [["--fault", "silent"], ["--fault", "hut-01="], ["--fault", "hut-01=nonsense"]])
def test_bad_options_exit_2(tmp_path: Path, argv: list[str]) -> None:
    command = [str(HUT_CI), "virtual-lab", "--folder", str(tmp_path), *argv]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert refused.returncode == 2
    assert "do:" in refused.stderr
