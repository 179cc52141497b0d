"""The document that passes from the gate to the lab, and on to the publisher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hut_ci import contracts
from hut_ci.errors import ConfigError
from hut_ci.model import Pair, Request
from hut_ci.stages.publish import CONTEXT

SCHEMA = "hut.request.v1"
SIZE_LIMIT = 1 << 20
PLAIN = (
    *("repository", "builds", "pull_request", "base_ref", "run_id", "run_url"),
    *("forks_allowed", "skip_tested", "aggregate"),
)


def read_request(source: str) -> Request:
    """The request that `source` names (a file) or is (JSON, from its first brace).

    Raises ConfigError for what cannot be read or is no valid hut.request.v1.
    """
    written_out = source.lstrip().startswith("{")
    name = "the request" if written_out else source
    try:
        document = json.loads(source if written_out else _content(Path(source)))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{name} cannot be read as a request",
            why=str(error),
            todo="give the request.json that the gate wrote, or its text",
        ) from error
    return from_document(document, name)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SIZE_LIMIT)


def from_document(document: Any, name: str) -> Request:
    """The request that `document` holds; `name` stands for it in messages. Raises ConfigError."""
    if found := contracts.check(document, SCHEMA):
        raise ConfigError(
            f"{name} is not a valid request: {found[0]}",
            why="; ".join(str(problem) for problem in found[1:4]),
            todo=f"compare it with the schema {SCHEMA}",
        )
    pairs = tuple(_pair(entry, document["pairs"]) for entry in document["pairs"])
    for what, seen in (("slot", [_place(pair) for pair in pairs]), ("context", _contexts(document, pairs))):
        folded = [entry.casefold() for entry in seen]  # GitHub takes contexts for the same that differ in case alone
        if twice := next((entry for entry in seen if folded.count(entry.casefold()) > 1), None):
            raise ConfigError(
                f"{name}: two statuses would share the {what} {twice}",
                why="the last one would hide the others",
                todo="ask for each variant on a slot once, and give each its own context",
            )
    try:
        datetime.fromisoformat(document["not_after"])
    except ValueError as error:
        raise ConfigError(
            f"{name} is not a valid request: not_after: {document['not_after']} is no instant of the calendar",
            todo="write it like 2026-02-12T15:30:00Z",
        ) from error
    values = {key: document[key] for key in PLAIN if key in document}
    return Request(
        commit_sha=document["commit_sha"],
        pairs=pairs,
        not_after=document["not_after"],
        publish=tuple(document.get("publish", ())) or _default_publish(document),
        digest=digest_of(document),
        **values,
    )


def digest_of(document: Mapping[str, Any]) -> str:
    """What tells a request from every other, however it is written: the SHA-256 of its sorted, compact JSON."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _pair(entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Pair:
    alone = sum(other["slot"] == entry["slot"] for other in entries) == 1
    place = entry["slot"] if alone else _named(entry["slot"], entry.get("variant"))
    return Pair(
        slot=entry["slot"],
        context=entry.get("context") or CONTEXT.replace("{slot}", place),
        variant=entry.get("variant"),
        label=entry.get("label"),
        informational=entry.get("informational", False),
        blocked=entry.get("blocked"),
    )


def _place(pair: Pair) -> str:
    return _named(pair.slot, pair.variant)


def _named(slot: str, variant: str | None) -> str:
    return slot if variant is None else f"{slot} / {variant}"


def _contexts(document: Mapping[str, Any], pairs: tuple[Pair, ...]) -> list[str]:
    aggregate = document.get("aggregate", "hardware")
    return [pair.context for pair in pairs] + ([aggregate] if aggregate else [])


def _default_publish(document: Mapping[str, Any]) -> tuple[str, ...]:
    return (document["builds"],) if document.get("builds") else ()
