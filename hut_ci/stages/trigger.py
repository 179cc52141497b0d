"""Whether an event may start a run, and of which commit: frozen here, and never read from a branch again.

What an event says of its sender proves nothing, so permission, head and build are asked of the forge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from hut_ci.errors import Refused, UsageError
from hut_ci.model import PullRequest
from hut_ci.stages.artifact import full_sha
from hut_ci.stages.project_source import check_base, check_head
from hut_ci.stages.spoken import Command

EVERYTHING = Command()
Kind = Literal["push", "build", "label", "comment", "manual"]
Forks = Literal["never", "asked"]


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing is asked for: nothing runs, and nobody is answered."""

    why: str


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, as the forge told it; `sender` is who commented or labelled, `at` when (an instant).

    `base_ref` is the branch that the pull request went into at that moment, where the event tells.
    """

    kind: Kind
    commit_sha: str | None = None
    pull_request: int | None = None
    sender: str | None = None
    command: Command = EVERYTHING
    label: str | None = None
    comment_id: str | None = None
    at: str | None = None
    run_id: str | None = None
    base_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A run that may be: of which commit, on what (names of slots and variants; none is all that fit)."""

    commit_sha: str
    names: tuple[str, ...] = ()
    pull_request: int | None = None
    run_id: str | None = None
    forks_allowed: bool = False
    base_ref: str | None = None


def number(value: object) -> int:
    """A number as forges count things: whole and positive. Raises TypeError."""
    if type(value) is not int or not 0 < value < 1 << 63:
        raise TypeError("no number of a thing")
    return value


class Forge(Protocol):
    """A forge, as far as permissions are concerned. `may_write` is False wherever it cannot be told."""

    def may_write(self, user: str) -> bool: ...
    def pull_request(self, number: int) -> PullRequest: ...
    def first_build(self, sha: str) -> str | None:
        """When the first build run of a commit was created (an instant); None without one."""
        ...


def allow(event: Event, forge: Forge, forks: Forks = "never") -> Ask:
    """The run that `event` may start. Raises Refused, and whatever the forge's methods raise.

    Who can push, and who can start a workflow, can have a commit tested: those events carry no sender to be asked for.
    """
    if event.sender is None:
        if event.commit_sha is None:
            raise UsageError("no commit was named", why="the event carries none", todo="give `--commit SHA`")
        return Ask(full_sha(event.commit_sha), event.command.names, event.pull_request, event.run_id)
    assert event.pull_request is not None
    if not forge.may_write(event.sender):
        raise Refused(
            "only who may write to this repository may ask for a test on real boards",
            why="the sender's permission is less, or could not be found out",
            todo="somebody who may write can ask for it",
        )
    pull = forge.pull_request(event.pull_request)
    if pull.from_fork and forks == "never":
        raise Refused(
            "this request comes from a fork, and builds of forks are not tested here",
            why="a stranger's firmware would run on the lab's boards",
            todo="an operator may allow it with `forks: asked`",
        )
    sha = _frozen(event, pull, forge)
    check_head(pull, sha)
    check_base(pull, event.base_ref)
    return Ask(sha, event.command.names, pull.number, forks_allowed=pull.from_fork, base_ref=pull.base_ref)


def _frozen(event: Event, pull: PullRequest, forge: Forge) -> str:
    """The commit that was meant: the label's, the named one, or the head that was there before the comment."""
    named = event.commit_sha or event.command.sha
    if named is not None:
        return full_sha(named)
    if pull.from_fork:
        raise Refused(
            "from a fork the commit has to be named",
            why="another one could be pushed between the look at it and the test",
            todo=f"after a look at it: a comment with `@{pull.head_sha}` in the command",
        )
    built = forge.first_build(pull.head_sha)
    if built is None or event.at is None or not _before(built, event.at):
        raise Refused(
            f"the head {pull.head_sha[:12]} had no build when this was asked for",
            why="its build had not begun, or it was pushed afterwards",
            todo="ask again now that you see it, or name it with `@` and its 40 digits",
        )
    return pull.head_sha


def _before(first: str, second: str) -> bool:
    try:
        return datetime.fromisoformat(first) < datetime.fromisoformat(second)
    except (TypeError, ValueError):  # an instant that is none, or one without its offset
        return False
