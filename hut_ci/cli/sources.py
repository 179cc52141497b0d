"""Where a run gets its build and its project file from: this machine, or a forge."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hut_ci.deadline import Deadline

if TYPE_CHECKING:
    from hut_ci.artifact_cache import ArtifactCache
    from hut_ci.cli.forges import Forges
    from hut_ci.errors import UsageError
    from hut_ci.forges.address import Address
    from hut_ci.run import Find, Order
    from hut_ci.stages.project_source import Found
    from hut_ci.stages.upstream import Fetching

ASKING_SECONDS = 120.0
"""For the few requests that read hut.yml."""
WAIT_BUILD = 900.0


class Asked(Protocol):
    """What has to be known of a run, or of a look for its artifact, to find its hut.yml; see `hut_ci.run.Order`."""

    @property
    def build(self) -> Path | None: ...
    @property
    def hut(self) -> Path | None: ...
    @property
    def commit_sha(self) -> str | None: ...
    @property
    def pull_request(self) -> int | None: ...
    @property
    def base_ref(self) -> str | None: ...


def project(order: Asked, forges: Forges, say: Callable[[str], None]) -> Found:
    """hut.yml: the one that was named, or the commit's (its base branch's), read through the forge."""
    from hut_ci import config
    from hut_ci.cli.forges import open_builds
    from hut_ci.stages.project_source import Found, checked_head, project_at

    address = forges.pull_requests() if order.pull_request is not None else _fetched_from(order, forges)
    if address is None or order.commit_sha is None:
        if order.pull_request is not None:
            raise _no_pull_request(order.pull_request)
        return Found(config.load_project(order.hut))
    files = open_builds(address, os.environ, Deadline(ASKING_SECONDS), say)
    if order.hut is None:
        return project_at(files, order.commit_sha, order.pull_request, order.base_ref)
    if order.pull_request is not None:
        checked_head(files, order.commit_sha, order.pull_request, order.base_ref)
    return Found(config.load_project(order.hut))


def _fetched_from(order: Asked, forges: Forges) -> Address | None:
    """The remote forge that the build comes from, if it does."""
    remote = forges.builds is not None and forges.builds.kind != "local" and order.build is None
    return forges.builds if remote else None


def _no_pull_request(number: int) -> UsageError:
    from hut_ci.errors import UsageError

    return UsageError(
        f"there is no pull request {number} without a commit and a forge",
        why="its head has to be the commit, and its base branch's hut.yml judges it",
        todo="give `--commit SHA` and `--forge github:OWNER/NAME` (or `--publish`)",
    )


def finder(order: Order, forges: Forges, options: Mapping[str, Any], say: Callable[[str], None]) -> Find | None:
    """What fetches an artifact from the forge of `--forge`; None without one."""
    from hut_ci.artifact_cache import ArtifactCache

    if forges.builds is None:
        return None
    cache = ArtifactCache(order.lab.state_dir / "artifacts", order.lab.cache_limit)
    return find_at(forges.builds, fetching(cache, order.work, order.run_id, options), say)


def fetching(cache: ArtifactCache, folder: Path, run_id: str | None, options: Mapping[str, Any]) -> Fetching:
    """`--wait-build` and `--allow-undigested` for a download into `folder`."""
    from hut_ci.stages.upstream import Fetching

    return Fetching(
        cache=cache,
        folder=folder,
        wait_build=_wait_build(run_id, options),
        wait_for_first=options.get("wait_build") is not None,
        allow_undigested=options.get("allow_undigested", False),
    )


def find_at(address: Address, fetching: Fetching, say: Callable[[str], None]) -> Find:
    """What fetches an artifact from that forge."""
    from hut_ci.cli.forges import open_builds
    from hut_ci.stages import upstream

    if address.kind == "local":
        from hut_ci.forges.local import LocalForge

        local = LocalForge(Path(address.name))
        return lambda wanted, _work, _deadline, _say: local.find_artifact(wanted.commit_sha, wanted.variant)
    return lambda wanted, _work, deadline, told: upstream.find(
        open_builds(address, os.environ, deadline, say), wanted, fetching, deadline, told
    )


def _wait_build(run_id: str | None, options: Mapping[str, Any]) -> float:
    """Seconds to wait for a running build. Not for that of our own run: our job starts when it has ended, or never."""
    from hut_ci.cli.composition import finite

    if options.get("wait_build") is not None:
        return finite(options["wait_build"], "--wait-build")
    own = (os.environ.get("GITHUB_RUN_ID"), os.environ.get("CI_PIPELINE_ID"))
    return 0.0 if run_id is not None and run_id in own else WAIT_BUILD
