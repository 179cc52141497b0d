"""What the doctor says of locks, mounts and the state folder, from real folders and texts of proc(5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hut_ci.doctor.finding import Finding
from hut_ci.doctor.locks import excludes, locks, made_at_boot
from hut_ci.doctor.mounts import mount_of
from hut_ci.doctor.state_folder import state_folder
from hut_ci.model import Lab

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/root rw
30 22 0:25 / /run rw shared:5 - tmpfs tmpfs rw
31 22 8:1 /srv/old /mnt/two\\040words rw - ext4 /dev/root rw
32 31 0:40 / /mnt/two\\040words rw - nfs4 host:/x rw
33 22 8:1 /tmp/systemd-private-1-ci.service-x/tmp /tmp rw - ext4 /dev/root rw
nonsense
"""


def told(findings: Sequence[Finding], sign: str) -> list[str]:
    return [finding.what for finding in findings if finding.sign == sign]


@pytest.mark.parametrize(
    ("path", "kind", "root"),
    [
        ("/var/lib", "ext4", "/"),
        ("/run/lock/hut-ci", "tmpfs", "/"),
        ("/running", "ext4", "/"),
        ("/mnt/two words/x", "nfs4", "/"),
        ("/tmp/locks", "ext4", "/tmp/systemd-private-1-ci.service-x/tmp"),
    ],
)
def test_the_mount_of_a_folder(path: str, kind: str, root: str) -> None:
    found = mount_of(Path(path), MOUNTS)
    assert found is not None
    assert (found.kind, found.root) == (kind, root)


def test_no_mount_is_told() -> None:
    assert mount_of(Path("/x"), "") is None


@pytest.mark.parametrize(
    ("line", "makes"),
    [
        ("d /run/lock/hut-ci 2770 root hut-lab -", True),
        ("D! /run/lock/hut-ci/ 2770 root hut-lab -", True),
        ("# d /run/lock/hut-ci 2770 root hut-lab -", False),
        ("d /run/lock/hut-ci2 2770 root hut-lab -", False),
        ("r /run/lock/hut-ci", False),
        ("d", False),
        ("", False),
    ],
)
def test_a_line_that_makes_the_folder_at_boot(line: str, makes: bool) -> None:
    assert made_at_boot(Path("/run/lock/hut-ci"), ["", line]) is makes


def test_a_folder_of_a_group(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    folder.chmod(0o2770)
    found = locks(folder)
    assert any("is shared by the group" in what for what in told(found, "ok")), found
    assert any("exclude" in what for what in told(found, "ok"))
    assert told(found, "missing") == []
    folder.chmod(0o2750)
    assert any("may not write" in what for what in told(locks(folder), "missing"))


def test_a_folder_of_one_user_is_no_folder_of_a_lab(tmp_path: Path) -> None:
    found = locks(tmp_path)
    assert any("one user alone" in what for what in told(found, "warn")), found
    assert told(found, "missing") == []


def test_a_folder_that_cannot_hold_locks(tmp_path: Path) -> None:
    [absent] = locks(tmp_path / "none")
    assert (absent.sign, "does not exist" in absent.what, "tmpfiles.d" in absent.remedy) == ("missing", True, True)
    public = tmp_path / "public"
    public.mkdir()
    public.chmod(0o777)
    [refused] = locks(public)
    assert (refused.sign, "not sticky" in refused.what) == ("missing", True)


def test_looking_at_locks_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    assert [excludes(folder).sign, excludes(folder).sign] == ["ok", "ok"]
    assert list(folder.iterdir()) == []


# --- the state folder -------------------------------------------------------------------------------------------------


def lab(tmp_path: Path) -> Lab:
    return Lab("bench", tmp_path / "locks", tmp_path / "state", (), tmp_path / "lab.yml", cache_limit=1 << 20)


def test_the_state_folder_says_where_artifacts_are(tmp_path: Path) -> None:
    found = state_folder(lab(tmp_path))
    assert told(found, "missing") + told(found, "warn") == []
    assert any(str(tmp_path / "state" / "artifacts") in what for what in told(found, "ok"))
    assert not (tmp_path / "state").exists()


def test_a_state_folder_of_everybody(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    assert any("everybody may write" in what for what in told(state_folder(lab(tmp_path)), "missing"))


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert told(state_folder(lab(tmp_path)), "missing") == [f"{tmp_path / 'state'} cannot be written"]


def test_less_room_than_artifacts_may_take(tmp_path: Path) -> None:
    found = state_folder(replace(lab(tmp_path), cache_limit=1 << 60))
    assert any("artifacts may take" in what for what in told(found, "warn")), found


def test_locks_of_a_group_and_the_state_of_one(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks").chmod(0o2770)
    assert any("one user's" in what for what in told(state_folder(lab(tmp_path)), "warn"))
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o2770)
    assert told(state_folder(lab(tmp_path)), "warn") == []
