"""When a request is sent again: decided from one answer, on a clock of the test's own."""

from __future__ import annotations

import pytest
from requests.structures import CaseInsensitiveDict

from hut_ci.forges import retry

NOW = 1_000_000.0
STATUS = "/repos/acme/firmware/statuses/" + "a" * 40
COMMENT = "/repos/acme/firmware/issues/12/comments"


def headers(**values: str) -> CaseInsensitiveDict[str]:
    return CaseInsensitiveDict({name.replace("_", "-"): value for name, value in values.items()})


@pytest.mark.parametrize(
    ("method", "path", "status", "given", "pause"),
    [
        ("GET", "/x", 200, {}, None),
        ("GET", "/x", 404, {}, None),
        ("GET", "/x", 403, {}, None),
        ("GET", "/x", 403, {"Retry_After": "7"}, 7.0),
        ("GET", "/x", 429, {"retry_after": "7"}, 7.0),
        ("GET", "/x", 403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "1000030"}, 31.0),
        ("GET", "/x", 429, {"RateLimit_Remaining": "0", "RateLimit_Reset": "1000009"}, 10.0),
        ("GET", "/x", 403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "1003600"}, None),
        ("GET", "/x", 429, {"Retry_After": "3600"}, None),
        ("GET", "/x", 503, {"Retry_After": "2"}, 2.0),
        ("POST", COMMENT, 502, {"Retry_After": "2"}, None),
        ("POST", COMMENT, 403, {"Retry_After": "2"}, 2.0),
        ("POST", STATUS, 502, {"Retry_After": "2"}, 2.0),
    ],
)
def test_an_answer(method: str, path: str, status: int, given: dict[str, str], pause: float | None) -> None:
    assert retry.after_answer(method, path, status, headers(**given), 1, NOW) == pause


def test_tries_and_pauses_are_bounded() -> None:
    pauses = [retry.after_answer("GET", "/x", 500, headers(), tries, NOW) for tries in range(1, retry.TRIES + 1)]
    assert pauses[-1] is None
    for number, pause in enumerate(pauses[:-1]):
        assert pause is not None
        assert 0.25 * 2**number <= pause <= 0.5 * 2**number


def test_a_request_without_an_answer() -> None:
    assert retry.after_error("GET", "/x", 1) is not None
    assert retry.after_error("POST", STATUS, 1) is not None
    assert retry.after_error("POST", COMMENT, 1) is None
    assert retry.after_error("GET", "/x", retry.TRIES) is None
