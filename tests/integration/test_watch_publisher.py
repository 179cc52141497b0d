"""What stands on a forge in the end, whatever happened there: the publisher against a fake GitHub."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.github import FakeGitHub
from fakes.github_state import Repository
from slowness import slowness
from watch_rig import BASE, DAY, HEAD, NAME, NEWER, Rig, built, finals, settled, texts

from hut_ci.watch import spool
from hut_ci.watch.away import START_SECONDS, bring_back, send_away

ADDRESS = f"github:{NAME}"
NOON = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)
BOTH = {"hardware / hut-01": "success", "hardware / hut-02": "success", "hardware": "success"}
MINE = "mallory/firmware"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        yield server
        assert server.violations == []


@pytest.fixture
def rig(tmp_path: Path, github: FakeGitHub) -> Iterator[Rig]:
    events = "events: [push, builds, label, comment]"
    with Rig(tmp_path, github, f'{{"{ADDRESS}": {{forks: asked, {events}}}}}') as made:
        yield made


def asked(rig: Rig, body: str = "/hil", *, login: str = "ada", **more: Any) -> Any:
    """Somebody comments on pull request 12 after the publisher's first look; its head was built before."""
    repo = rig.repository()
    repo.add_pull(12, **{"head_sha": HEAD, "created": NOON, **more})
    fork = {"head_repository": more["head_repository"], "head_repository_id": 66} if "head_repository" in more else {}
    built(repo, HEAD, push=None, event="pull_request", head_branch="feature", created=NOON, **fork)
    rig.round()
    return repo.add_comment(12, body, login=login)


def still_building(repo: Repository) -> Callable[[], None]:
    """Take the artifact of the only build away; the function that comes back finishes it."""
    [run] = repo.runs
    kept = run.artifacts[:]
    run.artifacts.clear()
    run.status, run.conclusion = "in_progress", None

    def finish() -> None:
        run.artifacts.extend(kept)
        run.status, run.conclusion = "completed", "success"

    return finish


# --- what asks for a run ------------------------------------------------------------------------------------------


def test_a_push_is_tested_on_every_slot_and_nothing_happens_twice(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}
    assert settled(repo)
    assert [(sha, slot) for sha, slot, _ in rig.bench.ran] == [(HEAD, "hut-01"), (HEAD, "hut-02")]


def test_a_label_is_tested_and_taken_off(rig: Rig) -> None:
    repo = rig.repository()
    repo.add_pull(12, head_sha=HEAD)
    built(repo, HEAD, push=None, event="pull_request", head_branch="feature", created=NOON)
    rig.round()
    repo.add_label(12, "bug")
    repo.add_label(12, "hil:hut-02", login="ada")
    rig.rounds()
    assert finals(repo) == {HEAD: {"hardware / hut-02": "success"}}
    assert repo.pulls[12].labels == ["bug"]
    assert settled(repo)


def test_a_comment_is_understood_and_tested(rig: Rig) -> None:
    comment = asked(rig, "/hil hut-01")
    rig.rounds()
    repo = rig.repository()
    assert finals(repo) == {HEAD: {"hardware / hut-01": "success"}}
    assert [reaction["content"] for reaction in comment.reactions] == ["eyes"]
    assert repo.comments(12)[1:] == []


def test_who_may_not_write_is_told_so_once(rig: Rig) -> None:
    asked(rig, login="mallory")
    rig.rounds(2)
    repo = rig.repository()
    repo.add_comment(12, "/hil", login="mallory")
    rig.rounds(2)
    assert finals(repo) == {}
    assert ["only who may write" in comment["body"] for comment in repo.comments(12)] == [False, True, False]


def test_a_stranger_does_not_take_away_what_somebody_else_was_told(rig: Rig) -> None:
    asked(rig, head_repository=MINE, head_repository_id=66)
    rig.rounds(2)
    repo = rig.repository()
    repo.add_comment(12, "/hil", login="mallory")
    rig.rounds(2)
    told = [str(comment["body"]) for comment in repo.comments(12)]
    assert ["the commit has to be named" in body for body in told] == [False, True, False, False]
    assert ["only who may write" in body for body in told] == [False, False, False, True]


