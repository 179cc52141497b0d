"""Exits that say something of hut-ci itself: a bug (70), a report folder that is none (2), a lost report (8)."""

from __future__ import annotations

import os
import platform
import threading
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import Answer, HutCi
from live_run import claimed_apart

from hut_ci import __version__
from hut_ci.claims import flock
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.forges.local import LocalForge


def test_a_bug_ends_with_70_and_a_block_to_paste(tmp_path: Path) -> None:
    """Never 1, which would blame the firmware. A broken library in the environment is as unexpected as a bug."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "yaml.py").write_text("raise ZeroDivisionError('of all things')\n")
    (tmp_path / "lab.yml").write_text("slots: {}\n")
    answer = HutCi(tmp_path, {"PYTHONPATH": str(broken), "HUT_CI_LAB": str(tmp_path / "lab.yml")})("slots", "list")
    assert (answer.code, answer.stdout) == (70, ""), answer
    first, *_ = answer.stderr.splitlines()
    assert first == "hut-ci: this is a bug in hut-ci, not in your firmware: ZeroDivisionError: of all things"
    versions = f"hut-ci {__version__}, Python {platform.python_version()}, esptool {version('esptool')}, "
    block = answer.stderr.partition(versions)[2]
    assert block, answer
    assert block.startswith(platform.platform())
    assert "Traceback (most recent call last):" in block
    assert f'File "{broken}' in block


@pytest.mark.real
@pytest.mark.parametrize("slots", [1, 2])
def test_a_report_folder_that_cannot_be_written(
    slots: int, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    """Said before any board is touched, not after minutes of flashing."""
    lab = lab_of(slots)
    (tmp_path / "file").write_text("in the way")
    chosen = [word for slot_id in lab.slot_ids for word in ("--slot", slot_id)]
    out = tmp_path / "file" / "out"
    answer = hut_ci("run", firmware("ready"), *chosen, "--lab", lab.lab_yml, "--out", out, "--progress", "none")
    assert answer.code == 2, answer
    assert f"no report can be written to {out}" in answer.stderr
    assert "--out" in answer.stderr
    for board in lab.boards.values():
        assert board.writers_seen == []
        assert set(board.flash) == {0xFF}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_report_folder_of_somebody_else(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    out = tmp_path / "theirs" / "out"
    answer = hut_ci("run", firmware("ready"), "--lab", lab_of().lab_yml, "--out", out, "--progress", "none")
    assert answer.code == 2, answer
    assert "Permission denied" in answer.stderr


def test_a_report_that_cannot_be_written_at_the_end(
    lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    """8, the verdict is not lost and the commit not left pending: something takes the report's place while it waits."""
    lab, forge, sha = lab_of(), LocalForge(tmp_path / "forge"), "5" * 40
    words = ("--commit", sha, "--forge", f"local:{forge.root}")
    product_lab = load_lab(lab.lab_yml)
    slot, answers, build = product_lab.slots[0], list[Answer](), firmware("ready")
    with claimed_apart(lab):
        run = threading.Thread(target=lambda: answers.append(hut_ci.run(build, *words, lab=lab.lab_yml, wait=60)))
        run.start()
        waiting = Deadline(60)
        while not flock.queue(product_lab, slot):
            assert not waiting.expired
            time.sleep(0.02)
        summary = tmp_path / "out-1" / "summary.md"
        summary.unlink()
        (summary / "in the way").mkdir(parents=True)
    run.join()
    assert answers[0].code == 8, answers[0]
    assert "its report could not be written to" in answers[0].stderr
    assert "the verdict is" in answers[0].stderr
    assert [status.state for status in forge.history(sha, "hardware / hut-01")] == ["pending", "pending", "error"]
