"""`hut-ci slots inventory` and `selftest`: what is plugged in, and that the slots exclude each other, with evidence."""

from __future__ import annotations

import itertools
import json
import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from hut_ci.cli.durations import Duration
from hut_ci.cli.json_answers import give
from hut_ci.cli.slot_options import json_option, lab_option, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hut_ci.model import Lab, Slot

INVENTORY_EXAMPLES = """
\b
Examples:
  hut-ci slots inventory
  hut-ci slots inventory --expect 2 --evidence evidence/     blocked (exit 4) with fewer
  hut-ci slots inventory --json | jq .by_id_count
"""

SELFTEST_EXAMPLES = """
\b
Examples:
  hut-ci slots selftest
  hut-ci slots selftest hut-01 hut-02 --evidence evidence/
"""

evidence_option = click.option(
    "--evidence",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a log with its instant in its name there.",
)


@click.command("inventory", epilog=INVENTORY_EXAMPLES, short_help="Which serial devices are there, and whose they are.")
@click.option("--expect", type=click.IntRange(0), metavar="N", help="How many boards there have to be.")
@evidence_option
@click.option(
    "--from",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default="/dev/serial",
    show_default=True,
    metavar="DIR",
    help="Where udev's links are.",
)
@lab_option
@json_option
def inventory(expect: int | None, folder: Path | None, root: Path, lab_path: Path | None, as_json: bool) -> int:
    """List the serial devices of this machine by their stable names, and which slot each belongs to.

    Named are links that lead nowhere, devices with two names, devices that two slots want, and
    factory names that several boards share (CP2102 `0001`, CH340). Needs no lab.yml.
    """
    from hut_ci.board.inventory import take_inventory
    from hut_ci.board.serial_links import serial_links
    from hut_ci.errors import SlotError

    taken = take_inventory(serial_links(root), _slots(lab_path), expect)
    lines = taken.lines()
    path = _write(folder, "inventory", lines)
    if as_json:
        click.echo(json.dumps({**taken.document(), "evidence": path and str(path)}, indent=2))
        return SlotError.exit_code if taken.blocked else 0
    click.echo("\n".join([*lines, *([f"evidence: {path}"] if path else [])]))
    if taken.blocked:
        raise SlotError(
            f"blocked: {taken.by_id_count} of {expect} boards are there",
            why="a board is unplugged, unpowered, or not passed into this machine or container",
            todo=f"plug it in, then `ls -l {root}/by-id`; what is not there is not counted",
            evidence="slot_absent",
        )
    return 0


@click.command("selftest", epilog=SELFTEST_EXAMPLES, short_help="Prove that slots exclude each other.")
@click.argument("slot_ids", nargs=-1, metavar="[SLOT SLOT]")
@click.option("--wait", type=Duration(), default="60s", show_default=True, metavar="TIME", help="For slots in use.")
@evidence_option
@lab_option
@json_option
def selftest(slot_ids: tuple[str, ...], wait: float, folder: Path | None, lab_path: Path | None, as_json: bool) -> None:
    """Prove, with three processes, that one slot serialises and different slots overlap.

    The locks are those of the lab; nothing is sent to a board. Fails too where lab.yml has fewer
    than two slots, is tracked by git, where the lab's state cannot be written, or where another
    user or service could not meet us in the lock folder. A folder for one user alone is noted.
    """
    from hut_ci.cancellation import cancellation
    from hut_ci.claims.selftest import problems
    from hut_ci.claims.selftest import selftest as run_selftest
    from hut_ci.cli.composition import lab_at
    from hut_ci.errors import SlotError

    lab = lab_at(lab_path)
    one, other = _two(lab, slot_ids)
    _check_host(lab)
    notes = _check_folder(lab)
    lines: list[str] = []

    def tell(line: str) -> None:
        """At once: a slot in use may be waited for."""
        lines.append(line)
        click.echo(line, err=as_json)

    for note in notes:
        tell(f"note: {note}")
    with cancellation():
        spans = run_selftest(lab, one, other, wait, tell)
    wrong = problems(spans)
    for line in (*wrong, f"same slot serialises, different slots overlap: {'FAILED' if wrong else 'ok'}"):
        tell(line)
    path = _write(folder, "lock_selftest", lines)
    if as_json:
        facts = [{"slot": s.slot, "pid": s.pid, "held": s.held, "released": s.released} for s in spans]
        document = {"result": "failed" if wrong else "ok", "problems": wrong, "notes": notes, "spans": facts}
        give({**document, "evidence": path and str(path)})
    elif path:
        click.echo(f"evidence: {path}")
    if wrong:
        raise SlotError(
            "the slots of this lab do not exclude each other",
            why=f"{lab.lock_dir} is on a file system without flock(2), or is not the same folder for everybody",
            todo="put `lock_dir` on a local file system that all users and containers of the lab share",
        )


