"""The suite on serial lines: virtual boards over RFC2217 (real resets) and on a pty (opening it boots)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hut_ci.board.line import Line, open_line
from hut_ci.deadline import Deadline
from hut_ci.errors import BoardError, SlotError
from hut_ci.model import Claim, Evidence, Expect, Holder, Suite, SuiteResult
from hut_ci.stages.suite import run_suite
from hut_ci.stages.suite_state import Timing
from hut_ci.virtual.app_script import Command, Log, Reply, Script, Wait
from hut_ci.virtual.board import VirtualBoard
from hut_ci.virtual.images import build_folder

CLAIM = Claim("hut-01", Holder(os.getpid(), "test", "here", "2026-01-01T00:00:00Z"), Path("/dev/null"), -1)
QUICK = Timing(hang=0.3, drain=0.3)
SHORT = Suite(settle=0.3, boot_within=20.0)
PATIENCE = 30.0

LoadedFlash = Callable[..., bytes]


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedFlash:
    """Flash content with an application that plays the given steps."""

    def build(*steps: Command) -> bytes:
        folder = build_folder(tmp_path / "build", script=Script(steps or (Log("ready"),)))
        flash = bytearray(b"\xff" * (1 << 20))
        for line in (folder / "flash_args").read_text().splitlines()[1:]:
            offset, name = line.split()
            data = (folder / name).read_bytes()
            flash[int(offset, 16) : int(offset, 16) + len(data)] = data
        return bytes(flash)

    return build


@contextmanager
def board_on(transport: str, tmp_path: Path, flash: bytes, *faults: str) -> Iterator[VirtualBoard]:
    link = tmp_path / "port" if transport == "pty" else None
    late = [fault for fault in faults if fault == "silent"]  # counted by openings: only ours is meant
    others = [fault for fault in faults if fault not in late]
    with VirtualBoard(transport=transport, link=link, flash=flash, faults=others) as board:  # type: ignore[arg-type]
        if transport == "pty":
            loader_session(board)
        for fault in late:
            board.faults.add(fault)
        yield board


def loader_session(board: VirtualBoard) -> None:
    """After one, the next opening of a pty boots the board."""
    sync = b"\xc0\x00\x08\x24\x00\x00\x00\x00\x00\x07\x07\x12\x20" + b"\x55" * 32 + b"\xc0"
    with open_line(board.serial) as line:
        line.write(sync)
        board.wait_for("reset", PATIENCE, detail="download")
        answers, until = b"", Deadline(PATIENCE)
        while answers.count(b"\xc0") < 16:  # the ROM answers eight times; none of it must be left for the next reader
            assert not until.expired
            answers += line.read(until)


def watch(port: str, work: Path, suite: Suite = SHORT, seconds: float = 60.0, log_limit: int = 1 << 20) -> SuiteResult:
    if "://" in port:  # pyserial's own patience with an answer that queues behind what a board says is 3 s
        port = f"{port}?timeout={PATIENCE}"
    with open_line(port) as line:
        return run_suite(
            CLAIM, line, suite, work=work, deadline=Deadline(seconds), plan=None, timing=QUICK, log_limit=log_limit
        )


@pytest.mark.parametrize("transport", ["rfc2217", "pty"])
def test_a_healthy_board_boots(tmp_path: Path, loaded: LoadedFlash, transport: str) -> None:
    with board_on(transport, tmp_path, loaded()) as board:
        result = watch(board.serial, tmp_path / "work")
    assert result.evidence == Evidence("passed", {"summary": "boots factory: demo 1.0.0"})
    assert result.boot.partition == "factory"
    assert result.boot.elf_sha256
    assert result.reboots == 0
    assert result.log is not None
    assert "cpu_start: Project name:     demo" in result.log.read_text()


def test_capture_holds_the_first_byte_that_the_rom_prints(tmp_path: Path, loaded: LoadedFlash) -> None:
    """Design decision 4."""
    with board_on("pty", tmp_path, loaded()) as board:
        watch(board.serial, tmp_path / "work")
    assert (tmp_path / "work" / "serial.raw").read_bytes().startswith(b"ets Jul 29 2019 12:21:46\r\n")


def test_the_log_over_rfc2217_holds_the_whole_banner_of_its_own_reset(tmp_path: Path, loaded: LoadedFlash) -> None:
    with board_on("rfc2217", tmp_path, loaded()) as board:
        board.wait_for("app_started", PATIENCE)
        watch(board.serial, tmp_path / "work")
        board.wait_for("app_started", PATIENCE, count=2)
    judged = [line for line in (tmp_path / "work" / "serial.txt").read_text().splitlines() if line.strip()]
    assert judged[0].endswith(" ets Jul 29 2019 12:21:46"), judged
    assert (tmp_path / "work" / "serial.raw").read_bytes().count(b"rst:0x1 (POWERON_RESET)") == 1


WAITED_OUT = {"hang": 4.0, "console_spam": 8.0}
"""Seconds until an expected line is late, where only that ends the suite; by then the application has to run."""


@pytest.mark.real
def test_nothing_of_an_earlier_boot_is_read_after_a_reset(tmp_path: Path, loaded: LoadedFlash) -> None:
    """Also where more of it was received than is read while the chip is stopped."""
    with board_on("rfc2217", tmp_path, loaded(), "panic") as board, open_line(board.serial) as line:
        until = Deadline(PATIENCE)
        while line._device.in_waiting < 60_000:
            assert not until.expired
            time.sleep(0.01)
        line.reset()
        assert line.read(until).lstrip().startswith(b"ets Jul 29 2019 12:21:46")


@pytest.mark.real
@pytest.mark.parametrize(
    ("fault", "evidence"),
    [
        ("panic", "panic"),
        ("boot_loop", "boot_loop"),
        ("brownout", "brownout"),
        ("hang", "hang"),
        ("silent", "silence"),
        ("wrong_boot_mode", "wrong_boot_mode"),
        ("console_spam", "missing_line"),
    ],
)
@pytest.mark.parametrize("transport", ["rfc2217", "pty"])
def test_a_fault_is_told_from_the_line(
    tmp_path: Path, loaded: LoadedFlash, transport: str, fault: str, evidence: str
) -> None:
    within = WAITED_OUT.get(fault, PATIENCE)
    suite = Suite(
        expect=(Expect("app: never said", within=within),), boot_within=0.6 if fault == "silent" else PATIENCE
    )
    with board_on(transport, tmp_path, loaded(), fault) as board:
        result = watch(board.serial, tmp_path / "work", suite)
    assert result.evidence.id == evidence, result


def test_a_panic_keeps_its_backtrace_and_its_application(tmp_path: Path, loaded: LoadedFlash) -> None:
    with board_on("rfc2217", tmp_path, loaded(), "panic") as board:
        result = watch(board.serial, tmp_path / "work")
    assert result.evidence.fields["reason"] == "LoadProhibited"
    assert result.boot.project == "demo"
    assert result.log is not None
    assert "Backtrace: 0x" in result.log.read_text()


def test_endless_spam_leaves_a_bounded_log(tmp_path: Path, loaded: LoadedFlash) -> None:
    """security 20"""
    suite = Suite(expect=(Expect("never said", within=2.0),))
    with board_on("pty", tmp_path, loaded(), "console_spam") as board:
        result = watch(board.serial, tmp_path / "work", suite, log_limit=20_000)
    assert result.evidence.id == "missing_line"
    for name in ("serial.raw", "serial.txt"):
        kept = (tmp_path / "work" / name).read_bytes()
        assert len(kept) <= 20_000
        assert b"bytes left out" in kept


@pytest.mark.parametrize("transport", ["rfc2217", "pty"])
def test_what_is_sent_reaches_the_app(tmp_path: Path, loaded: LoadedFlash, transport: str) -> None:
    flash = loaded(Log("console ready"), Reply("help", "commands: reset"), Reply("reset 5", "resetting"))
    suite = Suite(
        expect=(Expect("console ready", send="help"), Expect("commands: ", send="reset 5\n"), Expect("^resetting$"))
    )
    with board_on(transport, tmp_path, flash) as board:
        result = watch(board.serial, tmp_path / "work", suite)
    assert result.evidence.fields["summary"] == "3 of 3 expected lines, boots factory: demo 1.0.0"
    assert [case.outcome for case in result.cases] == ["pass"] * 5


@pytest.mark.parametrize("transport", ["rfc2217", "pty"])
def test_a_port_that_vanishes_is_evidence_and_keeps_its_log(
    tmp_path: Path, loaded: LoadedFlash, transport: str
) -> None:
    suite = Suite(expect=(Expect("never said", within=50),), boot_within=50)
    with board_on(transport, tmp_path, loaded(Log("going down"), Wait(60))) as board, open_line(board.serial) as line:
        told = threading.Event()

        def switch_off() -> None:
            told.wait(PATIENCE)
            board.power(False)

        off = threading.Thread(target=switch_off)
        off.start()
        result = run_suite(
            CLAIM,
            line,
            suite,
            work=tmp_path / "work",
            deadline=Deadline(55),
            plan=None,
            on_line=lambda text: told.set() if "going down" in text else None,
        )
        off.join()
    assert result.evidence.id == "port_gone"
    assert result.evidence.fields["reason"]
    assert [case.outcome for case in result.cases] == ["error", "skipped", "skipped"]
    assert result.log is not None
    assert "going down" in result.log.read_text()


def test_the_deadline_of_the_run_ends_a_suite(tmp_path: Path, loaded: LoadedFlash) -> None:
    suite = Suite(expect=(Expect("never said", within=60),))
    with board_on("pty", tmp_path, loaded()) as board:
        result = watch(board.serial, tmp_path / "work", suite, seconds=0.7)
    assert result.evidence == Evidence("suite_deadline", {"limit": "0.7"})


# --- a pty with a writer of our own -------------------------------------------------------------------------------


class Terminal:
    """A bare pty: no board behind it, only what a test writes."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.name = os.ttyname(slave)
        self._slave: int | None = slave

    def close(self) -> None:
        os.close(self.master)
        if self._slave is not None:
            os.close(self._slave)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    pair = Terminal()
    yield pair
    pair.close()


