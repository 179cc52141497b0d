"""Several slots in one command: one child process each, their progress shown together."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import click

from hut_ci import process
from hut_ci.record import Event


@dataclass(frozen=True, slots=True)
class Job:
    """One `hut-ci run` to start: `name` is what people see, `arguments` follow `hut-ci run`, `out` gets the report."""

    name: str
    arguments: tuple[str, ...]
    out: Path


@dataclass(frozen=True, slots=True)
class Answer:
    """How a job ended: the report document, or None and the last words where it got no further than its arguments."""

    name: str
    exit_code: int
    document: dict[str, Any] | None
    out: Path
    last_words: str = ""


Message: TypeAlias = tuple[Job, str | None]


def run_several(slots: Sequence[str], options: dict[str, Any]) -> int:
    """`hut-ci run` on each of `slots` at once; 1 where a firmware failed, else the highest exit code."""
    out = (options["out"] or Path("hut-ci-out")).absolute()
    jobs = [Job(slot, (*_forwarded(options), "--slot", slot), out / slot) for slot in slots]
    answers = run_jobs(jobs, shown=options["progress"] != "none" and not options["as_json"])
    if options["as_json"]:
        click.echo(json.dumps({answer.name: answer.document for answer in answers}, indent=2))
    else:
        show_answers(answers)
    codes = [answer.exit_code for answer in answers]
    return 1 if 1 in codes else max(codes)


def run_jobs(jobs: Sequence[Job], *, shown: bool = True) -> list[Answer]:
    """Start all jobs, show their progress on standard error until the last has ended, and read their reports."""
    from hut_ci.stages import report

    for job in jobs:
        report.clear(job.out)
    lines: queue.SimpleQueue[Message] = queue.SimpleQueue()
    words: dict[Job, str] = dict.fromkeys(jobs, "")
    with _forwarding_signals() as start, _board(jobs, shown) as show:
        children = {job: start(job) for job in jobs}
        readers = [threading.Thread(target=_read, args=(job, child, lines)) for job, child in children.items()]
        for reader in readers:
            reader.start()
        for job, line in _until_all_ended(lines, len(jobs)):
            event = _event(line)
            if event is None:
                words[job] = f"{words[job]}{line}"[-2000:]
            else:
                show(job, event)
        for reader in readers:
            reader.join()
    return [_answer(job, children[job].wait(), words[job]) for job in jobs]


def _exit_code(returncode: int, document: object) -> int:
    """As a shell counts: a child that a signal killed must not look smaller than one that passed.

    Python itself exits with 1 where it is interrupted in its first milliseconds: without a report, neither 0 nor 1
    says anything about a firmware.
    """
    if returncode < 0:
        return 128 - returncode
    return 70 if document is None and returncode in (0, 1) else returncode


def show_answers(answers: Sequence[Answer]) -> None:
    """The table of verdicts, sentences and report paths."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("slot", "verdict", "what happened"):
        table.add_column(title, overflow="fold", no_wrap=title == "slot")
    for answer in answers:
        name, sentence, style = _told(answer)
        table.add_row(Text(answer.name), Text(name, style=style), Text(sentence.removeprefix(f"{name}: ")))
    Console().print(table)
    for answer in answers:
        click.echo(f"report  {_short(answer.out)}")


def _told(answer: Answer) -> tuple[str, str, str]:
    from hut_ci.reports.status_text import kind, pass_marks

    if answer.document is None:
        return "error", " ".join(answer.last_words.split()) or f"ended with exit code {answer.exit_code}", "yellow"
    hardware = answer.document["hardware"]
    verdict = hardware["verdict"]
    marks = "; ".join(pass_marks(verdict, hardware["recovery_events"])) if verdict["name"] == "pass" else ""
    name = f"{kind(verdict)} ({marks})" if marks else kind(verdict)
    return name, verdict["sentence"], {"pass": "green", "fail": "red"}.get(verdict["name"], "yellow")


def _short(out: Path) -> str:
    path = out / "summary.md"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _start(job: Job) -> subprocess.Popen[str]:
    # -P keeps the working directory off the import path: a workspace must not shadow a module of ours.
    argv = [sys.executable, "-P", "-m", "hut_ci", "run", *job.arguments, "--out", str(job.out), "--progress", "json"]
    # A parent that is killed cannot forward anything; the kernel does, and the children end as if it had been
    # cancelled. Fork with threads is safe here: what runs before exec takes no lock.
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=process.dies_with_us(signal.SIGTERM),  # noqa: PLW1509
    )


def _read(job: Job, child: subprocess.Popen[str], lines: queue.SimpleQueue[Message]) -> None:
    assert child.stderr is not None
    with child.stderr:
        for line in child.stderr:
            lines.put((job, line))
    lines.put((job, None))


def _until_all_ended(lines: queue.SimpleQueue[Message], running: int) -> Iterator[tuple[Job, str]]:
    while running:
        job, line = lines.get()
        if line is None:
            running -= 1
        else:
            yield job, line


def _event(line: str) -> Event | None:
    try:
        return Event(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _answer(job: Job, returncode: int, words: str) -> Answer:
    try:
        document = json.loads((job.out / "report.json").read_text("utf-8"))
    except (OSError, ValueError):
        document = None
    return Answer(job.name, _exit_code(returncode, document), document, job.out, words)


@contextmanager
def _forwarding_signals() -> Iterator[Callable[[Job], subprocess.Popen[str]]]:
    """Yields what starts a job. SIGTERM and SIGINT go on to all of them, which end properly and write their reports;

    then we end too. A job that is started after the signal gets it at once.
    """
    children: list[subprocess.Popen[str]] = []
    arrived: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    def start(job: Job) -> subprocess.Popen[str]:
        child = _start(job)
        children.append(child)
        if arrived:
            child.send_signal(arrived[0])
        return child

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield start
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _board(jobs: Sequence[Job], shown: bool) -> Iterator[Callable[[Job, Event], None]]:
    """Where progress goes: a live table on a terminal, lines elsewhere."""
    from hut_ci.cli.progress import PlainLines

    if not shown:
        yield lambda _job, _event: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        now: dict[str, Event] = {job.name: Event("start", "starting", slot=job.name) for job in jobs}
        with Live(_live_table(now), console=Console(stderr=True), refresh_per_second=8, transient=True) as live:

            def update(job: Job, event: Event) -> None:
                now[job.name] = event
                live.update(_live_table(now))

            yield update
    else:
        printers = {job: PlainLines(job.name) for job in jobs}
        yield lambda job, event: printers[job](event)


def _live_table(now: dict[str, Event]) -> Any:
    from rich import box
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for title, width in (("slot", 10), ("stage", 10), ("", 12)):
        table.add_column(title, width=width)
    table.add_column("now", ratio=1, no_wrap=True)
    for name, event in now.items():
        bar = ProgressBar(100, event.percent or 0, width=12) if event.percent else ""
        table.add_row(Text(name), Text(event.stage), bar, Text(event.text))
    return table


def _forwarded(options: dict[str, Any]) -> tuple[str, ...]:
    """The options of the parent as arguments of a child."""
    words = [str(options["build"])] if options["build"] else []
    for name in ("variant", "hut", "lab", "commit", "forge", "repository", "run_url", "wait", "limit"):
        if options[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    return tuple(words)
