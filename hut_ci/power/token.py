"""The Home Assistant token: read from a private file or the lab host's environment, and shown to nobody."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hut_ci.errors import PowerError
from hut_ci.model import HomeAssistant

TOKEN_LIMIT = 4096
"""Bytes; a long-lived access token has about 180."""


@dataclass(frozen=True, slots=True)
class Token:
    """A credential that no `repr`, log line or traceback shows; `reveal` is for the request header alone."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return "Token(hidden)"


def read_token(server: HomeAssistant, environ: Mapping[str, str]) -> Token:
    """The token that lab.yml points to: `token_file`, or else the variable `token_env` of `environ`.

    Raises PowerError (detail `no_token`) for a file that others may read, an empty one, or none at all.
    """
    if server.token_file is not None:
        return Token(_checked(_read_private(server.token_file), f"the token file {server.token_file}"))
    return Token(_checked(environ.get(server.token_env, ""), f"the environment variable {server.token_env}"))


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not token:
        raise _no_token(
            f"{where} holds no Home Assistant token",
            why="An empty or missing token counts as none.",
            todo="Make a long-lived access token in Home Assistant (your profile, Security) and store it there.",
        )
    # http.client would put a malformed header value into the text of its exception.
    if not all("!" <= letter <= "~" for letter in token):
        raise _no_token(
            f"{where} does not hold a usable token",
            why="A token is one line of printable ASCII without spaces.",
            todo="Store the token alone, without quotes, `Bearer` or a second line.",
        )
    return token


def _read_private(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _no_token(
            f"the Home Assistant token file {path} cannot be opened: {error.strerror}",
            todo="Check `token_file` in lab.yml; it must be a regular file of the user that runs hut-ci.",
        ) from error
    try:
        _refuse_public(path, os.fstat(descriptor), path.parent.stat())
        return os.read(descriptor, TOKEN_LIMIT).decode("ascii", "replace")
    finally:
        os.close(descriptor)


def _refuse_public(path: Path, file: os.stat_result, folder: os.stat_result) -> None:
    problem = ""
    if not stat.S_ISREG(file.st_mode):
        problem = f"{path} is not a regular file"
    elif file.st_mode & 0o077:
        problem = f"others may read {path} (mode {stat.S_IMODE(file.st_mode):04o})"
    elif file.st_uid not in (0, os.geteuid()):
        problem = f"{path} belongs to another user"
    elif folder.st_mode & 0o077:
        problem = f"others may enter its folder {path.parent} (mode {stat.S_IMODE(folder.st_mode):04o})"
    if problem:
        private = path.parent / "secrets"
        raise _no_token(
            f"the Home Assistant token file is refused: {problem}",
            why="Who reads this token can switch everything in the house.",
            todo=f"Move it into a folder of its own (chmod 700 {private}, chmod 600 {private / path.name}) "
            "and name it there in lab.yml.",
        )


def _no_token(what: str, *, why: str = "", todo: str = "") -> PowerError:
    return PowerError(what, why=why, todo=todo, fields={"detail": "no_token"})
