"""`hut-ci watch`: both real processes between a fake GitHub and virtual boards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import Firmware, LabOf
from console_script import SCRIPT, HutCi
from fakes.github import FakeGitHub
from fakes.github_state import Repository
from fakes.gitlab import FakeGitLab
from fakes.gitlab_state import Project
from live_run import claimed, claimed_apart
from mounts import may_mount
from upstream import (
    EARLIER,
    GITHUB,
    GITHUB_TOKEN,
    GITLAB,
    GITLAB_TOKEN,
    HUT,
    HUT_LAB,
    NAME,
    OTHER,
    PARENT,
    SHA,
    token_for,
    zipped,
)

from hut_ci.claims import flock
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.virtual.app_script import Panic
from hut_ci.virtual.lab import VirtualLab
from hut_ci.watch import spool
from hut_ci.watch.away import sign_of_life

PATIENCE = 90.0
PASSED = {"hardware / hut-01": "success", "hardware": "success"}
ADVICE = "`env -u GITHUB_TOKEN …`"


class Watched:
    """A lab of one board, a repository with one built commit, and whatever was started."""

    NEXT_CALLS: ClassVar = {"seen": "get_contents", "decided": "create_status"}
    """What the publisher asks next; a forge that is slow there leaves the time to be killed at that point."""

    def __init__(self, hut_ci: HutCi, github: FakeGitHub, lab: VirtualLab, build: Path) -> None:
        self.hut_ci, self.github, self.lab = hut_ci, github, lab
        self.forge: FakeGitHub | FakeGitLab = github
        with lab.lab_yml.open("a") as file:
            file.write(f'projects: {{"{GITHUB}": {{}}}}\n')
        github.add_token(GITHUB_TOKEN)
        self.repo: Repository = github.repository(NAME, id=1001)
        self.repo.add_commit(SHA, files={"hut.yml": HUT})
        self.repo.set_branch("main", SHA)
        self.repo.add_run(head_sha=SHA).add_artifact("firmware-i2s", zipped(build))
        token_for(hut_ci, github)

    @property
    def spool(self) -> Path:
        return self.lab.lab_yml.parent / "state" / "spool"

    def once(self) -> None:
        answer = self.hut_ci("watch", "--once", "--lab", self.lab.lab_yml)
        assert answer.code == 0, answer

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """`hut-ci watch WORDS` until the end of the block, which kills it."""
        environ = dict(self.hut_ci.environ)
        if words[:1] == ("bench",):
            for name in ("GITHUB_TOKEN", "GITLAB_TOKEN"):
                self.hut_ci.environ.pop(name, None)
        with self.hut_ci.start("watch", *words, "--lab", self.lab.lab_yml) as process:
            self.hut_ci.environ = environ
            try:
                yield process
            finally:
                process.kill()
                process.communicate()

    def posted(self) -> list[tuple[str, str, str]]:
        """Commit, context and state of every status, in the order of posting."""
        return [(status.sha, status.context, status.state) for status in self.repo.posted_statuses]

    def states(self) -> dict[str, str]:
        return {context: state for _, context, state in self.posted()}

    def check_end(self) -> None:
        """Passed, once, on the right commit."""
        assert self.states() == PASSED
        assert {sha for sha, _, _ in self.posted()} == {SHA}
        assert sorted(context for _, context, state in self.posted() if state == "success") == sorted(PASSED)


class WatchedOnGitLab(Watched):
    """The same with a project of GitLab."""

    NEXT_CALLS: ClassVar = {"seen": "get_raw_file", "decided": "create_status"}

    def __init__(self, hut_ci: HutCi, gitlab: FakeGitLab, lab: VirtualLab, build: Path) -> None:
        self.hut_ci, self.lab, self.forge = hut_ci, lab, gitlab
        with lab.lab_yml.open("a") as file:
            file.write(f'projects: {{"{GITLAB}": {{}}}}\n')
        gitlab.add_token(GITLAB_TOKEN, username="lab_bot", kind="project", scopes=["api"], access_level=30)
        self.project: Project = gitlab.project(NAME, id=7)
        self.project.add_commit(SHA, files={"hut.yml": HUT_LAB})
        self.project.set_branch("main", SHA)
        self.project.add_pipeline(sha=SHA, ref="main").add_job("build: [i2s]", artifacts=zipped(build))
        token_for(hut_ci, gitlab=gitlab)

    def posted(self) -> list[tuple[str, str, str]]:
        return [(status["sha"], status["name"], status["status"]) for status in self.project.posted]


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    deadline = Deadline(seconds)
    while not condition():
        assert not deadline.expired, f"in vain: {what}"
        time.sleep(0.01)


@pytest.fixture
def watched(hut_ci: HutCi, github: FakeGitHub, lab_of: LabOf, firmware: Firmware) -> Watched:
    return Watched(hut_ci, github, lab_of(), firmware("ready"))


@pytest.mark.real
def test_once_for_cron(watched: Watched) -> None:
    assert watched.hut_ci("watch", "status", "--lab", watched.lab.lab_yml).code == 4
    watched.once()
    watched.check_end()
    answer = watched.hut_ci("watch", "status", "--lab", watched.lab.lab_yml)
    assert (answer.code, f"{GITHUB}: looked at" in answer.stdout) == (0, True), answer
    calls = len(watched.github.calls)
    watched.once()
    assert [call.status for call in watched.github.calls[calls:]] == [304, 304]
    watched.check_end()
    assert GITHUB_TOKEN.encode() not in b"".join(
        path.read_bytes() for path in watched.lab.lab_yml.parent.rglob("*") if path.is_file()
    )


@pytest.mark.real
def test_once_tells_cron_that_a_forge_does_not_take_the_token(watched: Watched) -> None:
    watched.hut_ci.environ["GITHUB_TOKEN"] = "wrong"
    answer = watched.hut_ci("watch", "--once", "--lab", watched.lab.lab_yml)
    assert (answer.code, "401" in answer.stdout + answer.stderr) == (8, True), answer
    assert "again in" not in answer.stderr, "nobody of it is there any more"
    assert watched.states() == {}


@pytest.mark.real
def test_a_status_that_is_refused_is_told_with_what_to_do(watched: Watched) -> None:
    rights = {"actions": "read", "contents": "read", "pull_requests": "write", "statuses": "read"}
    watched.github.add_token(GITHUB_TOKEN, login="lab", kind="pat", permissions=rights)
    assert watched.hut_ci("watch", "--once", "--lab", watched.lab.lab_yml).code == 8
    told = watched.hut_ci("watch", "status", "--lab", watched.lab.lab_yml)
    assert (f"{GITHUB}: looked at" in told.stdout, f"{SHA[:12]}: not told yet: " in told.stdout) == (True, True), told
    assert "do: give it `statuses: write`" in told.stdout


def test_a_bench_with_a_token_is_refused(watched: Watched) -> None:
    """The control of the next one, too: the token would have been there."""
    answer = watched.hut_ci("watch", "bench", "--once", "--lab", watched.lab.lab_yml)
    assert (answer.code, ADVICE in answer.stderr) == (2, True), answer


def test_a_lab_that_watches_nothing_says_so(hut_ci: HutCi, lab_of: LabOf) -> None:
    answer = hut_ci("watch", "--once", "--lab", lab_of().lab_yml)
    assert (answer.code, "names no repository" in answer.stderr) == (2, True), answer


@pytest.mark.real
def test_a_repository_that_was_the_only_one_is_told_that_it_is_watched_no_longer(watched: Watched) -> None:
    with claimed_apart(watched.lab):
        watched.once()
    assert set(watched.states().values()) == {"pending"}
    text = watched.lab.lab_yml.read_text()
    watched.lab.lab_yml.write_text(text.partition("projects:")[0])
    watched.hut_ci.environ["GITHUB_TOKEN"] = "wrong"
    answer = watched.hut_ci("watch", "--once", "--lab", watched.lab.lab_yml)
    told = watched.hut_ci("watch", "status", "--lab", watched.lab.lab_yml)
    assert (answer.code, f"{GITHUB}: watched no longer" in told.stdout, "401" in told.stdout) == (8, True, True), told
    token_for(watched.hut_ci, watched.github)
    watched.once()
    assert set(watched.states().values()) == {"error"}
    answer = watched.hut_ci("watch", "--once", "--lab", watched.lab.lab_yml)
    assert (answer.code, "names no repository" in answer.stderr) == (2, True), answer


@pytest.mark.real
def test_a_second_publisher_of_one_spool_is_refused_wherever_it_keeps_its_own(watched: Watched, tmp_path: Path) -> None:
    with watched.started("publisher"):
        until((watched.spool / "jobs" / "status.json").exists, "the first one")
        answer = watched.hut_ci(
            *("watch", "publisher", "--once", "--state", tmp_path / "other", "--lab", watched.lab.lab_yml)
        )
    assert (answer.code, "runs already" in answer.stderr) == (2, True), answer


@pytest.mark.real
def test_where_one_of_both_is_refused_neither_runs_and_the_code_says_so(watched: Watched) -> None:
    with watched.started("bench"):
        until((watched.spool / "reports" / "bench.json").exists, "the other bench")
        answer = watched.hut_ci("watch", "--lab", watched.lab.lab_yml)
    assert (answer.code, "runs already" in answer.stderr) == (2, True), answer


@pytest.mark.real
def test_one_of_both_that_is_killed_is_started_again(watched: Watched) -> None:
    alive = watched.spool / "reports" / "bench.json"
    with watched.started() as both:
        until(alive.exists, "the bench")
        bench = min(_processes(both.pid, "bench"))  # it may be about to start a job, which is another one until then
        os.kill(bench, signal.SIGKILL)
        assert both.stderr is not None
        assert next(line for line in both.stderr if "SIGKILL" in line).startswith("the bench was ended by SIGKILL")
        until(lambda: PASSED.items() <= watched.states().items(), "the new bench has run it")
        both.send_signal(signal.SIGTERM)
        both.communicate(timeout=PATIENCE)
        assert both.returncode == 143


@pytest.mark.real
def test_away_and_back(watched: Watched) -> None:
    for words in (("away", "--until", "2020-01-01"), ("away", "--until", "soon")):
        assert watched.hut_ci("lab", *words, "--lab", watched.lab.lab_yml).code == 2
    assert watched.hut_ci("lab", "away", "--until", "2999-12-27", "--lab", watched.lab.lab_yml).code == 0
    watched.once()
    assert set(watched.states().values()) == {"error"}
    assert "was not away" not in watched.hut_ci("lab", "back", "--lab", watched.lab.lab_yml).stdout
    watched.once()
    assert watched.states() == PASSED


@pytest.mark.real
def test_a_slot_that_a_person_holds_is_waited_for(watched: Watched) -> None:
    with claimed_apart(watched.lab):
        told = watched.hut_ci("watch", "--once", "--lab", watched.lab.lab_yml)
        assert (told.code, f"{NAME} {SHA[:12]} waits: hut-01 is held by " in told.stderr) == (0, True), told
        assert set(watched.states().values()) == {"pending"}
    watched.once()
    watched.check_end()


@pytest.mark.real
@pytest.mark.parametrize("boots", [True, False])
def test_a_baseline_is_written_before_and_after(
    boots: bool, hut_ci: HutCi, github: FakeGitHub, lab_of: LabOf, firmware: Firmware
) -> None:
    """A stranger's firmware finds nothing and leaves nothing; where that cannot be had, it does not run."""
    build = firmware("ready")
    baseline = firmware("the lab's own") if boots else firmware(Panic("LoadProhibited"))
    watched = Watched(hut_ci, github, lab_of(), build)
    text = watched.lab.lab_yml.read_text().replace(f'"{GITHUB}": {{}}', f'"{GITHUB}": {{baseline: {baseline}}}')
    watched.lab.lab_yml.write_text(text)
    watched.once()
    if boots:
        watched.check_end()
    else:
        assert set(watched.states().values()) == {"error"}
        assert "baseline could not be restored" in str(watched.repo.posted_statuses[-2].description)
    flash = bytes(watched.lab.boards["hut-01"].flash)
    files = json.loads((baseline / "flasher_args.json").read_text())["flash_files"]
    for offset, name in files.items():
        content = (baseline / name).read_bytes()
        assert flash[int(offset, 0) :][: len(content)] == content, name


