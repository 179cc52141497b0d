"""What a forge's refusal means, in words: one table for both forges."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from hut_ci.errors import ArtifactError, ForgeUnavailable, HutCiError, PublishError
from hut_ci.forges import retry
from hut_ci.forges.http import header
from hut_ci.reports.escaping import cut, plain

# HTTP status → (what is likely, what to do); {needs} is the right that the request asks for
STATUS = {
    401: ("the token is wrong, expired or revoked", "make a new one with {needs}"),
    403: ("the token has not the right for this", "give it {needs}; `hut-ci doctor --forge {address}` tests it"),
    404: (
        "it does not exist, or the token may not see it",
        "compare the name, and give the token access to that repository with {needs}",
    ),
    409: ("the forge is changing the same thing", "run the same command again"),
    410: ("the forge has deleted it", "run the build again"),
    422: ("the forge does not accept what was sent", "the forge's own words say which field"),
    429: ("the forge limits how often it is asked", "try again later"),
}
SERVER = ("the forge has trouble of its own", "try again later; its status page may say more")
PASSING = frozenset({409, 429})
LONGEST_LIMIT = 86400.0
"""Seconds; a limit that lasts longer is a header in another unit."""
GARBLED = (ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, RuntimeError)
"""What reading an answer raises that is not what its documentation promises; JSON nested too deep is a RuntimeError."""


def refusal(
    kind: type[HutCiError],
    *,
    service: str,
    address: object,
    doing: str,
    needs: str,
    status: int,
    message: str = "",
    headers: Mapping[str, str] | None = None,
) -> HutCiError:
    """The error of class `kind` for an answer with HTTP `status`; `doing` completes "GitHub: cannot …"."""
    likely, todo = STATUS.get(status, SERVER if status >= 500 else ("the forge answers unexpectedly", "try again"))
    asked = {name: header(headers or {}, name) for name in _LIMITS if header(headers or {}, name)}
    limited = status == 429 or (status == 403 and retry.rate_limited(asked))
    if limited:
        likely, todo = "the forge limits how often it is asked", _when(asked)
    said = f", it says: {cut(plain(message), 120)}" if plain(message) else ""
    error = failed(
        kind,
        f"{service}: cannot {doing}: HTTP {status}{said}",
        why=likely,
        todo=todo.format(needs=needs, address=address),
        passing=limited or status >= 500 or status in PASSING,
    )
    if isinstance(error, ForgeUnavailable):
        error.pause = retry.asked_pause(asked, time.time())
    return error


def unreachable(kind: type[HutCiError], *, service: str, doing: str, cause: str) -> HutCiError:
    """The same for a request that got no answer."""
    return failed(
        kind,
        f"{service}: cannot {doing}: {cause}",
        why="the network of this host, or the forge itself, is down",
        todo="look at the network, then run the same command again",
        passing=True,
    )


def garbage(kind: type[HutCiError], *, service: str, doing: str, what: str) -> HutCiError:
    """The same for an answer that is none: no JSON, or without the fields that the API documents."""
    return failed(
        kind,
        f"{service}: cannot {doing}: the answer cannot be understood ({cut(plain(what), 80)})",
        why="something else than the forge's API answers at that address",
        todo="check the API's URL ($GITHUB_API_URL, $GITLAB_API_URL), and that no proxy answers in its place",
        passing=True,
    )


def host_fault(kind: type[HutCiError], *, service: str, doing: str, error: OSError) -> HutCiError:
    """The same for a fault of this host: no room, no right."""
    return failed(
        kind,
        f"{service}: cannot {doing}: {error.strerror or error}",
        why="this host has no room, or a folder of hut-ci cannot be written",
        todo="look at `df -h` and at the folder `state_dir` of lab.yml",
        passing=False,
    )


def failed(kind: type[HutCiError], what: str, *, why: str, todo: str, passing: bool) -> HutCiError:
    """`passing` says that trying again later may help."""
    if issubclass(kind, ArtifactError):
        return kind(what, why=why, todo=todo, evidence="forge_error")
    if passing and issubclass(kind, PublishError):
        return ForgeUnavailable(what, why=why, todo=todo)
    return kind(what, why=why, todo=todo)


_LIMITS = (
    "Retry-After",
    *("X-RateLimit-Remaining", "X-RateLimit-Reset"),
    *("RateLimit-Remaining", "RateLimit-Reset"),
)


def _when(headers: Mapping[str, str]) -> str:
    pause = retry.asked_pause(headers, time.time())
    if pause is None or pause > LONGEST_LIMIT:
        return "try again later"
    return f"try again after {datetime.fromtimestamp(time.time() + pause, UTC):%H:%M:%S} UTC"
