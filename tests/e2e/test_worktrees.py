"""Several checkouts of one project at once, each with the same names in it: nobody finds somebody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Firmware
from console_script import PATIENCE, HutCi

LAB = "slots: {{hut-01: {{serial: /dev/serial/by-id/usb-away}}}}\nstate_dir: {state}\nlock_dir: {locks}\n"


@pytest.mark.real
def test_runs_in_worktrees_do_not_mix(tmp_path: Path, firmware: Firmware) -> None:
    """WS10-4, WS10-9: builds and reports lie in the worktree; one lab serves them all, here without a board."""
    lab = tmp_path / "lab.yml"
    lab.write_text(LAB.format(state=tmp_path / "state", locks=tmp_path / "locks"))
    (tmp_path / "locks").mkdir(0o700)
    trees = [HutCi(tmp_path / "wt" / f"task-{number}") for number in range(3)]
    for number, tree in enumerate(trees):
        (tree.folder / "build").symlink_to(firmware("ready", version=f"1.0.{number}"))
    started = [tree.start("run", "build", "--lab", lab, "--slot", "hut-01", "--wait", "0") for tree in trees]
    told = [process.communicate(timeout=PATIENCE) for process in started]
    assert [process.returncode for process in started] == [4] * len(trees), told  # no board
    for number, tree in enumerate(trees):
        [report] = tree.folder.glob("hut-ci-out/*/report.json")
        document = json.loads(report.read_bytes())
        assert document["job_id"] == report.parent.name
        assert [app["version"] for app in document["hardware"]["firmware"]["apps"]] == [f"1.0.{number}"]
    assert list((tmp_path / "state" / "runs").iterdir()) == []
