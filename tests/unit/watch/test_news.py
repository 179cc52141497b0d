"""What asks for a run, from what a forge shows: of each line the newest, once, and only what lab.yml lets in."""

from __future__ import annotations

from typing import Any

import pytest

from hut_ci.model import BuildRun, BuildState, Watched
from hut_ci.stages.finding import from_text, to_text
from hut_ci.stages.news import Build, Labelled, Look, Said, counts, findings, nothing_pushed, pulls_mark

OLD, NEW = "0a" * 20, "0b" * 20
WATCHED = Watched("github:acme/firmware", branches=("main", "release/*"))
EVERYTHING = Watched("github:acme/firmware", events=("push", "builds", "label", "comment"))


def build(number: int, sha: str = NEW, *, pull_request: int | None = None, **more: Any) -> Build:
    values = {"event": "push", "state": BuildState.SUCCESS, "branch": "main", "head_repository": "1", **more}
    return Build(BuildRun(id=str(number), head_sha=sha, repository="1", **values), pull_request)


def said(number: int, body: str = "/hil", **more: Any) -> Said:
    at = "2026-02-12T12:00:00Z"
    return Said(**{"id": number, "number": 12, "author": "ada", "body": body, "at": at, "changed": at, **more})


def found(look: Look, before: dict[str, str] | None = None, watched: Watched = WATCHED) -> list[str]:
    return [finding.id for finding in findings(look, watched, before or {})[0]]


@pytest.mark.parametrize(
    ("builds", "commit"),
    [
        ([build(1, OLD), build(2, NEW)], NEW),
        ([build(1, OLD), build(2, NEW, state=BuildState.RUNNING)], None),
        ([build(1, OLD), build(2, NEW, state=BuildState.FAILED)], None),
        ([build(1, NEW), build(2, NEW, state=BuildState.FAILED)], NEW),
        ([build(1, NEW, branch="feature")], None),
        ([build(1, NEW, branch="release/1.2")], NEW),
        ([build(1, NEW, branch="release/1.2/x")], None),
        ([build(1, NEW, branch="mainly")], None),
        ([build(1, NEW, head_repository="66")], None),
        ([build(1, NEW, event="schedule")], None),
        ([build(1, NEW, event="pull_request", pull_request=12)], None),
        ([], None),
    ],
    ids=[
        *("the newest", "still building", "failed", "one of two workflows", "another branch", "a pattern"),
        *("no slash", "whole names", "a fork's branch of that name", "not a push", "builds not asked for", "nothing"),
    ],
)
def test_a_push_is_found_when_its_build_succeeded(builds: list[Build], commit: str | None) -> None:
    made, _ = findings(Look(builds), WATCHED, {})
    assert [finding.event.commit_sha for finding in made] == ([commit] if commit else [])


def test_a_commit_is_found_once_and_found_again_when_the_branch_returns_to_it() -> None:
    first, marks = findings(Look([build(1, OLD)]), WATCHED, {})
    assert found(Look([build(1, OLD), build(2, OLD, event="push")]), marks) == []
    made, marks = findings(Look([build(3, NEW), build(1, OLD)]), WATCHED, marks)
    assert len(made) == 1
    [again] = found(Look([build(4, OLD), build(3, NEW), build(1, OLD)]), marks)
    assert again != first[0].id, "what is known already would not be decided again"


@pytest.mark.parametrize(
    ("builds", "told"),
    [
        ([], "no build of a push to main, release/* is known"),
        (
            [build(2, branch="develop"), build(1, branch="develop")],
            "no build of a push to main, release/* is known, but there are some of develop: `branches:` of lab.yml",
        ),
        ([build(2, state=BuildState.FAILED), build(1, OLD)], "the newest build of main: failed"),
        ([build(1, branch="develop", head_repository="66")], "no build of a push to main, release/* is known"),
    ],
    ids=["nothing", "another branch", "failed", "a fork's"],
)
def test_who_has_just_named_a_repository_learns_why_nothing_is_tested(builds: list[Build], told: str) -> None:
    assert found(Look(builds)) == []
    assert nothing_pushed(builds, WATCHED).startswith(told)


def test_a_pull_requests_own_build_where_that_is_asked_for() -> None:
    builds = [build(1, event="pull_request", pull_request=12, branch="feature")]
    [finding] = findings(Look(builds), EVERYTHING, {})[0]
    assert (finding.line, finding.event.kind, finding.event.pull_request) == ("pull:12", "build", 12)
    fork = [build(1, event="pull_request", pull_request=12, head_repository="66")]
    assert found(Look(fork), watched=EVERYTHING) == []


@pytest.mark.parametrize(
    ("comment", "is_found"),
    [
        (said(8), True),
        (said(7), False),
        (said(8, "hello"), False),
        (said(8, "/hil; rm"), False),
        (said(8, changed="2026-02-12T12:00:01Z"), False),
        (said(8, person=False), False),
    ],
    ids=["new", "seen", "talk", "more than a command", "edited", "a bot"],
)
def test_a_comment_is_found_once_as_it_was_written(comment: Said, is_found: bool) -> None:
    assert (found(Look(comments=[comment]), {"comment": "7"}) == ["comment:8"]) is is_found


@pytest.mark.parametrize(
    ("label", "is_found"), [("hil", True), ("hil:hut-01", True), ("bug", False), ("hil:a b", False)]
)
def test_a_label_is_found_with_whoever_set_it(label: str, is_found: bool) -> None:
    made, _ = findings(Look(labels=[Labelled(8, 12, "ada", label, "2026-02-12T12:00:00Z")]), WATCHED, {"label": "7"})
    assert [finding.event.sender for finding in made] == (["ada"] if is_found else [])
    assert all(finding.event.commit_sha is None for finding in made), "the head of now is not that of then"
    assert [from_text(to_text(finding)) for finding in made] == made


def test_of_pull_requests_what_was_built_before_the_first_look_does_not_count() -> None:
    mark = pulls_mark([5, 6, 7, 8], [6])
    assert [number for number in range(5, 11) if counts(mark, str(number))] == [6, 9, 10]
    assert counts(pulls_mark([], []), "1")
