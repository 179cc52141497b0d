"""What must not stand in one lab.yml: rules over a built Lab, each a function that yields its problems."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from hut_ci.config.patterns import pattern_problems
from hut_ci.contracts import Problem, nearest
from hut_ci.model import Lab, PowerSettings, Slot

_UNSTABLE = re.compile(r"/dev/(tty|cu\.)[^/]*\Z")
_HOST_NAME = re.compile(r"(?!0x[0-9a-f]*\Z|[0-9]+\Z)[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z")
"""Not `0x08080808` or `134744072`, which a resolver takes for 8.8.8.8, and no dot of another script."""
_LOCAL_NAMES = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localhost")


def unstable_serials(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Names that another board may get after the next plug, unless the slot allows them (WS8-5)."""
    for slot_id, slot in (data["slots"] or {}).items():
        names = [slot["serial"]] if isinstance(slot["serial"], str) else slot["serial"]
        for number, name in enumerate(names):
            path = ("slots", slot_id, "serial", *([] if isinstance(slot["serial"], str) else [number]))
            if "/../" in name or "/./" in name or name.endswith(("/..", "/.")):
                yield Problem(
                    path, f"{name} is not a plain path", "two spellings of one device go unnoticed", "shorten"
                )
            elif _UNSTABLE.match(name) and not slot.get("allow_unstable_serial", False):
                yield Problem(
                    path,
                    f"{name} may be another board after the next plug or boot",
                    "the kernel hands out such names in the order in which boards appear",
                    "use the link in /dev/serial/by-id (`ls -l /dev/serial/by-id`), or `allow_unstable_serial: true`",
                )


def double_prefixes(lab: Lab) -> Iterator[Problem]:
    """`hut-hut-01`: the lock file is named `hut-` and the id's own number."""
    for slot in lab.slots:
        if slot.id.startswith("hut-hut-"):
            todo = f'did you mean "{slot.id.removeprefix("hut-")}"?'
            yield Problem(("slots", slot.id), "has its prefix twice", "it would lock another file than it says", todo)


def shared_locks(lab: Lab) -> Iterator[Problem]:
    """`01` and `hut-01` both lock hut-01.lock."""
    for slot, other in _twins(lab, lambda slot: [slot.id.removeprefix("hut-")]):
        yield Problem(
            ("slots", slot.id),
            f"has the lock file of {other.id}",
            "`01` and `hut-01` both mean hut-01.lock, so that neither could run beside the other",
            "give one of the two another number",
        )


def shared_labels(lab: Lab) -> Iterator[Problem]:
    """Runner labels are compared without case, as the forges do."""
    for slot, other in _twins(lab, lambda slot: [slot.label.lower()]):
        why = "a job for the label would not know which board it gets"
        yield Problem(("slots", slot.id, "label"), f"{slot.label} is the label of {other.id}", why, "give it its own")


def shared_serials(lab: Lab) -> Iterator[Problem]:
    """By name, and by the device that a link leads to now."""
    for slot, other in _twins(lab, lambda slot: {name for link in slot.serial for name in _devices(link)}):
        yield Problem(
            ("slots", slot.id, "serial"),
            f"is the device of {other.id}",
            "two slots on one device would flash over each other; CP2102 and CH340 boards often share one by-id name",
            "use the by-path link of each board (`ls -l /dev/serial/by-path`)",
        )


def shared_macs(lab: Lab) -> Iterator[Problem]:
    for slot, other in _twins(lab, lambda slot: [slot.facts.mac] if slot.facts.mac else []):
        why = "every chip has its own MAC address, so this is one board twice"
        yield Problem(
            ("slots", slot.id, "facts", "mac"), f"is the MAC of {other.id}", why, "correct or remove one slot"
        )


def shared_relays(lab: Lab) -> Iterator[Problem]:
    """One relay, one slot, or one declared group (WS9-12); one group, one relay."""
    for slot, other in _twins(lab, lambda slot: [relay] if (relay := _relay(slot.power)) else []):
        if slot.power.group is None or slot.power.group != other.power.group:
            yield Problem(
                ("slots", slot.id, "power"),
                f"is the relay of {other.id}",
                "cutting it would take the power from a test that runs on the other slot",
                "if both hang behind one plug, give both the same `group:`",
            )
    for slot, other in _twins(lab, lambda slot: [slot.power.group] if slot.power.group else []):
        if _relay(slot.power) != _relay(other.power):
            yield Problem(
                ("slots", slot.id, "power", "group"),
                f"{slot.power.group} has another relay on {other.id}",
                "a group is the slots behind one plug",
                "use one relay for the group, or two group names",
            )


def power_without_relay(lab: Lab) -> Iterator[Problem]:
    for slot in lab.slots:
        if slot.power.entity and slot.power.command:
            why, todo = "a slot has one relay", "keep one of the two"
            yield Problem(("slots", slot.id, "power"), "names an entity and a command", why, todo)
        elif slot.power.backend == "command" and not slot.power.command:
            why, todo = "nothing says what to switch", "add `entity: switch.…`, or write `power: none`"
            yield Problem(("slots", slot.id, "power"), "names neither an entity nor a command", why, todo)


