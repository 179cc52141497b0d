"""What GitHub may leave empty (REST API description: `nullable`) keeps a lab from looking at nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from hut_ci.forges.github.api import GitHubApi
from hut_ci.forges.github.watching import GitHubWatching

RUN = {
    "id": 7,
    "event": "push",
    "head_sha": "5e" * 20,
    "path": ".github/workflows/build.yml",
    "head_branch": "main",
    "status": "completed",
    "conclusion": "success",
    "created_at": "2026-02-12T12:00:00Z",
    "repository": {"id": 1},
    "head_repository": {"id": 1, "full_name": "acme/firmware"},
    "pull_requests": None,
}
COMMENT = {
    "id": 5,
    "body": "/hil",
    "created_at": "2026-02-12T12:00:00Z",
    "updated_at": "2026-02-12T12:00:00Z",
    "issue_url": "https://api/issues/12",
    "html_url": "https://github.com/acme/firmware/pull/12#c",
}


class Answers:
    """A GitHub of one run and two comments, the first by an account that was deleted since."""

    @contextmanager
    def asking(self, *_: object) -> Iterator[None]:
        yield

    def changed(self, path: str, *_: object, **__: object) -> tuple[str, Any]:
        return "etag", {"workflow_runs": [RUN]} if path == "actions/runs" else []

    def pages(self, *_: object, **__: object) -> list[Any]:
        return [COMMENT | {"user": None}, COMMENT | {"id": 6, "user": {"login": "ada", "type": "User"}}]


def test_a_deleted_account_and_a_run_without_pull_requests_hide_no_other() -> None:
    found = GitHubWatching(cast("GitHubApi", Answers())).look({"comment": "4"}, ["push", "comment"])
    assert [said.author for said in found.comments] == ["ada"]
    assert found.marks["comment"] == "6"
    assert found.builds is not None
    assert [build.run.id for build in found.builds] == ["7"]
