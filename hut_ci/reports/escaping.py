"""All escaping of text that a board, a build or a branch name may have written, one function per place it goes to.

Every function takes any `str`, lone surrogates included, and returns text that is safe in that one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ELLIPSIS = "…"
WORD_JOINER = "\u2060"

# CSI, OSC (ended by BEL or ST), the other string sequences, and two-byte escapes: ECMA-48 5.3 and 5.6.
_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
# C0, DEL and C1 without tab and newline; invisible and direction-changing format characters (they make
# text read differently from what it is), and line separators that some consumers split at.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# XML 1.0 §2.2 Char allows no other C0 controls, no surrogates, no U+FFFE/U+FFFF.
_NOT_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Only what can be markup where it stands, so that a summary stays readable as plain text: an underscore
# inside a word, a dot inside a line and a bracket after nothing are none (CommonMark 0.31, GFM).
_MARKDOWN = re.compile(r"([\\`*\[\]|~$])|((?<![^\W_])_|_(?![^\W_]))")
_LINE_START = re.compile(r"^([-+=#:](?=[\s=:#-]|$)|/|\d{1,9}(?=[.)](?:\s|$)))")
# GitLab obeys a line of a note that starts with a slash (docs: "Quick actions"). Its reader takes a code block to end
# at the first line of three backticks, however long the fence is, so a block is no protection.
_QUICK_ACTION = re.compile(r"^(\s*)/", re.MULTILINE)
# Forges link, notify and draw emoji after the Markdown is rendered, so a backslash does not stop them: `@name`,
# `#1`, `!1`, `~label`, `%milestone`, `^alert`, `$snippet`, `&1`, `://`, `www.`, `gh-1` and `:smile:` are broken up.
_REFERENCE = re.compile(
    r"(?i)((?:[@#!~%^$]|&amp;)(?=\\?[\w/\[\"{])|:(?=//|[\w+-]+:)|\bwww(?=\.)|\bgh(?=-\d))",
)
_BACKTICKS = re.compile(r"`+")


def valid_text(text: str) -> str:
    """`text` with each lone surrogate replaced, so that it can be encoded."""
    return _SURROGATE.sub("\ufffd", text)


def plain_lines(text: str) -> str:
    """Printable text: no terminal sequences, no control characters except tab and newline."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return valid_text(_CONTROL.sub("", _ANSI.sub("", unified)))


def plain(text: str) -> str:
    """`plain_lines` on one line, white space collapsed."""
    return " ".join(plain_lines(text).split())


def cut(text: str, limit: int) -> str:
    """At most `limit` characters; the last one is an ellipsis where something is missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def xml_text(text: str) -> str:
    """Characters that XML 1.0 cannot hold are removed; `<`, `&` and quotes are the XML writer's business."""
    return _NOT_XML.sub("", plain_lines(text))


def markdown_text(text: str) -> str:
    """Running text: nothing in it is markup, HTML, a mention, a reference, a link or a table border."""
    html = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = _MARKDOWN.sub(r"\\\g<0>", html)
    if start := _LINE_START.match(escaped):
        cut_at = start.end() if start[0].isdigit() else 0
        escaped = f"{escaped[:cut_at]}\\{escaped[cut_at:]}"
    return _REFERENCE.sub(rf"\1{WORD_JOINER}", escaped)


def markdown_code(text: str) -> str:
    """A code span, in which forges neither notify nor link. Not for table cells, which end at a `|` in it."""
    content = plain(text)
    ticks = _fence(content, 1)
    space = " " if content.startswith("`") or content.endswith("`") or not content else ""
    return f"{ticks}{space}{content}{space}{ticks}"


def markdown_block(lines: Iterable[str], *, width: int = 240) -> str:
    """A fenced block of plain lines, none longer than `width`; its fence is longer than any run of backticks in it."""
    content = "\n".join(cut(plain_lines(line).replace("\n", " "), width) for line in lines)
    content = _QUICK_ACTION.sub(rf"\1{WORD_JOINER}/", content)
    fence = _fence(content, 3)
    return f"{fence}text\n{content}\n{fence}"


def _fence(content: str, least: int) -> str:
    runs = [len(run) for run in _BACKTICKS.findall(content)]
    return "`" * max(least, max(runs, default=0) + 1)


def ci_log(text: str) -> str:
    """Text for a CI job's log: no line of it is a command to GitHub's or GitLab's runner.

    GitHub's runner obeys a line that starts with `::` after white space, and `##[` anywhere in a line
    (actions/runner, ActionCommand.cs); GitLab folds at `section_start:` and `section_end:`.
    """
    return "\n".join(_harmless(line) for line in plain_lines(text).split("\n"))


def ci_log_json(text: str) -> str:
    """The same JSON document, written so that no string in it is a command to a runner that shows it (see `ci_log`).

    No line of one that `json.dumps` indented starts with `::`.
    """
    for sign, escaped in (("##[", "#\\u0023["), ("##vso[", "#\\u0023vso[")):
        text = text.replace(sign, escaped)
    return text.replace("section_start:", "section_start\\u003a").replace("section_end:", "section_end\\u003a")


def _harmless(line: str) -> str:
    body = line.lstrip()
    if body.startswith("::"):
        line = line[: len(line) - len(body)] + "\\" + body
    line = line.replace("##[", "##\\[").replace("##vso[", "##vso\\[")
    return line.replace("section_start:", "section_start\\:").replace("section_end:", "section_end\\:")
