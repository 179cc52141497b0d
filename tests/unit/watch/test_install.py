"""`hut-ci watch install` writes services that systemd takes, with the rights that each user may have and no more."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from hut_ci import config
from hut_ci.cli import hut_ci
from hut_ci.errors import ConfigError
from hut_ci.watch.publisher import DOWNLOAD_SECONDS, ROUND_SECONDS
from hut_ci.watch.units import BENCH_USER, GROUP, PUBLISHER_USER, SERVICES

LAB = """\
lab: kitchen
lock_dir: /run/lock/hut-ci
state_dir: /var/lib/hut-ci
slots: {hut-01: {serial: /dev/serial/by-id/a}}
projects: {"github:acme/firmware": {}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Installed below a folder."""
    (tmp_path / "lab.yml").write_text(LAB)
    told = CliRunner().invoke(
        hut_ci,
        ["watch", "install", "--lab", str(tmp_path / "lab.yml"), "--root", str(tmp_path)],
        catch_exceptions=False,
    )
    assert told.exit_code == 0, told.output
    return tmp_path


def unit(root: Path, name: str) -> dict[str, str]:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(root / "etc" / "systemd" / "system" / name)
    return dict(parser["Service"])


def test_lab_yml_says_where_the_spool_is_and_twice_is_harmless(root: Path) -> None:
    copy = root / "etc" / "hut-ci" / "lab.yml"
    text = copy.read_text()
    assert text == f"{LAB}spool_dir: /var/spool/hut-ci\n"
    assert (root / "lab.yml").read_text() == LAB, "who only looks changes nothing"
    argv = ["watch", "install", "--lab", str(copy), "--root", str(root)]
    assert CliRunner().invoke(hut_ci, argv, catch_exceptions=False).exit_code == 0
    assert copy.read_text() == text


def test_services_find_a_lab_yml_that_was_named_from_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab.yml").write_text(f"{LAB}spool_dir: /var/spool/hut-ci\n")
    monkeypatch.chdir(tmp_path)
    argv = ["watch", "install", "--lab", "lab.yml", "--root", "made"]
    assert CliRunner().invoke(hut_ci, argv, catch_exceptions=False).exit_code == 0
    for service in SERVICES:
        assert unit(tmp_path / "made", service)["ExecStart"].endswith(f" --lab {tmp_path / 'lab.yml'}")


def test_the_bench_and_people_meet_before_the_locks_where_lab_yml_says_nothing(tmp_path: Path) -> None:
    """In /var/lock each lock is of the user who made it first, and of nobody else."""
    (tmp_path / "lab.yml").write_text(LAB.replace("lock_dir: /run/lock/hut-ci\n", ""))
    argv = ["watch", "install", "--lab", str(tmp_path / "lab.yml"), "--root", str(tmp_path)]
    assert CliRunner().invoke(hut_ci, argv, catch_exceptions=False).exit_code == 0
    assert config.load_lab(tmp_path / "etc" / "hut-ci" / "lab.yml").lock_dir == Path("/run/lock/hut-ci")
    assert "/run/lock/hut-ci" in unit(tmp_path, SERVICES[0])["ReadWritePaths"].split()
    folders = (tmp_path / "etc" / "tmpfiles.d" / "hut-ci-watch.conf").read_text()
    assert f"d /run/lock/hut-ci 2770 root {GROUP} -\n" in folders


def test_the_publisher_has_the_token_and_no_board(root: Path) -> None:
    service = unit(root, SERVICES[1])
    assert service["User"] == PUBLISHER_USER
    assert "dialout" not in service["SupplementaryGroups"]
    assert service["PrivateDevices"] == "yes"
    assert service["InaccessiblePaths"] == "-/run/lock/hut-ci -/var/lib/hut-ci"
    assert service["ReadWritePaths"] == "/var/spool/hut-ci/jobs"
    assert service["Environment"] == "GITHUB_TOKEN_FILE=/etc/hut-ci/publisher/github-token"


def test_a_publisher_is_ended_where_a_step_takes_longer_than_any_may(root: Path) -> None:
    """Between two steps it is said that it lives; each has a deadline."""
    assert int(unit(root, SERVICES[1])["WatchdogSec"]) >= 1.25 * max(ROUND_SECONDS, DOWNLOAD_SECONDS)


def test_the_bench_has_the_boards_and_no_token(root: Path) -> None:
    service = unit(root, SERVICES[0])
    assert service["User"] == BENCH_USER
    assert "dialout" in service["SupplementaryGroups"]
    assert service["InaccessiblePaths"] == "-/etc/hut-ci/publisher"
    assert service["IPAddressDeny"] == "any"
    assert "Environment" not in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_takes_the_units(name: str, root: Path) -> None:
    path = root / "etc" / "systemd" / "system" / name
    text = path.read_text()
    [start] = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    path.write_text(text.replace(start, "ExecStart=/bin/true"))
    done = subprocess.run(
        [shutil.which("systemd-analyze") or "", "verify", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if name in line]
    assert complaints == []


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("systemd-tmpfiles") is None, reason="needs root and systemd")
def test_systemd_makes_users_and_folders(root: Path) -> None:
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\ndialout:x:20:\n")
    for argv in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        kind = argv[0].removeprefix("systemd-")
        file = root / "etc" / f"{kind}.d" / "hut-ci-watch.conf"
        subprocess.run([*argv, f"--root={root}", str(file)], check=True, timeout=60, capture_output=True)
    users = dict(line.split(":")[:3:2] for line in (root / "etc" / "passwd").read_text().splitlines())
    groups = {line.split(":")[0]: line.split(":") for line in (root / "etc" / "group").read_text().splitlines()}
    assert PUBLISHER_USER in groups["hut-lab"][3]
    assert groups["dialout"][3] == BENCH_USER
    for folder, owner, mode in (
        ("", "root", 0o3770),
        ("/jobs", PUBLISHER_USER, 0o2750),
        ("/reports", BENCH_USER, 0o2750),
        ("/away", "root", 0o2770),
    ):
        made = (root / f"var/spool/hut-ci{folder}").stat()
        assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (int(users[owner]), mode), folder
        assert made.st_gid == int(groups["hut-lab"][2])
    private = (root / "etc/hut-ci/publisher").stat()
    assert (private.st_uid, stat.S_IMODE(private.st_mode)) == (int(users[PUBLISHER_USER]), 0o700)


def test_a_lab_that_watches_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lab.yml").write_text(LAB.partition("projects")[0])
    with pytest.raises(ConfigError, match="names no repository"):
        CliRunner().invoke(
            hut_ci,
            ["watch", "install", "--lab", str(tmp_path / "lab.yml"), "--root", str(tmp_path)],
            catch_exceptions=False,
        )
    assert config.load_lab(tmp_path / "lab.yml").projects == ()
