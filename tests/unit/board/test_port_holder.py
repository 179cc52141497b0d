from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hut_ci import proc
from hut_ci.board.port_holder import who_holds

HOLD = "import sys; port = open(sys.argv[1], 'r+b', buffering=0); print('open', flush=True); sys.stdin.read()"
BOARD = (
    "import os, pty, sys; ours, near = pty.openpty(); print(os.ttyname(near), flush=True);"
    "near if sys.argv[1] == 'keeps' else os.close(near); sys.stdin.read()"
)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has said its first line, and ends when its input does."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.communicate()


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    return process.stdout.readline().decode().strip()


@pytest.fixture
def port() -> Iterator[str]:
    ours, near = pty.openpty()
    try:
        yield os.ttyname(near)
    finally:
        os.close(ours)
        os.close(near)


def test_free_port(port: str) -> None:
    """We have both ends open ourselves; that does not count."""
    assert who_holds(port) is None


def test_other_program_is_named(port: str, tmp_path: Path) -> None:
    """The device is found behind a link too, as every by-id name is one."""
    script = tmp_path / "idf_monitor.py"
    script.write_text(HOLD)
    link = tmp_path / "usb-bridge"
    link.symlink_to(port)
    with running(sys.executable, "-u", str(script), port, "--token=secret") as other:
        assert first_line(other) == "open"
        found = who_holds(str(link))
        assert found
        assert (found.pid, found.program) == (other.pid, "idf_monitor.py")
        assert found.user == proc.user_name(os.geteuid())
    assert who_holds(port) is None


def test_board_at_the_far_end_is_no_rival(tmp_path: Path) -> None:
    """A virtual board keeps the near end open; a program that opened the near end alone is found beside it."""
    with running(sys.executable, "-c", BOARD, "keeps") as board:
        near = first_line(board)
        assert who_holds(near) is None
        with running(sys.executable, "-c", HOLD, near) as rival:
            assert first_line(rival) == "open"
            found = who_holds(near)
            assert found
            assert found.pid == rival.pid


@pytest.mark.parametrize("name", ["rfc2217://127.0.0.1:4000", "/dev/serial/by-id/not-there", ""])
def test_nothing_to_hold(name: str) -> None:
    assert who_holds(name) is None


SAY = "import sys; print(1, flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["monitor.py", "--token=secret"], "monitor.py"),
        (["-u", "./monitor.py"], "monitor.py"),
        (["-m", "monitor", "secret"], "monitor"),
        (["-c", SAY, "secret.py"], "python"),
    ],
)
def test_program_behind_the_interpreter(tmp_path: Path, argv: list[str], name: str) -> None:
    """The name a person would look for; arguments may hold secrets and are never shown."""
    (tmp_path / "monitor.py").write_text(SAY)
    with contextlib.chdir(tmp_path), running(sys.executable, *argv) as process:
        first_line(process)
        shown = proc.program(process.pid)
    assert shown.startswith(name)
    assert "secret" not in shown


def test_process_that_is_gone() -> None:
    with running("true") as process:
        process.wait()
        gone = process.pid
    assert (proc.program(gone), proc.user(gone)) == ("", "")
