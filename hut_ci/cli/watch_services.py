"""Setting both processes of `hut-ci watch` up as services, once their files are written: users, tokens, systemd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.errors import ConfigError

if TYPE_CHECKING:
    from hut_ci.model import Lab

TOKENS = Path("/etc/hut-ci/publisher")


def set_up(lab: Lab, tokens: dict[str, bytes]) -> None:
    """Users, folders, tokens, services, in this order."""
    from hut_ci.watch.units import GROUP, PUBLISHER_USER, SERVICES

    _call("systemd-sysusers", "hut-ci-watch.conf")
    _call("systemd-tmpfiles", "--create", "hut-ci-watch.conf")
    for forge, token in tokens.items():
        if token:
            _write_token(TOKENS / f"{forge}-token", token, PUBLISHER_USER)
    shutil.chown(lab.path, "root", GROUP)
    lab.path.chmod(0o640)
    _call("systemctl", "daemon-reload")
    _call("systemctl", "enable", *SERVICES)
    _call("systemctl", "restart", *SERVICES)
    click.echo("both run; `hut-ci watch status` tells what they do")


def _write_token(path: Path, token: bytes, user: str) -> None:
    """Mode 0600 from its first moment on."""
    from hut_ci.reports.atomic import Replacement

    with Replacement(path, mode=0o600) as file:
        shutil.chown(file.fileno(), user)
        file.write(token)


def _call(*argv: str) -> None:
    try:
        subprocess.run(argv, check=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"`{' '.join(argv)}` failed",
            why=str(error),
            todo="the files are written; put it right, and type the same command again",
        ) from error
