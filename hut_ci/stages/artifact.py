"""The artifact of exactly one commit, from a folder on this machine or from a forge."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from hut_ci.errors import ArtifactError, UsageError
from hut_ci.model import Artifact, FlashPlan
from hut_ci.reports.escaping import cut, plain

PULL_EVENTS = frozenset({"pull_request", "merge_request_event", "external_pull_request_event", "merge_group"})
MAX_FILE = 1 << 30
"""Bytes of a build that is one file: reading it has no deadline."""


def full_sha(sha: object) -> str:
    """`sha` itself, if it is a full commit id. Raises UsageError otherwise."""
    if isinstance(sha, str) and len(sha) == 40 and set(sha) <= set("0123456789abcdef"):
        return sha
    shown = cut(plain(str(sha)), 60) if sha else "empty"
    raise UsageError(
        f"not a full commit id: {shown}",
        why="an empty or short SHA is refused: it could mean another commit than the one that was tested",
        todo="Give all 40 hexadecimal digits, as `git rev-parse HEAD` prints them.",
    )


def local_build(path: Path, commit_sha: str | None = None) -> Artifact:
    """A build that lies on this machine: a folder, an archive or an image; the digest is a file's SHA-256.

    A folder has no digest of its own, because a build folder holds gigabytes that are never flashed:
    `of_plan` gives it the digest of what would be written.
    """
    if not path.exists():
        raise ArtifactError(
            f"{path} does not exist",
            why="the build has not run, or it wrote somewhere else",
            todo="give the folder that holds flasher_args.json, or a zip of it",
        )
    digest = ""
    if path.is_file():
        if (size := path.stat().st_size) > MAX_FILE:
            raise ArtifactError(
                f"{path.name} has {size} bytes, at most {MAX_FILE} are taken",
                why="no archive of a build and no flash image is that large",
                todo="give the build folder, or an archive of the files to flash",
            )
        with path.open("rb") as stream:
            digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    return Artifact(
        source="local", name=path.resolve().name, digest=digest, path=path, commit_sha=commit_sha, built_sha=commit_sha
    )


def refuse_own_judge(artifact: Artifact, *, read_from_commit: bool) -> None:
    """A pull request's build must not be judged by its own hut.yml: raises UsageError where that would happen."""
    if read_from_commit and artifact.event in PULL_EVENTS:
        raise UsageError(
            f"the build is a pull request's ({artifact.event}), and it would itself decide what a pass is",
            why="a pull request could then pass by changing what is expected",
            todo="give its number, so that the base branch's is read: `--pull-request N`; or a file of yours: `--hut`",
        )


def of_plan(artifact: Artifact, plan: FlashPlan) -> Artifact:
    """The artifact with the digest of the plan's parts (offset and SHA-256 of each) where it has none."""
    if artifact.digest:
        return artifact
    lines = "".join(f"{part.offset:#x} {part.sha256}\n" for part in plan.parts)
    return replace(artifact, digest=f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}")
