"""What `hut-ci doctor` looks at on a lab host, by subject."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hut_ci.doctor.finding import Finding
    from hut_ci.model import Lab

SECONDS = 60.0
MARKS = {"ok": "ok", "warn": "WARN", "missing": "MISSING"}


def examine(lab_path: Path | None, runner_folders: Sequence[Path]) -> dict[str, list[Finding]]:
    """Every subject and what was found; without a lab.yml those that need none."""
    from hut_ci.cli.composition import lab_at
    from hut_ci.deadline import Deadline
    from hut_ci.doctor.finding import failed
    from hut_ci.doctor.lab_file import token_files
    from hut_ci.doctor.programs import programs
    from hut_ci.doctor.runners import runners
    from hut_ci.errors import ConfigError

    try:
        lab, why_not = lab_at(lab_path), []
    except ConfigError as error:
        lab, why_not = None, [failed(error)]
    subjects = {
        "programs": programs(Deadline(SECONDS)),
        "lab.yml": why_not,
        **(_of_lab(lab) if lab else {}),
        "tokens": token_files(os.environ),
        "runners": runners(lab, runner_folders),
    }
    return {subject: findings for subject, findings in subjects.items() if findings}


def _of_lab(lab: Lab) -> dict[str, list[Finding]]:
    from hut_ci.board.serial_links import serial_links
    from hut_ci.deadline import Deadline
    from hut_ci.doctor.lab_file import lab_file
    from hut_ci.doctor.locks import locks
    from hut_ci.doctor.ports import ports
    from hut_ci.doctor.relays import relays, repair_timer
    from hut_ci.doctor.state_folder import state_folder
    from hut_ci.doctor.watching import watching

    return {
        "lab.yml": lab_file(lab),
        "state folder": state_folder(lab),
        "locks": locks(lab.lock_dir),
        "ports": ports(lab.slots, serial_links()),
        "watch": watching(lab),
        "power": [*relays(lab, os.environ, Deadline(SECONDS)), *repair_timer(lab)],
    }


def show(subject: str, findings: Sequence[Finding]) -> None:
    """A line for each finding, and one for its remedy; names of devices and runners command no CI."""
    from hut_ci.reports.escaping import ci_log, plain

    click.echo(subject)
    for finding in findings:
        click.echo(ci_log(f"  {MARKS[finding.sign]:<8} {plain(finding.what)}"))
        if finding.remedy:
            click.echo(ci_log(f"           do: {plain(finding.remedy)}"))
