"""One request to Home Assistant's REST API: bounded, never following a redirect, each bad answer with its own name.

Status codes as measured on 2024.3, 2025.4 and 2026.11.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from hut_ci.credentials import Token
from hut_ci.deadline import Deadline, call_within
from hut_ci.errors import PowerError

if TYPE_CHECKING:
    import requests  # a tenth of a second that most runs do not need: their power stays on

BODY_LIMIT = 1 << 18

# HTTP status → (detail, what is likely, what to do)
STATUS: dict[int, tuple[str, str, str]] = {
    401: (
        "unauthorized",
        "The token is wrong or expired, or its user is read-only.",
        "Make a new long-lived access token and store it where lab.yml points.",
    ),
    403: (
        "banned",
        "Home Assistant bans an address after too many bad tokens, good tokens included.",
        "Remove this host from ip_bans.yaml in Home Assistant's configuration folder and restart it.",
    ),
    404: (
        "unknown_entity",
        "The name is misspelt in lab.yml, or Home Assistant has not loaded it yet.",
        "Compare `entity` in lab.yml with Settings > Devices & services > Entities.",
    ),
    400: ("bad_request", "Home Assistant does not know this service.", "Check the domain of `entity` in lab.yml."),
    429: ("busy", "Home Assistant, or a proxy before it, limits requests.", "Try again later."),
    503: ("busy", "Home Assistant is starting, or a proxy before it is down.", "Try again later."),
}
SERVER_ERROR = (
    "server_error",
    "The switch's integration raised an error, for example because the relay is not reachable.",
    "Look into Home Assistant's log; switch the entity there by hand.",
)


def ask(url: str, token: Token, method: str, path: str, window: Deadline, *, about: str, data: object = None) -> Any:
    """The decoded JSON answer to one request; `window` bounds all of it, however it drips.

    `about` is the entity that errors name. Raises PowerError whose `fields["detail"]` says which way it failed.
    """
    import requests
    import urllib3

    if window.expired:
        raise _too_slow(method, path, window)
    try:
        answer, body = call_within(
            window.remaining, lambda _over: _exchange(url.rstrip("/") + path, token, method, data, window)
        )
    except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError) as error:
        raise _too_slow(method, path, window) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _failed(
            "unreachable",
            f"Home Assistant at {url} cannot be reached",
            f"{_cause(error)}.",
            "Check that it runs and that `home_assistant.url` in lab.yml is right.",
        ) from error
    return _decode(url, about, answer, body)


def _exchange(url: str, token: Token, method: str, data: object, window: Deadline) -> tuple[requests.Response, bytes]:
    """Send, and read the answer whole.

    Without a session: that one would look at where a redirect leads (a bad address raises ValueError), and ask
    ~/.netrc and the proxy variables, which would replace or see the token.
    """
    import requests
    from requests.adapters import HTTPAdapter

    headers = {"Authorization": f"Bearer {token.reveal()}", "Accept-Encoding": "identity"}
    request = requests.Request(method, url, json=data, headers=headers).prepare()
    with (
        closing(HTTPAdapter(max_retries=0)) as adapter,
        adapter.send(request, stream=True, timeout=max(0.05, window.remaining)) as answer,
    ):
        return answer, _read(answer, window)


def _read(answer: requests.Response, window: Deadline) -> bytes:
    """The body as it arrives: iter_content waits for whole chunks, and a dripping server would outlast the window."""
    import requests

    body = bytearray()
    while chunk := answer.raw.read1(4096, decode_content=True):
        body += chunk
        if window.expired:
            raise requests.Timeout
        if len(body) > BODY_LIMIT:
            raise requests.RequestException
    return bytes(body)


def _decode(url: str, about: str, answer: requests.Response, body: bytes) -> Any:
    status = answer.status_code
    if 300 <= status < 400:
        raise _failed(
            "redirected",
            f"Home Assistant at {url} redirects elsewhere (HTTP {status})",
            "The token is never sent to another address.",
            "Put the final address into `home_assistant.url` of lab.yml.",
        )
    if status != 200:
        detail, why, todo = STATUS.get(status, SERVER_ERROR)
        after = answer.headers.get("Retry-After", "")
        extra = {"retry_after": after} if after.isascii() and after.isdigit() else {}
        raise _failed(detail, f"Home Assistant answers HTTP {status} for {about}", why, todo, **extra)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _failed(
            "bad_answer",
            f"what answers at {url} does not speak Home Assistant's API",
            "The answer is not JSON, or nested beyond reason.",
            "Check `home_assistant.url` in lab.yml.",
        ) from error


def _too_slow(method: str, path: str, window: Deadline) -> PowerError:
    return _failed(
        "slow",
        f"Home Assistant did not answer {method} {path} within {window.seconds:.3g} s",
        "A service call blocks until the relay has answered.",
        "Raise `timeout` of this slot's power in lab.yml above the relay's own time-out.",
    )


def _cause(error: BaseException) -> str:
    """The innermost reason in a few words: requests nests it three levels deep."""
    import requests

    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror and not isinstance(inner, requests.RequestException):
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return "The connection failed"


def _failed(detail: str, what: str, why: str, todo: str, **extra: str) -> PowerError:
    return PowerError(what, why=why, todo=todo, fields={"detail": detail, **extra})
