"""docs/faq.md quotes messages that the program really prints, and its table of exit codes is complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "faq.md").read_text("utf-8")
HOLE = "\0"
LETTERS = 8
"""Letters of its own that a text needs: one that is nearly all placeholders would fit anything."""
FRONT = re.compile(r"^(?:note|blocked|refused|configuration error|lab error|no artifact|artifact refused): ")
"""What a status or a note puts in front of an error's own words."""
QUOTES = re.findall(r"^\| (``.+?``(?!`)|`[^`]+`) \| .+ \|$", PAGE, re.M)


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
def patterns() -> tuple[re.Pattern[str], ...]:
    found = {text for text in templates() if len(re.findall("[A-Za-z]", text)) >= LETTERS and "\n" not in text}
    return tuple(re.compile(".*".join(re.escape(part) for part in text.split(HOLE))) for text in found)


def is_said(message: str) -> bool:
    """Whether one text of the program can read like `message`; `…` in it stands for what is filled in."""
    rest = FRONT.sub("", message)
    doing = re.fullmatch(r"Git(?:Hub|Lab): cannot (.+): HTTP \d+", rest)
    return any_says(rest) and (doing is None or any_says(doing[1]))


def any_says(message: str) -> bool:
    return any(pattern.fullmatch(message) for pattern in patterns())


@pytest.mark.parametrize("quote", QUOTES)
def test_what_it_quotes_is_what_the_program_says(quote: str) -> None:
    assert is_said(quote[2:-2].strip() if quote.startswith("``") else quote[1:-1]), quote


@pytest.mark.parametrize(
    "text",
    [
        "no permission to open the port",
        "hut-01 was switched off, and its board kept its power",
        "Home Assistant answers HTTP for switch.bench_1",
        "lab error: the board does not answer (no serial data received)",
        "GitHub: cannot paint a label of 12: HTTP 403",
        "…",
        "blocked: …",
    ],
)
def test_what_the_program_does_not_say_is_found(text: str) -> None:
    assert not is_said(text)


def test_there_is_enough_of_it() -> None:
    assert len(QUOTES) > 50
    headings = set(re.findall(r"^## (.+)$", PAGE, re.M))
    assert headings >= {"The port", "The loader", "The commit", "The slot", "GitHub", "GitLab", "Home Assistant"}


def test_its_exit_codes_are_those_of_the_readme() -> None:
    rows = re.compile(r"^\| ([\d, ]+) \| ([^|]+?) \|", re.M)
    assert rows.findall(PAGE) == rows.findall((ROOT / "README.md").read_text("utf-8"))
