"""`hut-ci watch install`: the files of both services; watch_services.py then sets them up."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hut_ci.errors import ConfigError

if TYPE_CHECKING:
    from hut_ci.model import Holder, Lab, Slot

EXAMPLES = """
\b
Examples:
  sudo hut-ci watch install --github-token token
  sudo --preserve-env=GITHUB_TOKEN hut-ci watch install
  hut-ci watch install --root /tmp/look          only write the files, to look at them

\b
It makes the users hut-ci and hut-ci-publisher, the spool and two services, and starts them. lab.yml becomes root's, to
be read by the group hut-lab; it names the spool and a shared folder for the locks, unless it does. Once more is
harmless.
"""
SHARED = {"lock_dir": "/run/lock/hut-ci", "spool_dir": "/var/spool/hut-ci"}
"""Folders of the lab's group."""
CARRIED = ("GITHUB_API_URL", "GITLAB_API_URL")


@click.command("install", epilog=EXAMPLES, short_help="Set both processes up as services under two users (root).")
@click.option(
    "--lab",
    "lab_path",
    type=click.Path(path_type=Path, resolve_path=True),
    default=Path("/etc/hut-ci/lab.yml"),
    show_default=True,
    help="Lab file of the services.",
)
@click.option(
    "--github-token",
    type=click.Path(path_type=Path),
    help="File that holds GitHub's token; it is copied. [default: $GITHUB_TOKEN]",
)
@click.option("--gitlab-token", type=click.Path(path_type=Path), help="The same for GitLab's.")
@click.option("--root", type=click.Path(path_type=Path), help="Write below this folder, and start nothing.")
def install(lab_path: Path, github_token: Path | None, gitlab_token: Path | None, root: Path | None) -> None:
    """Set both processes up as services: the publisher with the token and no board, the bench without a token."""
    from hut_ci import config
    from hut_ci.cli.watch import refuse_idle
    from hut_ci.cli.watch_services import TOKENS, set_up
    from hut_ci.watch.units import files

    if root is None and os.geteuid() != 0:
        raise ConfigError("only root makes users and services", todo="`sudo hut-ci watch install`, or look with --root")
    lab, program = config.load_lab(lab_path), _program(root)
    refuse_idle(lab)
    tokens = {"github": _token("github", github_token), "gitlab": _token("gitlab", gitlab_token)}
    environment = {name: os.environ[name] for name in CARRIED if os.environ.get(name)}
    for forge in sorted({project.address.partition(":")[0] for project in lab.projects}):
        environment[f"{forge.upper()}_TOKEN_FILE"] = str(TOKENS / f"{forge}-token")
        if root is None and not tokens[forge]:
            _refuse_missing(forge, TOKENS / f"{forge}-token")
    lab = _shared(lab, root)
    made = files(lab, program, TOKENS, environment)
    for path, text in made.items():
        _write(path, text, root)
    if root is None:
        set_up(lab, tokens)


def _refuse_missing(forge: str, stored: Path) -> None:
    """Raises ConfigError where no token was stored by an earlier installation either."""
    if not stored.exists():
        name = f"{forge.upper()}_TOKEN"
        raise ConfigError(
            f"no token for {forge} was given",
            why=f"lab.yml names a repository there, and ${name} is empty: sudo keeps variables back",
            todo=f"`sudo --preserve-env={name} hut-ci watch install`, or `--{forge}-token FILE`",
        )


def _shared(lab: Lab, root: Path | None) -> Lab:
    """The lab, which has to say where its users meet: in the spool, and before the locks. Below `root` a copy does.

    A lock of /var/lock belongs to whoever made it first: the bench could not have what a person once held.
    """
    from hut_ci import config
    from hut_ci.config.lab_write import lab_text
    from hut_ci.yaml_lines import parse_document

    with lab_text(lab.path, "") as (text, write):
        said = parse_document(text.encode(), lab.path).data
        missing = {name: folder for name, folder in SHARED.items() if name not in said}
        if not missing:
            return lab
        if "lock_dir" in missing and root is None:
            _refuse_held(lab)
        longer = "\n".join([text.rstrip(), *(f"{name}: {folder}" for name, folder in missing.items()), ""])
        longer_lab = config.lab_from_text(longer, lab.path)
        if root is None:
            write(longer)
            for name, folder in missing.items():
                click.echo(f"{lab.path}: {name} is {folder}")
        else:
            _write(Path("/") / "etc" / "hut-ci" / "lab.yml", longer, root)
    return longer_lab


def _refuse_held(lab: Lab) -> None:
    """Raises SlotError where somebody holds a slot by a lock that the services would not see."""
    from hut_ci.claims import notes
    from hut_ci.errors import SlotError

    for slot in lab.slots:
        if holder := _holder(lab, slot):
            raise SlotError(
                f"{slot.id} is held by {notes.who(holder)}",
                why=f"locks move from {lab.lock_dir} to {SHARED['lock_dir']}, and two could have the slot at once",
                todo="wait for its end, or end it, then type the same command again",
            )


def _holder(lab: Lab, slot: Slot) -> Holder | None:
    """Who has a slot, also by a lock that is another user's alone: one that no claim of ours would trust."""
    from hut_ci.claims.lock_note import read_holder
    from hut_ci.claims.names import lock_name
    from hut_ci.claims.safe_files import OPEN

    try:
        lock = os.open(lab.lock_dir / lock_name(slot.id), OPEN)
    except OSError:
        return None
    try:
        return read_holder(lock)
    finally:
        os.close(lock)


def _program(root: Path | None) -> Path:
    """The `hut-ci` of the services. Raises ConfigError for one that another user could not start."""
    found = Path(shutil.which("hut-ci") or "/usr/local/bin/hut-ci").resolve()
    if root is None and any(found.is_relative_to(home) for home in ("/home", "/root")):
        raise ConfigError(
            f"{found} lies in a home folder",
            why="the services run as other users, who may not look there",
            todo="install it for all: `python3 -m venv /opt/hut-ci && /opt/hut-ci/bin/pip install hut-ci`",
        )
    return found


def _write(path: Path, text: str, root: Path | None) -> None:
    from hut_ci.reports.atomic import replace_file

    target = root / path.relative_to("/") if root else path
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, text.encode())
    click.echo(f"{target}")


def _token(forge: str, path: Path | None) -> bytes:
    """The token that was given, in a file or in the environment; empty without one."""
    return path.read_bytes() if path is not None else os.environ.get(f"{forge.upper()}_TOKEN", "").encode()
