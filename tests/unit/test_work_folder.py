"""The private folders of runs: each its own user's, in one place that all users of a lab can add to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hut_ci.cli.work_folder import LEFT_BEHIND_AFTER, make_work
from hut_ci.errors import ConfigError

ONE, TWO, OUTSIDER = 54321, 54322, 54323
LAB_GROUP = 54320
AS_USER = """
import os, sys
from pathlib import Path
from hut_ci.cli.work_folder import make_work
from hut_ci.errors import ConfigError
work, user, group = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
os.setgroups([group]); os.setgid(user); os.setuid(user); os.umask(0o022)
try:
    make_work(work)
    (work / "log").write_text("mine")
    print("made", oct(work.stat().st_mode & 0o777))
except ConfigError as error:
    print("refused", error)
"""


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder as systemd-tmpfiles makes it, where other users can reach it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        folder = Path(name) / "state"
        folder.mkdir()
        os.chown(folder, 0, LAB_GROUP)
        folder.chmod(0o2770)
        yield folder


def told(work: Path, user: int, group: int = LAB_GROUP) -> str:
    argv = [sys.executable, "-c", AS_USER, str(work), str(user), str(group)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two users")
def test_two_users_of_a_lab_run_there_and_nobody_else(state: Path) -> None:
    """security 19: whoever came first made the folder; a member of the group adds to it, and exchanges nothing."""
    assert told(state / "runs" / "HUT-1", ONE) == "made 0o700\n"
    assert told(state / "runs" / "HUT-2", TWO) == "made 0o700\n"
    found = (state / "runs").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o3770, ONE, LAB_GROUP)
    assert "refused a run cannot work in" in told(state / "runs" / "HUT-3", OUTSIDER, OUTSIDER)


def test_a_state_folder_of_ones_own_stays_private(tmp_path: Path) -> None:
    make_work(tmp_path / "state" / "runs" / "HUT-1")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state", tmp_path / "state" / "runs")]
    assert modes == [0o700, 0o700]


def test_what_killed_runs_left_goes_and_what_is_in_use_stays(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, age in (("HUT-old", LEFT_BEHIND_AFTER + 60), ("HUT-new", 60), ("else", LEFT_BEHIND_AFTER + 60)):
        (runs / name).mkdir(parents=True)
        os.utime(runs / name, (time.time() - age,) * 2)
    make_work(runs / "HUT-mine")
    assert {path.name for path in runs.iterdir()} == {"HUT-new", "else", "HUT-mine"}


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match="a run cannot work in"):
        make_work(tmp_path / "runs" / "HUT-1")