@pytest.mark.real
@pytest.mark.parametrize("stays", [True, False], ids=["restored", "not restored"])
def test_nobody_gets_a_slot_between_a_run_and_its_baselines(watched: Watched, firmware: Firmware, stays: bool) -> None:
    """Not who has queued for it since before the run; and a baseline that cannot be restored is told."""
    baseline = firmware("the lab's own")
    text = watched.lab.lab_yml.read_text().replace(f'"{GITHUB}": {{}}', f'"{GITHUB}": {{baseline: {baseline}}}')
    watched.lab.lab_yml.write_text(text)
    lab = load_lab(watched.lab.lab_yml)
    spool.make(lab.spool, spool.REPORTS)
    sign_of_life(lab.spool, time.time())
    assert watched.hut_ci("watch", "publisher", "--once", "--lab", watched.lab.lab_yml).code == 0
    with watched.started("bench", "--once") as bench:
        until(lambda: flock.holder(lab, lab.slots[0]), "the first baseline is written")
        if not stays:
            until(lambda: _report(watched), "the run itself")
            baseline.rename(baseline.with_name("elsewhere"))
        with claimed(watched.lab, within=PATIENCE):
            assert _report(watched)["hardware"]["partial"] is False
        bench.wait(PATIENCE)
    notes = " ".join(_report(watched)["hardware"]["notes"])
    assert ("could not be restored afterwards" in notes) is not stays


