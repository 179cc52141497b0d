"""security 3-5: who may start a run, and of which commit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from hut_ci.errors import Refused, UsageError
from hut_ci.model import PullRequest
from hut_ci.stages.spoken import Command
from hut_ci.stages.trigger import Ask, Event, Forks, allow

HEAD, OLD = "5e" * 20, "0f" * 20
BEFORE, AT, AFTER = "2026-02-12T12:00:00Z", "2026-02-12T12:00:01Z", "2026-02-12T12:00:02Z"
PULL = PullRequest(12, HEAD, "main", from_fork=False)
FORK = replace(PULL, from_fork=True)
COMMENT = Event("comment", pull_request=12, sender="ada", comment_id="7", at=AT)
LABEL = Event("label", commit_sha=HEAD, pull_request=12, sender="ada", label="hil")


@dataclass
class Forge:
    pull: PullRequest = PULL
    writes: bool = True
    built: str | None = BEFORE

    def may_write(self, user: str) -> bool:
        assert user == "ada"
        return self.writes

    def pull_request(self, number: int) -> PullRequest:
        assert number == 12
        return self.pull

    def first_build(self, sha: str) -> str | None:
        assert sha == self.pull.head_sha
        return self.built


def named(sha: str) -> Event:
    return replace(COMMENT, command=Command(("hut-01",), sha))


@pytest.mark.parametrize(
    ("event", "forge", "forks", "expected"),
    [
        (Event("push", commit_sha=HEAD), Forge(), "never", Ask(HEAD)),
        (Event("build", HEAD, 12, run_id="7"), Forge(), "never", Ask(HEAD, (), 12, "7")),
        (LABEL, Forge(), "never", Ask(HEAD, (), 12, base_ref="main")),
        (COMMENT, Forge(), "never", Ask(HEAD, (), 12, base_ref="main")),
        (named(HEAD), Forge(built=None), "never", Ask(HEAD, ("hut-01",), 12, base_ref="main")),
        (LABEL, Forge(FORK), "asked", Ask(HEAD, (), 12, base_ref="main", forks_allowed=True)),
        (named(HEAD), Forge(FORK), "asked", Ask(HEAD, ("hut-01",), 12, base_ref="main", forks_allowed=True)),
    ],
)
def test_a_run_that_may_be(event: Event, forge: Forge, forks: Forks, expected: Ask) -> None:
    assert allow(event, forge, forks) == expected


@pytest.mark.parametrize(
    ("event", "forge", "forks", "says"),
    [
        (LABEL, Forge(writes=False), "asked", "only who may write"),
        (COMMENT, Forge(writes=False), "asked", "only who may write"),
        (LABEL, Forge(FORK), "never", "comes from a fork"),
        (named(HEAD), Forge(FORK), "never", "comes from a fork"),
        (COMMENT, Forge(FORK), "asked", "has to be named"),
        (replace(LABEL, commit_sha=OLD), Forge(), "never", "is 5e5e5e5e5e5e now"),
        (named(OLD), Forge(), "never", "is 5e5e5e5e5e5e now"),
        (replace(LABEL, commit_sha=OLD), Forge(FORK), "asked", "is 5e5e5e5e5e5e now"),
        (COMMENT, Forge(built=None), "never", "had no build"),
        (COMMENT, Forge(built=AFTER), "never", "had no build"),
        (COMMENT, Forge(built=AT), "never", "had no build"),
        (COMMENT, Forge(built="yesterday"), "never", "had no build"),
        (replace(COMMENT, at="2026-02-12T12:00:01"), Forge(), "never", "had no build"),
        (replace(COMMENT, at=None), Forge(), "never", "had no build"),
        (COMMENT, Forge(replace(PULL, open=False)), "never", "is closed"),
    ],
)
def test_a_run_that_may_not(event: Event, forge: Forge, forks: Forks, says: str) -> None:
    with pytest.raises(Refused, match=says):
        allow(event, forge, forks)


def test_who_may_not_write_learns_nothing_else() -> None:
    with pytest.raises(Refused, match="only who may write"):
        allow(named(OLD), Forge(replace(FORK, open=False), writes=False), "never")


@pytest.mark.parametrize("sha", [None, "main", HEAD[:12], HEAD.upper()])
def test_a_commit_is_named_in_full(sha: str | None) -> None:
    with pytest.raises(UsageError):
        allow(Event("manual", commit_sha=sha), Forge())
