"""A publisher that ends anywhere: the next one comes to the same end. A soak tries every step, before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.github import FakeGitHub
from fakes.github_state import zip_of
from fakes.gitlab import FakeGitLab
from fakes.gitlab_state import Project
from watch_rig import BASE, HEAD, NAME, NEWER, TOKEN, Rig, built, finals, settled

MOST_STEPS = 260
EARLIER = datetime.now(UTC) - timedelta(hours=1)
PROJECTS = f'{{"github:{NAME}": {{forks: asked}}}}'
READS = frozenset({"marks", "undecided", "unclosed", "jobs", "job", "begun", "look", "head", "is_writer"})
"""What changes nothing: ending before or after it is ending after the step before."""


class Killed(BaseException):
    """As if the process had been killed here."""


@dataclass
class Fuse:
    """Burns down with each step, and kills at its end; -1 only counts."""

    left: int = -1
    steps: int = 0

    def burn(self) -> None:
        self.steps += 1
        if self.steps == self.left:
            raise Killed

    def around(self, thing: Any) -> Any:
        return _Fused(thing, self)


class _Fused:
    def __init__(self, thing: Any, fuse: Fuse) -> None:
        self._thing, self._fuse = thing, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if not callable(found) or name in READS:
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._fuse.burn()
            result = found(*args, **options)
            self._fuse.burn()
            return result

        return call


def happenings(rig: Rig) -> None:
    """A push, a comment, and a refusal, all at once."""
    repo = rig.repository()
    built(repo, HEAD)
    repo.add_comment(12, "/hil hut-01", login="ada")
    repo.add_comment(13, "/hil", login="mallory")
    repo.add_label(12, "hil:hut-02", login="ada")


def end_of(folder: Path, github: FakeGitHub, kill_at: int) -> tuple[Any, int]:
    """What stands on the forge in the end, and how many steps there were."""
    folder.mkdir()
    with Rig(folder, github, PROJECTS) as rig:
        repo = rig.repository()
        for number in (12, 13):
            repo.add_pull(number, head_sha=NEWER, created="2026-02-12T12:00:00Z")
        built(repo, NEWER, push=None, event="pull_request", head_branch="f", created="2026-02-12T12:00:00Z")
        rig.round()
        happenings(rig)
        steps = rounds_killed_at(rig, kill_at)
        assert settled(repo), (kill_at, repo.all_statuses())
        ran = ran_once(rig)
        replies = {n: sorted(comment["user"] for comment in repo.comments(n)) for n in (12, 13)}
        return (finals(repo), replies, repo.pulls[12].labels, sorted(ran)), steps


def rounds_killed_at(rig: Rig, kill_at: int) -> int:
    """Rounds of a publisher that is killed at a step and started again, to the end; the steps that were counted."""
    fuse = Fuse(kill_at)
    rig.restart(fuse.around)
    for _ in range(6):
        try:
            rig.round()
        except Killed:
            rig.restart()
    steps = fuse.steps
    rig.restart()
    rig.rounds(3)
    return steps


def ran_once(rig: Rig) -> list[tuple[str, str]]:
    """Commit and slot of every run; no run was handed over twice."""
    ran = [(sha, slot) for sha, slot, _ in rig.bench.ran]
    assert len({name for _, _, name in rig.bench.ran}) == len(ran), "nothing runs twice"
    return ran


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        server.rate_limit = 1 << 30  # one server for all steps, which are asked for within minutes
        yield server
        assert server.violations == []


def end_on_gitlab(folder: Path, kill_at: int) -> tuple[Any, int]:
    """The same of a push, a note and a label on one merge request."""
    folder.mkdir()
    with FakeGitLab() as gitlab, Rig(folder, gitlab, f'{{"gitlab:{NAME}": {{}}}}') as rig:
        gitlab.add_token(TOKEN, username="lab_bot", kind="project", scopes=["api"], access_level=40)
        project = gitlab.project(NAME, id=7)
        for sha, parents in ((BASE, []), (HEAD, [BASE]), (NEWER, [BASE])):
            project.add_commit(
                sha, files={"hut.yml": "artifact: {job: build}\nsuite: {expect: [ready]}\n"}, parents=parents
            )
        project.set_branch("main", BASE)
        project.add_member("ada")
        request = project.add_merge_request(12, sha=NEWER, created=EARLIER)
        _pipeline(project, NEWER, "refs/merge-requests/12/head", "merge_request_event")
        rig.round()
        project.set_branch("main", HEAD)
        _pipeline(project, HEAD, "main", "push")
        request.add_note("/hil hut-01", author="ada")
        request.label("hil:hut-02", by="ada")
        steps = rounds_killed_at(rig, kill_at)
        assert gitlab.violations == []
        ended = [(s["sha"], s["name"]) for s in project.posted if s["status"] not in ("pending", "running")]
        assert len(ended) == len(set(ended)), (kill_at, project.posted)
        ran = ran_once(rig)
        finals = {(status["sha"], status["name"]): status["status"] for status in project.posted}
        replies = sorted(note.author for note in request.notes)
        return (finals, replies, request.labels, [award.name for award in request.notes[0].awards], sorted(ran)), steps


def _pipeline(project: Project, sha: str, ref: str, source: str) -> None:
    made = project.add_pipeline(sha=sha, ref=ref, source=source, created=EARLIER)
    made.add_job("build", artifacts=zip_of({"firmware.bin": b"\xe9" + sha.encode()}))


def fresh(github: FakeGitHub) -> FakeGitHub:
    github.repositories.clear()
    return github


STEPS = [
    pytest.param(slice(1, None, 1), marks=pytest.mark.soak, id="each"),
    *(pytest.param(slice(first, None, 15), marks=pytest.mark.real, id=f"from {first}") for first in (1, 6, 11)),
]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("steps", STEPS)
def test_killed_at_a_step_the_end_is_the_same_on_gitlab(steps: slice, tmp_path: Path) -> None:
    wanted, count = end_on_gitlab(tmp_path / "undisturbed", -1)
    assert 40 < count <= MOST_STEPS
    assert set(wanted[0].values()) == {"success"}
    for at in range(count + 1)[steps]:
        found, _ = end_on_gitlab(tmp_path / str(at), at)
        assert found == wanted, f"killed at step {at}"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("steps", STEPS)
def test_killed_at_a_step_the_end_is_the_same(steps: slice, tmp_path: Path, github: FakeGitHub) -> None:
    wanted, count = end_of(tmp_path / "undisturbed", github, -1)
    assert 60 < count <= MOST_STEPS
    assert set(wanted[0]) == {HEAD, NEWER}
    assert BASE not in wanted[0]
    for at in range(count + 1)[steps]:
        found, _ = end_of(tmp_path / str(at), fresh(github), at)
        assert found == wanted, f"killed at step {at}"