def _report(watched: Watched) -> dict[str, Any]:
    """What is known of the only run, its own report or a checkpoint; empty where nothing is."""
    with suppress(FileNotFoundError):
        found = [path.read_text() for path in (watched.spool / "reports").glob("*/report.json")]
        report: dict[str, Any] = json.loads(found[0]) if found else {}
        return report
    return _report(watched)  # it was just handed over, under another name


@pytest.mark.real
def test_a_repository_that_disappears_and_comes_back(watched: Watched, firmware: Firmware) -> None:
    status = watched.spool / "jobs" / "status.json"
    with watched.started("bench"), watched.started("publisher", "--every", "5"):
        until(lambda: watched.states() == PASSED, "the first answer")
        gone = watched.github.repositories.pop(NAME)
        until(lambda: "HTTP 404" in status.read_text(), "the trouble is told")
        watched.github.repositories[NAME] = gone
        watched.repo.add_commit(OTHER, files={"hut.yml": HUT})
        watched.repo.set_branch("main", OTHER)
        watched.repo.add_run(head_sha=OTHER).add_artifact("firmware-i2s", zipped(firmware("ready")))
        wanted = {(sha, context): "success" for sha in (SHA, OTHER) for context in PASSED}
        until(
            lambda: {(sha, context): state for sha, context, state in watched.posted()} == wanted, "the second answer"
        )


