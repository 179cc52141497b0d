"""A person at the bench and CI share one lock: hold, release, run, steal and monitor as real processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
import yaml
from conftest import Firmware, LabOf
from console_script import SCRIPT, HutCi
from live_run import check_free_at_once, check_report, claimed, claimed_apart, live, project, start
from terminal import at_a_terminal, press, read_until

from hut_ci.claims import flock
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.power.choose import choose
from hut_ci.power.intent import intent_path, write_intent
from hut_ci.virtual.app_script import Echo, Log, Script
from hut_ci.virtual.images import build_folder
from hut_ci.virtual.lab import VirtualLab

PATIENCE = 60.0


def status_of(hut_ci: HutCi, lab: VirtualLab, slot: str = "hut-01") -> dict[str, object]:
    answer = hut_ci("slots", "status", slot, "--json", "--lab", lab.lab_yml)
    assert answer.code == 0, answer
    (row,) = json.loads(answer.stdout)["slots"]
    return dict(row)


# --- hold and release ---------------------------------------------------------------------------------------


def test_a_person_holds_and_a_run_is_blocked(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """WS8-6: one lock for the bench and for CI; everybody is told who has the slot, for what and until when."""
    lab = lab_of()
    held = hut_ci("slots", "hold", "hut-01", "--for", "20m", "--why", "soldering", "--json", "--lab", lab.lab_yml)
    assert held.code == 0, held
    facts = json.loads(held.stdout)
    try:
        row = status_of(hut_ci, lab)
        assert (row["state"], row["until"]) == ("held", facts["until_utc"])
        assert f'(pid {facts["pid"]}, "soldering")' in str(row["held_by"])
        blocked = hut_ci.run(firmware("ready"), lab=lab.lab_yml)
        assert (blocked.code, blocked.hardware["verdict"]["name"]) == (4, "blocked")
        assert "soldering" in blocked.stdout
        released = hut_ci("slots", "release", "hut-01", "--lab", lab.lab_yml)
        assert (released.code, released.stdout) == (0, "hut-01 released\n")
        assert not Path(f"/proc/{facts['pid']}").exists() or status_of(hut_ci, lab)["state"] == "free"
        check_free_at_once(lab)
        again = hut_ci("slots", "release", "hut-01", "--lab", lab.lab_yml)
        assert (again.code, again.stdout) == (0, "hut-01 is free\n")
    finally:
        end(facts["pid"])


def end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_hold_ends_by_itself(lab_of: LabOf, hut_ci: HutCi) -> None:
    """Nobody has to come back to the bench for the slot to be free again."""
    lab = lab_of()
    began = time.monotonic()
    assert hut_ci("slots", "hold", "hut-01", "--for", "1s", "--why", "x", "--lab", lab.lab_yml).code == 0
    with claimed(lab, within=PATIENCE):
        assert time.monotonic() - began >= 1.0


def test_a_hold_survives_what_started_it_and_a_waiting_one_does_not(lab_of: LabOf, hut_ci: HutCi) -> None:
    """Ctrl-C while it queues leaves no process that would take the slot later."""
    lab = lab_of()
    argv = ("slots", "hold", "hut-01", "--why", "x", "--wait", "30s", "--lab", lab.lab_yml)
    with claimed_apart(lab), start(hut_ci, *argv) as waiting:
        waiting.wait_for("is held by .* place 1 in the queue")
        waiting.send(signal.SIGINT)
        assert waiting.end() == 130
    check_free_at_once(lab)
    assert status_of(hut_ci, lab)["waiting"] == 0


def test_a_hold_whose_process_is_killed_while_it_queues_is_told(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of()
    argv = ("slots", "hold", "hut-01", "--why", "x", "--wait", "30s", "--lab", lab.lab_yml)
    with claimed_apart(lab), start(hut_ci, *argv) as waiting:
        waiting.wait_for("place 1 in the queue")
        (waiter,) = flock.queue(load_lab(lab.lab_yml), load_lab(lab.lab_yml).slots[0])
        end(waiter.note.pid)
        assert waiting.end() == 4
        waiting.wait_for("the process that was to hold the slot ended")


@pytest.mark.real
def test_whoever_is_in_their_own_way_is_told(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of()
    hut_ci.environ["HUT_CI_LAB"] = str(lab.lab_yml)
    held = hut_ci("slots", "hold", "hut-01", "--for", "60s", "--why", "mine", "--json")
    try:
        for command in (("slots", "run", "--wait", "0", "hut-01", "--", "true"), ("power", "on", "hut-01")):
            refused = hut_ci(*command)
            assert refused.code == 4
            assert "that is your own hold, and `hut-ci slots release hut-01` ends it" in refused.stderr
    finally:
        end(json.loads(held.stdout)["pid"])


@pytest.mark.real
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
def test_a_hold_that_is_cancelled_while_it_repairs_leaves_nothing_held(
    lab_of: LabOf, hut_ci: HutCi, ending: signal.Signals
) -> None:
    """It had said to nobody that the slot is theirs."""
    lab = lab_of()
    switching = lab.lab_yml.with_name("switching")
    slow = {
        "on": ["/bin/sh", "-c", f": > '{switching}'; exec sleep 60"],
        "off": ["/bin/true"],
        "state": ["/bin/echo", "off"],
    }
    text = yaml.safe_load(lab.lab_yml.read_text())
    text["slots"]["hut-01"]["power"] = {"command": slow, "timeout": 30}
    lab.lab_yml.write_text(yaml.safe_dump(text))
    known = load_lab(lab.lab_yml)
    write_intent(known.state_dir, "hut-01", choose(known, known.slots[0], {}))
    with start(hut_ci, "slots", "hold", "hut-01", "--why", "x", "--lab", lab.lab_yml) as holding:
        deadline = Deadline(PATIENCE)
        while not switching.exists():
            assert not deadline.expired
            time.sleep(0.02)
        assert flock.holder(known, known.slots[0]) is not None
        holding.send(ending)
        assert holding.end() == (130 if ending == signal.SIGINT else -ending)
    with claimed(lab, within=PATIENCE):
        pass


@pytest.mark.real
def test_release_ends_holds_and_nothing_else(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab = lab_of()
    lab.boards["hut-01"].hold_at("flash_data")
    with live(hut_ci, firmware("ready"), lab=lab.lab_yml) as run:
        lab.boards["hut-01"].wait_for("held", PATIENCE)
        refused = hut_ci("slots", "release", "hut-01", "--lab", lab.lab_yml)
        assert refused.code == 4
        assert "which is no hold" in refused.stderr
        assert f"kill {run.process.pid}" in refused.stderr
        lab.boards["hut-01"].release()
        assert run.end() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--for", "3d"), "no length of time"),
        (("--for", "25h"), "not between 1s and 24h"),
        (("--for", "0"), "not between"),
        (("--for", ""), "no length of time"),
    ],
)
def test_a_hold_is_bounded(lab_of: LabOf, hut_ci: HutCi, words: tuple[str, ...], said: str) -> None:
    lab = lab_of()
    refused = hut_ci("slots", "hold", "hut-01", "--why", "x", *words, "--lab", lab.lab_yml)
    assert refused.code == 2
    assert said in refused.stderr


@pytest.mark.real
def test_whoever_waits_sees_who_is_in_front(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of()
    first = ("slots", "run", "hut-01", "--why", "first in line", "--lab", lab.lab_yml, "--", "true")
    with claimed_apart(lab), start(hut_ci, *first) as one:
        one.wait_for("place 1 in the queue$")
        with start(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "true") as two:
            two.wait_for(rf'place 2 in the queue, after \w+ \(pid {one.process.pid}, "first in line"\)$')
            row = status_of(hut_ci, lab)
            assert row["waiting"] == 2
            assert "first in line" in str(row["next"])
            one.send(signal.SIGTERM)
            assert one.end() == 143
            two.wait_for("place 1 in the queue$")
            two.send(signal.SIGTERM)
            assert two.end() == 143


@pytest.mark.real
def test_the_next_command_on_a_slot_switches_its_relay_on_again(
    lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """WS9-9: also where the board has no port while it has no power, so that only the relay can bring it back."""
    lab = lab_of()
    known = load_lab(lab.lab_yml)
    commands = (
        ("slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "true"),
        ("slots", "hold", "hut-01", "--for", "1s", "--why", "x", "--lab", lab.lab_yml),
        ("run", firmware("ready"), "--slot", "hut-01", "--lab", lab.lab_yml),
    )
    for command in commands:
        with claimed(lab, within=PATIENCE):
            lab.relay.switch(lab.entity("hut-01"), False)
            write_intent(known.state_dir, "hut-01", choose(known, known.slots[0], {}))
        answer = hut_ci(*command)
        assert answer.code == 0, answer
        assert lab.boards["hut-01"].powered
        assert not intent_path(known.state_dir, "hut-01").exists()


@pytest.mark.real
def test_what_needs_no_board_does_not_ask_for_one(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """CI-2, WS8-2: a build is checked without a lab and beside one that is busy; a run there is never green."""
    assert hut_ci("firmware", "inspect", firmware("ready")).code == 0
    lab = lab_of()
    with claimed(lab):
        hut_ci.environ["HUT_CI_LAB"] = str(lab.lab_yml)
        assert hut_ci("firmware", "inspect", firmware("ready")).code == 0
        blocked = hut_ci.run(firmware("ready"), lab=lab.lab_yml)
    assert (blocked.code, blocked.hardware["verdict"]["name"]) == (4, "blocked")


@pytest.mark.real
@pytest.mark.parametrize("busy", [False, True], ids=["free", "busy"])
def test_a_run_cycles_a_shared_plug_when_it_may(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, busy: bool) -> None:
    """WS9-8, WS9-12: never while somebody works on the other board behind it; then the answer names who does."""
    shelf = {
        "power": {"entity": "switch.slot_1", "group": "shelf", "off": 0.1, "on": 0.1, "cooldown": 0, "proof": "port"}
    }
    lab = lab_of(2, faults={"hut-01": ["needs_power_cycle"]}, settings={"hut-01": shelf, "hut-02": shelf})
    with claimed(lab, "hut-02") if busy else nullcontext():
        answer = hut_ci.run(firmware("ready"), "--limit", "60", lab=lab.lab_yml)
    if busy:
        assert (answer.code, answer.hardware["verdict"]["name"]) == (7, "error")
        assert "also feeds a slot in use: hut-02 is held by" in answer.stdout
        assert lab.relay.switched() == []
    else:
        assert (answer.code, answer.hardware["power_cycle_count"]) == (0, 1), answer
        assert lab.relay.switched() == ["off", "on"]


# --- steal --------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_operator_takes_a_slot_from_a_run(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """The run ends in order, both sides say what happened, and the operator comes before all who wait."""
    lab = lab_of()
    board = lab.boards["hut-01"]
    board.hold_at("flash_data")
    steal = ("slots", "steal", "hut-01", "--why", "it smells", "--for", "20m", "--yes", "--json", "--lab", lab.lab_yml)
    with live(hut_ci, firmware("ready"), lab=lab.lab_yml) as victim:
        board.wait_for("held", PATIENCE)
        with start(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "true") as waiter:
            waiter.wait_for("place 1 in the queue$")
            stolen = hut_ci(*steal)
            assert stolen.code == 0, stolen
            pid = json.loads(stolen.stdout)["pid"]
            try:
                assert victim.end() == 143
                waiter.wait_for(rf'is held by \w+ \(pid {pid}, "it smells"\)')
                assert "which ended by SIGTERM" in stolen.stderr
                board.release()
                assert hut_ci("slots", "release", "hut-01", "--lab", lab.lab_yml).code == 0
                assert waiter.end() == 0
            finally:
                end(pid)
    verdict = check_report(victim.report, partial=False)["verdict"]
    assert verdict["name"] == "cancelled"
    assert "hut-01 was taken by" in verdict["sentence"]
    assert "it smells" in verdict["sentence"]
    written = [json.loads(line) for line in (lab.folder / "locks" / "hut-01.steals").read_text().splitlines()]
    assert [(line["event"], line["pid"]) for line in written] == [
        ("taken", victim.process.pid),
        ("lost", victim.process.pid),
    ]


@pytest.mark.real
@pytest.mark.parametrize(
    ("command", "by", "code"),
    [
        ("trap 'echo in order; exit 5' TERM; echo ready; while :; do sleep 0.05; done", "SIGTERM", 5),
        ("trap '' TERM; echo ready; sleep 300", "SIGKILL", -signal.SIGKILL),
    ],
    ids=["in_order", "killed"],
)
def test_a_stopped_holder_is_continued_to_end_in_order(
    lab_of: LabOf, hut_ci: HutCi, command: str, by: str, code: int
) -> None:
    """Somebody went home after a Ctrl-Z. Who does not end within the grace time is killed."""
    lab = lab_of()
    with start(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "sh", "-c", command) as run:
        run.wait_for("^ready$")
        os.killpg(run.process.pid, signal.SIGSTOP)
        grace = "30" if by == "SIGTERM" else "0.2"
        argv = ("--why", "stuck", "--grace", grace, "--for", "1s", "--yes", "--lab", lab.lab_yml)
        stolen = hut_ci("slots", "steal", "hut-01", *argv)
        assert (stolen.code, f"ended by {by}" in stolen.stderr) == (0, True), stolen
        assert run.end() == code
    assert ("in order\n" in run.text) is (by == "SIGTERM")


@pytest.mark.real
def test_whoever_lost_a_hold_learns_it_from_release(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of()
    hut_ci("slots", "hold", "hut-01", "--why", "mine", "--lab", lab.lab_yml)
    argv = ("slots", "steal", "hut-01", "--why", "urgent", "--for", "1s", "--yes", "--lab", lab.lab_yml)
    assert hut_ci(*argv).code == 0
    with claimed(lab, within=PATIENCE):
        pass
    told = hut_ci("slots", "release", "hut-01", "--lab", lab.lab_yml)
    assert "your last claim was taken by" in told.stdout
    assert "urgent" in told.stdout
    assert hut_ci("slots", "release", "hut-01", "--lab", lab.lab_yml).stdout == "hut-01 is free\n"


def test_a_full_disk_does_not_forbid_a_steal(lab_of: LabOf, hut_ci: HutCi) -> None:
    """No file may grow, for this one command: the record is lost, and that is said."""
    lab = lab_of()
    assert hut_ci("slots", "hold", "hut-01", "--why", "mine", "--lab", lab.lab_yml).code == 0
    command = f"ulimit -f 0; exec {SCRIPT} slots steal hut-01 --why urgent --for 1s --yes --lab {lab.lab_yml}"
    argv = ["/bin/sh", "-c", command]
    done = subprocess.run(argv, env=hut_ci.environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done
    assert "note: the steal could not be recorded" in done.stderr
    assert "hut-01 is yours" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_only_the_operator_steals() -> None:
    """A lab.yml of one's own that names the lab's locks makes nobody their operator (exit 9)."""
    code = """