def _slots(lab_path: Path | None) -> Sequence[Slot]:
    """The lab's slots; none where there is no lab yet and none was named."""
    from hut_ci import config
    from hut_ci.cli.composition import lab_at
    from hut_ci.errors import ConfigError

    if lab_path is None and not os.environ.get("HUT_CI_LAB"):
        try:
            config.find_lab(None, os.environ)
        except ConfigError:
            return ()
    return lab_at(lab_path).slots


def _two(lab: Lab, slot_ids: tuple[str, ...]) -> tuple[Slot, Slot]:
    from hut_ci.errors import ConfigError, UsageError

    if len(lab.slots) < 2:
        raise ConfigError(
            f"{lab.path} has {len(lab.slots)} of the two slots that this needs",
            why="whether different slots overlap cannot be seen on one",
            todo="add the second board with `hut-ci slots add`",
        )
    if len(slot_ids) not in (0, 2) or len(set(slot_ids)) < len(slot_ids):
        raise UsageError("name two different slots, or none", todo="hut-ci slots selftest hut-01 hut-02")
    chosen = [named(lab, name) for name in slot_ids] or list(lab.slots[:2])
    if chosen[0].id == chosen[1].id:
        raise UsageError(f"{slot_ids[0]} and {slot_ids[1]} are one slot", todo="name two different ones")
    return chosen[0], chosen[1]


def _check_host(lab: Lab) -> None:
    """Raises ConfigError where lab.yml is public, or the folder of cooldowns and logs cannot be used."""
    from hut_ci.config.tracked import tracked_by_git
    from hut_ci.errors import ConfigError

    if tracked_by_git(lab.path):
        raise ConfigError(
            f"{lab.path} is tracked by git",
            why="it names this house's network addresses, relays and token file; a repository shows them to everybody",
            todo=f"git rm --cached {lab.path.name}, and add it to .gitignore",
        )
    try:
        lab.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(lab.state_dir, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{lab.state_dir} cannot be written",
            why="cooldowns, relays to be switched on again and raw logs are kept there",
            todo="give it to the users of the lab, or set `state_dir` in lab.yml",
        )


def _check_folder(lab: Lab) -> list[str]:
    """What is worth knowing of the lock folder. Raises ConfigError where its locks do not exclude, or not everybody."""
    from hut_ci.claims.safe_files import lock_folder
    from hut_ci.doctor.finding import Sign
    from hut_ci.doctor.locks import locks
    from hut_ci.errors import ConfigError

    with lock_folder(lab.lock_dir, create=True):
        findings = locks(lab.lock_dir)
    for finding in findings:
        if finding.sign is Sign.MISSING:
            raise ConfigError(finding.what, todo=finding.remedy)
    return [finding.what for finding in findings if finding.sign is Sign.WARN]


def _write(folder: Path | None, kind: str, lines: Sequence[str]) -> Path | None:
    """An evidence file such as `runner_hil_topo_inventory_20260213_215705_utc.log`; None without a folder.

    Evidence is never overwritten: a second file of the same second has a number in its name.
    """
    from hut_ci.errors import UsageError

    if folder is None:
        return None
    now = datetime.now(UTC)
    stem = f"runner_hil_topo_{kind}_{now:%Y%m%d_%H%M%S}_utc"
    head = [f"host={platform.node()} utc={now.isoformat(timespec='milliseconds')}"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = new_file(folder, stem)
        with file:
            file.write("\n".join([*head, *lines, ""]))
    except OSError as error:
        raise UsageError(
            f"{folder / stem}.log cannot be written: {error.strerror}", todo="give `--evidence` another folder"
        ) from error
    return Path(file.name)


def new_file(folder: Path, stem: str) -> TextIO:
    """`STEM.log`, or `STEM.2.log` and so on where that exists. Raises OSError."""
    for number in itertools.count(1):
        with suppress(FileExistsError):
            return (folder / (f"{stem}.log" if number == 1 else f"{stem}.{number}.log")).open("x", encoding="utf-8")
    raise AssertionError