@pytest.mark.real
def test_systemd_and_status_hear_of_a_publisher_in_a_long_round(watched: Watched) -> None:
    """Three repositories of a slow forge: one sign of life for each, while the first round goes on."""
    others = ", ".join(f'"github:acme/other-{number}": {{}}' for number in (1, 2))
    text = watched.lab.lab_yml.read_text().replace(f'"{GITHUB}": {{}}', f'{others}, "{GITHUB}": {{}}')
    watched.lab.lab_yml.write_text(text)
    for number in (1, 2):
        watched.github.repository(f"acme/other-{number}")
    watched.github.slow_seconds = 11.0
    watched.github.fail("list_runs", "slow", None)
    address = watched.lab.lab_yml.parent / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(address))
        line.settimeout(PATIENCE)
        watched.hut_ci.environ["NOTIFY_SOCKET"] = str(address)
        with watched.started("publisher"):
            heard = [line.recv(4096).decode() for _ in range(3)]
            assert not watched.states(), "the first round goes on"
    assert heard[0] == "READY=1"
    assert all(entry.startswith("WATCHDOG=1\nSTATUS=") for entry in heard[1:])
    known = json.loads((watched.spool / "jobs" / "status.json").read_bytes())
    assert [entry["repository"] for entry in known["repositories"]]


