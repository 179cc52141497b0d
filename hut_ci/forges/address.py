"""`github:OWNER/NAME`, `gitlab:GROUP/NAME`, `local:DIR`: where builds are found and statuses go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hut_ci.credentials import Source
from hut_ci.errors import UsageError
from hut_ci.forges.loopback import is_loopback
from hut_ci.reports.escaping import cut, plain

KINDS = ("github", "gitlab", "local")
GRAMMAR = "github:OWNER/NAME, gitlab:GROUP/NAME or local:DIR"
SERVICES = {"github": "GitHub", "gitlab": "GitLab"}
NAMED = {"github": "OWNER/NAME", "gitlab": "GROUP/NAME or GROUP/SUBGROUP/NAME"}
_NAME = r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,99}"
_PATH = {"github": re.compile(rf"{_NAME}/{_NAME}"), "gitlab": re.compile(rf"{_NAME}(?:/{_NAME}){{1,20}}")}
# The first variable that is set counts: those of the two CI systems are set in their jobs.
API_URL = {
    "github": (("GITHUB_API_URL",), "https://api.github.com"),
    "gitlab": (("GITLAB_API_URL", "CI_API_V4_URL"), "https://gitlab.com/api/v4"),
}
RUNNERS_VARIABLE = "HUT_CI_RUNNERS_TOKEN"
"""Of the environment: what holds the one token that may list runners."""


@dataclass(frozen=True, slots=True)
class Address:
    """One repository on one forge. `api` is the REST root without a final slash; of `local`, `name` is a folder."""

    kind: str
    name: str
    api: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def host(self) -> str:
        return urlsplit(self.api).netloc


def parse_address(text: str, environ: Mapping[str, str]) -> Address:
    """The address that `text` names; its API's URL comes from the environment. Raises UsageError."""
    kind, _, name = text.partition(":")
    if kind == "local" and name:
        return Address("local", str(Path(name).absolute()))
    if kind not in _PATH or not _PATH[kind].fullmatch(name) or ".." in name:
        raise UsageError(
            f"--forge {cut(plain(text), 80)!r} is not known",
            why=f"a repository there is named {NAMED[kind]}" if kind in NAMED else "",
            todo=f"give {GRAMMAR}",
        )
    return Address(kind, name, _api(kind, environ))


def _api(kind: str, environ: Mapping[str, str]) -> str:
    variables, default = API_URL[kind]
    name = next((name for name in variables if environ.get(name)), None)
    url = environ[name].rstrip("/") if name else default
    if not _is_trusted(url):
        raise UsageError(
            f"${name} is not the address of an API: {cut(plain(url), 80)}",
            why="a token is only sent over HTTPS, to a host that the address names",
            todo="write it like `https://github.example.org/api/v3` or `https://gitlab.example.org/api/v4`",
        )
    return url


def _is_trusted(url: str) -> bool:
    """HTTPS, or plain HTTP to this machine itself; no user, no query, and a port that there is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host or port == 0 or parts.username or parts.password or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))


def token_source(address: Address, environ: Mapping[str, str]) -> Source:
    """Where the token for this forge is: `$GITHUB_TOKEN_FILE` (or GITLAB), a 0600 file, else `$GITHUB_TOKEN`."""
    prefix = address.kind.upper()
    file = environ.get(f"{prefix}_TOKEN_FILE")
    more = ("GH_TOKEN",) if address.kind == "github" else ()
    return Source(
        service=SERVICES[address.kind],
        file=Path(file) if file else None,
        variables=(f"{prefix}_TOKEN", *more),
        make=f"Set ${prefix}_TOKEN, or name a file of mode 0600 in ${prefix}_TOKEN_FILE; "
        f"`hut-ci doctor --forge {address}` says which rights it needs.",
        risk="Who reads this token can act in your repository.",
        key=f"${prefix}_TOKEN_FILE",
    )


def runners_source(address: Address) -> Source:
    """Where the token is that may list a repository's runners: no job's own token may."""
    give = {
        "github": f"a fine-grained token of {address.name}: Administration, read",
        "gitlab": f"a project access token of {address.name}: role Maintainer, `read_api`",
    }
    return Source(
        service=SERVICES[address.kind],
        file=None,
        variables=(RUNNERS_VARIABLE,),
        make=f"Leave ${RUNNERS_VARIABLE} out, or give {give[address.kind]}.",
        risk="",
        key="",
    )
