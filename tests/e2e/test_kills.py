"""Kills at named points: the slot, the port, the relay, the report and the status must not care how a run ends.

security 22 (`pending` is always followed by a final state), WS8-6 (no slot collision), WS9-9 (a relay is never left
off). Every point is a barrier: the board, the relay, the queue or an audit hook holds the run there.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import HutCi
from live_run import (
    AT_ONCE,
    NEXT_SHA,
    PATIENCE,
    SHA,
    LiveRun,
    RenameBarrier,
    check_free_at_once,
    check_nobody_writes,
    check_report,
    claimed_apart,
    live,
    programs_with,
    project,
)
from slowness import is_in_time

from hut_ci.deadline import Deadline
from hut_ci.forges.local import LocalForge
from hut_ci.reports.states import of_verdict
from hut_ci.virtual.lab import VirtualLab

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
CONTEXT = "hardware / hut-01"
GUARDIAN_WITHIN = 5.0
"""Seconds; the guardian watches the relay for one after it has switched on, because `off` may be on its way."""
ESPTOOL_WITHIN = 7.0
OLD_REPORT = '{"hardware": {"verdict": {"name": "pass", "exit_code": 0}}}'


@dataclass(slots=True)
class Scene:
    """One lab, one build, one forge."""

    lab: VirtualLab
    hut_ci: HutCi
    build: Path

    @property
    def forge(self) -> LocalForge:
        return LocalForge(self.hut_ci.folder / "forge")

    def start(self, line: str = "ready", wait: float = 0.0) -> LiveRun:
        out = self.hut_ci.folder / f"out-{self.hut_ci._runs + 1}"
        out.mkdir()
        (out / "report.json").write_text(OLD_REPORT)  # of an earlier run in the same folder
        return live(self.hut_ci, *self._order(SHA, line), lab=self.lab.lab_yml, wait=wait)

    def next_run(self) -> int:
        """A later run of another commit, which asks for the slot without waiting."""
        return self.hut_ci.run(*self._order(NEXT_SHA, "ready"), lab=self.lab.lab_yml).code

    def _order(self, sha: str, line: str) -> tuple[object, ...]:
        hut = project(self.hut_ci.folder, line)
        return (self.build, "--hut", hut, "--commit", sha, "--forge", f"local:{self.forge.root}")

    def states(self) -> list[str]:
        """One state after the other: a run says twice that it is pending, while it waits and when it begins."""
        return [state for state, _ in groupby(status.state for status in self.forge.history(SHA, CONTEXT))]


@pytest.fixture
def scene(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> Scene:
    return Scene(lab_of(), hut_ci, firmware("ready"))


# --- the points ---------------------------------------------------------------------------------------------

Reached = Iterator[LiveRun]


@contextmanager
def waiting(scene: Scene) -> Reached:
    with claimed_apart(scene.lab), scene.start(wait=60) as run:
        run.wait_for("waiting: hut-01 is held by")
        yield run


@contextmanager
def at_board(scene: Scene, event: str, count: int = 1) -> Reached:
    board = scene.lab.boards["hut-01"]
    board.hold_at(event, count)
    with scene.start() as run:
        board.wait_for("held", PATIENCE)
        yield run
        board.release()


def identify(scene: Scene) -> AbstractContextManager[LiveRun]:
    return at_board(scene, "loader_sync")


def mid_write(scene: Scene) -> AbstractContextManager[LiveRun]:
    return at_board(scene, "flash_data", 4)


@contextmanager
def capture(scene: Scene) -> Reached:
    with scene.start("never") as run:
        run.wait_for(r"\| .*app: ready")
        yield run


@contextmanager
def relay_off(scene: Scene) -> Reached:
    scene.lab.boards["hut-01"].faults.add("silent")
    scene.lab.relay.hold_at("off")
    with scene.start() as run:
        scene.lab.relay.wait_for("held", PATIENCE)
        yield run
        scene.lab.relay.release()
        scene.lab.boards["hut-01"].faults.clear()


@contextmanager
def at_rename(scene: Scene, place: str, text: str) -> Reached:
    with RenameBarrier(scene.hut_ci, place, text) as barrier, scene.start() as run:
        barrier.wait()
        yield run


def before_the_report(scene: Scene) -> AbstractContextManager[LiveRun]:
    return at_rename(scene, r"/report\.json$", '"partial": false')


def before_the_final_status(scene: Scene) -> AbstractContextManager[LiveRun]:
    return at_rename(scene, "/statuses/", '"state": "success"')


@dataclass(frozen=True, slots=True)
class Point:
    """`decided`: INT and TERM come too late to cancel the run.

    `stage` is what the report of a killed run names, `log` is in the report folder of a cancelled run; `next_run`: a
    whole run follows the killed one.
    """

    reach: Callable[[Scene], AbstractContextManager[LiveRun]]
    stage: str
    decided: bool = False
    free_within: float = AT_ONCE
    log: str = "attempt-1-esptool.log"
    next_run: bool = False


POINTS = {
    "waiting": Point(waiting, "slot", log=""),
    "identify": Point(identify, "flash"),
    "mid-write": Point(mid_write, "flash", next_run=True),
    "capture": Point(capture, "suite", log="attempt-1-serial.raw"),
    "after relay off": Point(relay_off, "power cycle", free_within=GUARDIAN_WITHIN, next_run=True),
    "before the report's rename": Point(before_the_report, "suite", decided=True, log="attempt-1-serial.raw"),
    "between two statuses": Point(before_the_final_status, "", decided=True, log="attempt-1-serial.raw", next_run=True),
}


# --- one signal at each ---------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("number", [pytest.param(INT, id="INT"), pytest.param(TERM, id="TERM")])
def test_cancelled_at(name: str, number: signal.Signals, scene: Scene) -> None:
    """A proper end: verdict, exit code, report, status and board, whatever the run was doing (security 22, WS9-9)."""
    point = POINTS[name]
    with point.reach(scene) as run:
        run.send(number)
        if number == INT and name == "after relay off":
            run.send(TERM)  # an engine that cannot wait; the guardian belongs to no group and no job, and hears neither
        if name != "waiting":
            _let_go(scene)
        code = run.end()
    since = check_nobody_writes(scene.lab)
    check_free_at_once(scene.lab)
    verdict = check_report(run.report, partial=False)["verdict"]
    expected = ("pass", 0) if point.decided else ("cancelled", 128 + number)
    assert (verdict["name"], verdict["exit_code"]) == expected
    assert code == expected[1]
    assert not point.log or (run.out / point.log).stat().st_size
    final = of_verdict(verdict).github
    assert scene.states() == ["pending", final]
    assert _openings_after(scene, since) == []


SLOW = ("after relay off", "between two statuses")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.real) if n in SLOW else n for n in POINTS])
def test_killed_at(name: str, scene: Scene) -> None:
    """SIGKILL runs no handler: the kernel, the guardian and the next run put all in order (security 22, WS9-9)."""
    point = POINTS[name]
    with point.reach(scene) as run:
        run.send(KILL)
        assert run.end() == -KILL
        since = check_nobody_writes(scene.lab)  # while the board is still held: it cannot be kept busy by leftovers
    check_free_at_once(scene.lab, within=point.free_within)
    assert _openings_after(scene, since) == []
    written = name == "between two statuses"
    evidence = check_report(run.report, partial=not written)["verdict"]["evidence"]
    if written:
        assert evidence["id"] == "passed"
    else:
        assert evidence == {"id": "killed", "fields": {"stage": point.stage}}
    assert scene.states() == ["pending"]
    if point.next_run:
        assert scene.next_run() == 0
    else:
        scene.forge.repair()  # the first thing that the next run does on a forge
    assert scene.states() == ["pending", "error"]


def _let_go(scene: Scene) -> None:
    """What a held board or relay would answer sooner or later; the run has its signal by now."""
    scene.lab.boards["hut-01"].release()
    scene.lab.relay.release()
    for fifo in scene.hut_ci.folder.glob("barrier/go"):
        fifo.write_bytes(b"!")


def _openings_after(scene: Scene, moment: float) -> list[str]:
    """Nobody opened the port again, so nobody can write to it; nor was anything on its way to the flash, because

    esptool waits for the answer to each block.
    """
    events = scene.lab.boards["hut-01"].events
    return [event.name for event in events if event.seconds > moment and event.name in ("connected", "flash_data")]


@pytest.mark.real
def test_killed_in_the_middle_of_a_write_over_the_network(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """A TCP port knows no exclusive opening: only the death of esptool keeps it from writing on (WS8-6)."""
    scene = Scene(lab_of(transport="rfc2217"), hut_ci, firmware("ready"))
    board = scene.lab.boards["hut-01"]
    with mid_write(scene) as run:
        run.send(KILL)
        run.end()
        since = check_nobody_writes(scene.lab)
        opened = sum(event.name == "connected" for event in board.events)
        board.wait_for("disconnected", PATIENCE, count=opened)
    check_free_at_once(scene.lab)
    assert _openings_after(scene, since) == []


# --- more than one signal, and a child that does not listen ------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param((TERM, TERM), id="TT"),
        pytest.param((INT, TERM), id="IT"),
        pytest.param((INT, INT, TERM), id="IIT"),
    ],
)
def test_an_impatient_engine_gets_its_report_too(numbers: tuple[signal.Signals, ...], scene: Scene) -> None:
    """The second signal arrives while the first one's ending is under way, which it must not cut short."""
    board = scene.lab.boards["hut-01"]
    with capture(scene) as run:
        board.hold_at("reset")
        began = time.monotonic()
        run.send(numbers[0])
        run.wait_for("leaving the board in order")
        for number in numbers[1:]:
            run.send(number)
        board.release()
        code = run.end()
        assert is_in_time(began, ESPTOOL_WITHIN)
    assert code == 128 + numbers[0]
    assert check_report(run.report, partial=False)["verdict"]["name"] == "cancelled"
    assert scene.states() == ["pending", "error"]
    assert "app: ready" in (run.out / "attempt-1-serial.raw").read_text()


