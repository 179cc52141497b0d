"""The publisher against a fake GitLab: the same events, the same end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.github_state import zip_of
from fakes.gitlab import FakeGitLab
from fakes.gitlab_state import Project
from watch_rig import BASE, HEAD, NAME, NEWER, TOKEN, Rig

HUT = "artifact: {job: build}\nsuite: {expect: [ready]}\n"
BOTH = {"hardware / hut-01": "success", "hardware / hut-02": "success", "hardware": "success"}
EARLIER = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def gitlab() -> Iterator[FakeGitLab]:
    with FakeGitLab() as server:
        yield server
        assert server.violations == []


@pytest.fixture
def rig(tmp_path: Path, gitlab: FakeGitLab) -> Iterator[Rig]:
    projects = f'{{"gitlab:{NAME}": {{forks: asked, events: [push, builds, label, comment]}}}}'
    with Rig(tmp_path, gitlab, projects) as made:
        yield made


@pytest.fixture
def project(gitlab: FakeGitLab) -> Project:
    gitlab.add_token(TOKEN, username="lab_bot", kind="project", scopes=["api"], access_level=40)
    made = gitlab.project(NAME, id=7)
    for sha, parents in ((BASE, []), (HEAD, [BASE]), (NEWER, [BASE])):
        made.add_commit(sha, files={"hut.yml": HUT}, parents=parents)
    made.set_branch("main", BASE)
    made.add_member("ada")
    return made


def built(project: Project, sha: str, *, ref: str = "main", source: str = "push", **more: Any) -> Any:
    pipeline = project.add_pipeline(sha=sha, ref=ref, source=source, created=EARLIER, **more)
    pipeline.add_job("build", artifacts=zip_of({"firmware.bin": b"\xe9" + sha.encode()}))
    if ref in ("main",):
        project.set_branch(ref, sha)
    return pipeline


def asked_for(rig: Rig, project: Project, **more: Any) -> Any:
    """A merge request whose head was built, after the publisher's first look."""
    request = project.add_merge_request(12, sha=HEAD, created=EARLIER, **more)
    built(project, HEAD, ref="refs/merge-requests/12/head", source="merge_request_event")
    rig.round()
    return request


def finals(project: Project, sha: str) -> dict[str, str]:
    return {status["name"]: status["status"] for status in project.statuses(sha)}


def test_a_push(rig: Rig, project: Project) -> None:
    built(project, HEAD)
    rig.rounds()
    assert finals(project, HEAD) == BOTH
    assert [(sha, slot) for sha, slot, _ in rig.bench.ran] == [(HEAD, "hut-01"), (HEAD, "hut-02")]


def test_a_note_is_understood_and_tested_once(rig: Rig, project: Project) -> None:
    request = asked_for(rig, project)
    request.add_note("/hil hut-01", author="ada")
    rig.rounds(6)
    assert finals(project, HEAD) == {"hardware / hut-01": "success"}
    assert [award.name for award in request.notes[0].awards] == ["eyes"]
    assert len(rig.bench.ran) == 1


def test_a_note_from_before_the_first_look_starts_nothing(rig: Rig, project: Project) -> None:
    request = project.add_merge_request(12, sha=HEAD, created=EARLIER)
    built(project, HEAD, ref="refs/merge-requests/12/head", source="merge_request_event")
    request.add_note("/hil hut-01", author="ada", created=EARLIER)
    rig.rounds(2)
    request.add_note("hello", author="ada")
    rig.rounds()
    assert rig.bench.ran == []


def test_a_label_is_tested_and_taken_off(rig: Rig, project: Project) -> None:
    request = asked_for(rig, project)
    request.label("bug", by="ada")
    request.label("hil:hut-02", by="ada")
    rig.rounds()
    assert finals(project, HEAD) == {"hardware / hut-02": "success"}
    assert request.labels == ["bug"]


def test_who_may_not_write_is_told_so(rig: Rig, project: Project) -> None:
    request = asked_for(rig, project)
    request.add_note("/hil", author="mallory")
    rig.rounds()
    assert finals(project, HEAD) == {}
    assert "only who may write" in request.notes[-1].body


