"""python-gitlab as a sender of single requests: it authenticates and decodes, our session bounds and repeats."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import gitlab
import requests
from gitlab.exceptions import GitlabError, GitlabHttpError, GitlabParsingError

from hut_ci.credentials import Token
from hut_ci.deadline import Deadline
from hut_ci.errors import HutCiError, UsageError
from hut_ci.forges import http, trouble
from hut_ci.forges.address import Address

SERVICE = "GitLab"
PAGE = 100
MOST_PAGES = 20
ROOT = "/api/v4"

Json = Any
Sleep = Callable[[float], None]


class Client(gitlab.Gitlab):
    """Without the library's own waiting, which knows no deadline: retry.py alone decides what is sent again."""

    def http_request(self, *args: Any, **kwargs: Any) -> requests.Response:
        return super().http_request(*args, **{"obey_rate_limit": False, "max_retries": 0, **kwargs})


@dataclass(frozen=True, slots=True)
class GitLabApi:
    """One project through python-gitlab. Paths are relative to `/projects/ID` unless they start with a slash."""

    address: Address
    token: Token
    session: requests.Session
    client: Client
    answered: list[Mapping[str, str]]

    @contextmanager
    def asking(self, kind: type[HutCiError], doing: str, needs: str) -> Iterator[None]:
        """Turn whatever goes wrong in the block into an error of class `kind`; `needs` names the token's right."""
        words: dict[str, Any] = {"service": SERVICE, "doing": doing}
        try:
            yield
        except HutCiError:
            raise
        except GitlabParsingError as error:
            raise trouble.garbage(kind, **words, what=str(error.error_message)) from error
        except GitlabError as error:
            raise trouble.refusal(
                kind,
                **words,
                address=self.address,
                needs=needs,
                status=error.response_code or 0,
                message=str(error.error_message),
                headers=self.answered[-1] if self.answered else {},
            ) from error
        except requests.RequestException as error:
            raise trouble.unreachable(kind, **words, cause=http.cause(error)) from error
        except OSError as error:
            raise trouble.host_fault(kind, **words, error=error) from error
        except trouble.GARBLED as error:
            raise trouble.garbage(kind, **words, what=f"{type(error).__name__}: {error}") from error

    def get(self, path: str, **parameters: object) -> Json:
        data = self.client.http_get(self._path(path), query_data=_given(parameters))
        if isinstance(data, requests.Response):
            raise TypeError("the answer is no JSON")
        return data

    def changed(self, path: str, etag: str | None, **parameters: object) -> tuple[str, Json | None]:
        """The answer's ETag and its JSON, None where that is still `etag`."""
        sent = {"If-None-Match": etag} if etag else {}
        try:
            answer = self.client.http_request("get", self._path(path), _given(parameters), extra_headers=sent)
        except GitlabHttpError as error:
            if error.response_code == 304 and etag:
                return etag, None
            raise
        return answer.headers.get("ETag", ""), answer.json()

    def raw(self, path: str, **parameters: object) -> bytes:
        answer = self.client.http_get(self._path(path), query_data=_given(parameters), raw=True)
        assert isinstance(answer, requests.Response)
        return answer.content

    def post(self, path: str, body: Mapping[str, Any]) -> Json:
        return self.client.http_post(self._path(path), post_data=dict(body))

    def put(self, path: str, body: Mapping[str, Any]) -> Json:
        return self.client.http_put(self._path(path), post_data=dict(body))

    def pages(self, path: str, **parameters: object) -> Iterator[Json]:
        """The entries of all pages; one that is not full is the last."""
        for number in range(1, MOST_PAGES + 1):
            entries = self.get(path, **parameters, per_page=PAGE, **({"page": number} if number > 1 else {}))
            if not isinstance(entries, list):
                raise TypeError("the answer is no list")
            yield from entries
            if len(entries) < PAGE:
                return

    def absolute(self, path: str) -> str:
        return f"{self.address.api}{self._path(path)}"

    @property
    def credentials(self) -> dict[str, str]:
        """For downloads; Bearer, because `requests` drops that header alone when it is sent on to another host."""
        return {"Authorization": f"Bearer {self.token.reveal()}"}

    def _path(self, path: str) -> str:
        return path if path.startswith("/") else f"/projects/{quote(self.address.name, safe='')}/{path}".rstrip("/")


def open_api(
    address: Address, token: Token, deadline: Deadline, on_pause: Callable[[str], None], sleep: Sleep = time.sleep
) -> GitLabApi:
    """A project's API whose requests all end before `deadline`. Raises UsageError for an address that is no API's."""
    if not address.api.endswith(ROOT):
        raise UsageError(
            f"{address.api} is not the address of GitLab's API",
            todo=f"write it like `https://gitlab.example.org{ROOT}` in $GITLAB_API_URL",
        )
    session = http.guarded_session(deadline, on_pause=on_pause, sleep=sleep)
    answered: list[Mapping[str, str]] = []
    session.hooks["response"].append(lambda response, **_: answered.append(dict(response.headers)))
    client = Client(
        address.api.removesuffix(ROOT),
        oauth_token=token.reveal(),
        session=session,
        timeout=http.READ_SECONDS,
        user_agent="hut-ci",
        keep_base_url=True,
    )
    return GitLabApi(address, token, session, client, answered)


def _given(parameters: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}
