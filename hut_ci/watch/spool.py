"""The folder between publisher and bench: `jobs/NAME/` is written by the one, `reports/NAME/` by the other.

Each appears whole, by a rename, and is only read on the other side; spool_files.py opens nothing that something else
could have put there, and what the files hold is checked by its schema.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hut_ci import contracts
from hut_ci.claims.safe_files import inner_folder, lock_folder
from hut_ci.errors import ConfigError
from hut_ci.host_fault import host_fault
from hut_ci.model import Artifact, Request
from hut_ci.reports.atomic import sync_folder
from hut_ci.stages.artifact import MAX_FILE
from hut_ci.stages.request import from_document
from hut_ci.watch import spool_files

SCHEMA = "hut.handover.v1"
REQUEST, HANDOVER, PROJECT, ARTIFACT, REPORT = "request.json", "handover.json", "hut.yml", "artifact", "report.json"
JOBS, REPORTS = "jobs", "reports"
REPORT_LIMIT = 32 << 20


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A job as the bench reads it: of one pair. `project` are the bytes of hut.yml, None without one."""

    name: str
    request: Request
    project: bytes | None
    project_name: str
    changed: bool
    of_commit: bool
    notes: tuple[str, ...]
    artifact: Artifact


def ready(spool: Path, side: str) -> list[str]:
    """The names that wait on that side, the oldest first; whatever else lies there is not ours to touch.

    One that the other process takes away meanwhile hides no other. Raises OSError where the side cannot be read.
    """
    try:
        entries = list(os.scandir(spool / side))
    except FileNotFoundError:
        return []
    found = []
    for entry in entries:
        with suppress(FileNotFoundError):
            if spool_files.NAME.match(entry.name) and entry.is_dir(follow_symlinks=False):
                found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    return [name for _, name in sorted(found)]


# --- the publisher's side -------------------------------------------------------------------------------------


def hand_over(
    spool: Path,
    name: str,
    request: Mapping[str, Any],
    handover: Mapping[str, Any],
    project: bytes | None,
    artifact: Path,
) -> None:
    """Put a job there, whole; one that is there already stays. `artifact` is copied."""
    target = spool_files.inside(spool, JOBS, name)
    if target.exists():
        return
    part = target.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(0o750)
    spool_files.write(part / REQUEST, json.dumps(request, indent=2).encode())
    spool_files.write(part / HANDOVER, json.dumps(handover, indent=2).encode())
    if project is not None:
        spool_files.write(part / PROJECT, project)
    with artifact.open("rb") as source, spool_files.new_file(part / ARTIFACT) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
        spool_files.sync(copy)
    sync_folder(part)
    part.rename(target)
    sync_folder(target.parent)