@pytest.mark.real
def test_two_signals_without_a_pause(scene: Scene) -> None:
    with capture(scene) as run:
        began = time.monotonic()
        run.send(INT)
        run.send(TERM)
        code = run.end()
        assert is_in_time(began, ESPTOOL_WITHIN)
    assert code == 130
    assert check_report(run.report, partial=False)["verdict"]["exit_code"] == code
    assert scene.states() == ["pending", "error"]


@pytest.mark.real
def test_a_stopped_esptool_does_not_hold_up_the_end(scene: Scene) -> None:
    """A stopped process takes no SIGTERM; a CI engine takes no excuses: GitHub kills 10 s after it has asked."""
    with mid_write(scene) as run:
        esptool = [pid for pid in programs_with(scene.lab.boards["hut-01"].serial) if b"write-flash" in _command(pid)]
        assert len(esptool) == 1
        os.kill(esptool[0], signal.SIGSTOP)
        _wait_until_stopped(esptool[0])
        began = time.monotonic()
        run.send(TERM)
        code = run.end()
        assert is_in_time(began, ESPTOOL_WITHIN)
        check_nobody_writes(scene.lab)
    assert code == 143
    check_free_at_once(scene.lab)
    assert check_report(run.report, partial=False)["verdict"]["name"] == "cancelled"
    assert scene.states() == ["pending", "error"]


