"""The report document, `ws2.report.v1` with the block `hardware`; every other format is made from it."""

from __future__ import annotations

import dataclasses
import getpass
import json
import math
import socket
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hut_ci.errors import ConfigError
from hut_ci.model import Artifact, Part, Report, Verdict, VerdictName
from hut_ci.reports import states
from hut_ci.reports.escaping import cut, valid_text
from hut_ci.reports.status_text import full_status

REPORT_SCHEMA = "ws2.report.v1"
HARDWARE_SCHEMA = "hut.hardware.v1"
NO_COMMIT = "none"
# A string of a hostile board or build cannot make the document unreadable; a serial line is far shorter.
LONGEST_STRING = 8192
# A report holds a few hundred lines of log at most.
MOST_BYTES = 32 << 20

# The names of `Report` fields in the block `hardware`, where they differ; the rest keep theirs.
RENAMED = {"plan": "firmware", "recovery": "recovery_events", "power_cycles": "power_cycle_count"}
# Fields that ws2.report.v1 already holds, under these names.
OUTSIDE = {
    "job_id": "job_id",
    "agent_role": "agent_role",
    "start_utc": "start_utc",
    "end_utc": "end_utc",
    "lock_key": "lock_key",
}
# Paths of the lab host: nobody else can use them.
OMITTED = {(Artifact, "path"), (Part, "path")}
# What the schemas bind to a pattern or a list of words: redaction leaves it alone, so that the document stays valid.
CONTRACT_KEYS = frozenset(
    {
        *("schema_version", "job_id", "agent_role", "status", "start_utc", "end_utc", "lock_key"),
        *("commit_sha", "lane", "artifact.source", "verdict.name", "evidence.id", "step", "cause"),
        *("stages.outcome", "cases.outcome"),
    }
)


def to_document(report: Report, names: Mapping[Path, str] = MappingProxyType({})) -> dict[str, Any]:
    """The whole report as JSON values. A log's path becomes its name in the report's folder: `names`, or its own."""
    hardware: dict[str, Any] = {"schema_version": HARDWARE_SCHEMA}
    for field in dataclasses.fields(report):
        if field.name not in OUTSIDE:
            hardware[RENAMED.get(field.name, field.name)] = _value(getattr(report, field.name), names)
    watched = [attempt["suite"] for attempt in hardware["attempts"] if attempt["suite"]]
    hardware["cases"] = watched[-1]["cases"] if watched else []
    hardware["boot"] = watched[-1]["boot"] if watched else None
    document = {
        "schema_version": REPORT_SCHEMA,
        "job_id": report.job_id,
        "agent_role": report.agent_role,
        "status": states.of_verdict(hardware["verdict"]).ws2,
        "start_utc": report.start_utc,
        "end_utc": report.end_utc,
        "duration_sec": _duration(report),
        "exit_code": report.verdict.exit_code,
        "lock_key": report.lock_key or report.slot or "none",
        "executor": {"hostname": valid_text(socket.gethostname()), "user": _user()},
        "commit_sha": report.commit_sha or NO_COMMIT,
        "artifact_paths": sorted({valid_text(path) for path in report.logs.values()}),
        "human_summary": "",
        "next_action": next_action(report.verdict, report.slot),
        "hardware": hardware,
    }
    document["human_summary"] = full_status(document)
    return document


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON, indented, with a final newline; ASCII only, so that nothing in it can reach a terminal raw."""
    return (json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def read(path: Path) -> Any:
    """The JSON value in `path`, unchecked. Raises ConfigError for a file that cannot be read or is no JSON."""
    try:
        with path.open("rb") as file:
            return json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be read as a report",
            why=str(error),
            todo="Give the path of a report.json, as `hut-ci run --out DIR` writes it.",
        ) from error


def problems(document: Any) -> list[str]:
    """What the schemas say against `document`; empty when it is valid."""
    from hut_ci import contracts

    return [str(problem) for problem in contracts.check(document, REPORT_SCHEMA)]


ABOUT_EXPECTATIONS = frozenset({"missing_line", "hang", "forbidden_line", "wrong_app"})


def next_action(verdict: Verdict, slot: str | None) -> str:
    """Why it probably came so and who has to do what now; empty after a plain pass.

    `likely` and `todo` among the evidence's fields come from the error or from the table of esptool's texts.
    """
    fields = verdict.evidence.fields
    known = [
        f"{word}: {_sentence(fields[key])}" for key, word in (("likely", "Likely"), ("todo", "Do")) if fields.get(key)
    ]
    return " ".join([*known, _who_acts(verdict, slot)]).strip()


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _who_acts(verdict: Verdict, slot: str | None) -> str:
    where = f"slot {slot}" if slot else "the lab"
    if verdict.name is VerdictName.PASS:
        return f"Look at {where}: it needed recovery." if verdict.recovered else ""
    if verdict.name is VerdictName.FAIL:
        expected = ", or what hut.yml expects of it," if verdict.evidence.id in ABOUT_EXPECTATIONS else ""
        return f"Read the end of the serial log; the firmware{expected} has to change."
    if verdict.evidence.fields.get("todo") and verdict.name is not VerdictName.CANCELLED:
        return "Nothing was decided about the firmware."
    if verdict.name is VerdictName.BLOCKED:
        return f"Run again when {where} is free; nothing was tested."
    if verdict.name is VerdictName.CANCELLED:
        return "Run again if the result is still wanted; nothing was decided."
    if verdict.exit_code == 2:
        return "Correct hut.yml, lab.yml or the build's settings; nothing was decided about the firmware."
    return f"Ask the lab's operator to look at {where}; nothing was decided about the firmware."


def _value(value: Any, names: Mapping[Path, str]) -> Any:
    """A frozen value of the model as a JSON value, field by field under the same names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if (type(value), field.name) not in OMITTED]
        return {name: _value(getattr(value, name), names) for name in fields}
    if isinstance(value, Mapping):
        return {valid_text(str(key)): _value(entry, names) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_value(entry, names) for entry in value]
    if isinstance(value, Path):
        return valid_text(names.get(value, value.name))
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return cut(valid_text(value), LONGEST_STRING)
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else 0.0
    return value


def _duration(report: Report) -> float:
    """End minus start, as ws2 defines it; `hardware.seconds` is the monotonic clock's word on the same."""
    start, end = (datetime.fromisoformat(instant) for instant in (report.start_utc, report.end_utc))
    return max(0.0, round((end - start).total_seconds(), 3))


def _user() -> str:
    try:
        return valid_text(getpass.getuser())
    except (OSError, KeyError):  # a container's numeric user without a name
        return "unknown"