def entities(lab: Lab) -> Iterator[Problem]:
    """An entity needs a Home Assistant, and a domain that may be switched (security 17)."""
    for slot in lab.slots:
        if slot.power.entity is None:
            continue
        path = ("slots", slot.id, "power")
        domain = slot.power.entity.partition(".")[0]
        if lab.home_assistant is None:
            why, todo = "the lab names no Home Assistant", "add `home_assistant: {url: …, token_file: …}`"
            yield Problem(path, f"{slot.power.entity} has nobody to switch it", why, todo)
        elif domain not in lab.home_assistant.domains:
            why = "only the domains of `home_assistant.domains` may be switched"
            yield Problem(path, f"{domain} is not a domain to switch", why, nearest(domain, lab.home_assistant.domains))


def home_assistant_address(lab: Lab) -> Iterator[Problem]:
    """Plain http only where the token stays in the house (security 16)."""
    if lab.home_assistant is None:
        return
    path = ("home_assistant", "url")
    try:
        parts = urlsplit(lab.home_assistant.url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        yield Problem(path, "is not an address", "its host or port cannot be read", "write http://host:port")
        return
    if parts.scheme == "http" and not _is_local(host):
        why = "the access token would travel readable for everybody on the way"
        yield Problem(path, f"{host} is not in this network, and http is not encrypted", why, "use https://")


def serial_servers(lab: Lab) -> Iterator[Problem]:
    for slot in lab.slots:
        for link in slot.serial:
            if link.startswith("rfc2217://"):
                number = link.partition("?")[0].rpartition(":")[2]
                if not 0 < int(number) < 65536:
                    yield Problem(
                        ("slots", slot.id, "serial"), f"{number} is no TCP port", "ports end at 65535", "correct"
                    )


def redactions(lab: Lab) -> Iterator[Problem]:
    for number, entry in enumerate(lab.redact):
        if entry.startswith("re:"):
            yield from pattern_problems(entry.removeprefix("re:"), ("redact", number))


def watched_twice(lab: Lab) -> Iterator[Problem]:
    """Forges compare names without case."""
    seen: dict[str, str] = {}
    for project in lab.projects:
        other = seen.setdefault(project.address.lower(), project.address)
        if other != project.address:
            why = "forges take both names for the same repository"
            yield Problem(("projects", project.address), f"is {other} once more", why, "keep one of the two")


def watched_slots(lab: Lab) -> Iterator[Problem]:
    """What a repository may use has to be here; in a lab without a slot yet, anything may still come."""
    known = {name for slot in lab.slots for name in (slot.id, slot.label, slot.facts.chip, *slot.facts.tags)}
    for project in lab.projects if lab.slots else ():
        for number, name in enumerate(project.slots):
            if name not in known:
                why = "no slot of this lab has it as its id, label, chip or tag"
                path = ("projects", project.address, "slots", number)
                yield Problem(path, f"{name} is no slot", why, nearest(name, sorted(known)))


def watched_hours(lab: Lab) -> Iterator[Problem]:
    for project in lab.projects:
        if project.hours is not None and project.hours[0] == project.hours[1]:
            why, todo = "both times are the same", "leave `hours` out for always"
            yield Problem(("projects", project.address, "hours"), "leaves no time to run", why, todo)


def log_limit(lab: Lab) -> Iterator[Problem]:
    if not 4 << 10 <= lab.log_limit <= 1 << 30:
        why = "less shows nothing, more fills the disk"
        yield Problem(("log_limit",), "must be between 4KB and 1024MB", why, "for example: 8MB")


PROBLEMS_OF_A_LAB: tuple[Callable[[Lab], Iterator[Problem]], ...] = (
    double_prefixes,
    shared_locks,
    shared_labels,
    shared_serials,
    shared_macs,
    shared_relays,
    power_without_relay,
    entities,
    home_assistant_address,
    serial_servers,
    redactions,
    watched_twice,
    watched_slots,
    watched_hours,
    log_limit,
)


def _twins(lab: Lab, keys: Callable[[Slot], Any]) -> Iterator[tuple[Slot, Slot]]:
    """(slot, earlier slot) for every slot that shares a key with one before it."""
    seen: dict[Any, Slot] = {}
    for slot in lab.slots:
        mine = set(keys(slot))
        if found := next((seen[key] for key in sorted(mine, key=str) if key in seen), None):
            yield slot, found
        for key in mine:
            seen.setdefault(key, slot)


def _devices(link: str) -> list[str]:
    if link.startswith("rfc2217://"):
        return [link.partition("?")[0].lower()]
    return [link, os.path.realpath(link)]


def _relay(power: PowerSettings) -> Any:
    return power.entity or power.command.get("off")


def _is_local(host: str) -> bool:
    """Loopback, private and link-local addresses, and names that only a local network resolves."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(_HOST_NAME.match(host)) and (host.endswith(_LOCAL_NAMES) or "." not in host)
    return address.is_loopback or address.is_private or address.is_link_local