@pytest.mark.real
def test_a_port_that_is_gone_does_not_hold_up_the_end(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """Leaving the board in order waits for a port that comes back, but not as long as an engine waits for us."""
    scene = Scene(lab_of(power_wiring="with_board"), hut_ci, firmware("ready"))
    with capture(scene) as run:
        board = scene.lab.boards["hut-01"]
        os.kill(run.process.pid, signal.SIGSTOP)  # so that it does not see the port go before it is cancelled
        board.power(False)
        began = time.monotonic()
        run.send(TERM)
        os.kill(run.process.pid, signal.SIGCONT)
        code = run.end()
        assert is_in_time(began, ESPTOOL_WITHIN)
        board.power(True)
    assert code == 143
    assert check_report(run.report, partial=False)["verdict"]["name"] == "cancelled"


def test_the_raw_logs_of_a_killed_run_are_swept_away_later(scene: Scene) -> None:
    """They lie in the lab's state folder, unredacted, and whoever is killed cannot remove them."""
    runs = scene.lab.folder / "state" / "runs"
    old, recent = runs / "HUT-20260101T000000Z-hut-01-0000", runs / "HUT-20260102T000000Z-hut-01-0001"
    for folder in (old, recent):
        (folder / "attempt-1").mkdir(parents=True)
    os.utime(old, (0, 0))
    scene.hut_ci.run("no-such-build", lab=scene.lab.lab_yml)
    assert list(runs.iterdir()) == [recent]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _wait_until_stopped(pid: int) -> None:
    deadline = Deadline(PATIENCE)
    while Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"T":
        assert not deadline.expired
        time.sleep(0.01)
