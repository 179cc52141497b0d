"""The report on disk: DIR/report.json, junit.xml, summary.md and the logs, all redacted, each whole or absent.

Raw logs stay in the run's private folder; only redacted copies enter DIR, so that a kill at any moment
leaves nothing in DIR that must not leave the host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hut_ci.model import Evidence, Report
from hut_ci.reports.atomic import make_folder, replace_file, sync_folder
from hut_ci.reports.json_document import CONTRACT_KEYS, to_bytes, to_document
from hut_ci.reports.junit import junit
from hut_ci.reports.markdown import markdown
from hut_ci.reports.redaction import Redactor
from hut_ci.stages.verdict import judge
from hut_ci.units import utc_now

REPORT = "report.json"
JUNIT = "junit.xml"
SUMMARY = "summary.md"


def partial(job_id: str, start_utc: str, **known: Any) -> Report:
    """The report of a run that has only begun; `known` are further fields of Report (slot, commit_sha, …)."""
    verdict = judge(Evidence("killed", {"stage": "start"}))
    return Report(job_id, start_utc, start_utc, 0.0, verdict, partial=True, **known)


def interrupted(report: Report, stage: str, now_utc: str) -> Report:
    """`report` as it has to read if nothing more is written because the run is killed during `stage`."""
    seconds = (datetime.fromisoformat(now_utc) - datetime.fromisoformat(report.start_utc)).total_seconds()
    return dataclasses.replace(
        report,
        verdict=judge(Evidence("killed", {"stage": stage})),
        end_utc=max(now_utc, report.start_utc),
        seconds=max(0.0, seconds),
        partial=True,
    )


def checkpoint(report: Report, stage: str, out: Path, redactor: Redactor) -> Path:
    """Write what stands if the run is killed during `stage`; called at the start of a run and of each stage.

    Not synced to disk: a killed process loses nothing that it has written, and after a power cut another
    host answers for this run (a pending state that nobody ends becomes `error`).
    """
    document = to_document(interrupted(report, stage, utc_now()))
    return _write_documents(document, out, redactor, durable=False)


def write(report: Report, out: Path, redactor: Redactor, logs: Mapping[str, Path]) -> Path:
    """Write the final report and redacted copies of `logs` into `out`; returns the path of report.json.

    `logs` maps the names that they get to the raw files. report.json comes last: a run that is killed before
    that still has its partial report. Raises OSError where `out` cannot be written.
    """
    make_folder(out)
    names = [_place(name, log, out, redactor) for name, log in logs.items() if log.is_file()]
    listed = dict(report.logs)
    for name in names:
        if name not in listed.values():
            stem = Path(name).stem
            listed[stem if stem not in listed else name] = name
    document = to_document(dataclasses.replace(report, logs=listed), {log: name for name, log in logs.items()})
    return _write_documents(document, out, redactor, durable=True)


def clear(out: Path) -> None:
    """Remove what an earlier run left in `out`: its report must never be taken for the next one's."""
    for pattern in (REPORT, JUNIT, SUMMARY, "attempt-*", "bug.txt"):
        for file in out.glob(pattern):
            file.unlink()


def _write_documents(document: dict[str, Any], out: Path, redactor: Redactor, *, durable: bool) -> Path:
    make_folder(out)
    document["artifact_paths"] = sorted({*document["artifact_paths"], JUNIT, REPORT, SUMMARY})
    redacted = redactor.document(document, CONTRACT_KEYS)
    replace_file(out / JUNIT, junit(redacted).encode(), durable=False)
    replace_file(out / SUMMARY, markdown(redacted).encode(), durable=False)
    replace_file(out / REPORT, to_bytes(redacted), durable=durable)
    if durable:
        sync_folder(out)
    return out / REPORT


def _place(name: str, log: Path, out: Path, redactor: Redactor) -> str:
    redactor.copy_file(log, out / name)
    return name
