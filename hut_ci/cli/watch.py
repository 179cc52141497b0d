"""`hut-ci watch`: a lab that polls, in two processes; and what belongs to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.cli.composition import LAB_HELP
from hut_ci.cli.watch_install import install
from hut_ci.cli.watch_processes import UNANSWERED, bench, job, publisher
from hut_ci.cli.watch_status import status
from hut_ci.errors import ConfigError, HutCiError

if TYPE_CHECKING:
    from hut_ci.model import Lab

EXAMPLES = """
\b
Examples:
  hut-ci watch --once            ask the forges, test, answer; then end
  hut-ci watch                   the same for ever, here in the terminal
  hut-ci watch status            what is waited for, and what the forges say
  sudo hut-ci watch install      as two services under two users

\b
lab.yml lists the repositories: `projects: {"github:acme/firmware": {}}`. The token comes from GITHUB_TOKEN or
GITLAB_TOKEN, or from a file of mode 0600 named in GITHUB_TOKEN_FILE or GITLAB_TOKEN_FILE.
"""
RESTART_SECONDS = 1.0
TOKENS = ("GITHUB_TOKEN", "GITHUB_TOKEN_FILE", "GH_TOKEN", "GITLAB_TOKEN", "GITLAB_TOKEN_FILE", "CI_JOB_TOKEN")


@click.group("watch", epilog=EXAMPLES, invoke_without_command=True)
@click.option("--lab", "lab_path", type=click.Path(path_type=Path), help=LAB_HELP)
@click.option(
    "--once", is_flag=True, help="End when there is nothing left to do now; with 8 where a forge did not answer."
)
@click.pass_context
def command(context: click.Context, lab_path: Path | None, once: bool) -> int:
    """Ask the forges for what there is to test, test it on this lab's boards, and answer.

    Nothing listens and no runner is registered. Two processes share the work: the publisher has the forge's token and
    no board, the bench has the boards and no token.
    """
    if context.invoked_subcommand is not None:
        return 0
    from hut_ci.cli.composition import lab_at

    lab = lab_at(lab_path)
    return _once(lab) if once else _for_ever(lab)


for member in (publisher, bench, job, status, install):
    command.add_command(member)


def refuse_idle(lab: Lab) -> None:
    """Raises ConfigError where lab.yml names no repository."""
    if not lab.projects:
        raise ConfigError(
            f"{lab.path} names no repository to watch",
            why="`projects:` is missing or empty",
            todo='add one, like `projects: {"github:acme/firmware": {}}`',
        )


def _once(lab: Lab) -> int:
    """Bench and publisher in turns, until all is done but what has to wait: for a slot that somebody holds, say."""
    from hut_ci.watch import spool

    before: list[str] = []
    while True:
        for name in ("bench", "publisher"):
            code = _start(lab, name, "--once").wait()
            if code not in (0, UNANSWERED):  # one repository's forge may be away; the others are served
                return code
        left = spool.ready(lab.spool, spool.JOBS)
        if not left or left == before:
            for name in left:
                with suppress(HutCiError):  # one that is refused was told by the bench
                    _tell_waiting(lab, name)
            return code
        before = left


def _tell_waiting(lab: Lab, name: str) -> None:
    """What is still to be run, and who is in its way."""
    from hut_ci.claims import flock
    from hut_ci.claims.notes import who
    from hut_ci.cli.slot_options import tell
    from hut_ci.watch import spool

    request = spool.read_request(lab.spool, name)
    slot = lab.slot(request.pairs[0].slot)
    holder = flock.holder(lab, slot) if slot else None
    why = f"{slot.id} is held by {who(holder)}" if slot and holder else "it is not finished"
    tell(f"{request.repository} {request.commit_sha[:12]} waits: {why}; the next `hut-ci watch --once` goes on with it")


def _for_ever(lab: Lab) -> int:
    """Both processes until one of them ends, or we are told to. One that is killed is started again, as by systemd."""
    from hut_ci.cancellation import cancellation
    from hut_ci.cli.slot_options import tell

    children = {name: _start(lab, name) for name in ("bench", "publisher")}
    try:
        with cancellation():
            while all((code := child.poll()) is None or code < 0 for child in children.values()):
                for name, child in children.items():
                    if child.returncode is not None:
                        killer = signal.Signals(-child.returncode).name
                        tell(f"the {name} was ended by {killer} (out of memory?); it is started again")
                        time.sleep(RESTART_SECONDS)
                        children[name] = _start(lab, name)
                time.sleep(0.2)
    finally:
        for child in children.values():
            child.terminate()
        codes = [child.wait() for child in children.values()]
    return next((code for code in codes if code > 0), 0)


def _start(lab: Lab, name: str, *words: str) -> subprocess.Popen[bytes]:
    """One of the two processes, with the environment that it may have."""
    from hut_ci import process

    argv = [sys.executable, "-P", "-m", "hut_ci", "watch", name, "--lab", str(lab.path), *words]
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        env=_environment(lab, name, os.environ),
        preexec_fn=process.dies_with_us(signal.SIGTERM),  # noqa: PLW1509 (no threads here)
    )


def _environment(lab: Lab, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The bench gets no token of a forge, the publisher none of Home Assistant's."""
    hidden = TOKENS if name == "bench" else ((lab.home_assistant.token_env,) if lab.home_assistant else ())
    return {key: value for key, value in environ.items() if key not in hidden}
