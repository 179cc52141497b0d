"""The session that speaks to a forge, against servers that do what HTTP allows and nobody should (security 16, 21)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
from fakes.github import FakeGitHub

from hut_ci.credentials import Token
from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError
from hut_ci.forges import http
from hut_ci.forges.address import Address
from hut_ci.forges.download import download
from hut_ci.forges.github import api
from hut_ci.forges.github.builds import GitHubBuilds
from hut_ci.forges.loopback import is_loopback

PATIENCE = 1.0
HUNG = 30.0
"""Seconds until a test calls it a hang: none of these servers would ever end."""
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


Answer = Callable[[socket.socket, bytes], None]


@contextmanager
def serving(answer: Answer, host: str = "127.0.0.1") -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads a request's head and lets `answer` write; its URL, and the heads that it got."""
    heads: list[bytes] = []
    clients: list[socket.socket] = []
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            heads.append(head)
            answer(client, head)

    def accept() -> None:
        while not over.is_set():
            with suppress(OSError):
                client, _ = listener.accept()
                clients.append(client)
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server((host, 0)) as listener:
        listener.settimeout(0.1)
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://{host}:{listener.getsockname()[1]}", heads
        finally:
            over.set()
            for client in clients:  # who still listens on the other side learns that nothing will come
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)


def saying(body: bytes) -> Answer:
    return lambda client, _: client.sendall(OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


def dripping(start: bytes, drop: bytes) -> Answer:
    def answer(client: socket.socket, _head: bytes) -> None:
        client.sendall(start)
        while True:
            client.sendall(drop)
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
        (OK + b"Content-Length: 1000\r\n\r\n", b" "),
        (b"", b"H"),
    ],
    ids=["headers", "100 Continue", "chunk size", "body", "status line"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_dripping_server_does_not_outlast_the_deadline(start: bytes, drop: bytes, stream: bool) -> None:
    """A socket's own time-out starts again with each byte."""
    with serving(dripping(start, drop)) as (url, _), http.guarded_session(Deadline(PATIENCE)) as session:
        began = time.monotonic()
        with pytest.raises(requests.RequestException):
            _read(session, url, stream=stream)
        assert time.monotonic() - began < HUNG


def _read(session: requests.Session, url: str, *, stream: bool) -> bytes:
    with http.hung_up(session.get(url, stream=stream)) as response:
        return http.within(PATIENCE, lambda _over: b"".join(http.read_chunks(response, Deadline(PATIENCE))))


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n\r\n", b"Content-Length: 1000\r\n\r\n"])
def test_a_dripping_download_ends(framing: bytes, tmp_path: Path) -> None:
    """Closing an answer that somebody still reads would wait for the server's next line."""
    with serving(dripping(OK + framing, b"0")) as (url, _), http.guarded_session(Deadline(PATIENCE)) as session:
        began = time.monotonic()
        with pytest.raises(ArtifactError):
            download(
                url,
                {},
                tmp_path / "artifact",
                session=session,
                deadline=Deadline(PATIENCE),
                refuse=lambda _response: AssertionError(),
                on_progress=lambda _done, _total: None,
            )
        assert time.monotonic() - began < HUNG


def redirecting(to: str, status: int = 301) -> Answer:
    def answer(client: socket.socket, _head: bytes) -> None:
        client.sendall(f"HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())

    return answer


@pytest.mark.parametrize("status", [301, 302, 307, 202])
def test_redirects_in_a_circle_end(status: int) -> None:
    """PyGithub follows 301 and asks again after 202 for as long as it is answered so."""
    with serving(redirecting("/repos/acme/firmware/actions/runs", status)) as (url, heads):
        github = api.open_api(Address("github", "acme/firmware", url), Token("x"), Deadline(30), lambda _text: None)
        with github.session, pytest.raises(ArtifactError):
            GitHubBuilds(github, Deadline(30)).run("1", "5e" * 20)
        assert 1 <= len(heads) <= http.TURNS + 2


def test_nothing_follows_to_another_origin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the token, nor what ~/.netrc would put in its place; what stands there is not taken for the answer."""
    (tmp_path / ".netrc").write_text("default login me password NETRC\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    with (
        serving(saying(b"[]"), "127.0.0.2") as (there, seen),
        serving(redirecting(there, 302)) as (here, asked),
        http.guarded_session(Deadline(HUNG)) as session,
    ):
        response = session.get(here, headers={"Authorization": "Bearer TOKEN"})
    assert response.status_code == 302
    assert seen == []
    assert b"Bearer TOKEN" in asked[0]
    assert b"Basic" not in asked[0]


def test_within_its_origin_a_redirect_keeps_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A repository that was renamed."""
    (tmp_path / ".netrc").write_text("default login me password NETRC\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))

    def answer(client: socket.socket, head: bytes) -> None:
        if head.startswith(b"GET /old"):
            redirecting("/new")(client, head)
        else:
            saying(b"[]")(client, head)

    with serving(answer) as (url, heads), http.guarded_session(Deadline(HUNG)) as session:
        assert session.get(f"{url}/old", headers={"Authorization": "Bearer TOKEN"}).json() == []
    assert [b"Bearer TOKEN" in head and b"Basic" not in head for head in heads] == [True, True]


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080/x", True),
        ("http://localhost", True),
        ("http://127.evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_which_addresses_are_this_machine(url: str, own: bool) -> None:
    """Only there a token may be sent without HTTPS."""
    assert is_loopback(url) is own


def test_without_https_nothing_is_asked() -> None:
    with (
        http.guarded_session(Deadline(HUNG)) as session,
        pytest.raises(requests.exceptions.InvalidURL, match="HTTPS"),
    ):
        session.get("http://198.51.100.1/x", headers={"Authorization": "Bearer TOKEN"})


@pytest.mark.parametrize(
    "change",
    [
        {"head_branch": 7},
        {"path": None},
        {"repository": None},
        {"repository": []},
        {"id": "7"},
        {"status": None},
        {"run_started_at": "9999-12-31T23:59:59-23:00"},
        {"run_started_at": "yesterday"},
        {"head_sha": None},
        {"event": {}},
    ],
    ids=str,
)
def test_a_strange_run_is_a_worded_error(change: dict[str, object]) -> None:
    import json

    with FakeGitHub() as github:
        github.add_token("x")
        repo = github.repository("acme/firmware", id=1001)
        repo.add_run(head_sha="5e" * 20)
        good = requests.get(
            f"{github.url}/repos/acme/firmware/actions/runs", headers={"Authorization": "Bearer x"}, timeout=5
        ).json()
    good["workflow_runs"][0].update(change)
    body = json.dumps(good).encode()
    with serving(lambda client, _: client.sendall(OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)) as (
        url,
        _,
    ):
        opened = api.open_api(Address("github", "acme/firmware", url), Token("x"), Deadline(HUNG), lambda _text: None)
        with opened.session, pytest.raises(ArtifactError, match="cannot be understood"):
            GitHubBuilds(opened, Deadline(HUNG)).runs("5e" * 20)


def test_what_stops_because_it_was_told_to_has_not_answered() -> None:
    """Half a download that ends in order, a moment after its time, is no download."""
    stopped = threading.Event()

    def half(over: threading.Event) -> str:
        assert over.wait(10)
        stopped.set()
        return "half"

    with pytest.raises(requests.Timeout):
        http.within(0.05, half)
    assert stopped.wait(10)
