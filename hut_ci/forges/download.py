"""Fetch one artifact: streamed, credentials for the forge alone, every byte counted.

A forge answers with a redirect to its object storage. No header of ours follows there: `requests` strips only
`Authorization`, and what GitLab calls `PRIVATE-TOKEN` would be sent on to whoever serves the storage.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError
from hut_ci.forges import http
from hut_ci.forges.loopback import is_loopback

HOPS = 4
TRIES = 3
LARGEST = 1 << 30
"""Bytes; no build for a microcontroller is larger."""
PROGRESS_BYTES = 1 << 20

Progress = Callable[[int, int], None]
Refuse = Callable[[requests.Response], Exception]


def download(
    url: str,
    headers: Mapping[str, str],
    into: Path,
    *,
    session: requests.Session,
    deadline: Deadline,
    refuse: Refuse,
    on_progress: Progress,
    size: int | None = None,
) -> None:
    """Write the artifact at `url` to `into`; `headers` hold the credentials and go to that address only.

    `size` is how many bytes have to arrive, where the forge says so and gives no digest.

    `on_progress` gets bytes so far and in all (0: unknown). `refuse` makes the error for a bad HTTP status.
    Raises ArtifactError (`download_failed`) for a body that stays short after `TRIES` tries, one over `LARGEST`, a
    redirect that leads in a circle or off HTTPS, and requests.RequestException when the server does not answer.
    """
    for number in range(1, TRIES + 1):
        try:
            with http.hung_up(_answer(url, headers, session, refuse)) as response:
                http.within(
                    deadline.remaining,
                    lambda over, response=response: _save(response, into, deadline, over, on_progress, size),  # type: ignore[misc]
                )
            return
        except (requests.ConnectionError, requests.Timeout) as error:
            if number == TRIES or deadline.expired:
                raise _failed(
                    f"{http.cause(error)}, {number} times",
                    "the network, or the forge's storage, breaks off",
                    "run the same command again",
                ) from error


def _answer(url: str, headers: Mapping[str, str], session: requests.Session, refuse: Refuse) -> requests.Response:
    """The response that carries the bytes; from the first redirect to elsewhere on, without credentials."""
    sent = {"Accept-Encoding": "identity", **headers}
    for _hop in range(HOPS):
        response = session.get(url, headers=sent, stream=True, allow_redirects=False)
        if response.status_code == 200:
            return response
        response.close()
        location = response.headers.get("Location", "")
        if not 300 <= response.status_code < 400 or not location:
            raise refuse(response)
        onward = urljoin(url, location)
        if not http.same_origin(onward, url):
            sent = {"Accept-Encoding": "identity"}
        url = onward
        if urlsplit(url).scheme != "https" and not is_loopback(url):
            raise _failed(
                f"it is redirected to {urlsplit(url).hostname} without HTTPS",
                "the forge's storage is set up without TLS, or somebody redirects the download",
                "let the forge's operator serve it over HTTPS",
            )
    raise _failed(f"more than {HOPS} redirects", "they lead in a circle", "ask the forge's operator")


def _save(
    response: requests.Response,
    into: Path,
    deadline: Deadline,
    over: threading.Event,
    on_progress: Progress,
    size: int | None,
) -> None:
    length = response.headers.get("Content-Length", "")
    expected = int(length) if length.isdigit() else size or 0
    done, told = 0, 0
    with into.open("wb") as file:
        on_progress(0, expected)
        for chunk in http.read_chunks(response, deadline):
            done += len(chunk)
            if over.is_set():
                raise requests.Timeout("the time was over before the last byte")
            if max(done, expected) > LARGEST:
                raise _failed(
                    f"it has more than {LARGEST} bytes",
                    "no firmware build is that large",
                    "upload only what is flashed",
                )
            file.write(chunk)
            if done - told >= PROGRESS_BYTES:
                told = done
                on_progress(done, expected)
    for wanted in (expected, size):
        if wanted and done != wanted:
            raise requests.ConnectionError(f"{done} of {wanted} bytes arrived")
    on_progress(done, expected or done)


def _failed(what: str, why: str, todo: str) -> ArtifactError:
    return ArtifactError(what, why=why, todo=todo, evidence="download_failed")