import os, sys
from pathlib import Path
from hut_ci import errors
from hut_ci.cli.slot_hold import refuse_others
from hut_ci.config import load_lab
import hut_ci.claims.steals  # nobody else may read this installation
lab = load_lab(Path(sys.argv[1]))
os.seteuid(int(sys.argv[2]))
try:
    refuse_others(lab, lab.slots[0])
except errors.Refused as refused:
    print(refused.exit_code, refused.why)
"""

    def ask(lab_yml: Path, uid: int) -> str:
        argv = [sys.executable, "-c", code, str(lab_yml), str(uid)]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        locks = Path(name) / "locks"
        locks.mkdir()
        locks.chmod(0o2775)
        lab_yml = Path(name) / "lab.yml"
        lab_yml.write_text(f"slots: {{hut-01: {{serial: /dev/serial/by-id/x}}}}\nlock_dir: {locks}\n")
        os.chown(lab_yml, 65534, -1)
        assert ask(lab_yml, 0) == ""
        assert ask(lab_yml, 65534) == f"9 that is root, or the owner of the lock folder {locks}\n"
        os.chown(locks, 65534, -1)
        assert ask(lab_yml, 65534) == ""


def test_there_is_nothing_to_steal_from_nobody(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of()
    refused = hut_ci("slots", "steal", "hut-01", "--why", "x", "--yes", "--lab", lab.lab_yml)
    assert (refused.code, "nobody holds hut-01" in refused.stderr) == (4, True)


def test_a_steal_is_confirmed(lab_of: LabOf, hut_ci: HutCi) -> None:
    """Without `--yes` and without a person to ask, nothing happens."""
    lab = lab_of()
    with claimed(lab):
        refused = hut_ci("slots", "steal", "hut-01", "--why", "x", "--lab", lab.lab_yml)
        assert (refused.code, "add --yes" in refused.stderr) == (2, True)
        assert flock.holder(load_lab(lab.lab_yml), load_lab(lab.lab_yml).slots[0]) is not None
    with pytest.raises(SlotError), claimed(lab), claimed(lab):
        pass


@pytest.mark.real
def test_a_steal_ends_nobody_but_whom_it_asked_about(lab_of: LabOf, hut_ci: HutCi) -> None:
    """The slot changes hands while the question stands: whoever has it by then keeps it."""
    lab = lab_of()
    at = ("--lab", lab.lab_yml)
    assert hut_ci("slots", "hold", "hut-01", "--why", "asked about", *at).code == 0
    with at_a_terminal(hut_ci, "slots", "steal", "hut-01", "--why", "x", *at) as (steal, tty):
        read_until(tty, b"[y/N]")
        assert hut_ci("slots", "release", "hut-01", *at).code == 0
        with claimed_apart(lab):
            os.write(tty, b"y\n")
            assert b"nobody was ended" in read_until(tty, b"--yes")
            assert steal.wait(PATIENCE) == SlotError.exit_code
            assert status_of(hut_ci, lab)["state"] == "held"


# --- monitor ------------------------------------------------------------------------------------------------


@pytest.fixture
def talking(lab_of: LabOf, hut_ci: HutCi, tmp_path: Path) -> VirtualLab:
    """A lab whose board runs an application that answers what it is told."""
    lab = lab_of(transport="rfc2217")
    text = lab.lab_yml.read_text() + "redact: [hunter2]\n"
    lab.lab_yml.write_text(text)
    build = build_folder(tmp_path / "echo", script=Script((Log("ready"), Log("key hunter2"), Echo())))
    assert hut_ci.run(build, "--hut", project(tmp_path, "ready"), lab=lab.lab_yml).code == 0
    return lab


def test_monitor_shows_sends_and_releases(talking: VirtualLab, hut_ci: HutCi) -> None:
    argv = ("monitor", "hut-01", "--reset", "--why", "watching", "--lab", talking.lab_yml)
    with at_a_terminal(hut_ci, *argv) as (run, tty):
        seen = read_until(tty, b"ready")
        assert b"hut-01 is yours" in seen
        assert "watching" in str(status_of(hut_ci, talking)["held_by"])
        os.write(tty, b"hello\n")
        seen += read_until(tty, b"echo: hello")
        assert b"hunter2" not in seen
        press(tty, termios.VINTR)
        assert run.wait(PATIENCE) == 0
    check_free_at_once(talking)


@pytest.mark.real
def test_monitor_ends_by_itself_without_a_terminal(talking: VirtualLab, hut_ci: HutCi) -> None:
    answer = hut_ci("monitor", "hut-01", "--reset", "--for", "6s", "--lab", talking.lab_yml)
    assert answer.code == 0, answer
    assert "ready" in answer.stdout
    assert "[redacted]" in answer.stdout


def test_monitor_that_nobody_watches_any_more_ends(hut_ci: HutCi, tmp_path: Path) -> None:
    """A lost connection (`ssh host hut-ci monitor`) closes the output; a silent board writes nothing to it."""
    board, port = pty.openpty()
    lab_yml = tmp_path / "lab.yml"
    lab_yml.write_text(
        yaml.safe_dump({"lock_dir": str(tmp_path / "locks"), "slots": {"hut-01": {"serial": os.ttyname(port)}}})
    )
    os.close(port)
    try:
        with hut_ci.start("monitor", "hut-01", "--lab", lab_yml) as monitor:
            assert monitor.stdout is not None
            assert monitor.stderr is not None
            assert "hut-01 is yours" in monitor.stderr.readline()
            monitor.stdout.close()
            try:
                assert monitor.wait(PATIENCE) == 128 + signal.SIGPIPE
            finally:
                monitor.kill()
    finally:
        os.close(board)


def test_monitor_that_is_cancelled_in_the_queue_says_so(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of()
    with claimed_apart(lab), start(hut_ci, "monitor", "hut-01", "--wait", "30s", "--lab", lab.lab_yml) as waiting:
        waiting.wait_for("place 1 in the queue")
        waiting.send(signal.SIGINT)
        assert waiting.end() == 130


# --- status -------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_one_bad_lock_hides_no_other_slot(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of(2)
    locks = lab.folder / "locks"
    (locks / "hut-01.lock").symlink_to("/etc/passwd")
    shown = hut_ci("slots", "status", "--lab", lab.lab_yml)
    assert (shown.code, "hut-01.lock cannot be opened" in shown.stderr) == (2, True)
    assert [line.split()[3] for line in shown.stdout.splitlines()[1:]] == ["refused", "free"]
    rows = json.loads(hut_ci("slots", "status", "--json", "--lab", lab.lab_yml).stdout)["slots"]
    assert [(row["state"], bool(row["trouble"])) for row in rows] == [("refused", True), ("free", False)]


def test_a_bad_record_of_steals_does_not_spoil_a_release(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of()
    (lab.folder / "locks").mkdir(exist_ok=True)
    (lab.folder / "locks" / "hut-01.steals").symlink_to("/etc/passwd")
    released = hut_ci("slots", "release", "hut-01", "--lab", lab.lab_yml)
    assert (released.code, released.stdout) == (0, "hut-01 is free\n")
    assert "hut-01.steals cannot be opened" in released.stderr
