"""A `hut-ci run` while it runs: what it says, a place to hold it at, and what has to be true once it has ended."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from console_script import HutCi
from slowness import is_in_time

from hut_ci import contracts
from hut_ci.claims import flock
from hut_ci.claims.holding import keeper
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.model import Claim
from hut_ci.stages.slot import Note
from hut_ci.virtual.board import VirtualBoard
from hut_ci.virtual.lab import VirtualLab

SHA = "0123456789abcdef0123456789abcdef01234567"
NEXT_SHA = "fedcba9876543210fedcba9876543210fedcba98"
AT_ONCE = 2.0
"""Seconds, on an idle machine, within which an ended run must have left its slot to the next one."""
PATIENCE = 60.0

SUITE = "suite: {{expect: [{{line: {line}, within: 60}}], settle: 0.1, boot_within: 20}}\n"


class LiveRun:
    """A started command: every line that it prints is kept and can be waited for."""

    def __init__(self, process: subprocess.Popen[str], out: Path) -> None:
        self.process = process
        self.out = out
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=(s,)) for s in (process.stdout, process.stderr)]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    @property
    def text(self) -> str:
        """Everything that was printed so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, pattern: str, seconds: float = PATIENCE, count: int = 1) -> None:
        """Until `count` lines match."""
        deadline = Deadline(seconds)
        with self._changed:
            while sum(bool(re.search(pattern, line)) for line in self._lines) < count:
                assert not deadline.expired, f"{pattern!r} was not printed {count} times:\n{''.join(self._lines)}"
                self._changed.wait(deadline.remaining)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = PATIENCE) -> int:
        """The exit code; -N after signal N."""
        return self.process.wait(seconds)

    @property
    def report(self) -> dict[str, Any] | None:
        path = self.out / "report.json"
        return json.loads(path.read_bytes()) if path.exists() else None


def start(hut_ci: HutCi, *argv: object) -> LiveRun:
    """Start any command; use it as a context manager."""
    return LiveRun(hut_ci.start(*argv), hut_ci.folder)


def live(hut_ci: HutCi, *argv: object, lab: Path, slot: str | None = "hut-01", wait: float = 0.0) -> LiveRun:
    """Start `hut-ci run ARGV` with its progress as JSON lines; use it as a context manager."""
    out = hut_ci.next_out()
    where = ("--slot", slot) if slot else ()
    options = ("--lab", lab, *where, "--out", out, "--wait", wait, "--progress", "json")
    return LiveRun(hut_ci.start("run", *argv, *options), out)


def project(folder: Path, line: str) -> Path:
    """A hut.yml that expects one line."""
    path = folder / f"hut-{line}.yml"
    path.write_text(SUITE.format(line=line))
    return path


# --- a place to hold a run at ------------------------------------------------------------------------------

_SITECUSTOMIZE = """
import os, re, sys

def hold(event, args):
    if event == "os.rename" and waiting and re.search(PLACE, os.fsdecode(args[1])):
        with open(args[0], encoding="utf-8") as file:
            if not re.search(TEXT, file.read()):
                return
        waiting.clear()
        os.close(os.open(REACHED, os.O_WRONLY))
        os.read(os.open(GO, os.O_RDONLY), 1)

waiting = [True]
sys.addaudithook(hold)
"""


