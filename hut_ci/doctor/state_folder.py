"""The state folder: where artifacts, cooldowns and the notes of open power cycles are kept (WS8-12)."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from hut_ci.doctor.finding import Finding, missing, ok, warn
from hut_ci.model import Lab
from hut_ci.units import format_size

LEAST_FREE = 256 << 20
"""Bytes: the largest artifact that is unpacked, and the logs of a few runs."""
REMEDY = "set `state_dir` in lab.yml to a folder of the lab's users, e.g. /var/lib/hut-ci, mode 2770, group hut-lab"


def state_folder(lab: Lab) -> list[Finding]:
    path = lab.state_dir
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return [missing(f"{path} cannot be written", REMEDY)]
    return [*_folder(path), _space(lab, there), *_alone(lab)]


def _folder(path: Path) -> list[Finding]:
    if not path.exists():
        return [ok(f"{path} is made by the first run; artifacts go to {path / 'artifacts'}")]
    if path.stat().st_mode & stat.S_IWOTH:
        return [missing(f"everybody may write to {path}, where builds are taken from", f"chmod o-w {path}")]
    return [ok(f"artifacts are kept in {path / 'artifacts'}")]


def _space(lab: Lab, there: Path) -> Finding:
    free = shutil.disk_usage(there).free
    told = f"{format_size(free)} are free there, artifacts may take {format_size(lab.cache_limit)}"
    if free < LEAST_FREE:
        return missing(told, f"make room: a run needs up to {format_size(LEAST_FREE)}")
    return warn(told, "lower `cache_limit` in lab.yml, or make room") if free < lab.cache_limit else ok(told)


def _alone(lab: Lab) -> list[Finding]:
    """Users who share locks also have to see each other's cooldowns and open power cycles."""
    shared = lab.lock_dir.exists() and lab.lock_dir.stat().st_mode & stat.S_ISGID
    if not shared or (lab.state_dir.exists() and lab.state_dir.stat().st_mode & stat.S_ISGID):
        return []
    return [warn(f"the locks are a group's, {lab.state_dir} is one user's", REMEDY)]
