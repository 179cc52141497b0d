"""Whether a request is sent again, and after how long: pure, from one answer at a time."""

from __future__ import annotations

import random
from collections.abc import Mapping

TRIES = 4
"""Requests at most, the first included."""
LONGEST_PAUSE = 60.0
"""Seconds; a longer `Retry-After` is not waited for, it is reported."""
FIRST_PAUSE = 0.5
AGAIN = frozenset({429, 500, 502, 503, 504})
SAFE = frozenset({"GET", "HEAD", "PUT", "PATCH", "DELETE"})


def after_answer(
    method: str, path: str, status: int, headers: Mapping[str, str], tries: int, now: float
) -> float | None:
    """Seconds to wait before the request is sent again; None where this answer is final.

    `tries` counts the requests sent so far, `now` is Unix time. `headers` is looked up without regard to case.
    """
    limited = status == 429 or (status == 403 and rate_limited(headers))
    if tries >= TRIES or not (limited or status in AGAIN) or not (limited or repeatable(method, path)):
        return None
    asked = asked_pause(headers, now)
    pause = asked if asked is not None else backoff(tries)
    return pause if pause <= LONGEST_PAUSE else None


def after_error(method: str, path: str, tries: int) -> float | None:
    """The same for a request without an answer (refused, cut, too slow)."""
    return backoff(tries) if tries < TRIES and repeatable(method, path) else None


def repeatable(method: str, path: str) -> bool:
    """Whether a request that may have been obeyed can be sent once more.

    A commit status may: the last one counts. A comment would stand there twice.
    """
    return method in SAFE or "/statuses/" in path


def rate_limited(headers: Mapping[str, str]) -> bool:
    """GitHub answers 403 when a limit is used up (docs: "Rate limits for the REST API")."""
    return "Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0"


def asked_pause(headers: Mapping[str, str], now: float) -> float | None:
    """What `Retry-After` asks for, or the time until the limit is renewed (GitHub and GitLab name that differently)."""
    after = headers.get("Retry-After", "")
    if after.isdigit():
        return float(after[:12])
    for prefix in ("X-RateLimit", "RateLimit"):
        reset = headers.get(f"{prefix}-Reset", "")
        if headers.get(f"{prefix}-Remaining") == "0" and reset.isdigit():
            return max(0.0, float(reset[:16]) - now) + 1.0  # the second in which it is renewed is not known closer
    return None


def backoff(tries: int) -> float:
    """Doubling pauses with jitter, so that many jobs that saw one outage do not come back at once."""
    return float(FIRST_PAUSE * 2 ** (tries - 1) * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
