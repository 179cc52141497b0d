"""Builds by commit in a folder: `artifacts/SHA/NAME.zip`, or a folder NAME."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from hut_ci.errors import ArtifactError
from hut_ci.model import Artifact
from hut_ci.reports.escaping import cut, plain
from hut_ci.stages.artifact import full_sha

_SUFFIX = ".zip"


def find_artifact(folder: Path, sha: str, variant: str | None = None) -> Artifact:
    """The one build for commit `sha`: of the name `variant`, else the one that holds it as a word; all count without.

    Raises UsageError for anything but 40 hexadecimal digits, ArtifactError for none or several, listing
    what is there.
    """
    commit = folder / full_sha(sha)
    builds = _builds(commit)
    found = _matching(builds, variant)
    wanted = f"of variant {variant} " if variant else ""
    if len(found) == 1:
        return Artifact(
            source="upstream_artifact",
            name=_name(found[0]),
            digest=_digest(found[0]),
            path=found[0],
            commit_sha=sha,
        )
    listing = ", ".join(cut(plain(path.name), 60) for path in found or builds)
    if found:
        raise ArtifactError(
            f"{len(found)} builds {wanted}fit commit {sha[:12]}: {listing}",
            why="which of them is meant cannot be told",
            todo="Name the variant exactly like one of them, or remove the others.",
        )
    raise ArtifactError(
        f"no build {wanted}for commit {sha[:12]}" + (f"; there are: {listing}" if builds else ""),
        why=f"{commit} holds none of that name" if builds else f"{commit} does not exist or is empty",
        todo=f"Put the build at {commit}/NAME{_SUFFIX}, or as a folder there.",
    )


def _builds(commit: Path) -> list[Path]:
    """Zip files and folders; links and hidden names are none, and half-written ones start with a dot."""
    if not commit.is_dir():
        return []
    return sorted(path for path in commit.iterdir() if not path.name.startswith(".") and _is_build(path))


def _is_build(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and path.name.endswith(_SUFFIX))


def _name(path: Path) -> str:
    return path.name.removesuffix(_SUFFIX)


def _matching(builds: list[Path], variant: str | None) -> list[Path]:
    if not variant:
        return builds
    exact = [path for path in builds if _name(path) == variant]
    word = re.compile(rf"(?:^|[-_.]){re.escape(variant)}(?:[-_.]|$)")
    return exact or [path for path in builds if word.search(_name(path))]


def _digest(path: Path) -> str:
    """SHA-256 of the zip's bytes; of a folder, of its sorted lines `<sha256> <relative path>`."""
    if path.is_file():
        return "sha256:" + _sha256(path)
    lines = [
        f"{_sha256(file)} {file.relative_to(path).as_posix()}\n"
        for file in sorted(path.rglob("*"))
        if stat.S_ISREG(file.lstat().st_mode)
    ]
    return "sha256:" + hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _sha256(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
