"""`hut-ci watch status`: what both processes last said of themselves."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.cli.composition import LAB_HELP

if TYPE_CHECKING:
    from hut_ci.watch.publisher import Publisher

FILE = "status.json"
SILENT_SECONDS = 120.0
LATEST = 32503680000.0
"""The year 3000; what a damaged file says beyond is no moment."""


EXAMPLES = """
\b
Examples:
  hut-ci watch status
  hut-ci watch status --json
"""


@click.command("status", epilog=EXAMPLES, short_help="What is waited for, and what the forges say.")
@click.option("--lab", "lab_path", type=click.Path(path_type=Path), help=LAB_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(lab_path: Path | None, as_json: bool) -> int:
    """Say of each repository when it was looked at and what is waited for. Exit code 4 where a process is not there."""
    from hut_ci.cli.composition import lab_at
    from hut_ci.reports.escaping import ci_log
    from hut_ci.watch import spool
    from hut_ci.watch.away import BENCH, away_until

    lab = lab_at(lab_path)
    _refuse_unreadable(lab.spool)
    known: dict[str, Any] = dict(spool.note(lab.spool, spool.JOBS, FILE, 1 << 20))
    alive = {"publisher": known.get("at"), "bench": spool.note(lab.spool, spool.REPORTS, BENCH).get("alive")}
    there = {name: _is_recent(at) for name, at in alive.items()}
    last = {name: _last(at) for name, at in alive.items()}
    known = {**known, "processes": there, "last": last, "away_until": away_until(lab.spool, time.time())}
    if as_json:
        click.echo(json.dumps(known, indent=2))
    else:
        for line in _lines(known):
            click.echo(ci_log(line))
    return 0 if all(there.values()) else 4


def written(made: Publisher) -> str:
    """Leave what `watch status` shows in the spool; the same in one line."""
    from hut_ci.reports.atomic import replace_file
    from hut_ci.watch import spool

    jobs = made.desk.store.jobs()
    pairs = [pair for job in jobs for pair in job.pairs]
    repositories: list[dict[str, Any]] = [
        {
            "repository": address,
            "watched": made.desk.lab.watched(address) is not None,
            "trouble": pause.trouble,
            "todo": pause.todo,
            "next": _instant(max(pause.look, pause.serve)),
        }
        for address, pause in made.pauses.items()
    ]
    refused: list[dict[str, Any]] = [
        {
            "repository": refusal.repository,
            "commit_sha": refusal.commit_sha,
            "trouble": refusal.what,
            "todo": refusal.todo,
            "next": _instant(refusal.again),
        }
        for refusal in made.desk.refusals.known.values()
    ]
    open_jobs = [
        {
            "repository": job.repository,
            "line": job.line,
            "commit_sha": job.commit_sha,
            "state": job.state,
            "slots": {pair.slot: pair.state for pair in job.pairs},
        }
        for job in jobs
    ]
    document = {"at": made.desk.clock(), "repositories": repositories, "refused": refused, "jobs": open_jobs}
    replace_file(made.desk.spool / spool.JOBS / FILE, json.dumps(document).encode(), durable=False)
    troubles = dict.fromkeys(entry["repository"] for entry in [*repositories, *refused] if entry["trouble"])
    return f"{len(jobs)} jobs, {len(pairs)} runs" + (f"; trouble with {', '.join(troubles)}" if troubles else "")


def _lines(known: dict[str, Any]) -> list[str]:
    lines = []
    for name, there in known["processes"].items():
        silent = f"last heard of at {last}" if (last := known["last"][name]) else "was never heard of"
        lines.append(f"{name}: {'runs' if there else silent}")
    if not all(known["processes"].values()):
        lines.append("    do: `systemctl status 'hut-ci-watch-*'`, or start `hut-ci watch`")
    if known["away_until"]:
        lines.append(f"away until {known['away_until']}")
    for entry in known.get("repositories", ()):
        lines.append(f"{entry['repository']}: {_state(entry)}{_again(entry)}")
        lines += _advice(entry)
    for entry in known.get("refused", ()):
        about = f"{entry['repository']} {entry['commit_sha'][:12]}"
        lines.append(f"  {about}: not told yet: {entry['trouble']}{_again(entry)}")
        lines += _advice(entry)
    for job in known.get("jobs", ()):
        slots = ", ".join(f"{slot} {state}" for slot, state in job["slots"].items())
        lines.append(f"  {job['repository']} {job['line']} {job['commit_sha'][:12]}: {slots}")
    return lines


def _state(entry: dict[str, Any]) -> str:
    if entry["trouble"]:
        return str(entry["trouble"])
    if not entry.get("watched", True):
        return "watched no longer, what is pending has to be ended"
    return "looked at" if entry["next"] else "not looked at yet"


def _again(entry: dict[str, Any]) -> str:
    return f", again at {entry['next']}" if entry["next"] else ""


def _advice(entry: dict[str, Any]) -> list[str]:
    return [f"    do: {entry['todo']}"] if entry.get("todo") else []


def _refuse_unreadable(folder: Path) -> None:
    """Raises ConfigError where it is there and not for this user, who would be told that nothing runs."""
    from hut_ci.errors import ConfigError
    from hut_ci.watch import spool

    for side in (spool.JOBS, spool.REPORTS):
        try:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.scandir(folder / side).close()
        except PermissionError as error:
            raise ConfigError(
                f"{folder / side} cannot be looked into: {error.strerror}",
                why="this user is not in the lab's group",
                todo="`usermod -aG hut-lab USER`, then log in again; or ask with sudo",
            ) from error


def _last(at: object) -> str | None:
    return _instant(at) if isinstance(at, float) and 0 < at < LATEST else None


def _is_recent(at: object) -> bool:
    return isinstance(at, float) and time.time() - at < SILENT_SECONDS


def _instant(moment: float) -> str | None:
    """None where no moment has been set yet."""
    if not moment:
        return None
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