def withdraw(spool: Path, name: str) -> None:
    """Take a job away; the bench then removes its report."""
    target = spool_files.inside(spool, JOBS, name)
    gone = target.with_name(f".{name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(FileNotFoundError):
        target.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def is_begun(spool: Path, name: str) -> bool:
    """Whether the bench has begun a job, or has ended it since the reports were collected; also where nobody knows."""
    target = spool_files.inside(spool, REPORTS, name)
    try:
        return target.with_name(f".{name}.part").exists() or target.exists()
    except OSError:
        return True


def sweep(spool: Path) -> None:
    """Remove what a publisher that was killed left half written, or half removed."""
    for path in (spool / JOBS).glob(".*"):
        if spool_files.NAME.match(path.stem.removeprefix(".")) and path.suffix in (".part", ".gone"):
            shutil.rmtree(path, ignore_errors=True)


def read_report(spool: Path, name: str) -> object:
    """The report of a job, unchecked: stages/publish.py believes none that is not valid. None where it is none."""
    try:
        with spool_files.opened(spool, REPORTS, name) as folder:
            return json.loads(spool_files.read(folder, REPORT, REPORT_LIMIT))
    except (OSError, ValueError, RecursionError, ConfigError):
        return None


# --- the bench's side -----------------------------------------------------------------------------------------


def read_request(spool: Path, name: str) -> Request:
    """The request of a job, which is about one pair. Raises ConfigError."""
    with spool_files.opened(spool, JOBS, name) as folder:
        return _request(spool_files.document(folder, REQUEST), name)


def take_over(spool: Path, name: str, into: Path) -> HandedOver:
    """A job that is valid in every part, with its artifact copied into the folder `into`. Raises ConfigError."""
    from hut_ci.artifact_cache import checked

    with spool_files.opened(spool, JOBS, name) as folder:
        request = _request(spool_files.document(folder, REQUEST), name)
        document = spool_files.document(folder, HANDOVER)
        if found := contracts.check(document, SCHEMA):
            raise spool_files.refused(name, f"{HANDOVER} is not valid: {found[0]}")
        judge, facts = document["project"], document["artifact"]
        project = spool_files.read(folder, PROJECT, spool_files.DOCUMENT_LIMIT) if judge["name"] is not None else None
        target = into / ARTIFACT
        with spool_files.file(folder, ARTIFACT, MAX_FILE) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    checked(target, facts["digest"])
    known = {key: facts.get(key) for key in ("run_id", "artifact_id", "built_sha", "run_url", "event", "attempt")}
    artifact = Artifact(
        source="upstream_artifact",
        name=facts["name"],
        digest=facts["digest"],
        path=target,
        forge=facts["forge"],
        commit_sha=request.commit_sha,
        size=target.stat().st_size,
        notes=tuple(facts.get("notes", ())),
        **known,
    )
    return HandedOver(
        name,
        request,
        project,
        judge["name"] or PROJECT,
        judge["changed"],
        judge["of_commit"],
        tuple(judge["notes"]),
        artifact,
    )


def begin(spool: Path, name: str) -> Path:
    """The folder that the report of a job is made in; until `finish` nobody looks into it."""
    part = spool_files.inside(spool, REPORTS, name).with_name(f".{name}.part")
    part.mkdir(0o750, exist_ok=True)
    return part


def finish(spool: Path, name: str) -> None:
    """Let the publisher see the report."""
    target = spool_files.inside(spool, REPORTS, name)
    part = target.with_name(f".{name}.part")
    sync_folder(part)
    part.rename(target)
    sync_folder(target.parent)


def clear(spool: Path) -> None:
    """Remove the reports of jobs that the publisher has taken away: it has read them, or wants them no more."""
    wanted = set(ready(spool, JOBS))
    for path in (spool / REPORTS).iterdir():
        name = path.name.removeprefix(".").removesuffix(".part")
        if spool_files.NAME.match(name) and name not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def make(spool: Path, side: str) -> None:
    """The folder of one side, and the spool itself where its parent is ours. Raises ConfigError."""
    if not spool.parent.exists():
        spool.parent.mkdir(parents=True, mode=0o700)
    with lock_folder(spool, create=True) as outer:
        try:
            os.mkdir(side, 0o750, dir_fd=outer.fd)
        except FileExistsError:
            pass
        except OSError as error:
            raise host_fault(error, f"{spool / side} cannot be made") or ConfigError(
                f"{spool / side} cannot be made: {error.strerror}",
                why="this user may not write to the spool",
                todo="`hut-ci watch install` makes both folders; or name another `spool_dir` in lab.yml",
            ) from error


# --- both -------------------------------------------------------------------------------------------------------


def note(spool: Path, side: str, name: str, limit: int = 4096) -> Mapping[str, Any]:
    """A small JSON document beside the jobs or reports; empty where none is that only the lab can have written."""
    try:
        with (
            lock_folder(spool, create=False) as outer,
            inner_folder(outer, side, create=False) as folder,
        ):
            document = json.loads(spool_files.read(folder, name, limit))
    except (OSError, ValueError, RecursionError, ConfigError):
        return {}
    return document if isinstance(document, dict) else {}


def _request(document: Any, name: str) -> Request:
    request = from_document(document, f"the request of {name}")
    if len(request.pairs) != 1:
        raise spool_files.refused(name, f"its request is about {len(request.pairs)} pairs")
    return request
