"""The composition root: the only place that reads the environment and picks claims, power, forge and listener."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

LAB_HELP = "Lab file. [default: $HUT_CI_LAB, /etc/hut-ci/lab.yml, ~/.config/hut-ci/lab.yml]"

if TYPE_CHECKING:
    from hut_ci.forges.local import LocalForge
    from hut_ci.model import Lab, Report
    from hut_ci.record import Event
    from hut_ci.reports.redaction import Redactor
    from hut_ci.run import Order, Tools

LEFT_BEHIND_AFTER = 3 * 86400.0
"""Seconds without a new file after which nobody works in a run's private folder; long enough to look into a crash."""


def lab_at(option: Path | None) -> Lab:
    """The lab of `--lab`, `$HUT_CI_LAB` or the standard places; raises ConfigError."""
    from hut_ci import config

    return config.load_lab(config.find_lab(option, os.environ))


def order(lab: Lab, slot: str | None, options: Mapping[str, Any]) -> Order:
    """What `hut-ci run` was asked, with every path absolute; raises UsageError for a commit id that is not one."""
    from hut_ci.run import Order
    from hut_ci.stages.artifact import full_sha

    job_id = new_job_id(slot)
    beside = Path("hut.yml")
    hut = options["hut"] or (beside if os.path.lexists(beside) else None)  # a broken link is refused, not ignored
    return Order(
        lab=lab,
        job_id=job_id,
        work=lab.state_dir / "runs" / job_id,
        build=options["build"] and options["build"].absolute(),
        hut=hut and hut.absolute(),
        slot=slot,
        variant=options["variant"],
        commit_sha=None if options["commit"] is None else full_sha(options["commit"]),
        repository=options["repository"],
        run_url=options["run_url"],
        wait=_finite(options["wait"], "--wait"),
        limit=_finite(options["limit"] or lab.max_run_seconds, "--limit"),
    )


def _finite(seconds: float, option: str) -> float:
    """`seconds`, unless it is one of the numbers that no clock ever reaches."""
    from hut_ci.errors import UsageError

    if not 0 <= seconds < math.inf:
        raise UsageError(f"{option} {seconds} is no time to wait for", todo="give seconds, 0 or more")
    return seconds


@contextmanager
def tools(order: Order, out: Path, forge: str | None, on_event: Callable[[Event], None]) -> Iterator[Tools]:
    """The collaborators of one run; its private folder of raw logs is removed when it has ended."""
    from hut_ci.claims import flock
    from hut_ci.power.wiring import cycle_for_run
    from hut_ci.run import Tools
    from hut_ci.stages import report as report_stage

    prepare(out)
    _sweep(order.work.parent)
    order.work.mkdir(parents=True, mode=0o700)
    redactor = redactor_of(order.lab)
    local = local_forge(forge)
    tell = guarded(on_event, redactor)
    try:
        yield Tools(
            claims=flock,
            power=lambda lab, slot, claim: cycle_for_run(lab, slot, claim, os.environ, flock.claim, _say(tell)),
            builds=local,
            on_event=tell,
            checkpoint=lambda report, stage: report_stage.checkpoint(report, stage, out, redactor),
            write=lambda report: _write(report, out, redactor, _logs(order.work)),
            publish=lambda report: _publish(report, local, out),
        )
    finally:
        shutil.rmtree(order.work, ignore_errors=True)


def _sweep(runs: Path) -> None:
    """Remove what killed runs left behind: raw logs, which may hold what a report would not show."""
    for work in runs.glob("HUT-*"):
        with suppress(OSError):  # another run may be sweeping too
            if time.time() - work.stat().st_mtime > LEFT_BEHIND_AFTER:
                shutil.rmtree(work, ignore_errors=True)


def prepare(out: Path) -> None:
    """Make `out` an empty place for a report; raises UsageError before a board is touched where it cannot be one."""
    from hut_ci.errors import UsageError
    from hut_ci.reports.atomic import make_folder
    from hut_ci.stages import report

    try:
        make_folder(out)
        report.clear(out)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(
            f"no report can be written to {out}",
            why=f"{error.strerror}: {error.filename or out}",
            todo="give `--out` a folder that this user may write",
        ) from error