@pytest.mark.parametrize(("text", "is_tested"), [("/hil", False), (f"/hil @{HEAD}", True)])
def test_a_forks_commit_has_to_be_named(rig: Rig, project: Project, text: str, is_tested: bool) -> None:
    request = asked_for(rig, project, source_project_id=66)
    request.add_note(text, author="ada")
    rig.rounds()
    assert finals(project, HEAD) == (BOTH if is_tested else {})


@pytest.mark.parametrize(("source_project", "is_tested"), [(7, True), (66, False)])
def test_a_merge_requests_own_pipeline(rig: Rig, project: Project, source_project: int, is_tested: bool) -> None:
    rig.round()
    project.add_merge_request(12, sha=HEAD, source_project_id=source_project)
    built(project, HEAD, ref="refs/merge-requests/12/head", source="merge_request_event")
    rig.rounds()
    assert finals(project, HEAD) == (BOTH if is_tested else {})


def crowded(project: Project, count: int) -> list[str]:
    """So many open merge requests of the project's own branches, each with a pipeline that has succeeded."""
    heads = [f"{number:040x}" for number in range(1, count + 1)]
    for number, sha in enumerate(heads, 1):
        project.add_commit(sha, files={"hut.yml": HUT}, parents=[BASE])
        project.add_merge_request(number, sha=sha, created=EARLIER)
        built(project, sha, ref=f"refs/merge-requests/{number}/head", source="merge_request_event")
    return heads


def test_the_first_look_at_two_hundred_merge_requests_starts_none_of_their_runs(rig: Rig, project: Project) -> None:
    """Only what is built from then on counts, also where a pipeline that still ran leads to the second page."""
    heads = crowded(project, 200)
    pipeline = project.pipelines[110]
    pipeline.status = "running"
    rig.forge.reset_calls()
    rig.round()
    assert len(rig.forge.calls) <= 3
    for sha in heads[:60]:
        built(project, sha, ref="elsewhere")
    rig.rounds(3)
    assert rig.bench.ran == []
    for _ in range(100):
        built(project, BASE, ref="elsewhere")
    pipeline.status = "success"
    rig.rounds()
    assert {sha for sha, _, _ in rig.bench.ran} == {heads[110]}
    assert finals(project, heads[110]) == BOTH
    rig.rounds(1)
    rig.forge.reset_calls()
    rig.rounds(3)
    assert [call.status for call in rig.forge.calls] == [304] * 6


@pytest.mark.real
def test_fifty_merge_requests_at_once_on_two_slots(rig: Rig, project: Project) -> None:
    heads = crowded(project, 50)
    rig.round()
    for number in range(1, 51):
        request = project.merge_requests[number]
        request.add_note("/hil hut-01" if number % 2 else "/hil hut-02", author="ada")
    for _ in range(40):
        rig.round()
    assert {sha: set(finals(project, sha).values()) for sha in heads} == {sha: {"success"} for sha in heads}
    assert sorted(sha for sha, _, _ in rig.bench.ran) == heads


def test_a_deleted_branch_and_a_force_push(rig: Rig, project: Project) -> None:
    built(project, HEAD)
    del project.branches["main"]
    rig.rounds(2)
    assert finals(project, HEAD) == {}
    built(project, NEWER)
    rig.rounds()
    assert finals(project, NEWER) == BOTH


def test_an_idle_look_is_two_requests_with_nothing_in_the_answer(rig: Rig, project: Project) -> None:
    asked_for(rig, project)
    rig.rounds(2)
    rig.forge.reset_calls()
    rig.rounds(3)
    seen = [(call.operation, call.status) for call in rig.forge.calls]
    assert seen == [("list_pipelines", 304), ("list_merge_requests", 304)] * 3


@pytest.mark.real
@pytest.mark.parametrize("fault", ["503", "garbage", "rate_limit_primary"])
def test_a_gitlab_that_is_down_for_an_hour_changes_nothing_of_the_end(rig: Rig, project: Project, fault: str) -> None:
    asked_for(rig, project).add_note("/hil", author="ada")
    rig.forge.fail("*", fault, None)
    for _ in range(8):
        rig.round(450.0)
    rig.forge.faults.clear()
    for _ in range(6):
        rig.round(950.0)
    assert finals(project, HEAD) == BOTH
    assert len(rig.bench.ran) == 2
