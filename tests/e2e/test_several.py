"""`hut-ci run --slot hut-01 --slot hut-02`: one child process for each slot, and one answer for all (WS8-7)."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import HutCi
from live_run import (
    PATIENCE,
    LiveRun,
    check_free_at_once,
    check_nobody_writes,
    check_report,
    live,
    programs_with,
    project,
    windows,
)
from slowness import is_in_time

from hut_ci.deadline import Deadline
from hut_ci.virtual.lab import VirtualLab

SLOTS = ("hut-01", "hut-02")
ENDS_WITHIN = 10.0
OLD_PASS = {
    "status": "ok",
    "hardware": {
        "verdict": {
            "name": "pass",
            "sentence": "of an earlier run",
            "exit_code": 0,
            "recovered": False,
            "flaky": False,
        },
        "recovery_events": [],
    },
}


def both(hut_ci: HutCi, build: Path, lab: VirtualLab, line: str, *options: object) -> LiveRun:
    hut = project(hut_ci.folder, line)
    slots = (word for slot in SLOTS for word in ("--slot", slot))
    return live(hut_ci, build, "--hut", hut, *slots, *options, lab=lab.lab_yml, slot=None)


def report_of(run: LiveRun, slot: str) -> dict[str, object] | None:
    path = run.out / slot / "report.json"
    return json.loads(path.read_bytes()) if path.exists() else None


@pytest.mark.real
def test_side_by_side_and_one_firmware_failure_counts(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """Both boards are in the middle of their write at once; one passes, one panics: exit code 1, both answers shown."""
    lab = lab_of(2, faults={"hut-02": ["panic"]})
    for board in lab.boards.values():
        board.hold_at("flash_data")
    with both(hut_ci, firmware("ready"), lab, "ready") as run:
        for board in lab.boards.values():
            board.wait_for("held", PATIENCE)
        for board in lab.boards.values():
            board.release()
        assert run.end() == 1
    verdicts = {slot: check_report(report_of(run, slot), partial=False)["verdict"]["name"] for slot in SLOTS}
    assert verdicts == {"hut-01": "pass", "hut-02": "fail"}
    for slot, verdict in verdicts.items():
        assert any(slot in line and verdict in line for line in run.text.splitlines()), run.text
    (start_1, end_1), (start_2, end_2) = (windows(board)[1] for board in lab.boards.values())
    assert max(start_1, start_2) < min(end_1, end_2), "the one began to write after the other had ended"
    assert not any(board.violations for board in lab.boards.values())


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_end_of_the_parent_is_the_end_of_both(
    number: signal.Signals, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """The children end as if each had been cancelled, with reports, even where the parent could not tell them."""
    lab = lab_of(2)
    with both(hut_ci, firmware("ready"), lab, "never") as run:
        for slot in SLOTS:
            run.wait_for(rf"{slot} .*suite .*watching the boot")
            _wait_until_heard(lab, slot)
        began = time.monotonic()
        run.send(number)
        code = run.end()
        while left := programs_with(str(lab.lab_yml)):  # a killed parent is not waited for by its children's end
            assert is_in_time(began, ENDS_WITHIN), left
            time.sleep(0.02)
        assert is_in_time(began, ENDS_WITHIN)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    sent = signal.SIGTERM if number == signal.SIGKILL else number
    for slot in SLOTS:
        verdict = check_report(report_of(run, slot), partial=False)["verdict"]
        assert (verdict["name"], verdict["exit_code"]) == ("cancelled", 128 + sent)
        assert (run.out / slot / "attempt-1-serial.raw").stat().st_size
        check_nobody_writes(lab, slot)
        check_free_at_once(lab, slot)


def _wait_until_heard(lab: VirtualLab, slot: str) -> None:
    """Until the run has read something of what its board says: that is to be in its report."""
    deadline, logs = Deadline(PATIENCE), f"state/runs/*-{slot}-*/attempt-1/serial.raw"
    while not any(log.stat().st_size for log in lab.folder.glob(logs)):
        assert not deadline.expired
        time.sleep(0.02)


@pytest.mark.real
def test_a_child_that_dies_at_once_is_no_pass(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """Not by an older report in the same folder, and not by an exit code of -9 that counts as less than 0."""
    lab = lab_of(2)
    folder = hut_ci.folder / "dying"
    folder.mkdir()
    child_of_01 = "'hut-01' in sys.orig_argv and 'hut-02' not in sys.orig_argv"
    (folder / "sitecustomize.py").write_text(f"import os, sys\nif {child_of_01}:\n    os.kill(os.getpid(), 9)\n")
    out = hut_ci.folder / "out-1"
    (out / "hut-01").mkdir(parents=True)
    (out / "hut-01" / "report.json").write_text(json.dumps(OLD_PASS))
    hut_ci.environ["PYTHONPATH"] = str(folder)
    with both(hut_ci, firmware("ready"), lab, "ready") as run:
        assert run.end() == 128 + signal.SIGKILL
    assert report_of(run, "hut-01") is None
    assert check_report(report_of(run, "hut-02"), partial=False)["verdict"]["name"] == "pass"
    assert "of an earlier run" not in run.text
    assert any("hut-01" in line and "error" in line for line in run.text.splitlines()), run.text


@pytest.mark.real
def test_json_has_one_entry_for_each_slot(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab = lab_of(2)
    slots = [word for slot in SLOTS for word in ("--slot", slot)]
    hut = project(hut_ci.folder, "ready")
    answer = hut_ci.run(firmware("ready"), "--hut", hut, *slots, "--json", lab=lab.lab_yml, slot=None)
    assert answer.code == 0, answer
    assert answer.stderr == ""
    documents = json.loads(answer.stdout)
    assert {slot: check_report(document, partial=False)["slot"] for slot, document in documents.items()} == {
        slot: slot for slot in SLOTS
    }
