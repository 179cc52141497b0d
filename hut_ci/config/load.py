"""Finding, reading and checking the two files; see the package for what they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from hut_ci import contracts
from hut_ci.config import lab_file, project_file
from hut_ci.contracts import Problem
from hut_ci.errors import ConfigError
from hut_ci.model import Lab, Project
from hut_ci.yaml_lines import Document, parse_document, read_document

SYSTEM_LAB = Path("/etc/hut-ci/lab.yml")
SYSTEM_STATE = Path("/var/lib/hut-ci")


def find_lab(explicit: Path | None, environ: Mapping[str, str], system: Path = SYSTEM_LAB) -> Path:
    """The lab.yml to use: `--lab`, `$HUT_CI_LAB`, /etc/hut-ci/lab.yml, then the user's own. Raises ConfigError.

    /etc comes before the home folder, where an earlier CI job of the same user could have left a file.
    """
    if explicit is not None:
        return explicit
    if named := environ.get("HUT_CI_LAB"):
        if not Path(named).is_absolute():
            raise ConfigError(
                "$HUT_CI_LAB is not an absolute path",
                why="a relative one would be looked for in the workspace, which is not the operator's",
                todo="write the full path, or use --lab",
            )
        return Path(named)
    own = user_lab(environ)
    for candidate in (system, own):
        if candidate is not None and candidate.exists():
            return candidate
    raise ConfigError(
        "no lab.yml: this machine has no boards described",
        why=f"looked at --lab, $HUT_CI_LAB, {system}" + (f" and {own}" if own else ""),
        todo="`hut-ci slots add` finds a board and writes the file; `hut-ci virtual-lab` needs no hardware",
    )


def lab_to_write(explicit: Path | None, environ: Mapping[str, str], system: Path = SYSTEM_LAB) -> Path:
    """The lab.yml that `slots add` writes: the one in use, otherwise root's in /etc and everybody else's own."""
    try:
        return find_lab(explicit, environ, system)
    except ConfigError:
        own = user_lab(environ)
        if environ.get("HUT_CI_LAB") or (own is None and os.geteuid() != 0):
            raise
        return own if own and os.geteuid() != 0 else system


def user_lab(environ: Mapping[str, str]) -> Path | None:
    """Where `slots add` writes for a person without root: ~/.config/hut-ci/lab.yml; None without a home folder."""
    folder = _home_folder(environ, "XDG_CONFIG_HOME", ".config")
    return folder / "hut-ci" / "lab.yml" if folder else None


def load_lab(path: Path, environ: Mapping[str, str] | None = None) -> Lab:
    """Read, check and build the lab. Raises ConfigError with every problem found, the first one in `what`.

    `environ` is where the default state folder comes from; None means the environment of this process.
    """
    document = read_document(path)
    if path.stat().st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path}: everybody may write to it",
            why="it names the programs and relays that this host may switch",
            todo=f"chmod o-w {path}",
        )
    return lab_from(document, os.environ if environ is None else environ)


def lab_from_text(text: str, path: Path, environ: Mapping[str, str] | None = None) -> Lab:
    """The lab that `path` would describe if it held `text`. Raises ConfigError."""
    return lab_from(parse_document(text.encode(), path), os.environ if environ is None else environ)


def lab_from(document: Document, environ: Mapping[str, str]) -> Lab:
    _refuse(document, contracts.check(document.data, "hut.lab.v1"))
    lab = lab_file.build(document, default_state_dir(environ))
    _refuse(document, lab_file.contradictions(lab, document.data))
    return lab


def default_state_dir(environ: Mapping[str, str], system: Path = SYSTEM_STATE) -> Path:
    """The system's state folder where this user may write (or root may make it), otherwise the user's own."""
    if os.geteuid() == 0 or os.access(system, os.W_OK | os.X_OK):
        return system
    return (_home_folder(environ, "XDG_STATE_HOME", ".local/state") or Path("/tmp")) / "hut-ci"  # noqa: S108 (no home)


def load_project(path: Path | None) -> Project:
    """Read, check and build hut.yml; None gives the built-in defaults. Raises ConfigError.

    A suite that is written down but checks nothing raises with evidence `empty_suite`.
    """
    if path is None:
        return Project()
    return project_from(read_document(path, follow_links=False))


def project_from_bytes(data: bytes, name: str) -> Project:
    """The project of a hut.yml that came through a forge; `name` stands for it in messages. Raises ConfigError."""
    return project_from(parse_document(data, Path(name)))


def project_from(document: Document) -> Project:
    if isinstance(document.data, Mapping) and project_file.suite_is_empty(document.data):
        raise project_file.empty_suite(document)
    problems = contracts.check(document.data, "hut.project.v1")
    _refuse(document, project_file.with_unquoted_patterns(problems, document.data))
    _refuse(document, project_file.contradictions(document.data))
    return project_file.build(document)


def _refuse(document: Document, problems: Sequence[Problem]) -> None:
    """Raise the first problem by line; the others follow in `why`."""
    if not problems:
        return
    ordered = sorted(problems, key=lambda problem: document.line(problem.path))
    texts = [f"{document.path.name}:{document.line(problem.path)}: {problem}" for problem in ordered]
    also = [f"\n        also {text}" for text in texts[1:6]]
    more = [f"\n        and {len(texts) - 6} more"] if len(texts) > 6 else []
    first = ordered[0]
    raise ConfigError(texts[0], why="".join([first.why, *also, *more]), todo=first.todo)


def _home_folder(environ: Mapping[str, str], variable: str, default: str) -> Path | None:
    if (named := Path(environ.get(variable, ""))).is_absolute():
        return named
    home = Path(environ.get("HOME", ""))
    return home / default if home.is_absolute() else None
