"""`hut-ci watch publisher`, `watch bench`, and the run of one job that the bench starts."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.cli.composition import LAB_HELP
from hut_ci.errors import Cancelled, ConfigError, PublishError

if TYPE_CHECKING:
    from hut_ci.artifact_cache import ArtifactCache
    from hut_ci.deadline import Deadline
    from hut_ci.model import Lab, Watched
    from hut_ci.watch.forge import Forge
    from hut_ci.watch.publisher import Publisher

TICK_SECONDS = 2.0
"""Between two looks at the spool; a forge is asked less often."""
FAULT_SECONDS = 10.0
"""Between two rounds while the disk is full."""
UNANSWERED = PublishError.exit_code
lab_option = click.option("--lab", "lab_path", type=click.Path(path_type=Path), help=LAB_HELP)
once_option = click.option("--once", is_flag=True, help="One round, then end.")


PUBLISHER_EXAMPLES = """
\b
Examples:
  hut-ci watch publisher
  hut-ci watch publisher --every 60
"""
BENCH_EXAMPLES = """
\b
Example:
  hut-ci watch bench --lab /etc/hut-ci/lab.yml
"""
JOB_EXAMPLES = """
\b
Example:
  hut-ci watch job 649fa700f0f7475c990139f3-0 --out report
"""


@click.command(
    "publisher", epilog=PUBLISHER_EXAMPLES, short_help="The process with the token: asks, decides, hands over, answers."
)
@lab_option
@once_option
@click.option(
    "--every",
    type=click.FloatRange(5.0, 3600.0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@click.option("--state", type=click.Path(path_type=Path), help="Its own folder. [default: $STATE_DIRECTORY, the lab's]")
def publisher(lab_path: Path | None, once: bool, every: float, state: Path | None) -> int:
    """Ask the forges what there is to test, hand it to the bench, publish what the bench reports. No board is touched.

    A forge is asked every --every SECONDS, with requests that cost nothing while nothing has changed. With --once it
    ends with 8 where a forge did not answer, or did not take the token.
    """
    from hut_ci.cli.composition import lab_at
    from hut_ci.cli.watch import refuse_idle
    from hut_ci.watch import spool
    from hut_ci.watch.desk import Desk
    from hut_ci.watch.ours import alone, private_folder
    from hut_ci.watch.publisher import Publisher
    from hut_ci.watch.store import Store

    lab = lab_at(lab_path)
    folder = private_folder(state or Path(os.environ.get("STATE_DIRECTORY") or lab.state_dir / "publisher"))
    spool.make(lab.spool, spool.JOBS)
    mine, handed = alone(folder / "lock"), alone(lab.spool / spool.JOBS / "lock")
    with mine, handed, Store(folder / "watch.db") as store:
        due = {job.repository for job in store.jobs()}  # a repository that was removed has to be told so
        store.part_with(due | {watched.address for watched in lab.projects})
        if not due:
            refuse_idle(lab)
        spool.sweep(lab.spool)
        if not once:
            names = ", ".join(project.address for project in lab.projects)
            _say(f"watching {names}; a look every {every:g} s, Ctrl-C ends it")
        made = Publisher(Desk(lab, store, _say, time.time), _cache(lab, folder), _open_forge, every)
        made.since = 0.0 if once else time.time()
        made.alive = lambda: _alive(lambda: _told(made))
        _rounds(made.round, once=once, told=lambda: _told(made))
    unanswered = made.desk.refusals.known or any(pause.trouble for pause in made.pauses.values())
    return UNANSWERED if unanswered else 0


@click.command(
    "bench", epilog=BENCH_EXAMPLES, short_help="The process with the boards: runs what the publisher hands over."
)
@lab_option
@once_option
def bench(lab_path: Path | None, once: bool) -> int:
    """Run what lies in the spool, one process for each slot, and leave the reports there. No forge is asked.

    With --once it ends when all that lay there has been run.
    """
    from hut_ci.claims import flock
    from hut_ci.cli.composition import lab_at
    from hut_ci.cli.watch import TOKENS
    from hut_ci.config import load_lab
    from hut_ci.watch import spool
    from hut_ci.watch.bench import Bench
    from hut_ci.watch.ours import alone

    if held := [name for name in TOKENS if os.environ.get(name)]:
        raise ConfigError(
            f"the bench is given a forge's token: ${held[0]}",
            why="it runs strangers' firmware, and what runs there could use the token",
            todo=f"start it without (`env -u {held[0]} …`); `hut-ci watch` alone does so",
        )
    lab = lab_at(lab_path)
    if not once:
        _say(f"{lab.name}: waiting for runs on {', '.join(slot.id for slot in lab.slots) or 'no slot at all'}")
    spool.make(lab.spool, spool.REPORTS)
    made = Bench(
        lab,
        lambda name, out: _start(lab, name, out),
        lambda slot: flock.holder(lab, slot) is not None,
        _say,
        lambda: load_lab(lab.path),
    )
    with alone(lab.spool / spool.REPORTS / "lock"):
        try:
            _rounds(made.round, once=once, more=lambda: bool(made.running))
        finally:
            made.stop()
    return 0


@click.command("job", epilog=JOB_EXAMPLES, hidden=True)
@lab_option
@click.argument("name")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the report.")
def job(lab_path: Path | None, name: str, out: Path) -> int:
    """Run one job of the spool; the bench starts this."""
    from hut_ci.cli.watch_job import run_job

    return run_job(lab_path, name, out)


def _rounds(
    work: Callable[[], None],
    *,
    once: bool,
    more: Callable[[], bool] = lambda: False,
    told: Callable[[], str] = lambda: "",
) -> None:
    """`work` for ever, or with `once` until there is no `more`; systemd is told that we live."""
    from hut_ci.cancellation import cancellation
    from hut_ci.watch.notify import notify

    address = os.environ.get("NOTIFY_SOCKET")
    notify(address, "READY=1")  # a first round may take longer than systemd waits for it
    try:
        with cancellation():
            while True:
                wait = TICK_SECONDS
                try:
                    work()
                    _alive(told)
                except (OSError, sqlite3.Error) as error:
                    _told_of_fault(error, last_chance=once)
                    wait = FAULT_SECONDS
                if once and not more():
                    return
                time.sleep(0.2 if once else wait)
    except Cancelled as error:
        notify(address, "STOPPING=1")
        if once or error.signal_number != signal.SIGTERM:
            raise


def _told_of_fault(error: Exception, *, last_chance: bool) -> None:
    """Say what this host lacks, and go on: a round that was cut off is begun again. Raises what is no such fault."""
    from hut_ci.host_fault import host_fault
    from hut_ci.watch.notify import notify

    fault = host_fault(error, "this round was cut off")
    if fault is None:
        raise error
    if last_chance:
        raise fault from error
    with suppress(OSError):  # our log may lie on that disk
        _say(f"{fault.what}; {fault.todo}")
    notify(os.environ.get("NOTIFY_SOCKET"), "WATCHDOG=1", f"STATUS={fault.what}")


def _alive(told: Callable[[], str]) -> None:
    from hut_ci.watch.notify import notify

    notify(os.environ.get("NOTIFY_SOCKET"), "WATCHDOG=1", f"STATUS={told()}")


def _start(lab: Lab, name: str, out: Path) -> subprocess.Popen[bytes]:
    from hut_ci import process

    argv = [sys.executable, "-P", "-m", "hut_ci", "watch", "job", name, "--lab", str(lab.path), "--out", str(out)]
    # A bench that is killed cannot end its runs; the kernel does, and they leave the boards in order.
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=process.dies_with_us(signal.SIGTERM),  # noqa: PLW1509 (no threads here)
    )


def _open_forge(watched: Watched, deadline: Deadline) -> Forge:
    from hut_ci.cli.watch_forges import open_forge

    return open_forge(watched, os.environ, deadline, _say)


def _told(made: Publisher) -> str:
    from hut_ci.cli.watch_status import written

    return written(made)


def _cache(lab: Lab, folder: Path) -> ArtifactCache:
    from hut_ci.artifact_cache import ArtifactCache

    return ArtifactCache(folder / "artifacts", lab.cache_limit)


def _say(text: str) -> None:
    from hut_ci.reports.escaping import ci_log

    click.echo(ci_log(text), err=True)
