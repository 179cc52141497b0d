"""Several slots in one command: one child process each, their progress shown together."""

from __future__ import annotations

import json
import os
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

from hut_ci import process
from hut_ci.cli.answers import Answer, show_answers
from hut_ci.cli.json_answers import give
from hut_ci.cli.live_table import live_table
from hut_ci.cli.whole import tell_all
from hut_ci.cli.workflow_commands import give_outputs
from hut_ci.record import Event


@dataclass(frozen=True, slots=True)
class Job:
    """One `hut-ci run` to start: `name` is what people see, `arguments` follow `hut-ci run`, `out` gets the report."""

    name: str
    arguments: tuple[str, ...]
    out: Path


Message: TypeAlias = tuple[Job, str | None]


def run_several(slots: Sequence[str], options: dict[str, Any]) -> int:
    """`hut-ci run` on each of `slots` at once; 1 where a firmware failed, else the highest exit code."""
    from hut_ci.cli.composition import file_name
    from hut_ci.stages.artifact import full_sha

    if options["commit"] is not None:
        full_sha(options["commit"])
    out = (options["out"] or Path("hut-ci-out")).absolute()
    words = _forwarded({**options, "comment": "never"})  # one comment tells of all slots, so it comes from here
    jobs = [Job(slot, (*words, "--slot", slot), out / file_name(slot)) for slot in slots]
    answers = run_jobs(jobs, shown=options["progress"] != "none" and not options["as_json"])
    if options["as_json"]:
        give({answer.name: answer.document for answer in answers})
    else:
        show_answers(answers)
    codes = [answer.exit_code for answer in answers]
    code = 1 if 1 in codes else max(codes)
    give_outputs({"exit-code": str(code), "report": str(out)})
    tell_all(answers, options)
    return code


def run_jobs(jobs: Sequence[Job], *, shown: bool = True) -> list[Answer]:
    """Start all jobs, show their progress on standard error until the last has ended, and read their reports."""
    from hut_ci.cli.composition import prepare

    for job in jobs:
        prepare(job.out)
    lines: queue.SimpleQueue[Message] = queue.SimpleQueue()
    words: dict[Job, str] = dict.fromkeys(jobs, "")
    with _forwarding_signals() as start, live_table(jobs, shown) as show:
        children = {job: start(job) for job in jobs}
        readers = [threading.Thread(target=_read, args=(job, child, lines)) for job, child in children.items()]
        for reader in readers:
            reader.start()
        for job, line in _until_all_ended(lines, len(jobs)):
            event = _event(line) if line is not None else _ended(job)
            if event is not None:
                show(job, event)
            else:
                words[job] = f"{words[job]}{line or ''}"[-2000:]
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
        # The outputs of a step are of all slots, so they are not one child's to write.
        env={name: value for name, value in os.environ.items() if name != "GITHUB_OUTPUT"},
        preexec_fn=process.dies_with_us(signal.SIGTERM),  # noqa: PLW1509
    )


def _read(job: Job, child: subprocess.Popen[str], lines: queue.SimpleQueue[Message]) -> None:
    assert child.stderr is not None
    with child.stderr:
        for line in child.stderr:
            lines.put((job, line))
    lines.put((job, None))


def _until_all_ended(lines: queue.SimpleQueue[Message], running: int) -> Iterator[Message]:
    while running:
        job, line = lines.get()
        running -= line is None
        yield job, line


def _ended(job: Job) -> Event | None:
    """The verdict as an event, so that nobody watches the last line of a board that is finished."""
    from hut_ci.reports.status_text import full_status

    document = _document(job)
    return Event("done", full_status(document), slot=job.name) if document else None


def _event(line: str) -> Event | None:
    try:
        return Event(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _answer(job: Job, returncode: int, words: str) -> Answer:
    document = _document(job)
    return Answer(job.name, _exit_code(returncode, document), document, job.out, words)


def _document(job: Job) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads((job.out / "report.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return document


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


NOT_FORWARDED = frozenset({"build", "out", "progress", "as_json", "slots"})


def _forwarded(options: dict[str, Any]) -> tuple[str, ...]:
    """The options of the parent as arguments of a child."""
    words = [str(options["build"])] if options["build"] else []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if name in NOT_FORWARDED or value is None or value is False:
            continue
        if value is True:
            words.append(option)
        else:
            for entry in value if isinstance(value, tuple) else (value,):
                words += [option, str(entry)]
    return tuple(words)
