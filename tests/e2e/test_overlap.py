"""Two runs on two slots overlap in time, two on one slot do not: real processes, the virtual board as the witness.

WS8-6 (no slot collision), WS8-7 (two slots run at once), WS8-8 (the self-test), WS9-8 (requests for one slot are
serialised).
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import HutCi
from live_run import PATIENCE, LiveRun, check_report, claimed, claimed_apart, live, project, windows

OPENINGS = 3
"""How often a run that passes opens its port: to identify, to write, to listen."""


def start(hut_ci: HutCi, build: Path, lab: Path, slot: str | None = "hut-01") -> LiveRun:
    return live(hut_ci, build, "--hut", project(hut_ci.folder, "ready"), lab=lab, slot=slot, wait=60)


def test_two_slots_are_flashed_at_the_same_time(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """Both boards stand still in the middle of their write before either may go on (WS8-7)."""
    lab = lab_of(2)
    boards = list(lab.boards.values())
    for board in boards:
        board.hold_at("flash_data")
    build = firmware("ready")
    with start(hut_ci, build, lab.lab_yml, "hut-01") as one, start(hut_ci, build, lab.lab_yml, "hut-02") as other:
        for board in boards:
            board.wait_for("held", PATIENCE)
        for board in boards:
            board.release()
        assert (one.end(), other.end()) == (0, 0)
    assert [check_report(run.report, partial=False)["slot"] for run in (one, other)] == lab.slot_ids
    (start_1, end_1), (start_2, end_2) = (windows(board)[1] for board in boards)
    assert max(start_1, start_2) < min(end_1, end_2)
    assert not any(board.violations for board in boards)


@pytest.mark.real
def test_whoever_asks_for_any_slot_gets_the_free_one(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab = lab_of(2)
    with claimed(lab, "hut-01"), start(hut_ci, firmware("ready"), lab.lab_yml, None) as run:
        assert run.end() == 0
    assert check_report(run.report, partial=False)["slot"] == "hut-02"
    assert lab.boards["hut-01"].writers_seen == []


@pytest.mark.real
def test_two_runs_on_one_slot_take_turns(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """The second waits, says for whom, and passes after the first (WS8-6, WS8-8, WS9-8).

    Over the network nothing but the claim keeps them apart: a TCP port has no exclusive opening.
    """
    lab = lab_of(transport="rfc2217")
    board, build = lab.boards["hut-01"], firmware("ready")
    board.hold_at("app_started")  # where the run waits for longer than the other one takes to start
    with start(hut_ci, build, lab.lab_yml) as first:
        board.wait_for("held", PATIENCE)
        with start(hut_ci, build, lab.lab_yml) as second:
            second.wait_for(rf"waiting: hut-01 is held by \w+ \(pid {first.process.pid}, .*place 1 in the queue")
            opened = len([event for event in board.events if event.name == "connected"])
            board.release()
            assert (first.end(), second.end()) == (0, 0)
    assert opened == OPENINGS, "while the second one waited it left the port alone"
    assert len(windows(board)) == 2 * OPENINGS
    assert board.violations == []
    one, other = (check_report(run.report, partial=False) for run in (first, second))
    assert one["verdict"]["name"] == other["verdict"]["name"] == "pass"


@pytest.mark.real
def test_three_waiters_are_served_in_order_of_arrival(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab = lab_of()
    build = firmware("ready")
    with ExitStack() as running:
        runs = []
        with claimed_apart(lab):
            for place in (1, 2, 3):
                runs.append(running.enter_context(start(hut_ci, build, lab.lab_yml)))
                runs[-1].wait_for(f"waiting: hut-01 .* place {place} in the queue")
        assert [run.end() for run in runs] == [0, 0, 0]
    starts = [_flash_began(run) for run in runs]
    assert all(earlier < later for earlier, later in pairwise(starts)), starts
    assert len(windows(lab.boards["hut-01"])) == len(runs) * OPENINGS
    assert lab.boards["hut-01"].violations == []


def _flash_began(run: LiveRun) -> str:
    stages = check_report(run.report, partial=False)["attempts"][0]["stages"]
    return next(str(stage["start_utc"]) for stage in stages if stage["name"] == "flash")


# --- the witness can tell ---------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_witness_sees_two_runs_that_do_not_share_their_locks(
    lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """Two lab files with different lock folders: nothing keeps the runs apart, and the board notices."""
    lab = lab_of(transport="rfc2217")
    board, build = lab.boards["hut-01"], firmware("ready")
    rogue = lab.folder / "rogue.yml"
    rogue.write_text(lab.lab_yml.read_text().replace("/locks", "/other-locks"))
    (lab.folder / "other-locks").mkdir(mode=0o700)
    board.hold_at("flash_data")
    with start(hut_ci, build, lab.lab_yml):
        board.wait_for("held", PATIENCE)
        with start(hut_ci, build, rogue):
            violation = board.wait_for("second_writer", PATIENCE)
    assert "esptool" in violation.detail
    assert board.violations


@pytest.mark.real
def test_the_witness_sees_a_second_writer_on_a_pty(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """A program that ignores locks and exclusive openings, as `echo > /dev/ttyUSB0` does."""
    lab = lab_of()
    board = lab.boards["hut-01"]
    board.hold_at("flash_data")
    with start(hut_ci, firmware("ready"), lab.lab_yml):
        board.wait_for("held", PATIENCE)
        with subprocess.Popen(
            ["/bin/dd", f"of={board.serial}", "conv=notrunc"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as rude:
            assert rude.stdin is not None
            rude.stdin.write(bytes(512))  # one block, which it writes; then it waits for more
            rude.stdin.flush()
            violation = board.wait_for("second_writer", PATIENCE)
    assert "esptool" in violation.detail
    assert f"dd[{rude.pid}]" in violation.detail
