"""A token: read from a private file or the environment, and shown to nobody."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hut_ci.errors import ConfigError

TOKEN_LIMIT = 4096
"""Bytes; Home Assistant's long-lived tokens have about 180, GitHub's installation tokens up to 500."""


@dataclass(frozen=True, slots=True)
class Token:
    """A credential that no `repr`, log line or traceback shows; `reveal` is for the request header alone."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return "Token(hidden)"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a token is looked for: `file`, or else the first of `variables` that is not empty.

    `service` says for people whose token it is, `risk` who should not read it, `make` how to get one, `key` which
    setting names the file.
    """

    service: str
    file: Path | None
    variables: tuple[str, ...]
    make: str
    risk: str
    key: str


def read_token(source: Source, environ: Mapping[str, str]) -> Token:
    """The token of `source`. Raises ConfigError for a file that others may read, an empty token, or none at all."""
    if source.file is not None:
        return Token(_checked(_read_private(source.file, source), f"the token file {source.file}", source))
    name = next((name for name in source.variables if environ.get(name, "").strip()), source.variables[0])
    return Token(_checked(environ.get(name, ""), f"the environment variable {name}", source))


def _checked(text: str, where: str, source: Source) -> str:
    token = text.strip()
    if not token:
        raise ConfigError(
            f"{where} holds no {source.service} token",
            why="An empty or missing token counts as none.",
            todo=source.make,
        )
    # http.client would put a malformed header value into the text of its exception.
    if not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"{where} does not hold a usable token",
            why="A token is one line of printable ASCII without spaces.",
            todo="Store the token alone, without quotes, `Bearer` or a second line.",
        )
    return token


def _read_private(path: Path, source: Source) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(
            f"the {source.service} token file {path} cannot be opened: {error.strerror}",
            todo=_as_its_owner(path.parent, source)
            if isinstance(error, PermissionError)
            else f"Check {source.key}; it must be a regular file of the user that runs hut-ci.",
        ) from error
    try:
        _refuse_public(path, os.fstat(descriptor), path.parent.stat(), source)
        return os.read(descriptor, TOKEN_LIMIT).decode("ascii", "replace")
    finally:
        os.close(descriptor)


def _refuse_public(path: Path, file: os.stat_result, folder: os.stat_result, source: Source) -> None:
    problem = ""
    if not stat.S_ISREG(file.st_mode):
        problem = f"{path} is not a regular file"
    elif file.st_mode & 0o077:
        problem = f"others may read {path} (mode {stat.S_IMODE(file.st_mode):04o})"
    elif file.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"the {source.service} token file is refused: {path} belongs to another user",
            why=source.risk,
            todo=_as_its_owner(path, source),
        )
    elif folder.st_mode & 0o077:
        problem = f"others may enter its folder {path.parent} (mode {stat.S_IMODE(folder.st_mode):04o})"
    if problem:
        private = path.parent / "secrets"
        raise ConfigError(
            f"the {source.service} token file is refused: {problem}",
            why=source.risk,
            todo=f"Move it into a folder of its own (chmod 700 {private}, chmod 600 {private / path.name}) "
            f"and name it there in {source.key}.",
        )


def _as_its_owner(path: Path, source: Source) -> str:
    """`path` is the file, or its folder where that is all we may see."""
    try:
        owner = path.owner()
    except (OSError, KeyError):
        owner = "USER"
    return f"Call it as the user whose token it is (`sudo -u {owner} hut-ci …`), or name your own in {source.key}."
