"""What the doctor says of serial ports and programs: real ptys, real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hut_ci.board.serial_links import SerialLink
from hut_ci.deadline import Deadline
from hut_ci.doctor.lab_file import lab_file, token_files
from hut_ci.doctor.ports import ports
from hut_ci.doctor.programs import packages, programs
from hut_ci.doctor.relays import ENABLED, TIMER, relays, repair_timer
from hut_ci.model import Lab, PowerSettings, Slot


@pytest.fixture
def port() -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def slot(*serial: str, power: PowerSettings | None = None) -> Slot:
    return Slot("hut-01", "esp32-hut-01", serial, power=power or PowerSettings())


def signs(serial: str, *links: SerialLink) -> list[tuple[str, str]]:
    return [(finding.sign.value, finding.what) for finding in ports([slot(serial)], links)]


def test_a_port_that_is_there(port: str) -> None:
    assert ("ok", f"hut-01: {port}") in signs(port)


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    assert ("missing", f"hut-01: {tmp_path}/none is not there") in signs(f"{tmp_path}/none")


def test_a_file_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("")
    assert ("missing", f"hut-01: {tmp_path}/port is no serial port") in signs(f"{tmp_path}/port")


def test_a_port_over_the_network_is_not_asked() -> None:
    [(sign, what), *_] = signs("rfc2217://127.0.0.1:1")
    assert (sign, "over the network" in what) == ("ok", True)


@contextmanager
def holding(program: str, port: str, folder: Path) -> Iterator[None]:
    """`port` open in a process that calls itself `program`."""
    copied = folder / program
    copied.write_bytes(Path(shutil.which("sleep") or "/bin/sleep").read_bytes())
    copied.chmod(0o700)
    with Path(port).open("rb") as line, subprocess.Popen([copied, "60"], stdin=line) as process:
        try:
            yield
        finally:
            process.kill()


def test_a_port_that_another_program_has_open(port: str, tmp_path: Path) -> None:
    with holding("terminal", port, tmp_path):
        assert any(sign == "warn" and "terminal of " in what for sign, what in signs(port))
    assert not [what for _, what in signs(port) if "terminal of " in what]


def test_a_prober_of_modems_writes_to_boards(port: str, tmp_path: Path) -> None:
    with holding("ModemManager", port, tmp_path):
        found = signs(port)
    assert ("missing", f"hut-01: ModemManager has {port} open and writes to it") in found
    assert any(sign == "warn" and "ModemManager runs here" in what for sign, what in found)


def test_what_is_plugged_in_beside_the_slots(port: str) -> None:
    stray = SerialLink("/dev/serial/by-id/usb-stray-if00", "by-id", port)
    gone = SerialLink("/dev/serial/by-id/usb-gone-if00", "by-id", None)
    found = signs("rfc2217://127.0.0.1:1", stray, gone)
    assert ("warn", f"{stray.path} belongs to no slot") in found
    assert ("warn", f"{gone.path} leads nowhere: its board is unplugged") in found


# --- programs, lab.yml, tokens, power -------------------------------------------------------------------------------


def test_programs_of_this_environment() -> None:
    found = programs(Deadline(60))
    assert {finding.sign.value for finding in found} == {"ok"}, found
    assert any(finding.what.startswith("esptool v") for finding in found)


def test_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "half_lab-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: half-lab\nVersion: 1\nRequires-Dist: click>=8\nRequires-Dist: no-such-thing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [finding.what for finding in packages("half-lab") if finding.sign == "missing"] == [
        "the package no-such-thing is not installed"
    ]
    assert [finding.sign.value for finding in packages("no-such-thing")] == ["missing"]


def bench(tmp_path: Path, *slots: Slot) -> Lab:
    path = tmp_path / "lab.yml"
    path.write_text("slots:\n")
    path.chmod(0o600)
    return Lab("bench", tmp_path, tmp_path / "state", slots, path)


def test_a_lab_without_slots_and_a_file_that_git_shows(tmp_path: Path) -> None:
    found = {finding.sign.value: finding.what for finding in lab_file(bench(tmp_path))}
    assert found["missing"] == "the lab has no slot"
    git = shutil.which("git") or "/usr/bin/git"
    subprocess.run([git, "init", "-q", tmp_path], check=True)
    subprocess.run([git, "-C", tmp_path, "add", "lab.yml"], check=True)
    assert any("tracked by git" in finding.what for finding in lab_file(bench(tmp_path, slot("/dev/x"))))


def test_a_token_file_that_others_may_read(tmp_path: Path) -> None:
    secret = tmp_path / "secrets"
    secret.mkdir(mode=0o700)
    file = secret / "github"
    file.write_text("ghs_0123456789\n")
    file.chmod(0o600)
    assert [finding.sign.value for finding in token_files({"GITHUB_TOKEN_FILE": str(file)})] == ["ok"]
    file.chmod(0o640)
    [refused] = token_files({"GITHUB_TOKEN_FILE": str(file)})
    assert (refused.sign, "ghs_" in refused.what) == ("missing", False)
    assert token_files({}) == []


def test_a_program_that_switches_power(tmp_path: Path) -> None:
    there, gone = PowerSettings("command", command={"on": ("/bin/true",)}), f"{tmp_path}/uhubctl"
    lab = bench(tmp_path, slot("/dev/x", power=there))
    assert [finding.sign.value for finding in relays(lab, {}, Deadline(5))] == ["warn"], "not proven"
    lab = bench(tmp_path, slot("/dev/x", power=PowerSettings("command", command={"on": (gone,), "off": (gone,)})))
    [found] = relays(lab, {}, Deadline(5))
    assert (found.sign, gone in found.what) == ("missing", True)


def test_whoever_switches_on_after_a_crash(tmp_path: Path) -> None:
    assert repair_timer(bench(tmp_path, slot("/dev/x")), tmp_path) == []
    lab = bench(tmp_path, slot("/dev/x", power=PowerSettings("command")))
    assert [finding.sign.value for finding in repair_timer(lab, tmp_path)] == ["warn"]
    wanted = tmp_path / ENABLED[0] / "timers.target.wants"
    wanted.mkdir(parents=True)
    (wanted / TIMER).symlink_to(f"/etc/systemd/system/{TIMER}")
    assert [finding.sign.value for finding in repair_timer(lab, tmp_path)] == ["ok"]
