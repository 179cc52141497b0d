"""Opening forges for the command line: which one, with which token, until when."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hut_ci.deadline import Deadline
from hut_ci.errors import HutCiError, PublishError
from hut_ci.forges.address import RUNNERS_VARIABLE, Address, parse_address, runners_source, token_source

if TYPE_CHECKING:
    from hut_ci.credentials import Token
    from hut_ci.forges.github.builds import GitHubBuilds
    from hut_ci.forges.github.trigger import GitHubTrigger
    from hut_ci.forges.gitlab.builds import GitLabBuilds
    from hut_ci.forges.gitlab.trigger import GitLabTrigger
    from hut_ci.stages.comment import Conversation
    from hut_ci.stages.publish import StatusSink
    from hut_ci.stages.serving import Runner

    Builds = GitHubBuilds | GitLabBuilds

Pause = Callable[[str], None]


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

    def statuses(self, sha: str) -> list[Address]:
        """Where statuses of that commit go: not to the GitLab project whose job for it this is."""
        return [address for address in self.publish if not is_own_job(address, sha, self.environ)]

    def pull_requests(self) -> Address | None:
        """The forge that a pull request's number belongs to: that of the builds, else the first one that is told."""
        return next(iter(self.remote()), None)

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


def tell(addresses: Iterable[Address], what: Callable[[Address], None]) -> list[PublishError]:
    """Do `what` for each forge; what went wrong, because one that fails must not cost the others their answer."""
    troubles = []
    for address in addresses:
        try:
            what(address)
        except PublishError as error:
            troubles.append(error)
        except HutCiError as error:  # a token file that vanished, say
            troubles.append(PublishError(error.what, why=error.why, todo=error.todo))
        except Exception as error:  # even a bug of ours
            troubles.append(PublishError(f"{address}: a bug in hut-ci ({type(error).__name__}: {error})"))
    return troubles


def refuse_silence(troubles: Sequence[PublishError], again: Sequence[str]) -> None:
    """Raise PublishError where an answer did not get through, with the command that repeats it."""
    if not troubles:
        return
    first = troubles[0]
    raise PublishError(
        "; ".join(dict.fromkeys(error.what for error in troubles)),
        why=first.why,
        todo="; ".join(
            [*filter(None, [first.todo]), f"the report is kept, this sends it again: `{shlex.join(again)}`"]
        ),
    )


def is_own_job(address: Address, sha: str, environ: Mapping[str, str]) -> bool:
    """Whether we run in that GitLab project's job for that commit: the job is the status then.

    In a merge request's pipeline the job's commit may be a merge; the request's head is named apart.
    """
    return (
        address.kind == "gitlab"
        and sha in (environ.get("CI_COMMIT_SHA"), environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"))
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


def open_sink(
    address: Address, environ: Mapping[str, str], deadline: Deadline, on_pause: Pause, *, hurried: bool = False
) -> StatusSink:
    """The statuses of any forge; every request ends before `deadline`, a `hurried` one asks no more than it must."""
    if address.kind == "local":
        from hut_ci.forges.local import LocalForge

        return LocalForge(Path(address.name))
    token = read(address, environ)
    if address.kind == "github":
        from hut_ci.forges.github.api import open_api
        from hut_ci.forges.github.statuses import GitHubStatuses

        return GitHubStatuses(open_api(address, token, deadline, on_pause), look_first=not hurried)
    from hut_ci.forges.gitlab import api as gitlab
    from hut_ci.forges.gitlab.statuses import GitLabStatuses

    return GitLabStatuses(gitlab.open_api(address, token, deadline, on_pause), look_first=not hurried)


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


def open_trigger(
    address: Address, environ: Mapping[str, str], deadline: Deadline, on_pause: Pause
) -> GitHubTrigger | GitLabTrigger:
    """What a remote forge tells of who asked, and for what."""
    token = read(address, environ)
    if address.kind == "github":
        from hut_ci.forges.github.api import open_api
        from hut_ci.forges.github.trigger import GitHubTrigger

        return GitHubTrigger(open_api(address, token, deadline, on_pause))
    from hut_ci.forges.gitlab import api as gitlab
    from hut_ci.forges.gitlab.trigger import GitLabTrigger

    return GitLabTrigger(gitlab.open_api(address, token, deadline, on_pause))


def open_runners(
    address: Address, environ: Mapping[str, str], deadline: Deadline, on_pause: Pause, *, labels: Sequence[str]
) -> tuple[Runner, ...] | None:
    """The runners of a repository that could serve these labels; None without the token that is for this alone."""
    if not environ.get(RUNNERS_VARIABLE):
        return None
    from hut_ci.credentials import read_token

    token = read_token(runners_source(address), environ)
    if address.kind == "github":
        from hut_ci.forges.github.api import open_api
        from hut_ci.forges.github.runners import runners

        return runners(open_api(address, token, deadline, on_pause))
    from hut_ci.forges.gitlab import api as gitlab
    from hut_ci.forges.gitlab.runners import runners as with_tags

    return with_tags(gitlab.open_api(address, token, deadline, on_pause), labels)
