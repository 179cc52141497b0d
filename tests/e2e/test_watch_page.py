"""docs/watch.md is typed word by word: from a board to a status on a public repository."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import SCRIPT, HutCi
from fakes.github import FakeGitHub
from mounts import may_mount
from upstream import GITHUB_TOKEN, HUT, NAME, SHA, zipped

from hut_ci import config
from hut_ci.watch.units import BENCH_USER, GROUP, PUBLISHER_USER, SERVICES

PAGE = (Path(__file__).parents[2] / "docs" / "watch.md").read_text("utf-8")

SUDO = """\
#!/bin/sh
# As sudo does: of the environment only what was named is passed on.
case "$1" in
--preserve-env=*) name="${1#*=}"; shift; eval "value=\\$$name"; exec env -i PATH="$PATH" "$name=$value" "$@" ;;
esac
exec env -i PATH="$PATH" "$@"
"""


def may_install() -> bool:
    """Otherwise the lines for good are not typed: they begin with sudo."""
    return may_mount() and all(map(shutil.which, ("systemd-sysusers", "systemd-tmpfiles")))


def typed(heading: str) -> list[list[str]]:
    """The indented blocks of a section, line by line."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        block.strip("\n").replace("    ", "", 1).split("\n    ")
        for block in re.findall(r"(?:^    .+\n)+", section, re.M)
    ]


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of its own for the lines of root: /etc, /var/spool and /run/lock are seen by what is typed alone.

    Users, groups and folders are made by the real programs of systemd. No systemd runs services in a test, and often
    there is no sudo: these two are stand-ins, the one writes down what it was asked for, the other passes on what sudo
    does. `hut-ci` is a copy of the console script outside of anybody's home.
    """

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Host:
        programs = folder / "bin"
        programs.mkdir(parents=True)
        shutil.copy(SCRIPT, programs / "hut-ci")
        (programs / "sudo").write_text(SUDO)
        (programs / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {folder}/systemctl\n')
        for name in ("sudo", "systemctl"):
            (programs / name).chmod(0o755)
        shutil.copytree("/etc", folder / "etc", symlinks=True)
        (folder / "spool").mkdir()
        (folder / "lock").mkdir()
        (folder / "lock").chmod(0o1777)
        return cls(folder)

    @property
    def argv(self) -> list[str]:
        own = {"etc": "/etc", "spool": "/var/spool", "lock": "/run/lock"}
        mounts = " && ".join(f"mount --bind {self.folder / name} {there}" for name, there in own.items())
        return ["unshare", "--mount", "/bin/bash", "-c", f'{mounts} && exec "$@"', "-"]

    def ids(self, kind: str) -> dict[str, int]:
        """Of /etc/passwd or /etc/group."""
        lines = (self.folder / "etc" / kind).read_text().splitlines()
        return {line.split(":")[0]: int(line.split(":")[2]) for line in lines}


def check_services(host: Host) -> None:
    etc, users, groups = host.folder / "etc", host.ids("passwd"), host.ids("group")
    token, lab = etc / "hut-ci" / "publisher" / "github-token", etc / "hut-ci" / "lab.yml"
    assert token.read_text() == GITHUB_TOKEN
    assert (token.stat().st_uid, stat.S_IMODE(token.stat().st_mode)) == (users[PUBLISHER_USER], 0o600)
    assert (lab.stat().st_uid, lab.stat().st_gid, stat.S_IMODE(lab.stat().st_mode)) == (0, groups[GROUP], 0o640)
    assert lab.read_text().endswith("lock_dir: /run/lock/hut-ci\nspool_dir: /var/spool/hut-ci\n")
    # What `watch --once` locked is its user's alone; the bench needs locks that are its group's, too.
    locks = (host.folder / "lock" / "hut-ci").stat()
    assert (locks.st_gid, stat.S_IMODE(locks.st_mode)) == (groups[GROUP], 0o2770)
    spool = host.folder / "spool" / "hut-ci"
    assert {side: (spool / side).stat().st_uid for side in ("jobs", "reports")} == {
        "jobs": users[PUBLISHER_USER],
        "reports": users[BENCH_USER],
    }
    asked = (host.folder / "systemctl").read_text().splitlines()
    assert asked == ["daemon-reload", f"enable {' '.join(SERVICES)}", f"restart {' '.join(SERVICES)}"]
    for name in SERVICES:
        unit = (etc / "systemd" / "system" / name).read_text()
        assert f"ExecStart={host.folder}/bin/hut-ci watch " in unit


@pytest.mark.real
def test_from_a_board_to_a_status_in_eight_lines(
    github: FakeGitHub, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    first, for_good = typed("From a board to a status")
    assert len(first) + len(for_good) <= 8
    host = Host.made(hut_ci.folder / "host") if may_install() else None
    board = lab_of().boards["hut-01"]
    repo = github.repository(NAME)
    repo.add_commit(SHA, files={"hut.yml": HUT})
    repo.set_branch("main", SHA)
    repo.add_pull(12, head_sha=SHA)
    repo.add_run(head_sha=SHA).add_artifact("firmware-i2s", zipped(firmware("ready")))
    token = {"actions": "read", "contents": "read", "statuses": "write", "pull_requests": "write"}
    github.add_token(GITHUB_TOKEN, login="lab", kind="pat", permissions=token)
    lab = hut_ci.folder / "home" / ".config" / "hut-ci" / "lab.yml"
    lab.parent.mkdir(parents=True)
    locks = "" if host else f"lock_dir: {hut_ci.folder}/locks\n"
    lab.write_text(f"lab: kitchen\n{locks}state_dir: {hut_ci.folder}/state\nslots:\n")
    # The board is pointed at, and nobody is asked; the forge is the fake one. What is typed stays as it is.
    environ = {"HUT_CI_SLOTS_ADD_PORT": board.serial, "HUT_CI_SLOTS_ADD_YES": "1", "GITHUB_API_URL": github.url}
    programs = host.folder / "bin" if host else SCRIPT.parent
    environ = {**hut_ci.environ, **environ, "PATH": f"{programs}:{hut_ci.environ['PATH']}"}
    done = subprocess.run(
        [*(host.argv if host else ()), "/bin/bash", "-e", "-c", "\n".join([*first, *(for_good if host else ())])],
        input=f"{GITHUB_TOKEN}\n",
        env=environ,
        cwd=hut_ci.folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    states = {status.context: status.state for status in repo.posted_statuses if status.sha == SHA}
    assert states == {"hardware / hut-01": "success", "hardware": "success"}, done.stdout + done.stderr
    if host:
        check_services(host)


@pytest.mark.real
@pytest.mark.skipif(not may_install(), reason="needs root and systemd's programs")
@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        ("hut-ci watch install", 2, "no token for github was given"),
        (
            "hut-ci slots hold hut-01 --why soldering --for 1m && { GITHUB_TOKEN=x hut-ci watch install; code=$?; }; "
            "hut-ci slots release hut-01; exit $code",
            4,
            "hut-01 is held by root",
        ),
    ],
    ids=["no token", "a slot in use"],
)
def test_an_installation_that_is_refused_changes_nothing(typed: str, code: int, words: str, hut_ci: HutCi) -> None:
    """The services would ask for ever without a token, and not see the lock of who has a slot now."""
    host = Host.made(hut_ci.folder / "host")
    lab = host.folder / "etc" / "hut-ci" / "lab.yml"
    lab.parent.mkdir()
    text = 'slots: {hut-01: {serial: "rfc2217://127.0.0.1:9"}}\nprojects: {"github:acme/firmware": {}}\n'
    lab.write_text(text)
    environ = {**hut_ci.environ, "PATH": f"{host.folder}/bin:{hut_ci.environ['PATH']}"}
    done = subprocess.run(
        [*host.argv, "/bin/bash", "-c", typed],
        env=environ,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, words in done.stderr) == (code, True), done
    assert (lab.read_text(), (host.folder / "systemctl").exists()) == (text, False)
    assert not (host.folder / "etc" / "systemd" / "system" / SERVICES[0]).exists()


@pytest.mark.real
@pytest.mark.skipif(not may_install(), reason="needs root and systemd's programs")
def test_a_lock_that_its_user_has_left_is_in_nobodys_way(hut_ci: HutCi) -> None:
    """Whoever types the page is an ordinary user, and a lock of /var/lock is that user's alone, root aside."""
    host = Host.made(hut_ci.folder / "host")
    lab = host.folder / "etc" / "hut-ci" / "lab.yml"
    lab.parent.mkdir()
    lab.write_text('slots: {hut-01: {serial: "rfc2217://127.0.0.1:9"}}\nprojects: {"github:acme/firmware": {}}\n')
    lock = host.folder / "lock" / "hut-01.lock"
    lock.touch(0o660)
    shutil.chown(lock, 65534, 65534)
    done = subprocess.run(
        [*host.argv, f"{host.folder}/bin/hut-ci", "watch", "install"],
        env={**hut_ci.environ, "PATH": f"{host.folder}/bin:{hut_ci.environ['PATH']}", "GITHUB_TOKEN": GITHUB_TOKEN},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done
    assert "lock_dir: /run/lock/hut-ci\n" in lab.read_text()


def test_its_lab_loads_with_all_that_its_table_names(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n# lab\.yml\n(.*?)```", PAGE, re.S)
    (tmp_path / "lab.yml").write_text(text)
    first, second = config.load_lab(tmp_path / "lab.yml", {}).projects
    assert (first.forks, first.hours, second.address) == ("asked", (420, 1320), "gitlab:acme/player")
    keys = set(re.findall(r"^    (\w+): ", text.partition("projects:")[2], re.M))
    assert keys == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
