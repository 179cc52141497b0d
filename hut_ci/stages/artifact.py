"""The artifact of exactly one commit, from a folder on this machine or from a forge."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from hut_ci.errors import ArtifactError, UsageError
from hut_ci.model import Artifact, FlashPlan

SHA = re.compile(r"[0-9a-f]{40}")


class Builds(Protocol):
    """Where artifacts are kept by commit (forges/)."""

    def find_artifact(self, sha: str, variant: str | None) -> Artifact: ...


def exact_commit(text: str | None) -> str | None:
    """A commit id of 40 hex digits, or None where none was given; anything else raises UsageError.

    An empty or short id would silently mean "the newest build" (design decision 8).
    """
    if text is None:
        return None
    if not SHA.fullmatch(text):
        raise UsageError(
            f"{text!r} is not a commit id of 40 hex digits",
            why="an empty or short id could name another commit's build",
            todo="give the whole id: `git rev-parse HEAD`",
        )
    return text


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
        with path.open("rb") as stream:
            digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    return Artifact(
        source="local", name=path.resolve().name, digest=digest, path=path, commit_sha=commit_sha, built_sha=commit_sha
    )


def of_plan(artifact: Artifact, plan: FlashPlan) -> Artifact:
    """The artifact with the digest of the plan's parts (offset and SHA-256 of each) where it has none."""
    if artifact.digest:
        return artifact
    lines = "".join(f"{part.offset:#x} {part.sha256}\n" for part in plan.parts)
    return replace(artifact, digest=f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}")
