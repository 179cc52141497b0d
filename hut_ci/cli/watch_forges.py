"""Opening a watched repository's forge with the token of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from hut_ci.cli.forges import read
from hut_ci.deadline import Deadline
from hut_ci.forges.address import parse_address
from hut_ci.model import Watched
from hut_ci.watch.forge import Forge


def open_forge(
    watched: Watched,
    environ: Mapping[str, str],
    deadline: Deadline,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Forge:
    """Everything that is asked of it ends before `deadline`. Raises ConfigError without a token."""
    address = parse_address(watched.address, environ)
    token = read(address, environ)
    if address.kind == "github":
        from hut_ci.forges.github.api import open_api
        from hut_ci.forges.github.builds import GitHubBuilds
        from hut_ci.forges.github.conversation import GitHubConversation
        from hut_ci.forges.github.statuses import GitHubStatuses
        from hut_ci.forges.github.trigger import GitHubTrigger
        from hut_ci.forges.github.watching import GitHubWatching

        api = open_api(address, token, deadline, say, sleep)
        return Forge(
            watching=GitHubWatching(api),
            trigger=GitHubTrigger(api),
            builds=GitHubBuilds(api, deadline),
            statuses=GitHubStatuses(api),
            conversation=GitHubConversation(api),
        )
    from hut_ci.forges.gitlab import api as gitlab
    from hut_ci.forges.gitlab.builds import GitLabBuilds
    from hut_ci.forges.gitlab.conversation import GitLabConversation
    from hut_ci.forges.gitlab.statuses import GitLabStatuses
    from hut_ci.forges.gitlab.trigger import GitLabTrigger
    from hut_ci.forges.gitlab.watching import GitLabWatching

    asked = gitlab.open_api(address, token, deadline, say, sleep)
    return Forge(
        watching=GitLabWatching(asked),
        trigger=GitLabTrigger(asked),
        builds=GitLabBuilds(asked, deadline),
        statuses=GitLabStatuses(asked),
        conversation=GitLabConversation(asked),
    )
