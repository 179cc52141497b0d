"""lab.yml itself: who may change it, and what its slots are."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from hut_ci import proc
from hut_ci.config.tracked import tracked_by_git
from hut_ci.credentials import Source, read_token
from hut_ci.doctor.finding import Finding, failed, missing, ok, warn
from hut_ci.errors import ConfigError
from hut_ci.forges.address import parse_address, token_source
from hut_ci.model import Lab


def lab_file(lab: Lab) -> list[Finding]:
    """What a loaded lab.yml still leaves open."""
    return [*_file(lab), *_slots(lab)]


def token_files(environ: Mapping[str, str]) -> list[Finding]:
    """The forges' token files that the environment names: there, private, and not empty."""
    named = [kind for kind in ("github", "gitlab") if environ.get(f"{kind.upper()}_TOKEN_FILE")]
    return [_token(token_source(parse_address(f"{kind}:owner/name", environ), environ), environ) for kind in named]


def _token(source: Source, environ: Mapping[str, str]) -> Finding:
    try:
        read_token(source, environ)
    except ConfigError as error:
        return failed(error)
    return ok(f"{source.key}: {source.file} is private")


def _file(lab: Lab) -> list[Finding]:
    found = lab.path.stat()
    owner = proc.user_name(found.st_uid)
    findings = [ok(f"{lab.path} of {owner} describes the lab {lab.name}")]
    if found.st_mode & stat.S_IWGRP and found.st_gid != 0:
        findings.append(
            warn(f"a group may write to {lab.path}: it decides which programs and relays are switched", "chmod g-w it")
        )
    if found.st_uid not in (0, os.geteuid()):
        findings.append(warn(f"{lab.path} belongs to {owner}", f"chown root {lab.path}"))
    if tracked_by_git(lab.path):
        remedy = f"git rm --cached {lab.path.name}, and add it to .gitignore"
        findings.append(missing(f"{lab.path} is tracked by git: a repository shows it to everybody", remedy))
    return findings


def _slots(lab: Lab) -> list[Finding]:
    """Loading has refused two slots with one label, device, MAC or lock."""
    if not lab.slots:
        return [missing("the lab has no slot", "hut-ci slots add")]
    shown = ", ".join(f"{slot.id} ({slot.label})" for slot in lab.slots)
    return [
        ok(f"slots, each with a label of its own: {shown}"),
        *(
            warn(f"{slot.id} is quarantined: {slot.quarantined}", "remove `quarantined:` when its board is well")
            for slot in lab.slots
            if slot.quarantined
        ),
    ]
