"""What depends on who asks, and from which mounts: the doctor as another user, and beside other file systems."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_hostile_folder import may_mount
from test_storm import two_users

from hut_ci.doctor.locks import locks

UNSHARE = shutil.which("unshare")
MOUNTED = """
import subprocess, sys
from pathlib import Path
from hut_ci.doctor.locks import locks
from hut_ci.doctor.state_folder import state_folder
from hut_ci.model import Lab
folder = Path(sys.argv[1])
if "mount" in sys.argv:
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", folder], check=True)
lab = Lab("bench", folder, folder, (), folder / "lab.yml", cache_limit=1)
for finding in (*locks(folder), *state_folder(lab)):
    print(finding.sign.value, finding.what)
"""
DROPPED = """
import os, pwd, sys
from pathlib import Path
from hut_ci.doctor.locks import locks
user = pwd.getpwnam(sys.argv[2])
os.setgroups([int(group) for group in sys.argv[3:]])
os.setgid(54320)
os.setuid(user.pw_uid)
for finding in locks(Path(sys.argv[1])):
    print(finding.sign.value, finding.what)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="doctor-"))
    yield made
    shutil.rmtree(made)


def told(*argv: object) -> str:
    words = [str(word) for word in argv]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.skipif(not may_mount(), reason="needs root and mount namespaces")
def test_a_folder_in_memory_that_is_nearly_full(folder: Path) -> None:
    mounted = told(UNSHARE, "--mount", sys.executable, "-c", MOUNTED, folder, "mount")
    assert f"warn {folder} is gone after the next boot" in mounted
    assert "missing 1MB are free" in mounted
    beside = told(UNSHARE, "--mount", sys.executable, "-c", MOUNTED, folder)
    assert "next boot" not in beside
    assert "missing" not in beside


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look where the first process lives")
def test_a_folder_that_the_rest_of_the_host_does_not_see(folder: Path) -> None:
    """`proc/1/root` below `host` leads to where the first process lives, as the kernel's does."""
    ours, host = folder / "ours", folder / "host"
    ours.mkdir(0o700)
    (host / "proc" / "1").mkdir(parents=True)
    first = host / "proc" / "1" / "root"
    first.symlink_to("/")
    assert [finding.what for finding in locks(ours, host) if finding.sign == "missing"] == []
    first.unlink()
    first.symlink_to(folder / "elsewhere")
    assert any("has no" in finding.what for finding in locks(ours, host) if finding.sign == "missing")
    (folder / "elsewhere" / ours.relative_to("/")).mkdir(parents=True)
    assert any("is not the folder" in finding.what for finding in locks(ours, host) if finding.sign == "missing")


@pytest.mark.skipif(two_users() is None, reason="needs root and two users of one group")
def test_a_user_who_is_not_in_the_group_or_not_yet(folder: Path) -> None:
    users = two_users()
    assert users is not None
    name, _, group = users
    os.chown(folder, 0, group)
    folder.chmod(0o2775)
    assert f"missing {name} joined " in told(sys.executable, "-c", DROPPED, folder, name)
    assert "missing" not in told(sys.executable, "-c", DROPPED, folder, name, group)
    os.chown(folder, 0, 54321)
    folder.chmod(0o2775)
    assert f"missing {name} is not in the group 54321" in told(sys.executable, "-c", DROPPED, folder, name)