def test_a_refusal_does_not_stay_beside_a_test(rig: Rig) -> None:
    asked(rig, "/hil nosuch")
    rig.rounds(2)
    repo = rig.repository()
    [_, told] = repo.comments(12)
    assert "Not tested" in told["body"]
    repo.add_comment(12, "/hil hut-01", login="ada")
    rig.rounds()
    assert ["Not tested" in comment["body"] for comment in repo.comments(12)] == [False, False, False]
    assert "tested" in repo.comments(12)[1]["body"]


def test_a_label_is_taken_off_where_no_comment_is_taken(tmp_path: Path, github: FakeGitHub) -> None:
    """A locked pull request, say; it would seem to wait for the lab for ever."""
    with Rig(tmp_path, github, f'{{"{ADDRESS}": {{}}}}') as rig:
        repo = rig.repository()
        repo.add_pull(12, head_sha=HEAD)
        rig.round()
        repo.add_label(12, "hil", login="mallory")
        github.fail("create_comment", "403", None)
        rig.rounds(2)
        assert (repo.pulls[12].labels, len(repo.comments(12))) == ([], 0)


def test_help_is_given(rig: Rig) -> None:
    asked(rig, "/hil help", login="mallory")
    rig.rounds()
    assert "Who may write" in rig.repository().comments(12)[1]["body"]


def test_a_build_of_ones_own_pull_request_is_tested_and_judged_by_the_base(rig: Rig) -> None:
    repo = rig.repository()
    repo.add_pull(12, head_sha=HEAD)
    rig.round()
    built(repo, HEAD, push=None, event="pull_request", head_branch="feature", pull_requests=[12])
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}


@pytest.mark.parametrize(
    ("hut", "words"), [("suite: {expect: [}", "hut.yml"), ("variants: {x: {needs: {chip: esp32c6}}}", "no board fits")]
)
def test_a_push_that_cannot_be_tested_says_why_on_its_commit(rig: Rig, hut: str, words: str) -> None:
    repo = rig.repository()
    repo.add_commit(HEAD, files={"hut.yml": hut}, parents=[BASE])
    built(repo, HEAD)
    rig.rounds()
    assert finals(repo) == {HEAD: {"hardware": "error"}}
    assert words in texts(repo, HEAD)["hardware"]
    assert len(repo.posted_statuses) == 1


# --- forks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "is_tested"), [("/hil", False), (f"/hil @{HEAD}", True), (f"/hil @{NEWER}", False)])
def test_a_forks_commit_has_to_be_named(rig: Rig, body: str, is_tested: bool) -> None:
    asked(rig, body, head_repository=MINE, head_repository_id=66)
    rig.rounds()
    repo = rig.repository()
    assert finals(repo) == ({HEAD: BOTH} if is_tested else {})
    assert settled(repo)


def test_a_forks_own_build_and_a_label_start_nothing(rig: Rig) -> None:
    repo = rig.repository()
    repo.add_pull(12, head_sha=HEAD, head_repository=MINE, head_repository_id=66)
    built(repo, HEAD, push=None, event="pull_request", head_repository=MINE, head_repository_id=66, created=NOON)
    rig.round()
    repo.add_label(12, "hil", login="ada")
    rig.rounds()
    assert finals(repo) == {}
    assert "has to be named" in repo.comments(12)[0]["body"]
    assert repo.pulls[12].labels == []


def test_forks_never_unless_lab_yml_says_so(tmp_path: Path, github: FakeGitHub) -> None:
    with Rig(tmp_path, github, f'{{"{ADDRESS}": {{}}}}') as rig:
        asked(rig, f"/hil @{HEAD}", head_repository=MINE, head_repository_id=66)
        rig.rounds()
        assert finals(rig.repository()) == {}


