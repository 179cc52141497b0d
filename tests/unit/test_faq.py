"""docs/faq.md quotes messages that the program really prints, and its table of exit codes is complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "faq.md").read_text("utf-8")
HOLE = "\0"
LETTERS = 8
"""Letters of its own that a text needs: one that is nearly all placeholders would fit anything."""
FRONT = re.compile(r"^(?:note|blocked|refused|configuration error|lab error|no artifact|artifact refused): ")
"""What a status or a note puts in front of an error's own words."""
QUOTES = re.findall(r"^\| (``.+?``(?!`)|`[^`]+`) \| .+ \|$", PAGE, re.M)

UNSAID = (
    "no permission to open the port",
    "hut-01 was switched off, and its board kept its power",
    "Home Assistant answers HTTP for switch.bench_1",
    "lab error: the board does not answer (no serial data received)",
    "GitHub: cannot paint a label of 12: HTTP 403",
    "…",
    "blocked: …",
)
"""The control: near misses of what the page quotes."""


def templates() -> Iterator[str]:
    """Every text of the program, with HOLE for what is filled in."""
    for file in (ROOT / "hut_ci").rglob("*.py"):
        yield from (text for node in ast.walk(ast.parse(file.read_text("utf-8"))) if (text := template(node)) != HOLE)
    for row in yaml.safe_load((ROOT / "hut_ci/stages/evidence.yml").read_text("utf-8"))["rows"].values():
        yield re.sub(r"\{\w+\}", HOLE, FRONT.sub("", row["sentence"]))


def template(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(template, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left) + template(right)
    return HOLE


@cache
def texts() -> tuple[list[str], ...]:
    """The fixed parts of each text, in their order."""
    found = {text for text in templates() if len(re.findall("[A-Za-z]", text)) >= LETTERS and "\n" not in text}
    return tuple(text.split(HOLE) for text in found)


def fits(parts: list[str], message: str) -> bool:
    """Whether `message` is `parts` with anything in between."""
    first, *inner = parts
    if not inner:
        return message == first
    if not message.startswith(first) or not message.endswith(inner[-1]):
        return False
    at = len(first)
    for part in inner[:-1]:
        at = message.find(part, at) + len(part)
        if at < len(part):
            return False
    return at <= len(message) - len(inner[-1])


def is_said(message: str) -> bool:
    """Whether one text of the program can read like `message`; `…` in it stands for what is filled in."""
    rest = FRONT.sub("", message)
    doing = re.fullmatch(r"Git(?:Hub|Lab): cannot (.+): HTTP \d+", rest)
    return any_says(rest) and (doing is None or any_says(doing[1]))


def any_says(message: str) -> bool:
    return any(fits(parts, message) for parts in texts())


def test_what_it_quotes_is_what_the_program_says_and_nothing_else_is() -> None:
    messages = [quote[2:-2].strip() if quote.startswith("``") else quote[1:-1] for quote in QUOTES]
    assert [message for message in messages if not is_said(message)] == []
    assert [message for message in UNSAID if is_said(message)] == []


def test_there_is_enough_of_it() -> None:
    assert len(QUOTES) > 50
    headings = set(re.findall(r"^## (.+)$", PAGE, re.M))
    assert headings >= {"The port", "The loader", "The commit", "The slot", "GitHub", "GitLab", "Home Assistant"}


def test_its_exit_codes_are_those_of_the_readme() -> None:
    rows = re.compile(r"^\| ([\d, ]+) \| ([^|]+?) \|", re.M)
    assert rows.findall(PAGE) == rows.findall((ROOT / "README.md").read_text("utf-8"))