BOOT = b"ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"


def test_a_pty_has_no_reset(terminal: Terminal) -> None:
    with open_line(terminal.name) as line:
        assert line.resets is False
        assert line.reset() == b""


def test_nothing_is_lost_at_full_speed(tmp_path: Path, terminal: Terminal) -> None:
    """Design decision 17."""
    lines = b"".join(b"I (%d) app: value %d of a long row of values\r\n" % (n, n) for n in range(20_000))
    sent = BOOT + lines + b"I (9) app: the end\r\n"
    with open_line(terminal.name, 2_000_000) as line:
        writer = threading.Thread(target=_write_all, args=(terminal.master, sent))
        writer.start()
        result = run_suite(
            CLAIM,
            line,
            Suite(expect=(Expect("app: the end", within=60),)),
            work=tmp_path,
            deadline=Deadline(60),
            plan=None,
        )
        writer.join()
    assert result.evidence.id == "passed"
    assert (tmp_path / "serial.raw").read_bytes() == sent
    assert len((tmp_path / "serial.txt").read_bytes().splitlines()) == 20_003


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data[:4096]) :]


def test_a_prompt_without_a_line_end_is_answered(tmp_path: Path, terminal: Terminal) -> None:
    with open_line(terminal.name) as line:
        os.write(terminal.master, BOOT + b"I (5) cpu_start: Pro cpu up.\r\nplayer> ")
        suite = Suite(expect=(Expect("^player> $", send="status"),))
        result = run_suite(CLAIM, line, suite, work=tmp_path, deadline=Deadline(60), plan=None)
        assert os.read(terminal.master, 100) == b"status\n"
    assert result.evidence.id == "passed"


