"""Who asks, and what GitLab lets whom do: the headers and parameters of tokens, scopes, job tokens, access levels.

Modelled on lib/gitlab/auth/auth_finders.rb, lib/api/api_guard.rb and the table of doc/ci/jobs/ci_job_token.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fakes.gitlab_state import GUEST, REPORTER, Instance, Project, Refused, Token, User
from fakes.serving import Answer, Call, json_answer


@dataclass(frozen=True)
class Operation:
    """One row of the API: how it is called, who may, and what does it."""

    name: str
    method: str
    path: str
    """As in the description, without /api/v4."""
    handler: Callable[[Asked], Answer]
    signed_in: bool = False
    """Refused without a user even where the project is public."""
    job_token: bool = False
    """A job token counts; elsewhere the caller is taken as nobody."""
    reads: int = REPORTER
    """The access level that a member of a project that is not public needs."""
    needs: int = 0
    """The access level that is needed in any project."""
    scopes: tuple[str, ...] = ()
    """Scopes that suffice beside `api`, and beside `read_api` for a GET; "*": any."""
    ci: bool = False
    """Shows pipelines or jobs, which a public project may keep to its members."""
    by_parameter: bool = False
    """Allowed by a token among its parameters, whoever asks."""


@dataclass
class Asked:
    """A request that was understood: by whom, of what project, with which parameters."""

    call: Call
    operation: Operation
    instance: Instance
    args: dict[str, str]
    params: dict[str, Any]
    url: str
    link: Callable[[bytes, str], str]
    """Puts bytes of a file name into the object storage: a signed link to them."""
    token: Token | None = None
    user: User | None = None
    level: int = 0
    of: Project | None = field(default=None, repr=False)

    @property
    def project(self) -> Project:
        assert self.of is not None
        return self.of

    @property
    def me(self) -> User:
        assert self.user is not None
        return self.user


class Unauthorized(Refused):
    """401, in the words of the OAuth errors where the token is known and does not count."""

    def __init__(self, description: str = "") -> None:
        super().__init__(401, "401 Unauthorized")
        self.description = description


class InsufficientScope(Refused):
    def __init__(self, scopes: list[str]) -> None:
        super().__init__(403, "insufficient_scope")
        self.scopes = scopes


def refusal(error: Refused) -> Answer:
    """The answer that says so."""
    if isinstance(error, InsufficientScope):
        text = "The request requires higher privileges than provided by the access token."
        scope = " ".join(error.scopes)
        return json_answer(403, {"error": "insufficient_scope", "error_description": text, "scope": scope})
    if isinstance(error, Unauthorized) and error.description:
        challenge = {"WWW-Authenticate": 'Bearer realm="The API"'}
        return json_answer(401, {"error": "invalid_token", "error_description": error.description}, challenge)
    document = error.message if isinstance(error.message, dict) and "error" in error.message else None
    return json_answer(error.status, document or {"message": error.message})


def invalid(text: str) -> Refused:
    """A parameter that does not fit: 400, under the key `error`."""
    return Refused(400, {"error": text})


def enter(asked: Asked) -> None:
    """Find out who asks and for which project. Raises Refused."""
    asked.token = None if asked.operation.by_parameter else _token(asked)
    asked.user = asked.token.user if asked.token else None
    if asked.operation.signed_in and asked.user is None:
        raise Unauthorized
    if "id" in asked.args:
        _enter_project(asked)


def _token(asked: Asked) -> Token | None:
    call, tokens = asked.call, asked.instance.tokens
    bearer = call.header("Authorization").removeprefix("Bearer ") if call.header("Authorization") else ""
    if bearer in tokens and tokens[bearer].kind == "job":
        return tokens[bearer] if asked.operation.job_token else None
    private = call.header("PRIVATE-TOKEN") or str(asked.params.get("private_token") or "")
    text = private or bearer
    if text:
        return _access_token(asked, text, private=bool(private))
    return _job_token(asked)


def _access_token(asked: Asked, text: str, *, private: bool) -> Token:
    token = asked.instance.tokens.get(text)
    if token is None or token.kind == "job" or (private and token.kind == "oauth"):
        raise Unauthorized
    if token.revoked:
        raise Unauthorized("Token was revoked. You have to re-authorize from the user.")
    if token.expired:
        raise Unauthorized("Token is expired. You can either do re-authorization or token refresh.")
    enough = ["api", *(["read_api"] if asked.call.method == "GET" else []), *asked.operation.scopes]
    if "*" not in enough and not set(enough) & set(token.scopes):
        raise InsufficientScope(enough)
    return token


def _job_token(asked: Asked) -> Token | None:
    text = asked.call.header("JOB-TOKEN") or str(asked.params.get("job_token") or "")
    if not text or not asked.operation.job_token:
        return None
    token = asked.instance.tokens.get(text)
    if token is None or token.kind != "job" or token.revoked:  # a job token dies with its job
        raise Unauthorized
    return token


def _enter_project(asked: Asked) -> None:
    project = asked.instance.find_project(asked.args["id"])
    if project is None:
        raise Refused(404, "404 Project Not Found")
    operation = asked.operation
    asked.of, asked.level = project, asked.instance.access_level(asked.user, project)
    if operation.by_parameter:
        return
    open_to_all = project.visibility == "public" or (project.visibility == "internal" and asked.user is not None)
    if not open_to_all and asked.level < GUEST:
        raise Refused(404, "404 Project Not Found")
    if asked.token and asked.token.kind == "job" and not asked.token.covers(project) and not open_to_all:
        raise Refused(403, "403 Forbidden")  # not on the project's allowlist
    read = REPORTER if operation.ci and not project.public_jobs else 0
    if asked.level < max(operation.needs, read if open_to_all else operation.reads):
        raise Refused(403, "403 Forbidden")
