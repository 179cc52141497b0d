"""A publisher that ends anywhere: the next one comes to the same end. Every step is tried, before it and after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.github import FakeGitHub
from watch_rig import BASE, HEAD, NAME, NEWER, Rig, built, finals, settled

MOST_STEPS = 260
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
        assert settled(repo), (kill_at, repo.all_statuses())
        ran = [(sha, slot) for sha, slot, _ in rig.bench.ran]
        assert len({name for _, _, name in rig.bench.ran}) == len(ran), "nothing runs twice"
        replies = {n: sorted(comment["user"] for comment in repo.comments(n)) for n in (12, 13)}
        return (finals(repo), replies, repo.pulls[12].labels, sorted(ran)), steps


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        yield server
        assert server.violations == []


def fresh(github: FakeGitHub) -> FakeGitHub:
    github.repositories.clear()
    return github


def check(steps: range, folder: Path, github: FakeGitHub) -> None:
    wanted, count = end_of(folder / "undisturbed", github, -1)
    assert 60 < count <= MOST_STEPS
    assert set(wanted[0]) == {HEAD, NEWER}
    assert BASE not in wanted[0]
    for at in steps:
        found, _ = end_of(folder / str(at), fresh(github), at)
        assert found == wanted, f"killed at step {at}"


@pytest.mark.real
def test_killed_at_some_steps_the_end_is_the_same(tmp_path: Path, github: FakeGitHub) -> None:
    check(range(7, MOST_STEPS, 61), tmp_path, github)


@pytest.mark.real
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(8))
def test_killed_at_every_step_the_end_is_the_same(part: int, tmp_path: Path, github: FakeGitHub) -> None:
    check(range(1 + part, MOST_STEPS, 8), tmp_path, github)