@pytest.mark.real
@pytest.mark.skipif(not may_mount(), reason="no mount namespace may be made here")
def test_a_disk_that_is_full_for_a_while(watched: Watched) -> None:
    """Who polls goes on when there is room again; who came once is told what is wrong, which is no bug."""
    state = watched.spool.parent
    state.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o size=1m tmpfs {state} && exec "$@"'
    argv = ["unshare", "--mount", "/bin/bash", "-c", script, "-", str(SCRIPT)]
    words = ("watch", "publisher", "--every", "5", "--lab", str(watched.lab.lab_yml))
    environ = {**watched.hut_ci.environ, "PATH": os.environ["PATH"]}
    with subprocess.Popen([*argv, *words], env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            seen = Path(f"/proc/{process.pid}/root{state}")  # a view from its own mounts
            alive = seen / "spool" / "jobs" / "status.json"
            until(alive.exists, "it has looked")
            filler = seen / "filler"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            assert process.stderr is not None
            assert "make room" in next(line for line in process.stderr if "this round was cut off" in line)
            inside = [str(shutil.which("nsenter")), "--target", str(process.pid), "--mount", str(SCRIPT)]
            away = [*inside, "lab", "away", "--until", "2099-01-01", "--lab", str(watched.lab.lab_yml)]
            refused = subprocess.run(away, env=environ, capture_output=True, text=True, check=False)
            assert (refused.returncode, "No space left on device" in refused.stderr) == (2, True), refused
            filler.unlink()
            at = time.time()
            until(lambda: json.loads(alive.read_text())["at"] > at, "it goes on")
        finally:
            process.kill()


@pytest.mark.real
@pytest.mark.skipif(not may_mount(), reason="no mount namespace may be made here")
@pytest.mark.parametrize("process", ["publisher", "bench"])
def test_a_full_disk_is_no_bug(watched: Watched, process: str) -> None:
    state = watched.spool.parent
    state.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o size=64k tmpfs {state} && {{ head -c 1m /dev/zero >{state}/filler; exec "$@"; }}'
    argv = ["unshare", "--mount", "/bin/bash", "-c", script, "-", str(SCRIPT)]
    environ = {**watched.hut_ci.environ, "PATH": os.environ["PATH"]}
    if process == "bench":
        del environ["GITHUB_TOKEN"]
    words = ("watch", process, "--once", "--lab", str(watched.lab.lab_yml))
    ended = subprocess.run([*argv, *words], env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, "No space left on device" in ended.stderr) == (2, True), ended


@pytest.mark.soak
def test_fifty_pull_requests_at_once_on_two_virtual_boards(
    hut_ci: HutCi, github: FakeGitHub, lab_of: LabOf, firmware: Firmware
) -> None:
    """Each is answered on its own commit, once, and no board ever hears two writers."""
    build = firmware("ready")
    watched = Watched(hut_ci, github, lab_of(2), build)
    watched.repo.runs.clear()
    watched.repo.set_permission("ada", "write", "maintain")
    watched.once()
    heads = [f"{number:040x}" for number in range(1, 51)]
    for number, sha in enumerate(heads, 1):
        watched.repo.add_commit(sha, files={"hut.yml": HUT}, parents=[SHA])
        watched.repo.add_pull(number, head_sha=sha)
        run = watched.repo.add_run(head_sha=sha, event="pull_request", head_branch=f"f{number}", created=EARLIER)
        run.add_artifact("firmware-i2s", zipped(build))
        watched.repo.add_comment(number, "/hil hut-01" if number % 2 else "/hil hut-02", login="ada")
    with watched.started("bench"), watched.started("publisher", "--every", "5"):
        until(lambda: sum(state == "success" for _, _, state in watched.posted()) >= 50, "fifty answers", 1800.0)
    watched.once()
    ends = {(sha, context): state for sha, context, state in watched.posted()}
    assert ends == {(sha, f"hardware / hut-0{2 - number % 2}"): "success" for number, sha in enumerate(heads, 1)}
    assert sum(state == "success" for _, _, state in watched.posted()) == 50
    assert not any(board.violations for board in watched.lab.boards.values())


# --- who holds what -------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_bench_holds_no_token_and_asks_no_forge(
    hut_ci: HutCi, github: FakeGitHub, lab_of: LabOf, firmware: Firmware
) -> None:
    """Looked at while its run watches a board; the publisher shows that there was something to find."""
    watched = Watched(hut_ci, github, lab_of(), firmware("ready"))
    board = watched.lab.boards["hut-01"]
    board.hold_at("app_started")
    with watched.started() as parent:
        board.wait_for("held", PATIENCE)
        family = {kind: _processes(parent.pid, kind) for kind in ("bench", "job", "publisher")}
        assert all(family.values()), family
        for kind, pids in family.items():
            for pid in pids:
                environ = Path(f"/proc/{pid}/environ").read_bytes()
                assert (GITHUB_TOKEN.encode() in environ) is (kind == "publisher"), kind
        port = int(github.url.rpartition(":")[2])
        assert not _peers(family["bench"] + family["job"]) & {port}
        for pid in family["bench"] + family["job"]:
            assert not [name for name in _files(pid) if "publisher" in name or "watch.db" in name]
        assert [name for pid in family["publisher"] for name in _files(pid) if "watch.db" in name]
        assert not [name for pid in family["publisher"] for name in _files(pid) if name.startswith("/dev/pts")]
        board.release()
        until(lambda: watched.states() == PASSED, "the end")


