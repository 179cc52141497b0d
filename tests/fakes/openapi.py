"""A fake's calls compared with an OpenAPI description: what a client asks and what the fake answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

from fakes.serving import Answer, Call

HOST = "http://described.invalid"


@dataclass(frozen=True)
class Departure:
    """Where the live server is known to differ from its description: such a violation is none."""

    operation: str
    """ "*" for any."""
    part: Literal["request", "response"]
    words: str
    """A regular expression that is found in the violation."""
    reason: str

    def covers(self, operation: str, part: str, violation: str) -> bool:
        return self.operation in ("*", operation) and self.part == part and bool(re.search(self.words, violation, re.S))


@dataclass
class _Request:
    """A call as openapi-core wants to see it."""

    method: str
    path: str
    parameters: RequestParameters
    body: bytes | None
    content_type: str
    host_url: str = HOST


@dataclass
class _Response:
    """An answer as openapi-core wants to see it."""

    data: bytes
    status_code: int
    content_type: str
    headers: Headers


@dataclass
class Contract:
    """Checks calls against `description`, an OpenAPI document whose paths are those of `Call.described_path`.

    Edit the document before where it is wrong throughout; list in `departures` what one operation does otherwise.
    Its servers and security are not looked at: the fake's own answers tell who may do what, and where.
    """

    description: dict[str, Any]
    departures: Sequence[Departure] = ()
    used: set[Departure] = field(default_factory=set)
    """The departures that were met so far: one that is never met is a claim that nothing proves."""

    def __post_init__(self) -> None:
        document = {name: part for name, part in self.description.items() if name != "security"}
        document["servers"] = [{"url": HOST}]
        # The document itself is not validated: that takes long, and it is the authority here. None is how one says so.
        config = Config(spec_validator_cls=None)  # type: ignore[arg-type]  # its annotation forgets None
        api = OpenAPI.from_dict(document, config=config)
        self._requests, self._responses = api.request_validator, api.response_validator
        self._alone = threading.Lock()

    def check_request(self, call: Call) -> list[str]:
        """What is wrong with a request, in words."""
        with self._alone:
            return self._left(call, "request", self._requests.iter_errors(_request(call)))

    def check_response(self, call: Call, answer: Answer) -> list[str]:
        """What is wrong with the answer to it, in words."""
        with self._alone:
            return self._left(call, "response", self._responses.iter_errors(_request(call), _response(answer)))

    def _left(self, call: Call, part: str, errors: Iterable[Exception]) -> list[str]:
        violations = [f"{call.operation}: {part}: {call.method} {call.target}: {_words(error)}" for error in errors]
        return [violation for violation in violations if not self._known(call.operation, part, violation)]

    def _known(self, operation: str, part: str, violation: str) -> bool:
        known = [departure for departure in self.departures if departure.covers(operation, part, violation)]
        self.used.update(known)
        return bool(known)


def _request(call: Call) -> _Request:
    headers = Headers(list(call.headers.items()))
    parameters = RequestParameters(query=ImmutableMultiDict(call.query), header=headers)
    path, content_type = call.described_path or call.path, call.header("Content-Type").lower()
    return _Request(call.method.lower(), path, parameters, call.body or None, content_type)


def _response(answer: Answer) -> _Response:
    content_type = answer.headers.get("Content-Type", "").lower()
    return _Response(answer.body, answer.status, content_type, Headers(list(answer.headers.items())))


def _words(error: BaseException) -> str:
    """An error with its causes and, where a schema is not met, the places where."""
    return "; ".join(_each_word(error))


def _each_word(error: BaseException) -> Iterator[str]:
    yield f"{type(error).__name__}: {error}".partition("\n")[0]
    for broken in getattr(error, "schema_errors", ()):
        yield f"at {broken.json_path}: {broken.message[:200]}"
        for part in broken.context or ():
            yield f"at {part.json_path}: {part.message[:200]}"
    if error.__cause__ is not None:
        yield from _each_word(error.__cause__)
