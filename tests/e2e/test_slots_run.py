"""`hut-ci slots run`: somebody's own command on a held slot; nothing of it is left at the board."""

from __future__ import annotations

import os
import signal
import subprocess
import termios
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import SCRIPT, HutCi
from live_run import check_free_at_once, claimed, start
from terminal import at_a_terminal, press, read_until

from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.virtual.lab import VirtualLab

PATIENCE = 60.0


def run_in(hut_ci: HutCi, lab: VirtualLab, *argv: str, options: tuple[object, ...] = ()) -> tuple[int, str, str]:
    answer = hut_ci("slots", "run", "hut-01", "--lab", lab.lab_yml, *options, "--", *argv)
    return answer.code, answer.stdout, answer.stderr


def test_a_command_finds_its_slot_in_its_environment(lab_of: LabOf, hut_ci: HutCi) -> None:
    """WS8-8: the wrapper; the token that switches the house is not passed on, whoever put it into the environment."""
    lab = lab_of()
    hut_ci.environ |= {"HASS_TOKEN": "canary", "CI_JOB_TOKEN": "canary", "WIFI_PASSWORD": "hunter2"}
    code, out, _ = run_in(hut_ci, lab, "env", options=("--pass", "WIFI_PASSWORD", "--pass", "HASS_TOKEN"))
    assert code == 0
    found = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    assert found["HUT_CI_PORT"] == found["ESPTOOL_PORT"] == found["ESPPORT"] == lab.boards["hut-01"].serial
    assert (found["HUT_CI_SLOT"], found["HUT_CI_LABEL"], found["HUT_CI_CHIP"]) == ("hut-01", "esp32-hut-01", "esp32")
    assert (found["HUT_CI_FLASH"], found["HUT_CI_MAC"]) == ("4MB", "24:6f:28:00:00:01")
    assert "canary" not in out
    assert found["WIFI_PASSWORD"] == "hunter2"


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("sh", "-c", "exit 0"), 0),
        (("/nonexistent/program",), 127),
        (("/",), 126),
    ],
)
def test_the_commands_exit_code_is_ours(lab_of: LabOf, hut_ci: HutCi, argv: tuple[str, ...], code: int) -> None:
    lab = lab_of()
    assert run_in(hut_ci, lab, *argv)[0] == code
    check_free_at_once(lab)


