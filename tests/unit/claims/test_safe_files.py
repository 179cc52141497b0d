"""Security 19: what lies in a lock folder is judged before it is used.

Files of other users are in tests/integration/test_claims.py, because they take processes of other users.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hut_ci.claims import flock
from hut_ci.claims.safe_files import lock_folder, open_file
from hut_ci.deadline import Deadline
from hut_ci.errors import ConfigError
from hut_ci.model import Lab, Slot
from hut_ci.stages.slot import Note

SLOT = Slot("hut-01", "esp32-hut-01", ("/dev/serial/by-id/x",))


def lab_in(folder: Path) -> Lab:
    return Lab("bench", folder, folder, (SLOT,), folder / "lab.yml")


def claim_once(folder: Path) -> None:
    with flock.claim(lab_in(folder), SLOT, note=Note(), deadline=Deadline(0)):
        pass


def symlink(path: Path) -> None:
    (path.parent / "victim").write_text("precious")
    path.symlink_to(path.parent / "victim")


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "not-yet")


def hard_link(path: Path) -> None:
    (path.parent / "victim").write_text("precious")
    path.hardlink_to(path.parent / "victim")


def world_writable(path: Path) -> None:
    path.write_text("")
    path.chmod(0o666)


PLANTS = [symlink, dangling, hard_link, world_writable, os.mkfifo, os.mkdir]


@pytest.mark.parametrize("name", ["hut-01.lock", "hut-01.queue/00000001.ticket"])
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_planted_file_is_refused_with_advice(tmp_path: Path, name: str, plant: Callable[[Path], None]) -> None:
    """Claiming, asking who holds and asking who waits all refuse; nothing is followed, truncated or created."""
    (tmp_path / "hut-01.queue").mkdir(mode=0o770)
    plant(tmp_path / name)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    asking = flock.holder if name.endswith(".lock") else flock.queue
    attempts: list[Callable[[], object]] = [lambda: claim_once(tmp_path), lambda: asking(lab_in(tmp_path), SLOT)]
    for attempt in attempts:
        with pytest.raises(ConfigError, match=Path(name).name) as refused:
            attempt()
        assert refused.value.why
        assert "tmpfiles" in refused.value.todo
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    victim = tmp_path / "victim"
    assert not victim.exists() or victim.read_text() == "precious"
    assert not (tmp_path / "not-yet").exists()


@pytest.mark.parametrize("folder", ["/dev/null", "/etc/passwd", "/proc", "/proc/self", "/sys"])
def test_a_lock_folder_that_cannot_be_one_is_refused(folder: str) -> None:
    """Whatever lab.yml says; and nobody is told to remove a part of the system."""
    with pytest.raises(ConfigError, match="cannot be opened") as refused:
        claim_once(Path(folder))
    assert "tmpfiles" in refused.value.todo
    assert "remove" not in refused.value.todo


def test_queue_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "hut-01.queue").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"hut-01\.queue"):
        claim_once(tmp_path)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(("mode", "accepted"), [(0o777, False), (0o1777, True), (0o2770, True), (0o700, True)])
def test_folder_modes(tmp_path: Path, mode: int, accepted: bool) -> None:
    """Writable by everybody and not sticky: anybody could exchange a lock under its holder."""
    folder = tmp_path / "locks"
    folder.mkdir()
    folder.chmod(mode)
    if accepted:
        claim_once(folder)
    else:
        with pytest.raises(ConfigError, match="not sticky"):
            claim_once(folder)


def test_lock_folder_may_be_reached_through_a_link(tmp_path: Path) -> None:
    """/var/lock is a link to /run/lock on every current distribution."""
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "run")
    claim_once(tmp_path / "var")
    assert (tmp_path / "run" / "hut-01.lock").exists()


def test_missing_folder_is_made_for_its_maker_alone(tmp_path: Path) -> None:
    assert flock.holder(lab_in(tmp_path / "locks"), SLOT) is None
    assert flock.queue(lab_in(tmp_path / "locks"), SLOT) == ()
    assert not (tmp_path / "locks").exists(), "asking makes nothing"
    claim_once(tmp_path / "locks")
    assert stat.S_IMODE((tmp_path / "locks").stat().st_mode) == 0o700


def test_missing_parent_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened: No such file"):
        claim_once(tmp_path / "no" / "locks")


def test_files_and_descriptors(tmp_path: Path) -> None:
    """Mode 0660 whatever the umask, closed on exec, and not truncated by opening."""
    old = os.umask(0o077)
    try:
        with lock_folder(tmp_path, create=True) as folder:
            for _ in range(2):
                fd = open_file(folder, "hut-01.lock")
                try:
                    assert os.fstat(fd).st_size == 0 or os.pread(fd, 9, 0) == b"note"
                    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o660
                    assert not os.get_inheritable(fd)
                    os.pwrite(fd, b"note", 0)
                finally:
                    os.close(fd)
    finally:
        os.umask(old)
    assert (tmp_path / "hut-01.lock").read_bytes() == b"note"


def test_existing_files_are_opened_without_create(tmp_path: Path) -> None:
    """fs.protected_regular refuses O_CREAT on another user's file in a sticky folder, and allows a plain open."""
    claim_once(tmp_path)
    watching = (
        "import os, sys; from pathlib import Path; from hut_ci.claims.safe_files import lock_folder, open_file\n"
        "sys.addaudithook(lambda event, args: event == 'open' and print(args[0], bool(args[2] & os.O_CREAT)))\n"
        "with lock_folder(Path(sys.argv[1]), create=True) as folder:\n"
        "    [open_file(folder, name) for name in ('hut-01.lock', 'new.lock')]"
    )
    command = [sys.executable, "-c", watching, str(tmp_path)]
    opened = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.splitlines()
    opened = [line for line in opened if ".lock " in line]
    assert opened == ["hut-01.lock False", "new.lock False", "new.lock False", "new.lock True"]


