"""`hut-ci slots` as a person runs it: the real program, the real esptool, virtual boards."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hut_ci.config import load_lab
from hut_ci.virtual.board import VirtualBoard


def slots(*words: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hut_ci", "slots", *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environ},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yml"
    path.write_text("# mine\nlock_dir: locks\nslots: # two\nredact: [my-wifi]\n")
    return path


def test_add_a_board_over_the_network_and_one_on_a_pty(lab: Path, tmp_path: Path) -> None:
    with (
        VirtualBoard(mac="24:6f:28:00:00:01") as remote,
        VirtualBoard(mac="24:6f:28:00:00:02", flash_size=8 << 20, transport="pty", link=tmp_path / "board") as local,
    ):
        first = slots("add", "--port", remote.serial, "--lab", str(lab), "--yes", home=tmp_path)
        assert first.returncode == 0, first.stderr
        second = slots("add", "desk", "--port", local.serial, "--yes", home=tmp_path, HUT_CI_LAB=str(lab))
        assert second.returncode == 0, second.stderr
        again = slots("add", "--port", remote.serial, "--lab", str(lab), "--yes", home=tmp_path)
        assert again.returncode == 2
        assert "hut-01 already" in again.stderr
        # Identifying leaves a chip in its loader: a boot after the stub shows that it was restarted.
        names = [event.name for event in remote.events]
        assert "boot" in names[names.index("stub_started") :]
        assert remote.violations == local.violations == []
    made = load_lab(lab)
    assert [(slot.id, slot.facts.mac, slot.facts.flash) for slot in made.slots] == [
        ("hut-01", "24:6f:28:00:00:01", 4 << 20),
        ("desk", "24:6f:28:00:00:02", 8 << 20),
    ]
    assert lab.read_text().startswith("# mine\nlock_dir: locks\nslots: # two\n  hut-01:\n")


def test_a_board_that_does_not_answer_leaves_lab_yml_alone(lab: Path, tmp_path: Path) -> None:
    before = lab.read_bytes()
    done = slots("add", "--port", f"rfc2217://127.0.0.1:{closed_port()}", "--lab", str(lab), "--yes", home=tmp_path)
    assert done.returncode == 6
    assert "why:" in done.stderr
    assert "do:" in done.stderr
    assert lab.read_bytes() == before


def test_without_a_yes_nothing_is_written(lab: Path, tmp_path: Path) -> None:
    before = lab.read_bytes()
    with VirtualBoard() as board:
        done = slots("add", "--port", board.serial, "--lab", str(lab), home=tmp_path)
    assert done.returncode == 130
    assert lab.read_bytes() == before


def test_list_for_people_and_programs(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    lab = tmp_path / "lab.yml"
    lab.write_text(
        "lab: bench\nslots:\n"
        f"  hut-01: {{serial: {tmp_path}/there, facts: {{flash: 4MB, psram: 0, tags: [dac]}}}}\n"
        "  hut-02: {serial: /dev/serial/by-id/gone, quarantined: loose socket}\n"
        '  hut-03: {serial: "rfc2217://127.0.0.1:1"}\n'
    )
    shown = slots("list", "--lab", str(lab), home=tmp_path)
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["ID", "hut-01", "hut-02", "hut-03"]
    assert "loose socket" in shown.stdout
    rows = json.loads(slots("list", "--lab", str(lab), "--json", home=tmp_path).stdout)["slots"]
    assert [row["present"] for row in rows] == [True, False, None]
    assert (rows[0]["flash"], rows[0]["psram"], rows[0]["tags"]) == (4 << 20, 0, ["dac"])


def test_status_names_the_holder(tmp_path: Path) -> None:
    lab = tmp_path / "lab.yml"
    lab.write_text(
        "lock_dir: locks\nslots:\n  hut-01: {serial: /dev/serial/by-id/a}\n  hut-02: {serial: /dev/serial/by-id/b}\n"
    )
    (tmp_path / "locks").mkdir(mode=0o755)
    with (tmp_path / "locks/hut-02.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        json.dump(
            {"pid": 4711, "user": "alice", "host": "h", "since_utc": "2026-01-02T03:04:05Z", "why": "by hand"}, lock
        )
        lock.flush()
        rows = json.loads(slots("status", "--json", "--lab", str(lab), home=tmp_path).stdout)["slots"]
        assert [row["state"] for row in rows] == ["free", "held"]
        assert rows[1]["holder"]["user"] == "alice"
        shown = slots("status", "hut-02", "--lab", str(lab), home=tmp_path).stdout
        assert "alice" in shown
        assert "hut-01" not in shown
    freed = json.loads(slots("status", "esp32-hut-02", "--json", "--lab", str(lab), home=tmp_path).stdout)
    assert freed["slots"][0]["state"] == "free"


def test_unknown_slot_and_no_lab(tmp_path: Path) -> None:
    lab = tmp_path / "lab.yml"
    lab.write_text("slots:\n  hut-01: {serial: /dev/serial/by-id/a}\n")
    wrong = slots("status", "hut-1", "--lab", str(lab), home=tmp_path)
    assert wrong.returncode == 2
    assert 'did you mean "hut-01"?' in wrong.stderr
    nowhere = slots("list", home=tmp_path)  # the lab.yml in the working directory is not looked at (security 25)
    assert nowhere.returncode == 2 or Path("/etc/hut-ci/lab.yml").exists()


@pytest.mark.parametrize("words", [(), ("add",), ("list",), ("status",)], ids=str)
def test_help_shows_an_example(words: tuple[str, ...], tmp_path: Path) -> None:
    shown = slots(*words, "--help", home=tmp_path)
    assert shown.returncode == 0
    assert "hut-ci slots" in shown.stdout.partition("Examples:")[2]


def test_a_relays_command_is_not_shown(tmp_path: Path) -> None:
    """Its words may hold a password, and lists end in logs."""
    power = "{command: {on: [/bin/true, hunter2], off: [/bin/true, hunter2], state: [/bin/true, hunter2]}}"
    (tmp_path / "lab.yml").write_text(f"slots: {{hut-01: {{serial: /dev/serial/by-id/x, power: {power}}}}}\n")
    for words in (("list",), ("list", "--json")):
        shown = slots(*words, "--lab", "lab.yml", home=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert ("hunter2" in shown.stdout, "command" in shown.stdout) == (False, True)