def test_a_busy_slot_is_4_and_the_command_never_starts(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of()
    with claimed(lab):
        code, _, err = run_in(hut_ci, lab, "touch", "started", options=("--wait", "0"))
    assert (code, "place 1 in the queue" in err) == (4, True)
    assert not (hut_ci.folder / "started").exists()


CLAIMING = (
    "run build --slot hut-01 --progress none --wait 600",
    "slots hold hut-01 --why x --wait 9m",
    "monitor hut-01 --for 1s --wait 9m",
    "power cycle hut-01 --wait 9m",
)


def test_who_has_the_slot_already_does_not_wait_for_itself(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """Each of them claims for itself: below `slots run` none could ever get what its own parent holds."""
    lab = lab_of()
    (hut_ci.folder / "build").symlink_to(firmware("ready"))
    hut_ci.environ["HUT_CI_LAB"] = str(lab.lab_yml)
    all_at_once = [f"{SCRIPT} {command} >{number} 2>&1 & p{number}=$!" for number, command in enumerate(CLAIMING)]
    ends = [f"wait $p{number}; echo $?" for number, _ in enumerate(CLAIMING)]
    code, out, err = run_in(hut_ci, lab, "sh", "-c", "\n".join([*all_at_once, *ends]))
    said = [(hut_ci.folder / str(number)).read_text() for number, _ in enumerate(CLAIMING)]
    assert (code, out.split()) == (0, [str(SlotError.exit_code)] * len(CLAIMING)), (err, said)
    assert all("this command would wait for it" in text for text in said[1:]), said
    assert "it started this command" in said[0]
    check_free_at_once(lab)


GIVEN = {
    "hut-01": "exec 9>{lock}; flock 9; {claim}; exit $?",
    "hut-02": "exec 9>{lock}; flock 9; {claim} 9>&-; exit $?",
    "hut-03": "exec 9>{lock}; flock 9; exec {claim}",
    "hut-04": "exec flock --no-fork {lock} {claim}",
}
"""Locks of flock(1): kept by a shell and by us, by the shell alone, by us alone, and taken by us."""


def test_nor_does_who_was_given_the_lock_by_flock_or_has_it_from_a_shell(hut_ci: HutCi) -> None:
    """/proc/locks names a process that has ended, or ourselves."""
    lab, locks = hut_ci.folder / "lab.yml", hut_ci.folder / "locks"
    locks.mkdir(mode=0o700)
    entries = "".join(f"  {slot}: {{serial: /dev/serial/by-id/{slot}}}\n" for slot in GIVEN)
    lab.write_text(f"lock_dir: {locks}\nstate_dir: {hut_ci.folder}/state\nslots:\n{entries}")
    with ExitStack() as running:
        shells = []
        for slot, script in GIVEN.items():
            lock, claim = locks / f"{slot}.lock", f"{SCRIPT} slots run {slot} --lab {lab} --wait 9m -- true"
            lock.touch(0o600)
            argv = ["sh", "-c", script.format(lock=lock, claim=claim)]
            shell = subprocess.Popen(argv, env=hut_ci.environ, stderr=subprocess.PIPE, text=True)
            shells.append(running.enter_context(shell))
            running.callback(shell.kill)
        said = [shell.communicate(timeout=PATIENCE)[1] for shell in shells]
    assert [shell.returncode for shell in shells] == [SlotError.exit_code] * len(GIVEN), said
    assert all("this command would wait for it" in text for text in said), said
    assert all("another program, which left no note" in text for text in said[:3]), said


FAMILY = """
sleep 300 & echo $! >group
timeout 300 sleep 301 & echo $! >own_group
setsid sleep 300 & echo $! >own_session
(setsid sh -c 'echo $$ >daemon; exec sleep 300' &)
env -i setsid sh -c 'echo $$ >forgetful; exec sleep 300' &
set -m; sleep 300 & echo $! >job
until [ -s daemon ] && [ -s forgetful ]; do sleep 0.01; done
"""
MEMBERS = ("group", "own_group", "own_session", "daemon", "forgetful", "job")


def family(folder: Path) -> list[int]:
    return [int((folder / name).read_text()) for name in MEMBERS]


def test_nothing_of_the_command_is_left(lab_of: LabOf, hut_ci: HutCi) -> None:
    """WS8-6: whatever group, session or environment it made for itself; and nobody else is touched."""
    lab = lab_of()
    with subprocess.Popen(["/bin/sleep", "300"]) as stranger:
        try:
            code, _, err = run_in(hut_ci, lab, "bash", "-c", f"{FAMILY}exit 3")
            assert (code, err) == (3, "")
            assert [pid for pid in family(hut_ci.folder) if alive(pid)] == []
            check_free_at_once(lab)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_power_guardian_is_left_to_its_work(lab_of: LabOf, hut_ci: HutCi) -> None:
    """The command may have cycled another slot's power and been killed between off and on; the name alone is no key."""
    lab = lab_of(2)
    lock = lab.folder / "locks" / "hut-02.lock"
    with claimed(lab, "hut-02"):
        """The lock is there."""
    named = "printf hut-ci-guardian >/proc/$$/comm; echo $$ >"
    guardian = f"setsid bash -c 'exec 9<>{lock}; flock 9; {named}guardian; read -r _ <go' >/dev/null 2>&1 &"
    impostor = f"setsid bash -c '{named}impostor; read -r _ <go' >/dev/null 2>&1 &"
    os.mkfifo(hut_ci.folder / "go")
    ready = "until [ -s guardian ] && [ -s impostor ]; do sleep 0.01; done"
    code, _, err = run_in(hut_ci, lab, "bash", "-c", f"{guardian} {impostor} {ready}")
    pid, other = (int((hut_ci.folder / name).read_text()) for name in ("guardian", "impostor"))
    try:
        assert (code, err, alive(pid), alive(other)) == (0, "", True, False)
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.real
@pytest.mark.parametrize("victim", ["wrapper", "minder", "job"])
def test_a_killed_wrapper_takes_all_of_its_command_with_it(lab_of: LabOf, hut_ci: HutCi, victim: str) -> None:
    """WS8-6: one of the two processes above the command is killed, or everything in the wrapper's process group."""
    lab = lab_of()
    script = f"{FAMILY}echo ready $PPID; sleep 300"
    with start(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "bash", "-c", script) as run:
        run.wait_for(r"^ready \d+$")
        left = family(hut_ci.folder)
        if victim == "job":
            os.killpg(run.process.pid, signal.SIGKILL)
        else:
            os.kill(run.process.pid if victim == "wrapper" else int(run.text.split()[-1]), signal.SIGKILL)
        assert run.end() == (137 if victim == "minder" else -signal.SIGKILL)
        check_free_at_once(lab)
        deadline = Deadline(PATIENCE)
        while [pid for pid in left if alive(pid)]:
            assert not deadline.expired
            time.sleep(0.01)


def alive(pid: int) -> bool:
    """Not a zombie either: nobody may reap the orphans of a container."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1], ids=lambda n: n.name)
def test_signals_are_passed_on(lab_of: LabOf, hut_ci: HutCi, number: signal.Signals) -> None:
    """The command decides what a signal means: here it cleans up and ends with a code of its own."""
    lab = lab_of()
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo caught; exit 42' {name}; echo ready; while :; do sleep 0.05; done"
    with start(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "sh", "-c", script) as run:
        run.wait_for("^ready$")
        run.send(number)
        assert run.end() == 42
    assert "caught\n" in run.text
    check_free_at_once(lab)


def test_a_signal_to_our_group_arrives_once(lab_of: LabOf, hut_ci: HutCi) -> None:
    """A CI engine signals whole groups, and a second SIGINT often means: at once."""
    lab = lab_of()
    script = "trap 'echo caught' INT; trap 'echo over; exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    with start(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "sh", "-c", script) as run:
        run.wait_for("^ready$")
        os.killpg(run.process.pid, signal.SIGINT)
        run.wait_for("^caught$")
        os.killpg(run.process.pid, signal.SIGUSR1)
        assert run.end() == 7
    assert run.text.splitlines().count("caught") == 1


def test_a_command_has_the_terminal(lab_of: LabOf, hut_ci: HutCi) -> None:
    """It reads what a person types, and Ctrl-C is for it alone."""
    lab = lab_of()
    script = "trap 'echo mine; exit 5' INT; echo ready; while read line; do echo got-$line; done; sleep 300"
    with at_a_terminal(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "sh", "-c", script) as (run, tty):
        read_until(tty, b"ready")
        os.write(tty, b"hello\n")
        read_until(tty, b"got-hello")
        press(tty, termios.VINTR)
        read_until(tty, b"mine")
        assert run.wait(PATIENCE) == 5
    check_free_at_once(lab)


COMMANDS = {
    "alone": "{run}",
    "below_make": "make --no-print-directory -f Makefile flash",
}


@pytest.mark.real
@pytest.mark.parametrize("command", COMMANDS)
def test_a_stopped_command_stops_with_all_that_is_above_it(lab_of: LabOf, hut_ci: HutCi, command: str) -> None:
    """Ctrl-Z and `fg` in a shell, also where something stands between it and us; meanwhile the slot stays held."""
    lab = lab_of()
    (hut_ci.folder / "talk").write_text("echo ready; while read line; do echo got-$line; done; echo over")
    run = f"{SCRIPT} slots run hut-01 --lab {lab.lab_yml} -- sh talk"
    (hut_ci.folder / "Makefile").write_text(f"flash:\n\t@{run}\n")
    job = COMMANDS[command].format(run=run).encode()
    shell, prompt = ("--norc", "--noprofile", "-i"), b"what next? "  # before it, bash may lose what is typed
    hut_ci.environ["PS1"] = prompt.decode()
    with at_a_terminal(hut_ci, *shell, program="/bin/bash") as (bash, tty):
        read_until(tty, prompt)
        os.write(tty, job + b"\n")
        read_until(tty, b"\nready")
        press(tty, termios.VSUSP)
        assert b"Stopped" in read_until(tty, prompt)
        with pytest.raises(SlotError), claimed(lab):
            pass
        os.write(tty, b"fg\n")
        read_until(tty, job)
        os.write(tty, b"hello\n")
        read_until(tty, b"got-hello")
        press(tty, termios.VEOF)
        assert b"over" in read_until(tty, prompt)
        os.write(tty, b"exit 6\n")
        assert bash.wait(PATIENCE) == 6
    check_free_at_once(lab)


def test_nothing_is_stopped_where_nobody_could_continue_it(lab_of: LabOf, hut_ci: HutCi) -> None:
    """A terminal without a shell that watches its jobs, as `ssh -t HOST hut-ci …` has."""
    lab = lab_of()
    script = "echo ready; while read line; do echo got-$line; done"
    with at_a_terminal(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "sh", "-c", script) as (run, tty):
        read_until(tty, b"ready")
        press(tty, termios.VSUSP)
        os.write(tty, b"hello\n")
        read_until(tty, b"got-hello")
        press(tty, termios.VEOF)
        assert run.wait(PATIENCE) == 0


def test_a_stopped_job_can_be_ended(lab_of: LabOf, hut_ci: HutCi) -> None:
    """SIGTERM alone would wait for a SIGCONT that nobody sends to the command."""
    lab = lab_of()
    script = "trap 'echo caught; exit 42' TERM; echo ready $$; while :; do sleep 0.05; done"
    with start(hut_ci, "slots", "run", "hut-01", "--lab", lab.lab_yml, "--", "sh", "-c", script) as run:
        run.wait_for(r"^ready \d+$")
        os.kill(int(run.text.split()[-1]), signal.SIGSTOP)
        run.send(signal.SIGTERM)
        assert run.end() == 42
    assert "caught\n" in run.text
