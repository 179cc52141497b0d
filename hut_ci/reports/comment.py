"""The text of the one comment on a pull request: a row per slot, and for what went wrong its reason and log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hut_ci.reports.escaping import cut, markdown_block, markdown_code, markdown_text
from hut_ci.reports.junit import last_lines
from hut_ci.reports.markdown import CELL, LAB_SIGN, LOG_LINES, SIGNS
from hut_ci.reports.status_text import full_status, kind

MARGIN = 200
"""Characters kept free of a forge's limit for what a comment's marker and a closing line take."""
SENTENCE = 300


def comment(
    sha: str, rows: Sequence[tuple[str, str, Mapping[str, Any] | None]], limit: int, run_url: str | None = None
) -> str:
    """`rows` are (slot, sentence, report or None); at most `limit` characters, the logs are shortened first."""
    for lines in (LOG_LINES, 10, 3, 0):
        text = _text(sha, rows, run_url, lines)
        if len(text) <= limit - MARGIN:
            return text
    return cut(text, limit - MARGIN)


def _text(
    sha: str, rows: Sequence[tuple[str, str, Mapping[str, Any] | None]], run_url: str | None, log_lines: int
) -> str:
    link = f" · [run](<{run_url}>)" if run_url and _is_plain(run_url) else ""
    blocks = [f"### Hardware tests of {markdown_code(sha[:12])}{link}", _table(rows)]
    blocks += [_details(slot, document, log_lines) for slot, _, document in rows if document and not _passed(document)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(rows: Sequence[tuple[str, str, Mapping[str, Any] | None]]) -> str:
    lines = ["| | slot | result |", "| --- | --- | --- |"]
    for slot, sentence, document in rows:
        sign = SIGNS.get(str(document["hardware"]["verdict"]["name"]), LAB_SIGN) if document else LAB_SIGN
        lines.append(f"| {sign} | {markdown_text(cut(slot, CELL))} | {markdown_text(cut(sentence, SENTENCE))} |")
    return "\n".join(lines)


def _details(slot: str, document: Mapping[str, Any], log_lines: int) -> str:
    hardware = document["hardware"]
    title = f"**{markdown_text(cut(slot, CELL))}: {kind(hardware['verdict'])}**"
    blocks = [title, markdown_text(cut(full_status(document), 2 * SENTENCE)), markdown_text(document["next_action"])]
    failed = [attempt for attempt in hardware["attempts"] if attempt["evidence"]["id"] != "passed"]
    if log_lines and (lines := last_lines(failed)):
        shown = lines[-log_lines:]
        blocks.append(
            f"<details><summary>the last {len(shown)} lines of the serial log</summary>\n\n"
            f"{markdown_block(shown)}\n\n</details>"
        )
    return "\n\n".join(block for block in blocks if block)


def _passed(document: Mapping[str, Any]) -> bool:
    verdict = document["hardware"]["verdict"]
    return bool(verdict["name"] == "pass" and not verdict["flaky"])


def _is_plain(url: str) -> bool:
    return url.startswith(("https://", "http://")) and not set(url) & set("<>()[] \t\n\\|`\"'")
