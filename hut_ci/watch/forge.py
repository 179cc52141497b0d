"""What the publisher asks of one repository's forge; cli/watch.py opens it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from hut_ci.model import PullRequest
from hut_ci.stages.comment import Conversation
from hut_ci.stages.news import Look
from hut_ci.stages.project_source import Files
from hut_ci.stages.publish import StatusSink
from hut_ci.stages.upstream import BuildSource


class Watching(Protocol):
    """Both raise PublishError, ForgeUnavailable among them, where the forge does not answer."""

    def look(self, marks: Mapping[str, str], events: Collection[str]) -> Look: ...
    def head(self, branch: str) -> str | None:
        """The commit that a branch stands at; None where it was deleted."""
        ...


class Trigger(Protocol):
    """Who may ask, and the traces of what was understood; see stages/trigger.py.

    `is_writer` raises ForgeUnavailable where the forge may tell later.
    """

    def is_writer(self, user: str) -> bool: ...
    def pull_request(self, number: int) -> PullRequest: ...
    def first_build(self, sha: str) -> str | None: ...
    def accept(self, comment_id: str) -> None: ...
    def drop_label(self, number: int, label: str) -> None: ...


class Builds(BuildSource, Files, Protocol):
    """Builds, their artifacts, and files of a commit."""


@dataclass(frozen=True, slots=True)
class Forge:
    watching: Watching
    trigger: Trigger
    builds: Builds
    statuses: StatusSink
    conversation: Conversation

    # What decide.py asks: a sender's permission that cannot be told now is asked for again, and not a no.

    def may_write(self, user: str) -> bool:
        return self.trigger.is_writer(user)

    def pull_request(self, number: int) -> PullRequest:
        return self.trigger.pull_request(number)

    def first_build(self, sha: str) -> str | None:
        return self.trigger.first_build(sha)

    def head(self, branch: str) -> str | None:
        return self.watching.head(branch)
