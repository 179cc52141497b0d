"""Commit statuses in a folder: `statuses/SHA/CONTEXT.json` holds the whole history, the last entry counts."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hut_ci.errors import PublishError
from hut_ci.forges.local import owner
from hut_ci.model import Evidence
from hut_ci.reports.atomic import make_folder, replace_file
from hut_ci.reports.escaping import cut
from hut_ci.stages.artifact import full_sha
from hut_ci.stages.verdict import sentence
from hut_ci.units import utc_now

PENDING = "pending"
ERROR = "error"


@dataclass(frozen=True, slots=True)
class Status:
    """One entry of a history; `owner` is the process that posted it."""

    sha: str
    context: str
    state: str
    description: str
    target_url: str | None
    created_utc: str
    owner: owner.Owner


def add(folder: Path, sha: str, context: str, state: str, description: str, target_url: str | None) -> Status:
    """Append a status. Raises UsageError for a bad SHA, PublishError for a folder or file that cannot be used."""
    path = _path(folder, full_sha(sha), context)
    status = Status(sha, context, state, description, target_url, utc_now(), owner.this_process())
    with _problems_as_publish_error(path), _locked(make_folder(path.parent)):
        _append(path, status)
    return status


def latest(folder: Path, sha: str) -> list[Status]:
    """The last status of each context of `sha`."""
    return [_read(path)[-1] for path in _files(folder / full_sha(sha))]


def history(folder: Path, sha: str, context: str) -> list[Status]:
    """All statuses of one context, oldest first; empty where there is none."""
    path = _path(folder, full_sha(sha), context)
    return _read(path) if path.exists() else []


def repair(folder: Path, before: str | None = None) -> list[Status]:
    """Turn each pending status whose process is gone into `error`; returns what was added.

    One whose process cannot be seen from here (another host, another container) is ended when it is older
    than `before`, an instant like `2026-02-12T15:30:00.000Z`. Called by the next run: a run that was killed
    cannot end its own status. Files that cannot be read or written stay as they are.
    """
    found = []
    for path in [path for commit in sorted(folder.glob("*/")) for path in _files(commit)]:
        with suppress(PublishError), _problems_as_publish_error(path), _locked(path.parent):
            last = _read(path)[-1]
            if last.state == PENDING and _is_stale(last, before):
                _append(path, ended := _ended(last))
                found.append(ended)
    return found


def _ended(status: Status) -> Status:
    stage = f"“{cut(status.description, 60)}”" if status.description else "an unnamed stage"
    text = sentence(Evidence("killed", {"stage": stage}))
    return dataclasses.replace(status, state=ERROR, description=text, created_utc=utc_now(), owner=owner.this_process())


def _is_stale(status: Status, before: str | None) -> bool:
    gone = owner.is_gone(status.owner)
    if gone is None:
        return before is not None and datetime.fromisoformat(status.created_utc) < datetime.fromisoformat(before)
    return gone


def _path(folder: Path, sha: str, context: str) -> Path:
    """The digest keeps contexts apart that differ only in characters which a file name cannot hold."""
    slug = re.sub(r"[^a-z0-9]+", "-", context.lower()).strip("-")[:60]
    digest = hashlib.sha256(context.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return folder / sha / f"{slug}-{digest}.json"


def _files(commit: Path) -> list[Path]:
    return sorted(path for path in commit.glob("*.json") if not path.is_symlink()) if commit.is_dir() else []


def _append(path: Path, status: Status) -> None:
    entries = _read(path) if path.exists() else []
    document = [dataclasses.asdict(entry) for entry in (*entries, status)]
    replace_file(path, (json.dumps(document, indent=2) + "\n").encode("ascii"))


def _read(path: Path) -> list[Status]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            entries: list[dict[str, Any]] = json.load(file)
        found = [Status(**{**entry, "owner": owner.from_document(entry["owner"])}) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PublishError(
            f"{path} is not a status file of ours",
            why=str(error),
            todo="Move the file away; it is written anew with the next status.",
        ) from error
    if not found:
        raise PublishError(f"{path} holds no status", todo="Move the file away.")
    return found


@contextmanager
def _problems_as_publish_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PublishError(
            f"the status cannot be written to {path}",
            why=str(error),
            todo="Give this user write permission on the folder, or choose another one.",
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two processes that post at once both keep their entries; the kernel frees the lock of a killed one."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
