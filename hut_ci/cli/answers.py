"""The answers of several runs as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

CI_WIDTH = 160  # characters; a log file has no width of its own


@dataclass(frozen=True, slots=True)
class Answer:
    """How a job ended: the report document, or None and the last words where it got no further than its arguments."""

    name: str
    exit_code: int
    document: dict[str, Any] | None
    out: Path
    last_words: str = ""


def show_answers(answers: Sequence[Answer]) -> None:
    """The table of verdicts, sentences and report paths."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hut_ci.cli.composition import from_here

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("slot", "verdict", "what happened"):
        table.add_column(title, overflow="fold", no_wrap=title == "slot")
    for answer in answers:
        name, sentence, style = _told(answer)
        table.add_row(Text(answer.name), Text(name, style=style), Text(sentence.removeprefix(f"{name}: ")))
    console = Console()
    if not console.is_terminal:
        console = Console(width=CI_WIDTH)
    console.print(table)
    for answer in answers:
        click.echo(f"report  {from_here(answer.out / 'summary.md')}")


def _told(answer: Answer) -> tuple[str, str, str]:
    from hut_ci.reports.status_text import kind, pass_marks

    if answer.document is None:
        return "error", " ".join(answer.last_words.split()) or f"ended with exit code {answer.exit_code}", "yellow"
    hardware = answer.document["hardware"]
    verdict = hardware["verdict"]
    marks = "; ".join(pass_marks(verdict, hardware["recovery_events"])) if verdict["name"] == "pass" else ""
    name = f"{kind(verdict)} ({marks})" if marks else kind(verdict)
    return name, verdict["sentence"], {"pass": "green", "fail": "red"}.get(verdict["name"], "yellow")
