"""The composition root: only this folder reads the environment and picks claims, power, forge and listener."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

LAB_HELP = "Lab file. [default: $HUT_CI_LAB, /etc/hut-ci/lab.yml, ~/.config/hut-ci/lab.yml]"

if TYPE_CHECKING:
    from hut_ci.cli.delivery import Delivery
    from hut_ci.model import Lab, Report
    from hut_ci.record import Event
    from hut_ci.reports.redaction import Redactor
    from hut_ci.run import Order, Tools


def lab_at(option: Path | None) -> Lab:
    """The lab of `--lab`, `$HUT_CI_LAB` or the standard places; raises ConfigError."""
    from hut_ci import config

    return config.load_lab(config.find_lab(option, os.environ))


def order(lab: Lab, slot: str | None, options: Mapping[str, Any]) -> Order:
    """What `hut-ci run` was asked, with every path absolute; raises UsageError for a commit id that is not one.

    Without `--hut` a hut.yml in the working directory counts, but not for a commit that a forge is asked for: there
    it is that commit's, or its base branch's.
    """
    from hut_ci.cli.durations import within_job
    from hut_ci.run import Order
    from hut_ci.stages.artifact import full_sha

    job_id = new_job_id(slot)
    beside = Path("hut.yml")
    fetched = options["build"] is None and not str(options.get("forge") or "local").startswith("local")
    # What lies here may be the pull request's own. A broken link is refused, not ignored.
    theirs = fetched or options.get("pull_request") is not None
    hut = options["hut"] or (beside if not theirs and os.path.lexists(beside) else None)
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
        run_url=options["run_url"] or run_page(os.environ),
        wait=finite(options["wait"], "--wait"),
        limit=finite(within_job(options["limit"], os.environ) or lab.max_run_seconds, "--limit"),
        pull_request=options.get("pull_request"),
        base_ref=options.get("base_ref"),
        run_id=options.get("run_id"),
        allow_fork=options.get("allow_fork", False),
        skip_tested=options.get("skip_tested", False),
        not_after=options.get("not_after"),
        request_digest=options.get("request_digest"),
    )


def run_page(environ: Mapping[str, str]) -> str | None:
    """The page of the CI job that we run in."""
    if url := environ.get("CI_JOB_URL"):
        return url
    parts = [environ.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    server, repository, run = parts
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run else None


def finite(seconds: float, option: str) -> float:
    """`seconds`, unless it is one of the numbers that no clock ever reaches."""
    from hut_ci.errors import UsageError

    if not 0 <= seconds < math.inf:
        raise UsageError(f"{option} {seconds} is no time to wait for", todo="give seconds, 0 or more")
    return seconds


@contextmanager
def tools(
    order: Order, out: Path, options: Mapping[str, Any], on_event: Callable[[Event], None]
) -> Iterator[tuple[Tools, Delivery]]:
    """The collaborators of one run, and what becomes of its answer; the folder of raw logs is removed at the end.

    Raises UsageError for a forge or a folder that is not one, ConfigError for a token that is missing.
    """
    from hut_ci.claims import flock
    from hut_ci.cli import sources
    from hut_ci.cli.delivery import Delivery, Wishes
    from hut_ci.cli.forges import forges_of
    from hut_ci.cli.work_folder import make_work
    from hut_ci.power.wiring import cycle_for_run
    from hut_ci.run import Tools
    from hut_ci.stages import report as report_stage

    forges = forges_of(options.get("forge"), options.get("publish", ()), os.environ)
    secrets = forges.secrets()
    prepare(out)
    make_work(order.work)
    redactor = redactor_of(order.lab, secrets)
    tell = guarded(on_event, redactor)
    delivery = Delivery(order, forges, Wishes.of(options), out, _say(tell))
    try:
        yield (
            Tools(
                claims=flock,
                power=lambda lab, slot, claim: cycle_for_run(lab, slot, claim, os.environ, flock.claim, _say(tell)),
                project=lambda: sources.project(order, forges, _say(tell)),
                find=sources.finder(order, forges, options, _say(tell)),
                on_event=tell,
                checkpoint=lambda report, stage: report_stage.checkpoint(report, stage, out, redactor),
                write=lambda report: _write(report, out, redactor, _logs(order.work)),
                announce=delivery.announce,
                deliver=delivery.deliver,
            ),
            delivery,
        )
    finally:
        shutil.rmtree(order.work, ignore_errors=True)


def prepare(out: Path) -> None:
    """Make `out` an empty place for a report; raises UsageError before a board is touched where it cannot be one."""
    from hut_ci.stages import report

    usable(out, "report", report.clear)


def usable(out: Path, content: str, clear: Callable[[Path], None] = lambda _out: None) -> None:
    """Make `out` a folder that `content` can be written to, emptied by `clear`; raises UsageError otherwise."""
    from hut_ci.errors import UsageError
    from hut_ci.reports.atomic import make_folder

    try:
        make_folder(out)
        clear(out)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(
            f"no {content} can be written to {out}",
            why=f"{error.strerror}: {error.filename or out}",
            todo="give `--out` a folder that this user may write",
        ) from error


def from_here(path: Path) -> str:
    """`path` as short as a person can use it from the working directory."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def wants_colour() -> bool | None:
    """False where `NO_COLOR` is set; None leaves it to whether a terminal reads."""
    return False if os.environ.get("NO_COLOR") else None


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


def redactor_of(lab: Lab, tokens: tuple[str, ...] = ()) -> Redactor:
    """What removes the lab's secrets, its token among them, from everything that leaves the host."""
    from hut_ci.reports.redaction import Redactor

    return Redactor(lab.redact, secrets=(*_secrets(lab), *tokens))


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