def test_note_is_there_while_held_and_only_then(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    asked = Note("debugging", "https://forge/run/1", "team/firmware", "a" * 40, "2026-02-12T13:00:00Z")
    with flock.claim(lab, SLOT, note=asked, deadline=Deadline(0)) as claim:
        found = flock.holder(lab, SLOT)
        assert found == claim.holder
        assert found
        assert (found.pid, found.why, found.run_url) == (os.getpid(), asked.why, asked.run_url)
        assert (found.repository, found.commit_sha) == (asked.repository, asked.commit_sha)
        assert found.deadline_utc == asked.deadline_utc
        assert found.since_utc.endswith("Z")
        assert claim.lock_path.stat().st_size > 0
    assert flock.holder(lab, SLOT) is None
    assert claim.lock_path.stat().st_size == 0


def test_lock_is_never_unlinked_and_a_removed_one_is_made_again(tmp_path: Path) -> None:
    claim_once(tmp_path)
    lock = tmp_path / "hut-01.lock"
    first = lock.stat().st_ino
    claim_once(tmp_path)
    assert lock.stat().st_ino == first
    lock.unlink()
    claim_once(tmp_path)
    assert lock.exists()


def test_error_inside_the_claim_releases_it(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    with (
        pytest.raises(ZeroDivisionError),
        flock.claim(lab, SLOT, note=Note(), deadline=Deadline(0)),
    ):
        _ = 1 // 0
    claim_once(tmp_path)


def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    lab = lab_in(tmp_path)
    claim_once(tmp_path)
    before = count()
    for _ in range(5):
        with flock.claim(lab, SLOT, note=Note(), deadline=Deadline(0)):
            with pytest.raises(Exception, match="is held by"):
                claim_once(tmp_path)
            flock.holder(lab, SLOT)
            flock.queue(lab, SLOT)
    (tmp_path / "hut-01.lock").chmod(0o666)
    with pytest.raises(ConfigError):
        claim_once(tmp_path)
    assert count() == before


EXCHANGED = """
import os, sys
from pathlib import Path
from hut_ci.claims.safe_files import inner_folder, lock_folder

folder, victim = Path(sys.argv[1]), Path(sys.argv[2])
mine = folder / "hut-01.queue"

def exchange(event, arguments):
    if event in ("open", "os.chmod") and arguments[0] == mine.name and mine.is_dir() and not mine.is_symlink():
        mine.rmdir()
        mine.symlink_to(victim)

sys.addaudithook(exchange)
with lock_folder(folder, create=False) as parent, inner_folder(parent, mine.name, create=True):
    pass
"""


def test_a_folder_that_is_exchanged_while_it_is_made_changes_nothing_else(tmp_path: Path) -> None:
    """A member of the lab group could otherwise have root open up any folder of root's."""
    folder, victim = tmp_path / "locks", tmp_path / "victim"
    folder.mkdir(0o700)
    victim.mkdir(0o700)
    argv = [sys.executable, "-c", EXCHANGED, str(folder), str(victim)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert "ConfigError" in done.stderr
    assert stat.S_IMODE(victim.stat().st_mode) == 0o700
