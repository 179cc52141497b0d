"""What a request to GitLab brings in query and body, checked as Grape does, and lists given out by the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fakes.gitlab_access import Asked, invalid
from fakes.serving import Answer, Call, json_answer

MAX_PAGE = 100


def parameters(call: Call) -> dict[str, Any]:
    """Query and body (JSON or form) in one, as GitLab merges them; `name[]` is a list, `name[key]` an object.

    Raises Refused.
    """
    query = call.target.partition("?")[2]
    found = _nested(parse_qsl(query, keep_blank_values=True))
    if not call.body:
        return found
    if "json" not in call.header("Content-Type"):
        return found | _nested(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        document = json.loads(call.body)
    except ValueError as error:
        raise invalid("message body does not match declared format") from error
    return found | document if isinstance(document, dict) else found


def _nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        outer, bracket, inner = name.partition("[")
        if not bracket:
            found[name] = value
        elif inner == "]":
            found.setdefault(outer, []).append(value)
        else:
            found.setdefault(outer, {})[inner.removesuffix("]")] = value
    return found


def number(params: Mapping[str, Any], name: str, default: int) -> int:
    text = str(params.get(name) or default)
    if not text.isdecimal():
        raise invalid(f"{name} is invalid")
    return int(text)


def choice(params: Mapping[str, Any], name: str, allowed: Sequence[str], default: str = "") -> str:
    value = str(params.get(name) or default)
    if value and value not in allowed:
        raise invalid(f"{name} does not have a valid value")
    return value


def truth(params: Mapping[str, Any], name: str) -> bool:
    value = params.get(name, False)
    text = str(value).lower()
    if text not in ("true", "false", "1", "0", "t", "f", "yes", "no", "on", "off", ""):
        raise invalid(f"{name} is invalid")
    return text in ("true", "1", "t", "yes", "on")


def words(value: object) -> list[str]:
    """A list, or its comma-separated text."""
    return [str(one) for one in value] if isinstance(value, list) else [one for one in str(value).split(",") if one]


def paged(asked: Asked, items: Sequence[Any], shown: Callable[[Any], object]) -> Answer:
    """One page with the headers of offset pagination (lib/gitlab/pagination/offset_header_builder.rb)."""
    page = max(number(asked.params, "page", 1), 1)
    size = number(asked.params, "per_page", 20)
    if size == 0:
        raise invalid("per_page has a value not allowed")
    size = min(size, MAX_PAGE)
    last = max(-(-len(items) // size), 1)
    turns = {"prev": page - 1 if 1 < page <= last + 1 else 0, "next": page + 1 if page < last else 0}
    links = [f'<{_page_url(asked, turn)}>; rel="{name}"' for name, turn in turns.items() if turn]
    links += [f'<{_page_url(asked, turn)}>; rel="{name}"' for name, turn in (("first", 1), ("last", last))]
    headers = {
        "X-Per-Page": str(size),
        "X-Page": str(page),
        "X-Next-Page": str(turns["next"] or ""),
        "X-Prev-Page": str(turns["prev"] or ""),
        "Link": ", ".join(links),
        "X-Total": str(len(items)),
        "X-Total-Pages": str(last),
    }
    return json_answer(200, [shown(item) for item in items[(page - 1) * size : page * size]], headers)


def _page_url(asked: Asked, page: int) -> str:
    pairs = parse_qsl(asked.call.target.partition("?")[2], keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name not in ("page", "per_page", "private_token", "job_token")]
    size = str(asked.params.get("per_page") or 20)
    return f"{asked.url}{asked.call.described_path}?{urlencode([*kept, ('page', str(page)), ('per_page', size)])}"
