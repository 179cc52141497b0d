"""Switch a relay through Home Assistant's REST API, and read its state back.

A service call's 200 means nothing here: Home Assistant answers `200 []` for entities that do not exist, are
unavailable, or are of another domain (measured on 2024.3, 2025.4 and 2026.11). So the entity is looked up first,
and after a call its state is polled until it is the wanted one.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hut_ci.credentials import Token
from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError
from hut_ci.model import HomeAssistant

if TYPE_CHECKING:
    import requests  # a tenth of a second that most runs do not need: their power stays on

ENTITY = re.compile(r"[a-z][a-z0-9_]{0,63}\.[a-z0-9_]{1,190}")
BODY_LIMIT = 1 << 18
POLL_SECONDS = (0.02, 0.5)
"""First and longest pause between two reads of a state: a local switch takes 10 ms, a cloud one seconds."""

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


@dataclass(frozen=True, slots=True)
class HomeAssistantSwitch:
    """The relay `entity` of one server. `timeout` (seconds) bounds each call and each wait for a state.

    A service call blocks until the relay has answered Home Assistant, so `timeout` has to exceed the relay's own.
    Every method raises PowerError whose `fields["detail"]` is the code that stages/power_cycle.py maps.
    """

    url: str
    entity: str
    token: Token
    timeout: float = 15.0
    sleep: Callable[[float], None] = time.sleep

    def exists(self, deadline: Deadline) -> None:
        """Raises PowerError: `unknown_entity`, `unavailable`, or whatever kept the question from an answer.

        A Home Assistant that is starting is waited for, `timeout` seconds at most: it answers long before it knows
        its entities.
        """
        window = deadline.within(self.timeout)
        while True:
            try:
                if self.is_on(deadline) is None:
                    raise self._unavailable()
                return
            except PowerError as error:
                if error.fields["detail"] != "starting" or window.expired:
                    raise
            self.sleep(min(POLL_SECONDS[1], window.remaining))

    def is_on(self, deadline: Deadline) -> bool | None:
        """What Home Assistant believes; None for `unavailable`, `unknown` and other states."""
        state = self._ask("GET", f"/api/states/{self.entity}", deadline)
        name = state.get("state") if isinstance(state, dict) else None
        return {"on": True, "off": False}.get(str(name))

    def off(self, deadline: Deadline) -> None:
        """Switch off and wait until the state reads `off`."""
        self._switch("turn_off", False, deadline)

    def on(self, deadline: Deadline) -> None:
        """Switch on and wait until the state reads `on`."""
        self._switch("turn_on", True, deadline)

    def _switch(self, service: str, wanted: bool, deadline: Deadline) -> None:
        domain = self.entity.partition(".")[0]
        changed = self._ask("POST", f"/api/services/{domain}/{service}", deadline, {"entity_id": self.entity})
        window = deadline.within(self.timeout)
        pause, longest = POLL_SECONDS
        while (seen := self.is_on(deadline)) is not wanted:
            if window.expired:
                raise self._wrong_state(service, wanted, seen, changed)
            self.sleep(min(pause, window.remaining))
            pause = min(2 * pause, longest)

    def _wrong_state(self, service: str, wanted: bool, seen: bool | None, changed: Any) -> PowerError:
        if seen is None:
            return self._unavailable()
        want = "on" if wanted else "off"
        if changed == []:
            return _failed(
                "ignored",
                f"Home Assistant accepted {service} for {self.entity} and changed nothing",
                "The switch's command failed silently, or its relay refused.",
                "Switch the entity in Home Assistant by hand and look into its log.",
            )
        return _failed(
            "stuck",
            f"{self.entity} still does not read `{want}` {self.timeout:g} s after {service}",
            "The relay did not move, or its state is read back too slowly.",
            "Raise `timeout` of this slot's power in lab.yml if the switch is merely slow.",
        )

    def _unavailable(self) -> PowerError:
        return _failed(
            "unavailable",
            f"{self.entity} is unavailable in Home Assistant",
            "The relay lost its network, its power or its integration.",
            "Bring the relay back in Home Assistant first.",
        )

    # --- one request ----------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, deadline: Deadline, data: object = None) -> Any:
        """The decoded JSON answer; what is not known *yet*, because Home Assistant is starting, is told apart."""
        try:
            return self._request(method, path, deadline, data)
        except PowerError as error:
            if error.fields["detail"] not in ("unknown_entity", "bad_request") or not self._is_starting(deadline):
                raise
            raise _failed(
                "starting",
                f"Home Assistant at {self.url} is starting or stopping",
                "It answers before it has loaded its integrations and entities.",
                "Try again in half a minute.",
            ) from error

    def _is_starting(self, deadline: Deadline) -> bool:
        try:
            found = self._request("GET", "/api/config", deadline)
        except PowerError:
            return False
        return isinstance(found, dict) and found.get("state", "RUNNING") != "RUNNING"

    def _request(self, method: str, path: str, deadline: Deadline, data: object = None) -> Any:
        """The decoded JSON answer of one request, never following a redirect nor reading ~/.netrc."""
        import requests
        import urllib3

        window = deadline.within(self.timeout)
        if window.expired:
            raise self._too_slow(method, path, window)
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy or a netrc entry would see or replace the token
                with session.request(
                    method,
                    self.url.rstrip("/") + path,
                    json=data,
                    headers={"Authorization": f"Bearer {self.token.reveal()}", "Accept-Encoding": "identity"},
                    timeout=max(0.05, window.remaining),
                    allow_redirects=False,
                    stream=True,
                ) as answer:
                    body = _read(answer, window)
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise self._too_slow(method, path, window) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _failed(
                "unreachable",
                f"Home Assistant at {self.url} cannot be reached",
                f"{_cause(error)}.",
                "Check that it runs and that `home_assistant.url` in lab.yml is right.",
            ) from error
        return self._decode(answer, body)

    def _decode(self, answer: requests.Response, body: bytes) -> Any:
        status = answer.status_code
        if 300 <= status < 400:
            raise _failed(
                "redirected",
                f"Home Assistant at {self.url} redirects elsewhere (HTTP {status})",
                "The token is never sent to another address.",
                "Put the final address into `home_assistant.url` of lab.yml.",
            )
        if status != 200:
            detail, why, todo = STATUS.get(status, SERVER_ERROR)
            after = answer.headers.get("Retry-After", "")
            extra = {"retry_after": after} if after.isascii() and after.isdigit() else {}
            raise _failed(detail, f"Home Assistant answers HTTP {status} for {self.entity}", why, todo, **extra)
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _failed(
                "bad_answer",
                f"what answers at {self.url} does not speak Home Assistant's API",
                "The answer is not JSON, or nested beyond reason.",
                "Check `home_assistant.url` in lab.yml.",
            ) from error

    def _too_slow(self, method: str, path: str, window: Deadline) -> PowerError:
        return _failed(
            "slow",
            f"Home Assistant did not answer {method} {path} within {window.seconds:.3g} s",
            "A service call blocks until the relay has answered.",
            "Raise `timeout` of this slot's power in lab.yml above the relay's own time-out.",
        )


def open_switch(server: HomeAssistant, entity: str, token: Token, timeout: float) -> HomeAssistantSwitch:
    """A switch for `entity` after the checks that need no network.

    Raises PowerError (`forbidden_entity`) for a name or domain that lab.yml does not allow. That the address may be
    trusted with the token is a rule of lab.yml (lab_rules.home_assistant_address).
    """
    if not ENTITY.fullmatch(entity) or entity.partition(".")[0] not in server.domains:
        raise _failed(
            "forbidden_entity",
            f"{entity!r} is not an entity that hut-ci may switch",
            f"Only these domains are allowed: {', '.join(server.domains)}.",
            "Name a switch in lab.yml, or add its domain under home_assistant.domains.",
        )
    return HomeAssistantSwitch(server.url, entity, token, timeout)


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