# --- the head moves ------------------------------------------------------------------------------------------------


def test_a_head_that_moved_before_it_was_decided_is_not_tested(rig: Rig) -> None:
    asked(rig, f"/hil @{HEAD}")
    repo = rig.repository()
    built(repo, NEWER, push=None, event="pull_request", head_branch="feature")
    repo.pulls[12].head_sha = NEWER
    rig.rounds()
    assert finals(repo) == {}
    assert "is 777777777777 now" in repo.comments(12)[1]["body"]


def test_a_head_that_moved_while_it_waited_is_ended(rig: Rig) -> None:
    asked(rig, f"/hil @{HEAD}")
    repo = rig.repository()
    still_building(repo)
    rig.rounds(2)
    assert set(finals(repo)[HEAD].values()) == {"pending"}
    built(repo, NEWER, push=None, event="pull_request", head_branch="feature", pull_requests=[12])
    repo.pulls[12].head_sha = NEWER
    rig.rounds()
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert "superseded" not in texts(repo, HEAD)["hardware / hut-01"]
    assert finals(repo)[NEWER] == BOTH
    assert settled(repo)


def test_a_branch_that_was_elsewhere_for_a_moment_is_tested_when_it_is_back(rig: Rig) -> None:
    """Where the other commit was never built, nothing but a build of the first one says that it is back."""
    repo = rig.repository()
    built(repo, HEAD)
    repo.set_branch("main", NEWER)
    rig.rounds()
    assert finals(repo) == {}
    built(repo, HEAD)
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}


def test_a_base_that_was_changed_while_it_waited_is_not_asked(rig: Rig) -> None:
    asked(rig, f"/hil @{HEAD}")
    repo = rig.repository()
    repo.set_branch("lenient", BASE)
    finish = still_building(repo)
    rig.rounds(2)
    repo.pulls[12].base_ref = "lenient"
    finish()
    rig.rounds()
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert "refused" in texts(repo, HEAD)["hardware / hut-01"]


def test_a_build_that_finishes_later_is_waited_for(rig: Rig) -> None:
    asked(rig, f"/hil @{HEAD}")
    repo = rig.repository()
    finish = still_building(repo)
    rig.rounds()
    assert set(finals(repo)[HEAD].values()) == {"pending"}
    rig.github.reset_calls()
    rig.rounds()
    assert {call.operation for call in rig.github.calls} == {"list_runs", "list_issues"}, "nothing has changed"
    finish()
    rig.rounds()
    assert finals(repo) == {HEAD: BOTH}


def test_a_build_that_fails_is_told(rig: Rig) -> None:
    asked(rig, f"/hil @{HEAD}")
    repo = rig.repository()
    [run] = repo.runs
    run.conclusion = "failure"
    run.artifacts.clear()
    rig.rounds()
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert "the build failed" in texts(repo, HEAD)["hardware / hut-01"]


