"""What was taken from whom is remembered and told once; who may take."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hut_ci.claims import steals
from hut_ci.claims.safe_files import FILE_MODE
from hut_ci.errors import ConfigError
from hut_ci.model import Holder, Lab, Slot

SLOT = Slot("hut-01", "esp32-hut-01", ())
VICTIM = Holder(pid=77, user="alice", host="bench", since_utc="2026-02-12T12:00:30.123Z")
SOMEBODY = 65534


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab("bench", tmp_path, tmp_path, (SLOT,), tmp_path / "lab.yml")


@contextmanager
def full_disk(left: int) -> Iterator[None]:
    """No file of this process grows beyond `left` bytes: what a full disk does, for one process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_loss_is_told_once(lab: Lab) -> None:
    steals.record(lab, SLOT, "taken", VICTIM, "root", "it smells")
    assert steals.untold(lab, SLOT, "bob") is None
    steal = steals.untold(lab, SLOT, "alice")
    assert steal
    assert steal.text == "taken by root: it smells"
    steals.tell_once(lab, SLOT, steal)
    assert steals.untold(lab, SLOT, "alice") is None
    steals.record(lab, SLOT, "taken", VICTIM, "root", "again")
    again = steals.untold(lab, SLOT, "alice")
    assert again
    assert again.why == "again"


@pytest.mark.parametrize("left", [0, 20], ids=["nothing", "a_part"])
def test_a_full_disk_is_told_and_spoils_no_other_record(lab: Lab, left: int) -> None:
    with full_disk(left), pytest.raises(ConfigError, match=r"hut-01\.steals cannot be written"):
        steals.record(lab, SLOT, "taken", VICTIM, "root", "lost")
    steals.record(lab, SLOT, "taken", VICTIM, "root", "kept")
    kept = steals.taken_from(lab, SLOT, VICTIM)
    assert kept
    assert kept.why == "kept"


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def fifo(path: Path, _victim: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [link, hard_link, fifo], ids=lambda plant: plant.__name__)
def test_a_planted_file_is_refused(lab: Lab, plant: Callable[[Path, Path], None]) -> None:
    """Security 19: nothing is written to what somebody put in its place, and asking is harmless, too."""
    victim = lab.lock_dir / "victim"
    victim.write_text("precious")
    plant(lab.lock_dir / "hut-01.steals", victim)
    with pytest.raises(ConfigError, match=r"hut-01\.steals"):
        steals.record(lab, SLOT, "taken", VICTIM, "root", "x")
    with pytest.raises(ConfigError, match=r"hut-01\.steals"):
        steals.untold(lab, SLOT, "alice")
    assert victim.read_text() == "precious"


def test_a_record_goes_to_the_end_whoever_else_writes(lab: Lab) -> None:
    """Two commands that opened the file at once would otherwise write over each other."""
    steals.record(lab, SLOT, "taken", VICTIM, "root", "first")
    path = lab.lock_dir / "hut-01.steals"
    fd = os.open(path, os.O_RDWR)
    steals.record(lab, SLOT, "lost", VICTIM, "root", "first")
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    os.close(fd)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["taken", "lost"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
@pytest.mark.parametrize(
    ("mode", "folder_owner", "file_owner", "may"),
    [
        (0o2770, 0, SOMEBODY, {0}),
        (0o2770, SOMEBODY, 0, {0, SOMEBODY}),
        (0o1777, 0, 0, {0}),
    ],
    ids=["lab_group", "own_folder", "var_lock"],
)
def test_the_operator_is_who_owns_the_locks(
    lab: Lab, mode: int, folder_owner: int, file_owner: int, may: set[int]
) -> None:
    """Not who owns lab.yml: anybody can write one that names these locks."""
    lock = lab.lock_dir / "hut-01.lock"
    lock.touch()
    lock.chmod(FILE_MODE)
    os.chown(lock, file_owner, -1)
    lab.path.touch()
    os.chown(lab.path, 1234, -1)
    os.chown(lab.lock_dir, folder_owner, -1)
    lab.lock_dir.chmod(mode)
    if folder_owner == SOMEBODY:
        os.chown(lab.lock_dir, -1, 65534)
        lab.lock_dir.chmod(mode)
    assert steals.operators(lab, SLOT) == may


def test_a_lock_that_was_never_used_is_roots(lab: Lab) -> None:
    assert steals.operators(Lab("x", lab.lock_dir / "none", lab.path, (SLOT,), lab.path), SLOT) == {0}
