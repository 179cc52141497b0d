"""Markdown from a report document: a pull request's comment or a job summary, readable on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hut_ci.reports.escaping import cut, markdown_block, markdown_code, markdown_text
from hut_ci.reports.junit import last_lines
from hut_ci.reports.status_text import STEP_WORDS, full_status, kind

LOG_LINES = 30
# Characters of a table's cell: three columns of them fit a phone held upright.
CELL = 28
SENTENCE = 600
SIGNS = {"pass": "✅", "fail": "❌", "blocked": "⏸️", "cancelled": "⏹️"}
LAB_SIGN = "⚠️"


def markdown(document: Mapping[str, Any]) -> str:
    """Verdict and sentence first, then what to do, how it went, on which board, and for a failure the log's end."""
    hardware = document["hardware"]
    blocks = [
        _title(hardware),
        f"**{markdown_text(cut(full_status(document), SENTENCE))}**",
        _advice(document),
        _stages(hardware["attempts"]),
        _recovery(hardware),
        _cases(hardware["cases"]),
        "Board and build:\n\n" + _list(_identity(document)),  # a paragraph, or the list above would go on
        _log(hardware),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _title(hardware: Mapping[str, Any]) -> str:
    verdict = hardware["verdict"]
    words = kind(verdict)
    if verdict["name"] == "pass" and (verdict["flaky"] or verdict["recovered"]):
        words += " (flaky)" if verdict["flaky"] else " (recovered)"
    where = " · ".join(markdown_text(cut(part, CELL)) for part in (hardware["slot"], hardware["variant"]) if part)
    return f"### {SIGNS.get(verdict['name'], LAB_SIGN)} {words}{': ' + where if where else ''}"


def _advice(document: Mapping[str, Any]) -> str:
    lines = [markdown_text(document.get("next_action") or "")]
    if document["hardware"]["partial"]:
        lines.insert(0, "This report is incomplete: the run ended before it could write a full one.")
    return " ".join(line for line in lines if line)


def _stages(attempts: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for attempt in attempts:
        number = f" {attempt['number']}" if len(attempts) > 1 else ""
        rows += [[stage["name"] + number, stage["outcome"], f"{stage['seconds']:.1f}"] for stage in attempt["stages"]]
    return _table(["stage", "result", "s"], rows)


def _cases(cases: Sequence[Mapping[str, Any]]) -> str:
    words = {"skipped": "not reached"}
    rows = [[case["name"], words.get(case["outcome"], case["outcome"]), f"{case['seconds']:.1f}"] for case in cases]
    return _table(["check", "result", "s"], rows)


def _recovery(hardware: Mapping[str, Any]) -> str:
    lines = []
    for event in hardware["recovery_events"]:
        word = STEP_WORDS.get(event["step"], event["step"])
        why = "to leave the slot in order" if event["restoring"] else f"because of {event['cause']}"
        detail = f" ({cut(event['detail'], 120)})" if event["detail"] else ""
        lines.append(f"{markdown_text(f'{word} {why}: ' + event['outcome'] + detail)}, {event['seconds']:.1f} s")
    count = hardware["power_cycle_count"]
    if count:
        lines.append(f"power cycles: {count}")
    return "Recovery:\n\n" + _list(lines) if lines else ""


def _identity(document: Mapping[str, Any]) -> list[str]:
    """What was tested where, one fact per line; unknown facts are left out."""
    hardware = document["hardware"]
    board, boot, firmware = hardware["board"] or {}, hardware["boot"] or {}, hardware["firmware"] or {}
    artifact = hardware["artifact"] or {}
    revision = ".".join(str(number) for number in board.get("revision") or ())
    facts = [
        ("commit", hardware["commit_sha"]),
        ("built from", hardware["built_sha"] if hardware["built_sha"] != hardware["commit_sha"] else None),
        ("artifact", _words(artifact.get("name"), _source(artifact), artifact.get("run_id"))),
        ("board", _words(board.get("chip"), f"v{revision}" if revision else None, board.get("mac"))),
        ("booted", _words(boot.get("partition"), boot.get("project"), boot.get("version"), boot.get("compiled"))),
        ("settings kept", ", ".join(firmware.get("kept", ()))),
        ("settings erased", ", ".join(firmware.get("erased", ()))),
        ("lab", hardware["lab"]),
        ("logs", ", ".join(sorted(hardware["logs"].values()))),
    ]
    facts += [("note", note) for note in hardware["notes"]]
    return [_shown(name, text) for name, text in facts if text]


def _source(artifact: Mapping[str, Any]) -> str | None:
    source = artifact.get("source")
    return f"({str(source).replace('_', ' ')})" if source else None


def _log(hardware: Mapping[str, Any]) -> str:
    """The end of the log of what went wrong: of a flaky pass, that of the attempt that failed."""
    failed = [attempt for attempt in hardware["attempts"] if attempt["evidence"]["id"] != "passed"]
    lines = last_lines(failed)
    if not lines or (hardware["verdict"]["name"] == "pass" and not hardware["verdict"]["flaky"]):
        return ""
    shown = lines[-LOG_LINES:]
    return f"The last {len(shown)} lines of the serial log:\n\n{markdown_block(shown)}"


def _shown(name: str, text: str) -> str:
    return f"{name}: {markdown_code(cut(text, 160))}"


def _words(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    ruler = ["---"] * (len(head) - 1) + ["--:"]
    body = [[markdown_text(cut(cell, CELL)) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [list(head), ruler, *body])
