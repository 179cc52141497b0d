"""The rights of a token: reads are tried, writes are asked for something that GitHub has to refuse.

A write that names a commit which does not exist is answered 422 after the check of the rights, and 403 or 404 by that
check. Nothing is written either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from github.GithubException import GithubException

from hut_ci.errors import ConfigError
from hut_ci.forges.github.api import GitHubApi
from hut_ci.forges.rights import Right

NOWHERE = "0" * 40
FINE = "fine-grained token: Repository permissions"


def rights(api: GitHubApi) -> list[Right]:
    """What `hut-ci run` and `hut-ci report` need. Raises ConfigError where GitHub does not know token or repository."""
    with api.asking(ConfigError, "look at the repository", "`metadata: read`"):
        api.get("")
        return [
            _read(api, "actions/runs", "actions: read", "finding and downloading artifacts"),
            _read(api, "commits", "contents: read", "reading hut.yml"),
            _write(api, f"statuses/{NOWHERE}", {"state": "pending"}, "statuses: write", "commit statuses"),
            _comments(api),
            _check_runs(api),
        ]


def runners_right(api: GitHubApi) -> Right:
    """Of the token that is for the list of runners alone."""
    right = _read(api, "actions/runners", "administration: read", "seeing that a slot's runner is away")
    return replace(right, remedy=f"{FINE}, Administration: read; no job's own token can have it")


def _read(api: GitHubApi, path: str, name: str, needed_for: str) -> Right:
    status = _status(api, "GET", path)
    empty = status == 409 and path == "commits"  # a repository without a commit
    return Right(name, needed_for, _held(200 if empty else status, 200), remedy=_remedy(name))


def _write(
    api: GitHubApi, path: str, body: Mapping[str, Any], name: str, needed_for: str, *, optional: bool = False
) -> Right:
    return Right(name, needed_for, _held(_status(api, "POST", path, body), 422), optional, _remedy(name))


def _comments(api: GitHubApi) -> Right:
    """Asked on the newest pull request: without one it cannot be told."""
    name, needed_for = "pull-requests: write", "the comment on a pull request (`--pull-request`)"
    newest = api.get("pulls", state="all", per_page=1)
    if not newest:
        return Right(name, needed_for, None, optional=True, remedy=_remedy(name))
    return _write(api, f"issues/{newest[0]['number']}/comments", {"body": ""}, name, needed_for, optional=True)


def _check_runs(api: GitHubApi) -> Right:
    body = {"name": "hut-ci doctor", "head_sha": NOWHERE}
    return _write(api, "check-runs", body, "checks: write", "check runs (`--check-run`)", optional=True)


def _status(api: GitHubApi, verb: str, path: str, body: Mapping[str, Any] | None = None) -> int:
    try:
        if verb == "GET":
            api.get(path, per_page=1)
        else:
            api.send(verb, path, body)
    except GithubException as error:
        if error.status == 401 or error.status >= 500:
            raise
        return error.status
    return 200


def _held(status: int, expected: int) -> bool | None:
    return True if status == expected else (False if status in (403, 404) else None)


def _remedy(name: str) -> str:
    scope = "`repo`" if name != "statuses: write" else "`repo:status`"
    return f"workflow: `permissions: {{{name}}}`; {FINE}; classic token: the scope {scope}"