class ChattyLine(Line):
    """A line whose board was panicking until it was reset."""

    def reset(self, hold: float = 0.1) -> bytes:  # noqa: ARG002 (the signature of Line)
        return b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited).\r\nRebooting...\r\nets Jul 29 20"


def test_what_came_before_the_reset_is_logged_but_not_judged(tmp_path: Path, terminal: Terminal) -> None:
    with open_line(terminal.name) as line:
        os.write(terminal.master, BOOT + b"I (5) cpu_start: Pro cpu up.\r\n")
        chatty = ChattyLine(line.port, line._device, line._descriptor)
        result = run_suite(CLAIM, chatty, SHORT, work=tmp_path, deadline=Deadline(60), plan=None)
    assert result.evidence.id == "passed"
    assert result.log is not None
    assert "Guru Meditation" in result.log.read_text()


def test_a_port_in_use_is_held_by_a_named_program(terminal: Terminal) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print(flush=True); sys.stdin.read()",
            terminal.name,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        holder.stdout.readline()
        with pytest.raises(SlotError) as held:
            open_line(terminal.name)
        holder.stdin.close()
    assert held.value.evidence == "port_held"
    assert held.value.fields["pid"] == str(holder.pid)
    assert held.value.fields["program"].startswith("python")


@pytest.mark.parametrize(
    "port", ["/dev/serial/by-id/not-there", "rfc2217://127.0.0.1:1", "rfc2217://127.0.0.1:x", "magic://board"]
)
def test_a_port_that_is_not_there(port: str) -> None:
    with pytest.raises(BoardError) as gone:
        open_line(port)
    assert gone.value.evidence == "port_gone"
    assert gone.value.fields["reason"]
    assert gone.value.todo


def test_reading_ends_at_its_deadline(terminal: Terminal) -> None:
    with open_line(terminal.name) as line:
        start = time.monotonic()
        assert line.read(Deadline(0.05)) == b""
        assert 0.04 <= time.monotonic() - start < PATIENCE
