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
    """Every method raises PublishError, ForgeUnavailable among them, where the forge does not answer."""

    def look(self, marks: Mapping[str, str], events: Collection[str]) -> Look: ...
    def head(self, branch: str) -> str | None:
        """The commit that a branch stands at; None where it was deleted."""
        ...

    def is_writer(self, user: str) -> bool:
        """Whether `user` may write; no answer is none, and not a no."""
        ...

    def accept(self, number: int, comment_id: str) -> None:
        """Show under a comment that it was understood."""
        ...

    def drop_label(self, number: int, label: str) -> None:
        """Take a label off that was used."""
        ...


class Trigger(Protocol):
    """What else is asked about whoever asks; see stages/trigger.py."""

    def pull_request(self, number: int) -> PullRequest: ...
    def first_build(self, sha: str) -> str | None: ...


class Builds(BuildSource, Files, Protocol):
    """Builds, their artifacts, and files of a commit."""


@dataclass(frozen=True, slots=True)
class Forge:
    watching: Watching
    trigger: Trigger
    builds: Builds
    statuses: StatusSink
    conversation: Conversation

    # What decide.py asks.

    def may_write(self, user: str) -> bool:
        return self.watching.is_writer(user)

    def pull_request(self, number: int) -> PullRequest:
        return self.trigger.pull_request(number)

    def first_build(self, sha: str) -> str | None:
        return self.trigger.first_build(sha)

    def head(self, branch: str) -> str | None:
        return self.watching.head(branch)
