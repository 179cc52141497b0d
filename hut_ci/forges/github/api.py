"""PyGithub as a sender of single requests: it authenticates and decodes, and every request is one that we can see.

PyGithub's objects fetch what they lack behind one's back, its waits and redirects know no deadline, and it cannot
download an artifact (it refuses the storage's host). Its requester does none of that once its connections are ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import github
import requests
from github.GithubException import GithubException
from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass, Requester

from hut_ci.credentials import Token
from hut_ci.deadline import Deadline
from hut_ci.errors import HutCiError
from hut_ci.forges import http, trouble
from hut_ci.forges.address import Address

SERVICE = "GitHub"
API_VERSION = "2022-11-28"
PAGE = 100
MOST_PAGES = 20

Json = Any
Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class GitHubApi:
    """One repository through PyGithub. Paths are relative to `/repos/OWNER/NAME` unless they start with a slash."""

    address: Address
    token: Token
    session: requests.Session
    requester: Requester

    @contextmanager
    def asking(self, kind: type[HutCiError], doing: str, needs: str) -> Iterator[None]:
        """Turn whatever goes wrong in the block into an error of class `kind`; `needs` names the token's right."""
        words: dict[str, Any] = {"service": SERVICE, "doing": doing}
        try:
            yield
        except HutCiError:
            raise
        except GithubException as error:
            raise trouble.refusal(
                kind,
                **words,
                address=self.address,
                needs=needs,
                status=error.status,
                message=said(error.data),
                headers=error.headers,
            ) from error
        except requests.RequestException as error:
            raise trouble.unreachable(kind, **words, cause=http.cause(error)) from error
        except OSError as error:
            raise trouble.host_fault(kind, **words, error=error) from error
        except trouble.GARBLED as error:
            raise trouble.garbage(kind, **words, what=f"{type(error).__name__}: {error}") from error

    def get(self, path: str, **parameters: object) -> Json:
        return self._ask("GET", path, parameters=parameters)

    def send(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Json:
        """What was made or changed; an answer that does not name it is none, whatever its status says."""
        data = self._ask(verb, path, body=dict(body) if body is not None else None)
        if not isinstance(data, Mapping) or "id" not in data:
            raise TypeError("it names nothing that was made")
        return data

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def headers(self, path: str) -> tuple[Mapping[str, str], Json]:
        """The answer's headers (names in lower case) and its JSON."""
        headers, data = self.requester.requestJsonAndCheck("GET", self._url(path))
        return {str(name): str(value) for name, value in headers.items()}, data

    def changed(self, path: str, etag: str | None, **parameters: object) -> tuple[str, Json | None]:
        """The answer's ETag and its JSON, None where that is still `etag`: an answer of 304 does not count.

        Docs: "Best practices for using the REST API", conditional requests.
        """
        sent = {"If-None-Match": etag} if etag else {}
        answered, data = self.requester.requestJsonAndCheck("GET", self._url(path), _words(parameters), sent)
        if data is None and not etag:
            raise TypeError("the answer is empty")
        return str(answered.get("etag") or etag or ""), data

    def pages(self, path: str, key: str | None = None, **parameters: object) -> Iterator[Json]:
        """The entries of all pages of a list, or of the list under `key`; a page that is not full is the last."""
        for number in range(1, MOST_PAGES + 1):
            # GitHub counts from 1, and page 1 without a number is the same answer in one word less.
            page = {"per_page": PAGE, **({"page": number} if number > 1 else {})}
            data = self.get(path, **parameters, **page)
            entries = data[key] if key else data
            if not isinstance(entries, list):
                raise TypeError(f"no list under {key or 'the answer'}")
            yield from entries
            if len(entries) < PAGE:
                return

    def _ask(self, verb: str, path: str, *, parameters: Mapping[str, object] | None = None, body: Any = None) -> Json:
        _, data = self.requester.requestJsonAndCheck(
            verb, self._url(path), parameters=_words(parameters or {}), input=body
        )
        return data

    def _url(self, path: str) -> str:
        return path if path.startswith("/") else f"/repos/{self.address.name}/{path}".rstrip("/")

    def absolute(self, path: str) -> str:
        return f"{self.address.api}{self._url(path)}"

    @property
    def credentials(self) -> dict[str, str]:
        """For the one request that PyGithub cannot make; never sent anywhere but to `address.api`."""
        return {"Authorization": f"Bearer {self.token.reveal()}", "X-GitHub-Api-Version": API_VERSION}


def open_api(
    address: Address, token: Token, deadline: Deadline, on_pause: Callable[[str], None], sleep: Sleep = time.sleep
) -> GitHubApi:
    """A repository's API whose requests all end before `deadline`."""
    session = http.guarded_session(deadline, on_pause=on_pause, sleep=sleep)
    plain, secure = _connections(session)
    Requester.injectConnectionClasses(plain, secure)
    try:
        client = github.Github(
            auth=github.Auth.Token(token.reveal()),
            base_url=address.api,
            user_agent="hut-ci",
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,
            api_version=API_VERSION,
        )
    finally:
        Requester.resetConnectionClasses()
    return GitHubApi(address, token, session, client.requester)


def said(data: object) -> str:
    """GitHub's own words in an error's body: its message, and the fields that it names."""
    if not isinstance(data, Mapping):
        return ""
    errors = data.get("errors")
    fields = [entry for entry in errors if isinstance(entry, Mapping)] if isinstance(errors, list) else []
    more = [str(entry.get("message") or entry.get("field") or "") for entry in fields]
    return ": ".join([str(data.get("message", "")), ", ".join(filter(None, more))]).strip(": ")


def _connections(
    session: requests.Session,
) -> tuple[type[HTTPRequestsConnectionClass], type[HTTPSRequestsConnectionClass]]:
    """PyGithub's connections, but through `session`."""

    class Plain(HTTPRequestsConnectionClass):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.session = session

    class Secure(HTTPSRequestsConnectionClass):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.session = session

    return Plain, Secure


def _words(parameters: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}
