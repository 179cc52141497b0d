"""hut.yml of a commit, read through the forge: what decides a pass is not the pull request's to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hut_ci import config
from hut_ci.errors import ArtifactError, Refused, UsageError
from hut_ci.model import Project, PullRequest

NAME = "hut.yml"


class Files(Protocol):
    """A forge, as far as files are concerned. Raises ArtifactError where it does not answer.

    `file` takes `HEAD` for the default branch; it answers None for 404, which a missing right gives, too; `knows` tells
    whether `ref` can be read at all.
    """

    def file(self, path: str, ref: str) -> bytes | None: ...
    def knows(self, ref: str) -> bool: ...
    def pull_request(self, number: int) -> PullRequest: ...


@dataclass(frozen=True, slots=True)
class Found:
    """`changed` says that the pull request changes hut.yml, and that its base's was taken nevertheless.

    `of_commit` says that the tested commit decided, by its own hut.yml or by having none; else `base_ref` did.
    """

    project: Project
    changed: bool = False
    notes: tuple[str, ...] = ()
    of_commit: bool = False
    base_ref: str | None = None


def project_at(files: Files, commit_sha: str, pull_number: int | None, base_ref: str | None = None) -> Found:
    """The project file of a pushed commit, or of the base branch for a pull request.

    Raises Refused where the pull request's head or base (`base_ref`, where it is known) is another by now, ConfigError
    for a file that says nonsense, ArtifactError where the forge does not answer.
    """
    if pull_number is None:
        data = _read(files, commit_sha)
        return Found(_project(data, f"{NAME}@{commit_sha[:12]}"), notes=_absent(data, commit_sha[:12]), of_commit=True)
    pull = checked_head(files, commit_sha, pull_number, base_ref)
    base, head = _read(files, pull.base_ref), _read(files, commit_sha)
    if base is None and head is not None:
        raise UsageError(
            f"the branch {pull.base_ref} has no {NAME}, and that of pull request {pull_number} cannot judge itself",
            why="a pull request could otherwise choose a branch without one, or bring its own",
            todo=f"merge {NAME} first, or give a file of yours: `--hut`",
        )
    changed = base != head
    told = (f"this pull request changes {NAME}; that of {pull.base_ref} was used",) if changed else ()
    notes = (*_absent(base, pull.base_ref), *told)
    return Found(_project(base, f"{NAME}@{pull.base_ref}"), changed, notes, base_ref=pull.base_ref)


def checked_head(files: Files, commit_sha: str, pull_number: int, base_ref: str | None = None) -> PullRequest:
    """The pull request, if it is open, the commit is its head and (where known) `base_ref` its base.

    Raises Refused otherwise.
    """
    pull = files.pull_request(pull_number)
    check_head(pull, commit_sha)
    check_base(pull, base_ref)
    return pull


def check_head(pull: PullRequest, commit_sha: str) -> None:
    """Raises Refused where the pull request is closed, or its head is another commit."""
    if not pull.open:
        raise Refused(
            f"pull request {pull.number} is closed",
            why="nobody waits for its result",
            todo="reopen it, or test the commit without `--pull-request`",
        )
    if pull.head_sha != commit_sha:
        raise Refused(
            f"the head of pull request {pull.number} is {pull.head_sha[:12]} now, not {commit_sha[:12]}",
            why="commits were pushed since this one was asked for",
            todo="ask again for the new head",
        )


def check_base(pull: PullRequest, base_ref: str | None) -> None:
    """Raises Refused where the pull request goes into another branch than when it was asked for; None: not known.

    Its author may choose a branch whose hut.yml expects less, and go back once the test has passed.
    """
    if base_ref not in (None, pull.base_ref):
        raise Refused(
            f"pull request {pull.number} goes into {pull.base_ref[:80]} now, not into {str(base_ref)[:80]}",
            why="its base was changed after somebody asked for the test, and the base's hut.yml judges it",
            todo="look at the base, then ask again",
        )


def _read(files: Files, ref: str) -> bytes | None:
    """hut.yml at `ref`; None only where it is certain that there is none."""
    data = files.file(NAME, ref)
    if data is None and not files.knows(ref):
        raise ArtifactError(
            f"{NAME} cannot be read at {ref[:40]}: the forge answers 404 for that commit or branch, too",
            why="it does not exist there, or the token may not read the repository's files",
            todo="give the token the right to read files (`hut-ci doctor --forge`)",
            evidence="forge_error",
        )
    return data


def _absent(data: bytes | None, ref: str) -> tuple[str, ...]:
    return () if data is not None else (f"{NAME} is not in {ref}: only the built-in rules counted",)


def _project(data: bytes | None, name: str) -> Project:
    return config.project_from_bytes(data, name) if data is not None else Project()