def from_here(path: Path) -> str:
    """`path` as short as a person can use it from the working directory."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def wants_colour() -> bool | None:
    """False where `NO_COLOR` is set; None leaves it to whether a terminal reads."""
    return False if os.environ.get("NO_COLOR") else None


def local_forge(option: str | None) -> LocalForge | None:
    """The forge that `--forge` names; raises UsageError for one that is not known."""
    from hut_ci.errors import UsageError
    from hut_ci.forges.local import LocalForge

    if option is None:
        return None
    kind, _, folder = option.partition(":")
    if kind != "local" or not folder:
        raise UsageError(f"--forge {option!r} is not known", todo="give `--forge local:DIR`")
    return LocalForge(Path(folder).absolute())


def new_job_id(slot: str | None) -> str:
    """A name for one run that sorts by time, e.g. `HUT-20260212T153000Z-hut-01-9f3a`."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return "-".join(["HUT", now, file_name(slot or "any"), secrets.token_hex(2)])


def file_name(slot: str) -> str:
    """What a slot, label or tag is called in a path: it comes from the command line, and must not lead elsewhere."""
    return "".join(letter for letter in slot if letter.isalnum() or letter == "-")[:40] or "slot"


def _write(report: Report, out: Path, redactor: Redactor, logs: Mapping[str, Path]) -> None:
    from hut_ci.errors import PublishError
    from hut_ci.stages import report as report_stage

    try:
        report_stage.write(report, out, redactor, logs)
    except OSError as error:
        raise PublishError(
            f"the verdict is {report.verdict.name.value}, but its report could not be written to {out}",
            why=str(error.strerror),
            todo="look at the space and the rights of that folder (`df -h`, `ls -ld`)",
        ) from error


def guarded(on_event: Callable[[Event], None], redactor: Redactor) -> Callable[[Event], None]:
    """Progress holds a board's lines and a build's names: it says no more than the report, and commands no CI."""
    from hut_ci.reports.escaping import ci_log

    return lambda event: on_event(replace(event, text=ci_log(redactor.text(event.text))))


def _say(on_event: Callable[[Event], None]) -> Callable[[str], None]:
    from hut_ci.record import Event

    return lambda text: on_event(Event("slot", text))


def redactor_of(lab: Lab) -> Redactor:
    """What removes the lab's secrets, its token among them, from everything that leaves the host."""
    from hut_ci.reports.redaction import Redactor

    return Redactor(lab.redact, secrets=_secrets(lab))


def _secrets(lab: Lab) -> tuple[str, ...]:
    """The lab's token as far as it can be read, so that it is redacted wherever it should turn up."""
    from hut_ci.errors import HutCiError
    from hut_ci.power.token import read_token

    if lab.home_assistant is None:
        return ()
    try:
        return (read_token(lab.home_assistant, os.environ).reveal(),)
    except HutCiError:
        return ()


def _logs(work: Path) -> dict[str, Path]:
    """The raw logs of a run by the names that they get beside the report, e.g. `attempt-1-serial.txt`."""
    files = sorted(path for path in work.glob("attempt-*/*") if path.suffix in (".txt", ".log", ".raw"))
    files += sorted(work.glob("bug.txt"))
    return {str(path.relative_to(work)).replace("/", "-"): path for path in files}


def _publish(report: Report, forge: LocalForge | None, out: Path) -> None:
    """Tell the forge: pending while the report is partial, the final state from the written document."""
    from hut_ci.errors import ConfigError
    from hut_ci.reports.json_document import read
    from hut_ci.stages import publish

    if forge is None or report.commit_sha is None:
        return
    if report.partial:
        forge.repair()
        publish.announce(forge, report.commit_sha, report.slot or "no slot", "flashing and testing")
        return
    try:
        document = read(out / "report.json")
    except ConfigError:
        document = None
    publish.publish(document, forge, sha=report.commit_sha, slot=report.slot, target_url=str(out / "summary.md"))
