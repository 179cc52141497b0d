"""A report document for a terminal or a CI log: no terminal sequence, no command to a CI runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hut_ci.reports.escaping import ci_log, cut, plain
from hut_ci.reports.junit import last_lines
from hut_ci.reports.status_text import full_status

LOG_LINES = 30
WIDTH = 200


def advice(document: Mapping[str, Any]) -> list[str]:
    """The likely cause and what to do now, a line each; none after a plain pass."""
    likely, do, rest = (document.get("next_action") or "").partition(" Do: ")
    return [line for line in (likely, (do + rest).strip()) if line]


def text(document: Mapping[str, Any]) -> str:
    """The status line, what to do, one line per stage and recovery step, and the log's end after a failure."""
    lines = [full_status(document), *advice(document)]
    if hardware := document.get("hardware"):
        facts = (("commit", hardware["commit_sha"]), ("slot", hardware["slot"]), ("variant", hardware["variant"]))
        lines += [", ".join(f"{name} {value}" for name, value in facts if value)]
        for attempt in hardware["attempts"]:
            lines += [
                f"attempt {attempt['number']}: {stage['name']} {stage['outcome']}, {stage['seconds']:.1f} s"
                for stage in attempt["stages"]
            ]
        lines += [
            f"recovery: {event['step']} because of {event['cause']}: {event['outcome']}, {event['seconds']:.1f} s"
            for event in hardware["recovery_events"]
        ]
        if hardware["verdict"]["name"] != "pass":
            lines += ["  " + line for line in last_lines(hardware["attempts"])[-LOG_LINES:]]
    kept = [cut(plain(line) if not line.startswith("  ") else "  " + plain(line), WIDTH) for line in lines if line]
    return ci_log("\n".join(kept)) + "\n"
