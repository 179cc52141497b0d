"""One guarded HTTP session for everything that speaks to a forge.

PyGithub and python-gitlab retry and wait by rules of their own, follow redirects in ways that have leaked tokens,
and read whatever a server sends. So both get a session whose adapter bounds every request: by one deadline for all of
them, by the size of an answer, and to HTTPS (loopback aside). It alone decides what is sent again (retry.py).
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from hut_ci.deadline import Deadline, call_within
from hut_ci.forges import retry
from hut_ci.forges.loopback import is_loopback

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
"""Without a byte for so long, an answer is given up; GitHub itself ends a request after 10 s."""
ANSWER_SECONDS = 60.0
"""For the whole of one API answer, however it drips."""
BODY_LIMIT = 16 << 20
"""Bytes of one API answer; a page of a hundred workflow runs has 2 MB."""
CHUNK = 1 << 16
TURNS = 5
"""Redirects, or answers that say "not yet", one after the other; PyGithub itself would follow them for ever."""
Result = TypeVar("Result")


class Session(requests.Session):
    """Follows a redirect within its origin only, and adds no credentials on the way: ~/.netrc would come in there."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        return target if target is not None and same_origin(urljoin(resp.url, target), resp.url) else None

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """The header stays as it is: the origin is the same."""


def guarded_session(
    deadline: Deadline, *, on_pause: Callable[[str], None] | None = None, sleep: Callable[[float], None] = time.sleep
) -> requests.Session:
    """A session of which no request outlasts `deadline`; `on_pause` is told why one waits before it is repeated."""
    session = Session()
    session.auth = _no_netrc  # a proxy is the operator's, but ~/.netrc would replace the token
    adapter = GuardedAdapter(deadline, on_pause or (lambda _text: None), sleep)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def same_origin(url: str, other: str) -> bool:
    one, two = urlsplit(url), urlsplit(other)
    return (one.scheme, one.hostname, one.port) == (two.scheme, two.hostname, two.port)


def within(seconds: float, call: Callable[[threading.Event], Result]) -> Result:
    """deadline.call_within for requests. Raises requests.Timeout, or whatever `call` raises."""
    try:
        return call_within(seconds, call)
    except TimeoutError as error:
        raise requests.Timeout(str(error)) from error


def cause(error: BaseException) -> str:
    """The innermost reason in a few words: requests nests it three levels deep."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror and not isinstance(inner, requests.RequestException):
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return "it did not answer in time" if isinstance(error, requests.Timeout) else "the connection failed"


class GuardedAdapter(HTTPAdapter):
    """Sends one request as often as retry.py allows, and reads its answer whole unless it is streamed."""

    def __init__(self, deadline: Deadline, on_pause: Callable[[str], None], sleep: Callable[[float], None]) -> None:
        super().__init__(max_retries=0)
        self._deadline = deadline
        self._on_pause = on_pause
        self._sleep = sleep
        self._turns = 0

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, stream: bool = False, **kwargs: Any
    ) -> requests.Response:
        """Raises requests.RequestException; an answer with a bad status is returned when it is final.

        What the library wants for a `timeout` does not count: the deadline does.
        """
        kwargs.pop("timeout", None)
        url, method = str(request.url), str(request.method)
        if urlsplit(url).scheme != "https" and not is_loopback(url):
            raise requests.exceptions.InvalidURL(f"{urlsplit(url).hostname} is not asked without HTTPS")
        tries = 0
        while True:
            tries += 1
            try:
                response = self._once(request, stream=stream, **kwargs)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                pause, why = retry.after_error(method, urlsplit(url).path, tries), cause(error)
                if not self._pauses(pause, url, why):
                    raise
            else:
                pause = retry.after_answer(
                    method, urlsplit(url).path, response.status_code, response.headers, tries, time.time()
                )
                if not self._pauses(pause, url, f"HTTP {response.status_code}"):
                    return self._turned(response)
                response.close()

    def _pauses(self, pause: float | None, url: str, why: str) -> bool:
        """Wait before the next try; False where there is none, or no time left for it."""
        if pause is None or pause >= self._deadline.remaining:
            return False
        if pause >= 1:
            self._on_pause(f"{urlsplit(url).hostname}: {why}; trying again in {pause:.0f} s")
        self._sleep(pause)
        return True

    def _turned(self, response: requests.Response) -> requests.Response:
        """Count what leads on instead of answering: 3xx, and 202, which says "ask again"."""
        self._turns = self._turns + 1 if 300 <= response.status_code < 400 or response.status_code == 202 else 0
        if self._turns > TURNS:
            raise requests.TooManyRedirects(f"{self._turns} answers in a row led elsewhere")
        return response

    def _once(self, request: requests.PreparedRequest, *, stream: bool, **kwargs: Any) -> requests.Response:
        left = min(ANSWER_SECONDS, self._deadline.remaining)
        if not left:
            raise requests.Timeout("there is no time left")
        timeouts = (min(CONNECT_SECONDS, left), min(READ_SECONDS, left))

        def send(_over: threading.Event) -> requests.Response:
            response = HTTPAdapter.send(self, request, stream=True, timeout=timeouts, **kwargs)
            if not stream:
                response.raw = self._whole(response)
            return response

        return within(left, send)

    def _whole(self, response: requests.Response) -> urllib3.HTTPResponse:
        """The answer with its body in memory. Raises requests.RequestException for a cut, slow or endless one."""
        body = bytearray()
        with response:
            for chunk in read_chunks(response, self._deadline.within(ANSWER_SECONDS)):
                body += chunk
                if len(body) > BODY_LIMIT:
                    raise requests.exceptions.ContentDecodingError(f"an answer of more than {BODY_LIMIT} bytes")
        headers = {name: value for name, value in response.headers.items() if name.lower() not in _OF_THE_WIRE}
        return urllib3.HTTPResponse(
            io.BytesIO(bytes(body)), headers, response.status_code, reason=response.reason, preload_content=False
        )


_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})


@contextmanager
def hung_up(response: requests.Response) -> Iterator[requests.Response]:
    """A streamed answer whose line is cut at the end of the block: closing alone waits for whoever still reads."""
    try:
        yield response
    finally:
        with suppress(ValueError, RuntimeError, OSError):  # it was read to its end, and the line is free already
            response.raw.shutdown()
        response.close()


def read_chunks(response: requests.Response, deadline: Deadline) -> Any:
    """The body as it arrives; iter_content waits for whole chunks, and a dripping server would outlast the deadline.

    Raises requests.ConnectionError for a body that ends before its Content-Length, requests.Timeout when the deadline
    is over.
    """
    try:
        while chunk := response.raw.read1(CHUNK, decode_content=True):
            yield chunk
            if deadline.expired:
                raise requests.Timeout("the answer did not end in time")
    except urllib3.exceptions.TimeoutError as error:
        raise requests.Timeout("the answer stopped") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(error, requests.RequestException):
            raise
        raise requests.ConnectionError("the answer was cut short") from error


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def header(headers: Mapping[str, str], name: str) -> str:
    """A header whatever its case: PyGithub hands them out in lower case."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")
