"""GitHub's own OpenAPI description of its REST API, fetched once and cut to the operations that the fake has."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fakes import npm
from fakes.github_routes import ROUTES
from fakes.openapi import Departure

SOURCE = npm.Member(
    "@octokit/openapi",
    "23.0.2",
    "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
    "package/generated/api.github.com.json",
)

DEPARTURES = (
    Departure("*", "response", r"response http status: 401$", "any operation refuses a token that it does not know"),
    Departure("create_status", "response", r"response http status: 422$", "too long a description, an unknown commit"),
    Departure("create_check_run", "response", r"response http status: 422$", "an unknown commit"),
    Departure(
        "*", "response", r"response http status: 403$", "any operation refuses a token that lacks the right for it"
    ),
    Departure("list_runs", "response", r"response http status: 404$", "a repository that was deleted or made private"),
    Departure(
        "list_runs",
        "request",
        r"created=.*is not a 'date-time'",
        "it takes a range, as searches do, which the description says in words only",
    ),
    Departure(
        "get_contents",
        "response",
        r"mimetype not found: application/vnd\.github\.raw",
        "the raw media type is described in words only",
    ),
)
"""What the live server does though its description does not say so."""


class Description(NamedTuple):
    document: dict[str, Any] | None
    reason: str
    """Why there is none; "" where there is one."""


def description(cache: Path = npm.CACHE) -> Description:
    """The cut description, from `cache` or fetched into it with npm. Raises nothing: without it there is a reason."""
    wanted = _wanted()
    part = hashlib.sha256(repr(sorted(wanted)).encode()).hexdigest()[:12]  # another operation makes another cut
    found = npm.kept(SOURCE, cache, f"-{part}", lambda text: json.dumps(cut(json.loads(text), wanted)).encode())
    return Description(corrected(json.loads(found.content)) if found.content else None, found.reason)


def corrected(node: Any) -> Any:
    """A document without two faults that no answer could satisfy.

    A nullable enumeration has to list null (the Schema Object of OpenAPI 3.0.3), which some of GitHub's do not. And a
    list has no property for a discriminator to look at, as that of a folder's contents wants to.
    """
    if isinstance(node, list):
        return [corrected(part) for part in node]
    if not isinstance(node, dict):
        return node
    document = {name: corrected(part) for name, part in node.items()}
    if document.get("nullable") is True and isinstance(document.get("enum"), list) and None not in document["enum"]:
        document["enum"] = [*document["enum"], None]
    if "array" in (document.get("discriminator") or {}).get("mapping", {}):
        del document["discriminator"]
    return document


# --- cutting ------------------------------------------------------------------------------------------------


def _wanted() -> set[tuple[str, str]]:
    return {(route.method.lower(), shape(route.described or route.template)) for route in ROUTES}


def shape(path: str) -> str:
    """A path template without the names of its parameters."""
    return re.sub(r"\{\w+\}", "{}", path)


def cut(document: dict[str, Any], wanted: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The operations that are wanted and what they refer to. Raises KeyError for one that is not described."""
    left = set(wanted)
    paths: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if (method, shape(path)) in left:
                paths.setdefault(path, {})[method] = _plain(operation)
                left.discard((method, shape(path)))
    if left:
        raise KeyError(f"not described: {sorted(left)}")
    return {"openapi": document["openapi"], "info": document["info"], "paths": paths} | _components(document, paths)


def _plain(node: Any) -> Any:
    """Without examples and extensions, which nothing is checked against."""
    if isinstance(node, dict):
        return {
            name: _plain(part)
            for name, part in node.items()
            if not (name == "examples" and isinstance(part, dict)) and not name.startswith("x-")
        }
    return [_plain(part) for part in node] if isinstance(node, list) else node


def _components(document: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    """Every component that the paths refer to, directly or not."""
    kept: dict[str, dict[str, Any]] = {}
    queue = list(_references(paths))
    while queue:
        _, _, kind, name = queue.pop().split("/")
        if name not in kept.setdefault(kind, {}):
            kept[kind][name] = _plain(document["components"][kind][name])
            queue += _references(kept[kind][name])
    return {"components": kept}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for part in node.values():
            yield from _references(part)
    elif isinstance(node, list):
        for part in node:
            yield from _references(part)
