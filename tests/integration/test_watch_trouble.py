"""What must not stop a publisher, or keep a status pending: signals, clocks, a damaged spool, what a forge refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fakes.github import FakeGitHub
from watch_rig import DAY, HEAD, NAME, NEWER, TOKEN, Rig, built, finals, settled, texts

from hut_ci.cli.watch_processes import publisher
from hut_ci.cli.watch_status import status, written
from hut_ci.deadline import Deadline
from hut_ci.errors import Cancelled, ConfigError, ForgeUnavailable, PublishError
from hut_ci.model import Watched
from hut_ci.watch.decide import ANSWER_SECONDS
from hut_ci.watch.forge import Forge
from hut_ci.watch.store import Store

BOTH = {"hardware / hut-01": "success", "hardware / hut-02": "success", "hardware": "success"}


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        yield server
        assert server.violations == []


@pytest.fixture
def rig(tmp_path: Path, github: FakeGitHub) -> Iterator[Rig]:
    with Rig(tmp_path, github, f'{{"github:{NAME}": {{}}}}') as made:
        yield made


class Failing:
    """One part of the forge, of which the method `name` raises `error` where `when` is true of its arguments."""

    def __init__(self, inner: Any, name: str, error: Exception, when: Callable[..., bool] = lambda *_: True) -> None:
        self._inner, self._name, self._error, self._when = inner, name, error, when

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)

        def failing(*args: Any, **more: Any) -> Any:
            if self._when(*args):
                raise self._error
            return found(*args, **more)

        return failing if name == self._name else found


def failing(rig: Rig, name: str, error: Exception, when: Callable[..., bool] = lambda *_: True) -> None:
    rig.restart(lambda part: Failing(part, name, error, when) if hasattr(part, name) else part)


# --- signals -----------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("call", ["look", "head", "set_status", "runs", "download"])
def test_a_signal_ends_the_publisher_wherever_it_arrives_and_is_no_answer(rig: Rig, call: str) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    failing(rig, call, Cancelled(signal.SIGTERM))
    with pytest.raises(Cancelled):
        rig.rounds()
    rig.restart()
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}
    assert settled(repo)


# --- a bench that is not ours any more, or a member of the lab who means ill --------------------------------------


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _deep(path: Path) -> None:
    path.write_text("[" * 4000)


def _long(path: Path) -> None:
    path.write_text(f'{{"alive": 1{"0" * 400}, "until": 1{"0" * 400}}}')


@pytest.mark.real
@pytest.mark.parametrize("plant", [_fifo, _endless, _deep, _long])
@pytest.mark.parametrize("place", ["reports/bench.json", "away/until.json"])
def test_what_was_planted_in_the_spool_neither_hangs_nor_ends_the_publisher(
    place: str, plant: Callable[[Path], None], rig: Rig
) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"pending"}
    planted = rig.lab.spool / place
    planted.parent.mkdir(exist_ok=True)
    planted.unlink(missing_ok=True)
    plant(planted)
    rig.clock.now += 7 * 3600
    rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"error"}


@pytest.mark.parametrize("kind", ["file", "link", "gone"])
def test_reports_that_cannot_be_read_end_at_their_time(kind: str, rig: Rig, tmp_path: Path) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    rig.publisher.round()
    reports = rig.lab.spool / "reports"
    shutil.rmtree(reports)
    if kind == "file":
        reports.write_text("")
    if kind == "link":
        reports.symlink_to(tmp_path)
    rig.clock.now += 7 * 3600
    rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert settled(repo)


# --- a forge that takes not everything ------------------------------------------------------------------------------


def test_what_was_lost_from_the_spool_is_handed_over_once_more(rig: Rig) -> None:
    """Somebody cleaned it, or `spool_dir` names another folder by now; the slots would be busy with nothing."""
    repo = rig.repository()
    built(repo, HEAD)
    rig.clock.now += 31
    rig.publisher.round()
    shutil.rmtree(rig.lab.spool / "jobs")
    (rig.lab.spool / "jobs").mkdir()
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}
    assert settled(repo)


def test_a_host_that_was_off_for_days_ends_what_was_pending(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    rig.publisher.round()
    rig.clock.now += 3 * DAY
    rig.restart()
    rig.github.fail("*", "503", None)
    rig.publisher.round()
    rig.github.faults.clear()
    for _ in range(3):
        rig.round(1000.0)
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert settled(repo)


def test_a_commit_whose_status_is_refused_keeps_no_other_waiting_and_is_given_up(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    rig.publisher.round()
    rig.bench.round()
    failing(rig, "set_status", PublishError("HTTP 422"), lambda sha, *_: sha == HEAD)
    built(repo, NEWER)
    for _ in range(6):
        rig.round(950.0)
    assert finals(repo)[NEWER] == BOTH
    assert [job.commit_sha for job in rig.publisher.desk.store.jobs()] == [HEAD]
    rig.clock.now += 2 * DAY
    rig.rounds(1)
    assert rig.publisher.desk.store.jobs() == []


def test_a_token_that_may_post_no_status_keeps_nothing_from_being_looked_at(rig: Rig) -> None:
    """Each status backs off by itself, and is told once the token has its right again."""
    repo = rig.repository()
    rig.round()
    rights = {"actions": "read", "contents": "read", "pull_requests": "write", "statuses": "read"}
    rig.github.add_token(TOKEN, login="lab", kind="pat", permissions=rights)
    built(repo, HEAD)
    rig.rounds(3)
    [refused] = rig.publisher.desk.refusals.known.values()
    assert (refused.commit_sha, "403" in refused.what, "statuses: write" in refused.todo) == (HEAD, True, True)
    assert rig.publisher.pauses[f"github:{NAME}"].trouble == ""
    rig.github.reset_calls()
    for _ in range(30):
        rig.round()
    called = [call.operation for call in rig.github.calls]
    assert called.count("list_runs") == 30
    assert called.count("create_status") <= 6
    rig.github.add_token(TOKEN)
    for _ in range(2):
        rig.round(900.0)
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}
    assert settled(repo)
    assert rig.publisher.desk.refusals.known == {}


@pytest.mark.parametrize("once", [False, True], ids=["one publisher", "a new publisher each time"])
def test_a_pending_status_that_is_refused_for_a_day_is_given_up(rig: Rig, once: bool) -> None:
    """Also where cron starts the publisher (`--once`), so that none of them lives for a day."""
    repo = rig.repository()
    built(repo, HEAD)
    rounds = int(3 * DAY / (ANSWER_SECONDS / 2))
    for number in range(rounds):
        if once or not number:
            failing(rig, "set_status", PublishError("HTTP 422"), lambda _sha, context, *_: context == "hardware")
        rig.clock.now += ANSWER_SECONDS / 2
        rig.bench.round()
        rig.round()
    assert rig.publisher.desk.store.jobs() == []
    assert finals(repo)[HEAD] == {"hardware / hut-01": "error", "hardware / hut-02": "error"}


def test_an_answer_that_was_refused_is_not_posted_over_a_newer_one_of_its_commit(
    tmp_path: Path, github: FakeGitHub
) -> None:
    with Rig(tmp_path, github, f'{{"github:{NAME}": {{}}}}') as rig:
        repo = rig.repository()
        repo.add_pull(12, head_sha=HEAD)
        built(repo, HEAD)
        rig.publisher.round()
        refuses = [True]
        failing(rig, "set_status", PublishError("HTTP 403"), lambda *_: bool(refuses))
        rig.clock.now += 7 * 3600
        for _ in range(7):
            rig.clock.now += 901.0
            rig.publisher.round()
        refuses.clear()
        repo.add_comment(12, f"/hil @{HEAD}", login="ada")
        rig.rounds()
        rig.round(901.0)
        assert finals(repo) == {HEAD: BOTH}
        assert rig.publisher.desk.store.jobs() == []


def test_a_pull_request_that_takes_no_comment_is_answered_by_its_statuses(tmp_path: Path, github: FakeGitHub) -> None:
    with Rig(tmp_path, github, f'{{"github:{NAME}": {{events: [builds]}}}}') as rig:
        repo = rig.repository()
        repo.add_pull(12, head_sha=HEAD)
        rig.round()
        failing(rig, "own_comments", PublishError("HTTP 403"))
        built(repo, HEAD, push=None, event="pull_request", head_branch="feature", pull_requests=[12])
        rig.rounds()
        assert finals(repo) == {HEAD: BOTH}
        assert rig.publisher.desk.store.jobs() == []
        assert "note: HTTP 403" in rig.said


@pytest.mark.parametrize("hours", [0.5, 60.0], ids=["shortly", "longer than its time"])
def test_a_repository_that_disappears_and_comes_back(hours: float, rig: Rig) -> None:
    """A run on the bench is answered once it can be, or given up; what was pushed meanwhile is tested."""
    repo = rig.repository()
    built(repo, HEAD)
    rig.publisher.round()
    [gone] = [rig.github.repositories.pop(name) for name in list(rig.github.repositories)]
    rig.bench.round()
    for _ in range(6):
        rig.clock.now += hours * 600.0
        rig.bench.round()
        rig.round()
    assert "404" in rig.publisher.pauses[f"github:{NAME}"].trouble
    assert "give the token access" in rig.publisher.pauses[f"github:{NAME}"].todo
    rig.github.repositories[NAME] = gone
    built(repo, NEWER)
    for _ in range(3):
        rig.round(900.0)
    rig.rounds()
    assert finals(repo)[NEWER] == BOTH
    assert finals(repo)[HEAD] == (BOTH if hours < 1 else dict.fromkeys(BOTH, "pending"))
    assert rig.publisher.desk.store.jobs() == []
    assert rig.publisher.pauses[f"github:{NAME}"].trouble == ""


# --- a watchdog ---------------------------------------------------------------------------------------------------


def test_a_slow_forge_is_no_hang_and_a_hang_is_one(tmp_path: Path, github: FakeGitHub) -> None:
    """Twenty repositories of which each takes eight minutes; then one that takes for ever."""
    names = [f"acme/number-{number}" for number in range(20)]
    with Rig(tmp_path, github, "{" + ", ".join(f'"github:{name}": {{}}' for name in names) + "}") as rig:
        for name in names:
            rig.repository(name)
        beats, opened = [rig.clock.now], rig.publisher.open_forge

        def slow(watched: Any, deadline: Any) -> Any:
            rig.clock.now += 480.0
            return opened(watched, deadline)

        rig.publisher.open_forge, rig.publisher.alive = slow, lambda: beats.append(rig.clock.now)
        rig.publisher.round()
        assert max(later - earlier for earlier, later in pairwise(beats)) <= 480.0
        assert beats[-1] - beats[0] == 20 * 480.0

        def hung(_watched: Any, _deadline: Any) -> Any:
            rig.clock.now += 3600.0
            raise Cancelled(signal.SIGABRT)  # as systemd ends it

        rig.publisher.open_forge, count = hung, len(beats)
        with pytest.raises(Cancelled):
            rig.publisher.round()
        assert len(beats) == count


def test_a_slow_download_is_no_hang(rig: Rig) -> None:
    built(rig.repository(), HEAD)
    opened = rig.publisher.open_forge

    def slow(watched: Watched, deadline: Deadline) -> Forge:
        forge = opened(watched, deadline)
        return replace(forge, builds=Slow(forge.builds, rig))  # type: ignore[arg-type]

    beats: list[float] = []
    rig.publisher.open_forge, rig.publisher.alive = slow, lambda: beats.append(rig.clock.now)
    rig.bench.round()
    rig.round()
    assert beats[-1] - beats[0] >= 540.0
    assert max(later - earlier for earlier, later in pairwise(beats)) <= 60.0


class Slow:
    """Builds of which each download takes nine minutes, a part every minute."""

    def __init__(self, inner: Any, rig: Rig) -> None:
        self._inner, self._rig = inner, rig

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def download(self, product: Any, into: Path, on_progress: Callable[[int, int], None]) -> None:
        for part in range(9):
            self._rig.clock.now += 60.0
            on_progress(part, 9)
        self._inner.download(product, into, on_progress)


# --- clocks, and limits that are none ------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_stops_nothing(rig: Rig) -> None:
    repo = rig.repository()
    rig.clock.now += 3650 * DAY
    rig.rounds(2)
    rig.clock.now -= 3650 * DAY
    built(repo, HEAD)
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}


def test_a_clock_that_is_set_back_makes_no_older_commit_the_newer_one(rig: Rig) -> None:
    repo = rig.repository()
    rig.rounds(1)
    built(repo, HEAD)
    rig.clock.now += 31
    rig.publisher.round()
    rig.clock.now -= 3600
    rig.restart()
    built(repo, NEWER)
    rig.publisher.round()
    rig.rounds()
    assert finals(repo)[NEWER] == BOTH
    assert settled(repo)


def test_a_clock_that_is_set_back_uses_up_no_runs(tmp_path: Path, github: FakeGitHub) -> None:
    """What began "tomorrow" counts for nobody's day."""
    with Rig(tmp_path, github, f'{{"github:{NAME}": {{max_runs_per_day: 2}}}}') as rig:
        repo = rig.repository()
        rig.clock.now += 3650 * DAY
        rig.bench.round()
        built(repo, HEAD)
        rig.rounds()
        rig.clock.now -= 3640 * DAY
        rig.bench.round()
        built(repo, NEWER)
        rig.rounds()
        assert finals(repo) == {HEAD: BOTH, NEWER: BOTH}