def _processes(parent: int, kind: str) -> list[int]:
    """The descendants of `parent` that are `hut-ci watch KIND`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if entry.name.isdigit() and words[4:6] == [b"watch", kind.encode()] and _descends(int(entry.name), parent):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _descends(pid: int, parent: int) -> bool:
    while pid > 1:
        if pid == parent:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def _files(pid: int) -> list[str]:
    return [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]


def _peers(pids: list[int]) -> set[int]:
    """The TCP ports that these processes have connections to."""
    sockets = {name for pid in pids for name in _files(pid) if name.startswith("socket:")}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[2].rpartition(":")[2], 16) for line in lines if f"socket:[{line[9]}]" in sockets}


AS_NOBODY = """
import os, sys
from hut_ci.cli import call
first, own, lab, port = sys.argv[1:]
call(["watch", "publisher", "--once", "--lab", first])  # loads all that it needs, from where nobody else may look
os.setgroups([]), os.setgid(65534), os.setuid(65534)
code = call(["watch", "publisher", "--once", "--state", own, "--lab", lab])
try:
    os.open(port, os.O_RDWR)
except PermissionError:
    sys.exit(code)
sys.exit("the port could be opened")
"""


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_the_publisher_cannot_open_the_ports_and_needs_not_to(
    hut_ci: HutCi, github: FakeGitHub, lab_of: LabOf, firmware: Firmware
) -> None:
    """As a user outside the ports' group it does its work, and no board hears of it."""
    build = firmware("ready")
    first = lab_of()
    first.lab_yml.write_text(f'{first.lab_yml.read_text()}projects: {{"github:acme/first": {{}}}}\n')
    other = github.repository("acme/first", id=1002)
    other.add_commit(SHA, files={"hut.yml": HUT})
    other.set_branch("main", SHA)
    other.add_run(head_sha=SHA).add_artifact("firmware-i2s", zipped(build))
    with tempfile.TemporaryDirectory() as folder, VirtualLab(1, folder=Path(folder) / "lab", transport="pty") as lab:
        watched = Watched(hut_ci, github, lab, build)
        port = Path(lab.boards["hut-01"].serial).resolve()
        os.chown(port, 0, 20)
        port.chmod(0o660)
        own = Path(folder) / "publisher"
        own.mkdir(0o700)
        for place in (load_lab(first.lab_yml).spool, watched.spool):
            spool.make(place, spool.REPORTS)
            spool.make(place, spool.JOBS)
            sign_of_life(place, time.time())
        for path in (Path(folder), watched.spool.parent, watched.spool, watched.spool / spool.REPORTS):
            path.chmod(0o755)
        for path in (watched.spool / spool.JOBS, own):
            os.chown(path, 65534, 65534)
        argv = [sys.executable, "-c", AS_NOBODY, *map(str, (first.lab_yml, own, lab.lab_yml, port))]
        done = subprocess.run(
            argv, env=hut_ci.environ, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done
        assert watched.states() == dict.fromkeys(PASSED, "pending")
        assert spool.ready(watched.spool, spool.JOBS), "it is handed over"
        assert {path.stat().st_uid for path in own.iterdir()} == {65534}
        assert [event.name for event in lab.boards["hut-01"].events if event.name == "connected"] == []


# --- kill -9 ----------------------------------------------------------------------------------------------------------


def _flashed(watched: Watched) -> bool:
    return set(watched.lab.boards["hut-01"].flash) != {0xFF}


def _claimed(watched: Watched) -> bool:
    lock = watched.lab.lab_yml.parent / "locks" / "hut-01.lock"
    return lock.exists() and SHA in lock.read_text()


def _reported(watched: Watched) -> bool:
    return any(path.name[0] != "." for path in (watched.spool / "reports").glob("*-0"))


def _outcomes(watched: Watched) -> list[str | None]:
    """What was decided of everything that was seen, None for what was not yet; as it stands in the database."""
    path = watched.lab.lab_yml.parent / "state" / "publisher" / "watch.db"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return [outcome for (outcome,) in db.execute("SELECT outcome FROM finding")]
    except sqlite3.OperationalError:  # not there yet, or without its tables
        return []


POINTS: dict[str, tuple[str, Callable[[Watched], object]]] = {
    "seen": ("publisher", lambda watched: None in _outcomes(watched)),
    "decided": ("publisher", lambda watched: any(_outcomes(watched)) and not watched.states()),
    "pending posted": ("publisher", lambda watched: watched.states()),
    "handed over": ("publisher", lambda watched: list((watched.spool / "jobs").glob("*-0"))),
    "claimed": ("bench", _claimed),
    "flashing": ("bench", _flashed),
    "report written": ("bench", _reported),
    "status posted": ("publisher", lambda watched: "success" in set(watched.states().values())),
}


@pytest.mark.real
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_the_end_is_the_same(point: str, watched: Watched) -> None:
    check_kill(point, watched)
    assert PARENT not in {status.sha for status in watched.repo.posted_statuses}


@pytest.mark.real
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_the_end_is_the_same_on_gitlab(
    point: str, hut_ci: HutCi, gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware
) -> None:
    check_kill(point, WatchedOnGitLab(hut_ci, gitlab, lab_of(), firmware("ready")))


def check_kill(point: str, watched: Watched) -> None:
    """Killed there, and started again."""
    victim, reached = POINTS[point]
    if point in watched.NEXT_CALLS:
        watched.forge.slow_seconds = 5.0
        watched.forge.fail(watched.NEXT_CALLS[point], "slow")
    with watched.started("bench") as bench, watched.started("publisher") as publisher:
        until(lambda: reached(watched), point)
        {"bench": bench, "publisher": publisher}[victim].send_signal(signal.SIGKILL)
        if victim == "bench":
            bench.wait()
            publisher.kill()
    until(lambda: not _claimed(watched), "the board is left in order")
    watched.once()
    watched.check_end()
    assert watched.lab.boards["hut-01"].violations == []