class RenameBarrier:
    """Holds the first rename to a path that matches `place` of a file whose text matches `text`.

    It is an audit hook of the interpreter, put on the module path of the processes that `hut_ci` starts: the product
    knows nothing of it. Use it as a context manager around the run.
    """

    def __init__(self, hut_ci: HutCi, place: str, text: str) -> None:
        folder = hut_ci.folder / "barrier"
        folder.mkdir()
        names = {"REACHED": str(folder / "reached"), "GO": str(folder / "go"), "PLACE": place, "TEXT": text}
        for name in ("REACHED", "GO"):
            os.mkfifo(names[name])
        settings = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        (folder / "sitecustomize.py").write_text(settings + _SITECUSTOMIZE)
        self._hut_ci, self._folder, self._names = hut_ci, folder, names

    def __enter__(self) -> Self:
        self._hut_ci.environ["PYTHONPATH"] = str(self._folder)
        self._reached = os.open(self._names["REACHED"], os.O_RDONLY | os.O_NONBLOCK)
        self._go = os.open(self._names["GO"], os.O_RDWR | os.O_NONBLOCK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        os.close(self._reached)
        os.close(self._go)
        del self._hut_ci.environ["PYTHONPATH"]

    def wait(self, seconds: float = PATIENCE) -> None:
        """Until the run is held."""
        poll = select.poll()
        poll.register(self._reached, 0)  # the far end's closing: a hang-up
        assert poll.poll(seconds * 1000), "the run did not come to the barrier"

    def release(self) -> None:
        os.write(self._go, b"!")


# --- what is true of a run that has ended -------------------------------------------------------------------


@contextmanager
def claimed(lab: VirtualLab, slot_id: str = "hut-01", within: float = 0.0) -> Iterator[Claim]:
    """The slot, claimed by this process as a run claims it. Raises SlotError after `within` seconds."""
    known = load_lab(lab.lab_yml)
    slot = next(slot for slot in known.slots if slot.id == slot_id)
    with flock.claim(known, slot, note=Note("test"), deadline=Deadline(within)) as claim:
        yield claim


@contextmanager
def claimed_apart(lab: VirtualLab, slot_id: str = "hut-01") -> Iterator[None]:
    """The slot, claimed by another process for the length of the block: what we start would not wait for us."""
    known = load_lab(lab.lab_yml)
    slot = next(slot for slot in known.slots if slot.id == slot_id)
    with keeper(known, slot, "test", seconds=600, wait=0) as held:
        held.until("held")
        yield
        held.release()
        held.until("released")


def programs_with(word: str) -> list[int]:
    """Every live process that has `word` in its command line (a dead one has none), this one apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line:
                found.append(int(entry.name))
    return found


def check_nobody_writes(lab: VirtualLab, slot_id: str = "hut-01") -> float:
    """No program of the run is left at the port (security 22, WS8-6); the moment (monotonic) since which."""
    board, began = lab.boards[slot_id], time.monotonic()
    # Both, because a dying process loses its command line before it closes its files.
    while left := (flock.who_holds(board.serial) or programs_with(board.serial)):
        assert is_in_time(began, AT_ONCE), f"still at {board.serial}: {left}"
        time.sleep(0.005)
    assert board.violations == []
    return time.monotonic()


def check_free_at_once(lab: VirtualLab, slot_id: str = "hut-01", within: float = AT_ONCE) -> float:
    """The slot can be claimed, and whoever claims it finds the power on; the seconds until then."""
    started = time.monotonic()
    while True:
        try:
            with claimed(lab, slot_id, within):
                assert lab.relay.states[lab.entity(slot_id)], "the slot was given away with its relay off"
                assert lab.boards[slot_id].powered
            return time.monotonic() - started
        except SlotError:
            if not is_in_time(started, within):
                raise


def check_report(report: dict[str, Any] | None, *, partial: bool) -> dict[str, Any]:
    """A valid report of that kind; its block `hardware`."""
    assert report is not None
    assert contracts.check(report, "ws2.report.v1") == []
    hardware: dict[str, Any] = report["hardware"]
    assert contracts.check(hardware, "hut.hardware.v1") == []
    assert hardware["partial"] is partial
    return hardware


def windows(board: VirtualBoard) -> list[tuple[float, float]]:
    """From when to when (monotonic) somebody had the port open; two who had it at once are no windows."""
    seen = [event for event in board.events if event.name in ("connected", "disconnected")]
    assert [event.name for event in seen] == ["connected", "disconnected"] * (len(seen) // 2), seen
    return [(opened.seconds, closed.seconds) for opened, closed in zip(seen[::2], seen[1::2], strict=True)]
