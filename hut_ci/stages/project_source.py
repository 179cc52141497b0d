"""hut.yml of a commit, read through the forge: what decides a pass is not the pull request's to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hut_ci import config
from hut_ci.errors import Refused
from hut_ci.model import Project, PullRequest

NAME = "hut.yml"


class Files(Protocol):
    """A forge, as far as files are concerned. Raises ArtifactError where it does not answer."""

    def file(self, path: str, ref: str) -> bytes | None: ...
    def pull_request(self, number: int) -> PullRequest: ...


@dataclass(frozen=True, slots=True)
class Found:
    """`changed` says that the pull request changes hut.yml, and that its base's was taken nevertheless.

    `of_commit` says that the tested commit's own was read through the forge.
    """

    project: Project
    changed: bool = False
    notes: tuple[str, ...] = ()
    of_commit: bool = False


def project_at(files: Files, commit_sha: str, pull_number: int | None) -> Found:
    """The project file of a pushed commit, or of the base branch for a pull request.

    Raises Refused where the pull request's head is another commit by now, ConfigError for a file that says nonsense,
    ArtifactError where the forge does not answer.
    """
    if pull_number is None:
        data = files.file(NAME, commit_sha)
        return Found(_project(data, f"{NAME}@{commit_sha[:12]}"), of_commit=data is not None)
    pull = files.pull_request(pull_number)
    if pull.head_sha != commit_sha:
        raise Refused(
            f"the head of pull request {pull_number} is {pull.head_sha[:12]} now, not {commit_sha[:12]}",
            why="commits were pushed since this one was asked for",
            todo="ask again for the new head",
        )
    base, head = files.file(NAME, pull.base_ref), files.file(NAME, commit_sha)
    changed = base != head
    note = f"this pull request changes {NAME}; that of {pull.base_ref} was used"
    return Found(_project(base, f"{NAME}@{pull.base_ref}"), changed, (note,) if changed else ())


def _project(data: bytes | None, name: str) -> Project:
    return config.project_from_bytes(data, name) if data is not None else Project()