def test_a_pause_without_end_is_not_kept(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    error, lasts = ForgeUnavailable("HTTP 429"), [True]
    error.pause = 1e12
    failing(rig, "look", error, lambda *_: bool(lasts))
    rig.round()
    lasts.clear()
    rig.round(2 * 3600 + 1.0)
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}


# --- a repository that is watched no longer -------------------------------------------------------------------------


@pytest.mark.parametrize("handed", [False, True], ids=["waiting", "on the bench"])
def test_a_repository_that_lab_yml_no_longer_names_is_told_so(handed: bool, rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    if not handed:
        [run] = repo.runs
        run.artifacts.clear()
        repo.add_pull(12, head_sha=HEAD, created="2026-02-12T12:00:00Z")
        run.status, run.conclusion = "in_progress", None
        rig.publisher.round()
        repo.add_comment(12, f"/hil @{HEAD}", login="ada")
        rig.clock.now += 31
    rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"pending"}
    rig.lab = replace(rig.lab, projects=())
    rig.restart()
    rig.round()
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert "no longer watches this repository" in texts(repo, HEAD)["hardware / hut-01"]
    assert settled(repo)
    rig.github.reset_calls()
    rig.rounds(2)
    assert (rig.github.calls, rig.publisher.pauses, rig.publisher.desk.store.jobs()) == ([], {}, [])


