"""The private folder of a run in the lab's state folder, and what killed runs left beside it."""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from hut_ci.errors import ConfigError

LEFT_BEHIND_AFTER = 3 * 86400.0
"""Seconds without a new file after which nobody works in a run's private folder; long enough to look into a crash."""
OF_A_GROUP = stat.S_ISGID | stat.S_IRWXU | stat.S_IRWXG
"""A state folder that is shared by the users of a lab: its group's, and so is what is made in it."""


def make_work(work: Path) -> None:
    """Make the folder `work` for one run alone; those that killed runs left are removed. Raises ConfigError.

    `state_dir/runs` above it is of the group where `state_dir` is one, and sticky: everybody may add a run there, and
    nobody can exchange another's.
    """
    try:
        _make_runs(work.parent)
        _sweep(work.parent)
        work.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"a run cannot work in {work.parent}: {error.strerror}",
            why="a file stands in its place, or this user may not write there",
            todo="look at `state_dir` of lab.yml",
        ) from error


def _make_runs(runs: Path) -> None:
    runs.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    runs.mkdir(mode=0o700, exist_ok=True)
    shared = runs.parent.stat().st_mode & OF_A_GROUP == OF_A_GROUP
    found = runs.lstat()
    if shared and stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
        runs.chmod(OF_A_GROUP | stat.S_ISVTX)  # past the umask, which mkdir obeys


def _sweep(runs: Path) -> None:
    """Remove what killed runs left behind: raw logs, which may hold what a report would not show."""
    for work in runs.glob("HUT-*"):
        with suppress(OSError):  # another run may be sweeping too
            if time.time() - work.stat().st_mtime > LEFT_BEHIND_AFTER:
                shutil.rmtree(work, ignore_errors=True)