def test_a_deleted_branch_is_not_tested(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    del repo.branches["main"]
    rig.rounds()
    assert finals(repo) == {}


def test_a_force_push_tests_what_the_branch_is_now(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    built(repo, NEWER)
    rig.rounds()
    assert finals(repo) == {NEWER: BOTH}
    built(repo, HEAD)
    rig.rounds()
    assert finals(repo) == {NEWER: BOTH, HEAD: BOTH}
    assert settled(repo)


def test_a_branch_that_returns_to_a_commit_has_it_tested_after_all(rig: Rig) -> None:
    """It was ended as superseded before it had its turn."""
    repo = rig.repository()
    for sha in (BASE, HEAD, NEWER, HEAD):
        built(repo, sha)
        rig.clock.now += 31
        rig.publisher.round()  # the slots are busy with the first one
    rig.rounds()
    assert finals(repo)[HEAD] == BOTH
    assert [sha for sha, *_ in rig.bench.ran].count(HEAD) == 2


def test_a_commit_that_two_watched_branches_have_is_tested_for_each(tmp_path: Path, github: FakeGitHub) -> None:
    """The same workflow has built it for both; the run of the branch that asks counts."""
    with Rig(tmp_path, github, f'{{"github:{NAME}": {{branches: [main, "release/*"]}}}}') as rig:
        repo = rig.repository()
        built(repo, HEAD)
        rig.rounds()
        built(repo, HEAD, push="release/1")
        rig.rounds()
        assert finals(repo) == {HEAD: BOTH}
        assert [sha for sha, *_ in rig.bench.ran] == [HEAD] * 4


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_fifty_pull_requests_at_once_on_two_slots(rig: Rig) -> None:
    repo = rig.repository()
    rig.round()
    heads = [f"{number:040x}" for number in range(1, 51)]
    for number, sha in enumerate(heads, 1):
        repo.add_pull(number, head_sha=sha)
        built(repo, sha, push=None, event="pull_request", head_branch=f"f{number}", created=NOON)
        repo.add_comment(number, "/hil hut-01" if number % 2 else "/hil hut-02", login="ada")
    for _ in range(40):
        rig.round()
    assert {sha: set(states.values()) for sha, states in finals(repo).items()} == {sha: {"success"} for sha in heads}
    assert settled(repo)
    assert len(rig.bench.ran) == 50
    assert len({sha for sha, _, _ in rig.bench.ran}) == 50


def crowded(repo: Repository, count: int) -> list[str]:
    """So many open pull requests of the repository's own branches, each with a build that has succeeded."""
    heads = [f"{number:040x}" for number in range(1, count + 1)]
    for number, sha in enumerate(heads, 1):
        repo.add_pull(number, head_sha=sha)
        of_it = {"head_branch": f"f{number}", "pull_requests": [number]}
        built(repo, sha, push=None, event="pull_request", created=NOON, **of_it)
    return heads


def test_the_first_look_at_two_hundred_pull_requests_starts_none_of_their_runs(rig: Rig) -> None:
    """Only what is built from then on counts, also where a build that still ran leads to the second page."""
    repo = rig.repository()
    heads = crowded(repo, 200)
    repo.runs[110].status, repo.runs[110].conclusion = "in_progress", None
    rig.github.reset_calls()
    rig.round()
    assert len(rig.github.calls) <= 5
    for sha in heads[:60]:
        built(repo, sha, push=None, event="schedule")
    rig.rounds(3)
    assert (finals(repo), rig.bench.ran) == ({}, [])
    repo.runs[110].status, repo.runs[110].conclusion = "completed", "success"
    built(repo, NEWER, push=None, event="pull_request", head_branch="f7", pull_requests=[7])
    repo.pulls[7].head_sha = NEWER
    rig.rounds()
    assert finals(repo) == {heads[110]: BOTH, NEWER: BOTH}
    rig.rounds(1)
    rig.github.reset_calls()
    rig.rounds(3)
    assert [call.status for call in rig.github.calls] == [304] * 6


@pytest.mark.real
@pytest.mark.timeout(900)
def test_two_hundred_comments_at_once_are_two_pages_and_a_few_calls_each(rig: Rig) -> None:
    repo = rig.repository()
    heads = crowded(repo, 200)
    rig.round()
    for number in range(1, 201):
        repo.add_comment(number, "/hil hut-01", login="ada")
    rig.github.reset_calls()
    began = time.monotonic()
    rig.clock.now += 31
    rig.publisher.round()
    took, calls = time.monotonic() - began, Counter(call.operation for call in rig.github.calls)
    assert {sha: set(states.values()) for sha, states in finals(repo).items()} == {sha: {"pending"} for sha in heads}
    assert calls["list_all_comments"] == 3
    assert sum(calls.values()) <= 200 * 12, calls
    assert took < 120 or took < 120 * slowness()


def test_the_newest_commit_of_a_branch_comes_first_and_older_ones_are_told(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    rig.publisher.round()
    rig.publisher.round()
    other = "11" * 20
    built(repo, other)
    rig.clock.now += 31
    rig.publisher.round()
    built(repo, NEWER)
    rig.rounds()
    assert finals(repo)[HEAD] == BOTH, "it was being tested when the others came"
    assert set(finals(repo)[other].values()) == {"error"}
    assert texts(repo, other)["hardware / hut-01"].startswith("cancelled: 777777777777 was asked for since")
    assert finals(repo)[NEWER] == BOTH
    assert settled(repo)


@pytest.mark.real
def test_a_repository_with_much_to_test_does_not_starve_another(tmp_path: Path, github: FakeGitHub) -> None:
    projects = f'{{"{ADDRESS}": {{}}, "github:acme/small": {{}}}}'
    with Rig(tmp_path, github, projects, slots=1) as rig:
        many, small = rig.repository(), rig.repository("acme/small")
        rig.round()
        for number in range(1, 21):
            sha = f"{number:040x}"
            many.add_pull(number, head_sha=sha)
            built(many, sha, push=None, event="pull_request", created=NOON)
            many.add_comment(number, "/hil", login="ada")
        rig.rounds(2)
        built(small, HEAD)
        rig.rounds(4)
        assert finals(small)[HEAD]["hardware / hut-01"] == "success"
        assert len(rig.bench.ran) < 10


# --- limits ----------------------------------------------------------------------------------------------------------


def test_only_the_slots_of_the_repository(tmp_path: Path, github: FakeGitHub) -> None:
    with Rig(tmp_path, github, f'{{"{ADDRESS}": {{slots: [hut-02]}}}}') as rig:
        repo = rig.repository()
        built(repo, HEAD)
        rig.rounds()
        assert set(finals(repo)[HEAD]) == {"hardware / hut-02", "hardware"}


def test_the_runs_of_a_day_are_limited(tmp_path: Path, github: FakeGitHub) -> None:
    with Rig(tmp_path, github, f'{{"{ADDRESS}": {{max_runs_per_day: 3}}}}') as rig:
        repo = rig.repository()
        built(repo, HEAD)
        rig.rounds()
        built(repo, NEWER)
        rig.rounds()
        assert finals(repo)[HEAD] == BOTH
        assert set(finals(repo)[NEWER].values()) == {"error"}
        assert "used up its 3 runs" in texts(repo, NEWER)["hardware / hut-01"]
        rig.clock.now += DAY
        rig.bench.round()
        built(repo, "11" * 20)
        rig.rounds()
        assert finals(repo)["11" * 20] == BOTH


def test_outside_its_hours_a_run_waits_and_its_time_limit_with_it(tmp_path: Path, github: FakeGitHub) -> None:
    begin = datetime.now().astimezone() + timedelta(hours=10)
    hours = f"{begin:%H:%M}-{begin + timedelta(hours=2):%H:%M}"
    with Rig(tmp_path, github, f'{{"{ADDRESS}": {{hours: "{hours}"}}}}') as rig:
        repo = rig.repository()
        built(repo, HEAD)
        rig.rounds()
        assert set(finals(repo)[HEAD].values()) == {"pending"}
        for _ in range(10):
            rig.clock.now += 3600
            rig.bench.round()
            rig.round()
        rig.rounds()
        assert finals(repo)[HEAD] == BOTH


def test_what_the_end_of_the_hours_overtakes_waits_for_the_next_ones(tmp_path: Path, github: FakeGitHub) -> None:
    """Announced shortly before the end, with an artifact that comes after it."""
    now = datetime.now().astimezone()
    hours = f"{now - timedelta(hours=2):%H:%M}-{now + timedelta(minutes=4):%H:%M}"
    with Rig(tmp_path, github, f'{{"{ADDRESS}": {{hours: "{hours}"}}}}') as rig:
        asked(rig, f"/hil @{HEAD}")
        repo = rig.repository()
        finish = still_building(repo)
        rig.rounds(2)
        assert set(finals(repo)[HEAD].values()) == {"pending"}
        rig.clock.now += 300
        finish()
        for _ in range(21):
            rig.clock.now += 3600
            rig.bench.round()
            rig.round()
            assert set(finals(repo)[HEAD].values()) == {"pending"}
            assert rig.bench.ran == []
        rig.round(1800.0)
        for _ in range(6):
            rig.round(600.0)
        assert finals(repo)[HEAD] == BOTH


def test_a_lab_that_is_away_says_so_once_and_catches_up_with_the_newest(rig: Rig) -> None:
    repo = rig.repository()
    rig.round()
    send_away(rig.lab.spool, "2999-01-01T00:00:00Z")
    built(repo, HEAD)
    rig.rounds(2)
    assert "away until 2999-01-01" in texts(repo, HEAD)["hardware / hut-01"]
    built(repo, NEWER)
    rig.rounds(2)
    assert set(finals(repo)) == {HEAD}, "silence"
    assert bring_back(rig.lab.spool)
    rig.rounds()
    assert finals(repo)[NEWER] == BOTH
    assert settled(repo)
    assert {sha for sha, _, _ in rig.bench.ran} == {NEWER}


def test_what_is_half_tested_when_the_lab_goes_away_is_told_so_and_caught_up(
    tmp_path: Path, github: FakeGitHub
) -> None:
    """One slot has answered, the other one is somebody else's yet: its answer will not come for a month."""
    other = "acme/other"
    projects = f'{{"{ADDRESS}": {{}}, "github:{other}": {{slots: [hut-02]}}}}'
    with Rig(tmp_path, github, projects) as rig:
        built(rig.repository(other), BASE)
        rig.clock.now += 31
        rig.publisher.round()
        repo = rig.repository()
        built(repo, HEAD)
        rig.clock.now += 31
        rig.publisher.round()
        rig.bench.round(slot="hut-01")
        send_away(rig.lab.spool, "2999-01-01T00:00:00Z")
        for _ in range(3):
            rig.clock.now += 31
            rig.publisher.round()
        assert "away until 2999-01-01" in texts(repo, HEAD)["hardware / hut-02"]
        assert finals(repo)[HEAD] == {"hardware / hut-01": "success", "hardware / hut-02": "error", "hardware": "error"}
        assert bring_back(rig.lab.spool)
        rig.rounds()
        assert finals(repo)[HEAD] == BOTH
        assert [slot for sha, slot, _ in rig.bench.ran if sha == HEAD] == ["hut-01", "hut-02"]
        assert "pending" not in [s.state for s in repo.posted_statuses if s.context == "hardware / hut-01"][1:]


def test_what_waits_for_somebodys_slot_when_the_lab_goes_away_is_taken_back(rig: Rig) -> None:
    """It would be begun on boards that are gone by then. What has begun comes to its end."""
    repo = rig.repository()
    built(repo, HEAD)
    rig.clock.now += 31
    rig.publisher.round()
    first, second = spool.ready(rig.lab.spool, spool.JOBS)
    spool.begin(rig.lab.spool, first)
    send_away(rig.lab.spool, "2999-01-01T00:00:00Z")
    rig.publisher.round()
    assert spool.ready(rig.lab.spool, spool.JOBS) == [first]
    rig.bench.round()
    rig.publisher.round()
    told = texts(repo, HEAD)
    assert sorted("away until 2999-01-01" in told[f"hardware / hut-0{n}"] for n in (1, 2)) == [False, True]
    assert bring_back(rig.lab.spool)
    rig.rounds()
    assert finals(repo)[HEAD] == BOTH
    assert sorted(name for *_, name in rig.bench.ran) == sorted([first, second])


def test_a_bench_that_begins_a_moment_after_the_publisher_is_not_away(rig: Rig) -> None:
    """Both begin when the host does; "blocked" would stand there for some seconds."""
    repo = rig.repository()
    built(repo, HEAD)
    rig.clock.now += DAY
    rig.publisher.since = rig.clock.now
    rig.clock.now += 5
    rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"pending"}
    rig.clock.now += 2 * START_SECONDS
    rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"error"}


def test_a_bench_that_is_off_is_told_and_what_waits_is_tested_when_it_is_back(rig: Rig) -> None:
    repo = rig.repository()
    rig.clock.now += 2000
    built(repo, HEAD)
    for _ in range(3):
        rig.clock.now += 31
        rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert "started again" in texts(repo, HEAD)["hardware"] + texts(repo, HEAD)["hardware / hut-01"]
    rig.bench.round()
    rig.rounds()
    assert finals(repo)[HEAD] == BOTH


def test_a_pending_status_never_outlives_its_time(rig: Rig) -> None:
    repo = rig.repository()
    built(repo, HEAD)
    for _ in range(2):
        rig.publisher.round()
    assert "pending" in finals(repo)[HEAD].values()
    rig.clock.now += 6 * 3600 + 60
    rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert "no answer from the lab" in texts(repo, HEAD)["hardware / hut-01"]
    rig.rounds()
    assert settled(repo)


# --- the forge fails -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["503", "closed", "garbage", "rate_limit_primary", "429"])
def test_a_forge_that_is_down_for_an_hour_changes_nothing_of_the_end(rig: Rig, fault: str) -> None:
    asked(rig, f"/hil @{HEAD}")
    repo = rig.repository()
    built(repo, NEWER)
    rig.github.fail("*", fault, None)
    for _ in range(8):
        rig.round(450.0)
    rig.github.faults.clear()
    for _ in range(6):
        rig.round(950.0)
    assert finals(repo) == {HEAD: BOTH, NEWER: BOTH}
    assert settled(repo)
    assert BASE not in finals(repo)


def test_a_limit_is_waited_for_as_long_as_the_forge_says(rig: Rig) -> None:
    repo = rig.repository()
    rig.round()
    rig.github.fail("*", "rate_limit_primary", 1)
    rig.round()
    rig.github.reset_calls()
    for _ in range(30):
        rig.round(100.0)
    assert rig.github.calls == [], "an hour, as X-RateLimit-Reset said"
    built(repo, HEAD)
    for _ in range(3):
        rig.round(1000.0)
    assert finals(repo)[HEAD] == BOTH


def test_an_idle_look_is_two_requests_that_do_not_count(rig: Rig) -> None:
    rig.repository().add_pull(12, head_sha=HEAD)
    rig.rounds(2)
    rig.github.reset_calls()
    used = dict(rig.github._used)
    rig.rounds(5)
    assert [(call.operation, call.status) for call in rig.github.calls] == [
        ("list_runs", 304),
        ("list_issues", 304),
    ] * 5
    assert rig.github._used == used


# --- what the bench says is not believed without a look ---------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    "fault", ["missing", "no JSON", "another commit", "link", "a build from elsewhere", "an answer to another request"]
)
def test_a_report_that_is_none_is_never_green(rig: Rig, fault: str, tmp_path: Path) -> None:
    import json

    from watch_rig import report

    from hut_ci.watch import spool

    repo = rig.repository()
    built(repo, HEAD)
    rig.publisher.round()
    folder = rig.lab.spool
    for name in spool.ready(folder, spool.JOBS):
        request = spool.read_request(folder, name)
        document = report(request)
        out = spool.begin(folder, name)
        if fault == "another commit":
            document = report(request, NEWER)
        if fault == "an answer to another request":
            document["hardware"]["request_digest"] = "0" * 64
        if fault == "a build from elsewhere":
            document["hardware"]["artifact"]["source"] = "local"
        if fault == "link":
            (tmp_path / "elsewhere").write_text(json.dumps(document))
            (out / spool.REPORT).symlink_to(tmp_path / "elsewhere")
        elif fault != "missing":
            (out / spool.REPORT).write_text("{" if fault == "no JSON" else json.dumps(document))
        spool.finish(folder, name)
    rig.publisher.round()
    assert set(finals(repo)[HEAD].values()) == {"error"}
    assert settled(repo)