def test_what_nobody_knew_of_is_dropped_with_its_repository(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    failing(rig, "set_status", ForgeUnavailable("HTTP 503"))
    rig.publisher.round()
    rig.restart()
    [job] = rig.publisher.desk.store.jobs()
    rig.publisher.desk.store.recall(job)
    rig.lab = replace(rig.lab, projects=())
    rig.restart()
    rig.publisher.round()
    assert (repo.posted_statuses, rig.publisher.desk.store.jobs()) == ([], [])


def test_a_repository_that_is_named_again_begins_anew(rig: Rig) -> None:
    """Nobody meant this lab by what was said while it did not watch; what was tested is not tested again."""
    repo = rig.repository()
    built(repo, HEAD, created=datetime(2026, 2, 12, 12, 0, tzinfo=UTC))  # whole seconds before it is asked for
    repo.add_pull(12, head_sha=HEAD)
    rig.rounds()
    watching = rig.lab
    rig.lab = replace(rig.lab, projects=(Watched("github:acme/other"),))
    rig.github.repository("acme/other")
    rig.restart()
    rig.rounds(2)
    repo.add_comment(12, "/hil", login="ada")
    rig.lab = watching
    rig.restart()
    rig.rounds()
    assert len(rig.bench.ran) == 2
    repo.add_comment(12, "/hil", login="ada")
    rig.rounds()
    assert len(rig.bench.ran) == 4


def test_the_only_repository_that_is_named_again_begins_anew(tmp_path: Path) -> None:
    """Without any to watch there is no round in which it could be parted with."""
    lab, folder = tmp_path / "lab.yml", tmp_path / "publisher"
    lab.write_text(f"state_dir: {tmp_path}\nslots: {{hut-01: {{serial: /dev/serial/by-id/a}}}}\n")
    folder.mkdir(0o700)
    with Store(folder / "watch.db") as store:
        store.see(f"github:{NAME}", (), {"comment": "7"}, 0.0)
    told = CliRunner().invoke(publisher, ["--once", "--lab", str(lab)])
    assert isinstance(told.exception, ConfigError)
    with Store(folder / "watch.db") as store:
        assert store.marks(f"github:{NAME}") == {}


def test_a_token_that_may_end_it_no_longer_is_told_and_given_up_in_the_end(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    rig.publisher.round()
    rig.github._tokens.clear()
    rig.lab = replace(rig.lab, projects=())
    rig.restart()
    rig.round()
    [refused] = rig.publisher.desk.refusals.known.values()
    assert "401" in refused.what
    rig.clock.now += 2 * DAY
    rig.round()
    assert rig.publisher.desk.store.jobs() == []
    assert any("nobody could be told" in said for said in rig.said)


def test_a_forge_that_does_not_come_back_is_no_trouble_once_its_repository_was_given_up(rig: Rig) -> None:
    built(rig.repository(), HEAD)
    rig.publisher.round()
    rig.lab = replace(rig.lab, projects=())
    failing(rig, "set_status", ForgeUnavailable("HTTP 503"))
    rig.round()
    assert rig.publisher.pauses[f"github:{NAME}"].trouble == "HTTP 503"
    rig.round(2 * DAY)
    assert (rig.publisher.desk.store.jobs(), rig.publisher.pauses) == ([], {})


# --- what `watch status` says of it ---------------------------------------------------------------------------------


def shown(rig: Rig) -> str:
    written(rig.publisher)
    lab = rig.folder / "lab.yml"
    lab.write_text(f"state_dir: {rig.folder}/state\nslots: {{hut-01: {{serial: /dev/serial/by-id/board-1}}}}\n")
    return str(CliRunner().invoke(status, ["--lab", str(lab)]).output)


def test_a_repository_that_was_never_looked_at_is_not_looked_at_again(rig: Rig) -> None:
    built(rig.repository(), HEAD)
    seen: list[str] = []
    rig.publisher.alive = lambda: seen.append(shown(rig))
    rig.publisher.round()
    assert f"github:{NAME}: not looked at yet\n" in seen[0]
    assert f"github:{NAME}: looked at, again at 20" in shown(rig)
    rig.lab = replace(rig.lab, projects=())
    failing(rig, "set_status", PublishError("HTTP 403"))
    rig.round()
    assert f"github:{NAME}: watched no longer, what is pending has to be ended\n" in shown(rig)
    assert "not told yet: HTTP 403, again at 20" in shown(rig)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_who_may_not_look_into_the_spool_is_told_so() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        lab = Path(folder) / "lab.yml"
        lab.write_text(
            f"spool_dir: {folder}/spool\nstate_dir: {folder}\nslots: {{hut-01: {{serial: /dev/serial/by-id/a}}}}\n"
        )
        (Path(folder) / "spool" / "jobs").mkdir(parents=True)
        (Path(folder) / "spool").chmod(0o700)
        ask = ["--lab", str(lab)]
        answer = CliRunner().invoke(status, ask)
        assert "publisher: was never heard of\nbench: was never heard of\n    do: " in answer.output
        os.seteuid(65534)
        try:
            refused = CliRunner().invoke(status, ask)
        finally:
            os.seteuid(0)
    assert isinstance(refused.exception, ConfigError)
    assert "cannot be looked into: Permission denied" in refused.exception.what


def test_a_process_that_was_there_is_told_from_one_that_never_was(rig: Rig) -> None:
    rig.repository()
    rig.round()
    folder = rig.publisher.desk.spool
    document = json.loads((folder / "jobs" / "status.json").read_text()) if shown(rig) else {}
    (folder / "jobs" / "status.json").write_text(json.dumps({**document, "at": 1795000000.0}))
    lab = str(rig.folder / "lab.yml")
    assert "publisher: last heard of at 2026-11-18T" in CliRunner().invoke(status, ["--lab", lab]).output
