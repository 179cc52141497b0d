"""Switch a relay through Home Assistant, and read its state back.

A service call's 200 means nothing here: Home Assistant answers `200 []` for entities that do not exist, are
unavailable, or are of another domain (measured on 2024.3, 2025.4 and 2026.11). So the entity is looked up first,
and after a call its state is polled until it is the wanted one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hut_ci.credentials import Token
from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError
from hut_ci.model import HomeAssistant
from hut_ci.power.home_assistant_api import ask

ENTITY = re.compile(r"[a-z][a-z0-9_]{0,63}\.[a-z0-9_]{1,190}")
POLL_SECONDS = (0.02, 0.5)
"""First and longest pause between two reads of a state: a local switch takes 10 ms, a cloud one seconds."""
REFUSALS = frozenset({"unauthorized", "banned", "bad_request"})
"""Answers to a service call after which Home Assistant has not touched the relay."""


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
        """Switch off and wait until the state reads `off`; an error's field `untouched` says that nothing was done."""
        self._switch("turn_off", False, deadline)

    def on(self, deadline: Deadline) -> None:
        """Switch on and wait until the state reads `on`."""
        self._switch("turn_on", True, deadline)

    def _switch(self, service: str, wanted: bool, deadline: Deadline) -> None:
        changed = self._call(service, deadline)
        window = deadline.within(self.timeout)
        pause, longest = POLL_SECONDS
        while (seen := self.is_on(deadline)) is not wanted:
            if window.expired:
                raise self._wrong_state(service, wanted, seen, changed)
            self.sleep(min(pause, window.remaining))
            pause = min(2 * pause, longest)

    def _call(self, service: str, deadline: Deadline) -> Any:
        domain = self.entity.partition(".")[0]
        try:
            return self._ask("POST", f"/api/services/{domain}/{service}", deadline, {"entity_id": self.entity})
        except PowerError as error:
            if error.fields["detail"] in REFUSALS:
                error.fields["untouched"] = "yes"
            raise

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
        window = deadline.within(self.timeout)
        return ask(self.url, self.token, method, path, window, about=self.entity, data=data)


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


def _failed(detail: str, what: str, why: str, todo: str, **extra: str) -> PowerError:
    return PowerError(what, why=why, todo=todo, fields={"detail": detail, **extra})
