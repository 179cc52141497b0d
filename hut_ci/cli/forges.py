"""Opening forges for the command line: which one, with which token, until when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hut_ci.deadline import Deadline
from hut_ci.forges.address import Address, parse_address, token_source

if TYPE_CHECKING:
    from hut_ci.credentials import Token
    from hut_ci.forges.github.builds import GitHubBuilds
    from hut_ci.forges.gitlab.builds import GitLabBuilds
    from hut_ci.stages.comment import Conversation
    from hut_ci.stages.publish import Posted, StatusSink

    Builds = GitHubBuilds | GitLabBuilds

Pause = Callable[[str], None]


class Statuses(Protocol):
    """A sink that also tells what stands there; every forge is one."""

    def statuses(self, sha: str) -> list[Posted]: ...


@dataclass(frozen=True, slots=True)
class Forges:
    """Where builds are found and where answers go, with the environment that holds the tokens."""

    builds: Address | None
    publish: tuple[Address, ...]
    environ: Mapping[str, str]

    def remote(self) -> tuple[Address, ...]:
        """Every forge that is asked over the network, once."""
        named = [address for address in (self.builds, *self.publish) if address and address.kind != "local"]
        return tuple(dict.fromkeys(named))

    def secrets(self) -> tuple[str, ...]:
        """The tokens of all of them, for the redactor."""
        return tuple(read(address, self.environ).reveal() for address in self.remote())


def forges_of(forge: str | None, publish: Iterable[str], environ: Mapping[str, str]) -> Forges:
    """`--forge` and `--publish`; without the latter answers go where the builds are. Raises UsageError."""
    builds = parse_address(forge, environ) if forge else None
    named = [entry for entry in publish if entry != "none"]
    where = tuple(parse_address(entry, environ) for entry in named)
    if not named and "none" not in publish and builds is not None:
        where = (builds,)
    return Forges(builds, where, environ)


def read(address: Address, environ: Mapping[str, str]) -> Token:
    """The token for a forge. Raises ConfigError where there is none."""
    from hut_ci.credentials import read_token

    return read_token(token_source(address, environ), environ)


def is_own_job(address: Address, environ: Mapping[str, str]) -> bool:
    """Whether we run in a job of that GitLab project: the job is the status then, a second one would contradict it."""
    return (
        address.kind == "gitlab"
        and environ.get("GITLAB_CI") == "true"
        and environ.get("CI_PROJECT_PATH", "").lower() == address.name.lower()
        and environ.get("CI_API_V4_URL", "").rstrip("/") == address.api
    )


def open_builds(address: Address, environ: Mapping[str, str], deadline: Deadline, on_pause: Pause) -> Builds:
    """Builds of a remote forge; every request ends before `deadline`."""
    token = read(address, environ)
    if address.kind == "github":
        from hut_ci.forges.github.api import open_api
        from hut_ci.forges.github.builds import GitHubBuilds

        own_run, own_sha = environ.get("GITHUB_RUN_ID"), environ.get("GITHUB_SHA")
        mine = environ.get("GITHUB_REPOSITORY", "").lower() == address.name.lower()
        api = open_api(address, token, deadline, on_pause)
        return GitHubBuilds(api, deadline, own_run if mine else None, own_sha if mine else None)
    from hut_ci.forges.gitlab import api as gitlab
    from hut_ci.forges.gitlab.builds import GitLabBuilds

    return GitLabBuilds(gitlab.open_api(address, token, deadline, on_pause), deadline)


def open_sink(address: Address, environ: Mapping[str, str], deadline: Deadline, on_pause: Pause) -> StatusSink:
    """The statuses of any forge; every request ends before `deadline`."""
    if address.kind == "local":
        from hut_ci.forges.local import LocalForge

        return LocalForge(Path(address.name))
    token = read(address, environ)
    if address.kind == "github":
        from hut_ci.forges.github.api import open_api
        from hut_ci.forges.github.statuses import GitHubStatuses

        return GitHubStatuses(open_api(address, token, deadline, on_pause))
    from hut_ci.forges.gitlab import api as gitlab
    from hut_ci.forges.gitlab.statuses import GitLabStatuses

    return GitLabStatuses(gitlab.open_api(address, token, deadline, on_pause))


def open_conversation(
    address: Address, environ: Mapping[str, str], deadline: Deadline, on_pause: Pause
) -> Conversation | None:
    """The comments of a forge; None where it has none."""
    if address.kind == "local":
        return None
    token = read(address, environ)
    if address.kind == "github":
        from hut_ci.forges.github.api import open_api
        from hut_ci.forges.github.conversation import GitHubConversation

        return GitHubConversation(open_api(address, token, deadline, on_pause))
    from hut_ci.forges.gitlab import api as gitlab
    from hut_ci.forges.gitlab.conversation import GitLabConversation

    return GitLabConversation(gitlab.open_api(address, token, deadline, on_pause))
