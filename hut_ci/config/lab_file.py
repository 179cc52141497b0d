"""A checked lab.yml document → Lab, and what its schema cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hut_ci.config.lab_rules import PROBLEMS_OF_A_LAB, unstable_serials
from hut_ci.contracts import Problem
from hut_ci.errors import ConfigError
from hut_ci.model import AllowedJob, Facts, HomeAssistant, Lab, PowerSettings, Slot, Watched
from hut_ci.units import parse_revision, parse_size
from hut_ci.yaml_lines import Document

Values = Mapping[str, Any]


def build(document: Document, default_state_dir: Path) -> Lab:
    """The lab of a document that the schema accepts; file names become absolute."""
    data: Values = document.data
    folder = document.path.absolute().parent
    return Lab(
        name=data.get("lab", "lab"),
        lock_dir=_file(data.get("lock_dir", "/var/lock"), folder),
        state_dir=_file(data["state_dir"], folder) if "state_dir" in data else default_state_dir,
        slots=tuple(_slot(slot_id, values, folder) for slot_id, values in (data["slots"] or {}).items()),
        path=document.path,
        home_assistant=_home_assistant(data["home_assistant"], folder) if "home_assistant" in data else None,
        redact=tuple(data.get("redact", ())),
        log_limit=parse_size(data.get("log_limit", _default("log_limit"))),
        cache_limit=parse_size(data.get("cache_limit", _default("cache_limit"))),
        max_run_seconds=float(data.get("max_run", _default("max_run_seconds"))),
        allowed_jobs=tuple(_allowed_job(entry) for entry in data.get("runner", {}).get("allow", ())),
        projects=tuple(_watched(name, entry or {}, folder) for name, entry in (data.get("projects") or {}).items()),
        spool_dir=_file(data["spool_dir"], folder) if "spool_dir" in data else None,
    )


def contradictions(lab: Lab, data: Values) -> list[Problem]:
    """What is wrong although the schema accepts it, from every rule of lab_rules."""
    return [*unstable_serials(data), *(problem for rule in PROBLEMS_OF_A_LAB for problem in rule(lab))]


def _slot(slot_id: str, values: Values, folder: Path) -> Slot:
    serial = values["serial"]
    return Slot(
        id=slot_id,
        label=values.get("label", f"esp32-{slot_id}"),
        serial=(serial,) if isinstance(serial, str) else tuple(serial),
        facts=_facts(values.get("facts", {})),
        baud=values.get("baud", 921600),
        power=_power(values.get("power", "none")),
        golden=_file(values["golden"], folder) if "golden" in values else None,
        quarantined=values.get("quarantined"),
    )


def _allowed_job(values: Values) -> AllowedJob:
    return AllowedJob(values["repository"], values["workflow"], tuple(values["refs"]), tuple(values["events"]))


def _watched(address: str, values: Values, folder: Path) -> Watched:
    default = Watched(address)
    return Watched(
        address,
        branches=tuple(values.get("branches", default.branches)),
        events=tuple(values.get("events", default.events)),
        forks=values.get("forks", default.forks),
        slots=tuple(values.get("slots", default.slots)),
        hours=_hours(values["hours"]) if "hours" in values else None,
        max_runs_per_day=values.get("max_runs_per_day", default.max_runs_per_day),
        baseline=_file(values["baseline"], folder) if "baseline" in values else None,
    )


def _hours(text: str) -> tuple[int, int]:
    """Minutes since midnight of both times of `07:00-22:30`."""
    first, last = ([int(part) for part in time.split(":")] for time in text.split("-"))
    return 60 * first[0] + first[1], 60 * last[0] + last[1]


def _facts(values: Values) -> Facts:
    return Facts(
        chip=values.get("chip", Facts().chip),
        revision=parse_revision(values["revision"]) if "revision" in values else None,
        flash=parse_size(values["flash"]) if "flash" in values else None,
        psram=parse_size(values["psram"]) if "psram" in values else None,
        mac=values["mac"].lower().replace("-", ":") if "mac" in values else None,
        tags=frozenset(values.get("tags", ())),
    )


def _power(value: str | Values) -> PowerSettings:
    if isinstance(value, str):
        return PowerSettings() if value == "none" else PowerSettings(backend="home_assistant", entity=value)
    default = PowerSettings()
    command = {name: tuple(argv) for name, argv in value.get("command", {}).items()}
    return PowerSettings(
        backend="home_assistant" if "entity" in value else "command",
        entity=value.get("entity"),
        command=command,
        group=value.get("group"),
        off_seconds=float(value.get("off", default.off_seconds)),
        on_seconds=float(value.get("on", default.on_seconds)),
        cooldown_seconds=float(value.get("cooldown", default.cooldown_seconds)),
        retries=value.get("retries", default.retries),
        proof=value.get("proof", default.proof),
        timeout_seconds=float(value.get("timeout", default.timeout_seconds)),
    )


def _home_assistant(values: Values, folder: Path) -> HomeAssistant:
    default = HomeAssistant(url="")
    return HomeAssistant(
        url=values["url"].rstrip("/"),
        token_file=_file(values["token_file"], folder) if "token_file" in values else None,
        token_env=values.get("token_env", default.token_env),
        domains=tuple(values.get("domains", default.domains)),
    )


def _default(name: str) -> int:
    value: int = next(field.default for field in fields(Lab) if field.name == name)  # type: ignore[assignment]  # not MISSING
    return value


def _file(name: str, folder: Path) -> Path:
    """Absolute, relative names counting from `folder`. Raises ConfigError for a `~` that stands for no folder."""
    try:
        return folder / Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"lab.yml: {name} is in the home folder of nobody",
            why="there is no such user, or this one has no home folder",
            todo="write the whole path",
        ) from error
