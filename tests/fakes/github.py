"""A stateful GitHub on the loopback address: the REST operations that a lab needs, with the limits of the live one.

By hand: `python tests/fakes/github.py --port 8080`.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

if __name__ == "__main__":  # started by hand: the folder of `fakes` instead of its inside
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from fakes.github_json import Json, Shapes
from fakes.github_routes import Ask, Refused, Route, error, find_route, refuse_permission
from fakes.github_state import Numbers, Repository, Token, zip_of
from fakes.serving import Answer, Call, Checker, FakeForge

HOUR = 3600
FIRST_NUMBERS = {
    "repository": 1001,
    "run": 9_000_000_001,
    "job": 40_000_000_001,
    "artifact": 2_000_000_001,
    "comment": 3_000_000_001,
    "status": 30_000_000_001,
    "check": 50_000_000_001,
    "reaction": 1,
    "event": 7_000_000_001,
    "runner": 1,
}
SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "If you reach out to GitHub Support for help, please include the request ID."
)
MESSAGES = {
    "401": "Bad credentials",
    "403": "Resource not accessible by integration",
    "404": "Not Found",
    "409": "Conflict",
    "410": "Gone",
    "422": "Validation Failed",
    "429": SECONDARY,
    "500": "Server Error",
    "502": "Server Error",
    "rate_limit_primary": "API rate limit exceeded for installation ID 1001.",
    "rate_limit_secondary": SECONDARY,
}
PERSONS_MESSAGES = {
    "403": "Resource not accessible by personal access token",
    "rate_limit_primary": "API rate limit exceeded for user ID 1001.",
}
UNAVAILABLE = b"<!DOCTYPE html><title>Unicorn!</title><p>No server is currently available to service your request.\n"


class FakeGitHub(FakeForge):
    """GitHub's REST API from `with` to its end, empty at the start.

    `prefix` ("/api/v3") makes it an Enterprise Server; a `checker` compares every call with the API description.
    """

    def __init__(self, *, port: int = 0, prefix: str = "", checker: Checker | None = None) -> None:
        super().__init__(port, checker)
        self.prefix = prefix
        self.head_sha_filter_is_empty = False
        """The known fault: runs listed by `head_sha` are none, though there are some."""
        self.anonymous_reads = False
        """Answer requests without a token for public repositories, as the live server does."""
        self.rate_limit = 5000
        """Calls of an hour for each token; those beyond are refused."""
        self.numbers = {kind: Numbers(first) for kind, first in FIRST_NUMBERS.items()}
        self.repositories: dict[str, Repository] = {}
        self.users: set[str] = set()
        self._tokens: dict[str, Token] = {}
        self._used: dict[str, int] = {}

    @property
    def url(self) -> str:
        """The root of the REST API, what $GITHUB_API_URL holds."""
        return self.origin + self.prefix

    @property
    def shapes(self) -> Shapes:
        return Shapes(self.url, self.origin)

    # --- what is there

    def add_token(
        self,
        value: str,
        *,
        login: str = "github-actions[bot]",
        kind: Literal["installation", "pat"] = "installation",
        permissions: Mapping[str, str] | None = None,
        scopes: Sequence[str] | None = None,
        repositories: Collection[str] | None = None,
    ) -> Token:
        """A token: of a job or app, or with `kind="pat"` a person's, classic if it has `scopes`.

        Without `permissions` it has all of them, without `repositories` it sees all.
        """
        self._tokens[value] = Token(value, login, kind, permissions, scopes, repositories)
        self.users.add(login)
        return self._tokens[value]

    def repository(
        self,
        full_name: str,
        *,
        id: int | None = None,
        private: bool = False,
        fork: bool = False,
        default_branch: str = "main",
    ) -> Repository:
        """A repository; the one that is there already if it is named again."""
        if full_name not in self.repositories:
            self.repositories[full_name] = Repository(
                full_name,
                self.numbers["repository"].take(id),
                self.numbers,
                lambda name, number: self.repository(name, id=number, private=private, fork=True),
                private=private,
                fork=fork,
                default_branch=default_branch,
            )
        return self.repositories[full_name]

    def add_user(self, login: str) -> None:
        """Somebody who exists without being a collaborator anywhere."""
        self.users.add(login)

    def knows_user(self, login: str) -> bool:
        return login in self.users

    # --- a request

    def operation_of(self, call: Call) -> str:
        found = self._find(call)
        if found is None:
            return "unknown"
        route, arguments = found
        call.described_path = route.path(arguments)
        return route.operation

    def _find(self, call: Call) -> tuple[Route, dict[str, str]] | None:
        if not call.path.startswith(self.prefix):
            return None
        path = call.path.removeprefix(self.prefix)
        for repo in self.repositories.values():  # /repositories/ID is the other name of /repos/OWNER/NAME
            numbered = f"/repositories/{repo.id}"
            if path == numbered or path.startswith(f"{numbered}/"):
                path = f"/repos/{repo.full_name}{path.removeprefix(numbered)}"
        return find_route(call.method, path)

    def answer(self, call: Call) -> Answer:
        try:
            return self._answer_known(call)
        except Refused as refusal:
            return refusal.answer

    def _answer_known(self, call: Call) -> Answer:
        if not call.header("User-Agent"):
            raise Refused(403, "Request forbidden by administrative rules: it has no User-Agent header.")
        found = self._find(call)
        token = self._token(call)
        if found is None:
            raise Refused(404, "Not Found")
        route, arguments = found
        if token is None and not self._open_to_all(route, arguments):
            raise Refused(401, "Requires authentication")
        if self._spend(token, route):
            raise Refused(403, MESSAGES["rate_limit_primary"])
        repo = self._permit(token, route, arguments)
        nobody = Token("", "", "pat", {}, None, None)
        return route.do(Ask(self, call, token or nobody, arguments, repo))

    def _token(self, call: Call) -> Token | None:
        """The token of a request, None without one. Raises Refused for one that is not known."""
        given = call.header("Authorization")
        if not given:
            return None
        scheme, _, value = given.partition(" ")
        token = self._tokens.get(value.strip())
        if token is None or scheme.lower() not in ("bearer", "token"):
            raise Refused(401, "Bad credentials")
        return token

    def _open_to_all(self, route: Route, arguments: dict[str, str]) -> bool:
        if not self.anonymous_reads or route.operation == "get_user":
            return False
        repo = self._named(arguments)
        return route.public or repo is None or repo.private

    def _named(self, arguments: dict[str, str]) -> Repository | None:
        name = f"{arguments.get('owner', '')}/{arguments.get('repo', '')}".lower()
        return next((repo for known, repo in self.repositories.items() if known.lower() == name), None)

    def _permit(self, token: Token | None, route: Route, arguments: dict[str, str]) -> Repository | None:
        """The repository of a request. Raises Refused where the token does not reach it, or may not do this there."""
        if "repo" not in arguments:
            return None
        repo = self._named(arguments)
        if repo is None or not self._sees(token, repo):
            raise Refused(404, "Not Found")
        if token is None:
            return repo
        if route.app_only and token.kind != "installation":
            raise Refused(403, "You must authenticate via a GitHub App.")
        readable = route.public and not repo.private
        allowed = any(token.allows(permission, route.level) for permission in route.permissions)
        if not token.classic and not readable and not allowed:
            refuse_permission(token)
        if token.classic and route.level == "write" and not self._may_write(token, repo, route):
            raise Refused(404, "Not Found")
        return repo

    def _sees(self, token: Token | None, repo: Repository) -> bool:
        if not repo.private:
            return True
        if token is None or (token.repositories is not None and repo.full_name not in token.repositories):
            return False
        return not token.classic or "repo" in (token.scopes or ())

    def _may_write(self, token: Token, repo: Repository, route: Route) -> bool:
        scopes = set(token.scopes or ())
        enough = {"repo"} | (set() if repo.private else {"public_repo"})
        return bool(scopes & (enough | ({"repo:status"} if route.permissions == ("statuses",) else set())))

    # --- limits, and what every answer carries

    def _spend(self, token: Token | None, route: Route) -> bool:
        """Count a call; whether it is one too many."""
        if route.operation == "get_rate_limit":
            return False
        key = token.value if token else ""
        self._used[key] = self._used.get(key, 0) + 1
        return self._used[key] > self.rate_limit

    def _window(self, key: str) -> Json:
        used = min(self._used.get(key, 0), self.rate_limit)
        reset = int(time.time()) + HOUR
        return {"limit": self.rate_limit, "used": used, "remaining": self.rate_limit - used, "reset": reset}

    def rate_limits(self, token: Token | None) -> Json:
        """What `GET /rate_limit` says."""
        core = self._window(token.value if token else "")
        other = {"limit": 30, "used": 0, "remaining": 30, "reset": core["reset"]}
        return {"resources": {"core": core, "search": other, "graphql": other}, "rate": core}

    def failure(self, fault: str, call: Call) -> Answer:
        if fault in ("502", "503"):
            return Answer(int(fault), UNAVAILABLE, {"Content-Type": "text/html"})
        status = int(fault) if fault.isdigit() else 403
        token = self._tokens.get(call.header("Authorization").partition(" ")[2].strip())
        person = token is not None and token.kind == "pat"
        answer = error(status, (PERSONS_MESSAGES if person else MESSAGES).get(fault, MESSAGES[fault]))
        if fault in ("429", "rate_limit_secondary"):
            answer.headers["Retry-After"] = "1"
        if fault == "rate_limit_primary":
            answer.headers["X-RateLimit-Remaining"] = "0"
            answer.headers["X-RateLimit-Reset"] = str(int(time.time()) + HOUR)
        return answer

    def finish(self, call: Call, answer: Answer) -> None:
        _, _, value = call.header("Authorization").partition(" ")
        token = self._tokens.get(value.strip())
        if answer.status == 304 and token is not None:  # docs: "Best practices for using the REST API"
            self._used[token.value] -= 1
        window = self._window(token.value if token else "")
        own = {f"X-RateLimit-{name.title()}": str(count) for name, count in window.items()}
        own |= {"X-RateLimit-Resource": "core", "X-GitHub-Request-Id": secrets.token_hex(8).upper()}
        own |= {"Server": "github.com", "X-GitHub-Media-Type": "github.v3; format=json"}
        if token is not None and token.classic:
            own |= {"X-OAuth-Scopes": ", ".join(token.scopes or ()), "X-Accepted-OAuth-Scopes": "repo"}
        found = self._find(call)
        if token is not None and not token.classic and found is not None and found[0].permissions:
            route = found[0]
            own["X-Accepted-GitHub-Permissions"] = "; ".join(f"{name}={route.level}" for name in route.permissions)
        answer.headers = own | answer.headers


# --- by hand ------------------------------------------------------------------------------------------------

EXAMPLE_TOKEN = "ghs_example"
EXAMPLE_SHA = "0123456789abcdef0123456789abcdef01234567"


def fill(github: FakeGitHub) -> Repository:
    """A small example: one repository, one build of one commit, one pull request."""
    github.add_token(EXAMPLE_TOKEN)
    repo = github.repository("acme/firmware", id=1001, private=True)
    repo.add_commit(EXAMPLE_SHA, files={"hut.yml": "version: 1\n"})
    repo.set_branch("main", EXAMPLE_SHA)
    repo.add_pull(12, head_sha=EXAMPLE_SHA)
    run = repo.add_run(head_sha=EXAMPLE_SHA, pull_requests=[12])
    run.add_job("build (esp32, 16)")
    run.add_artifact("firmware-i2s", zip_of({"firmware.bin": b"\xe9" + bytes(1023)}))
    return repo


def describe(github: FakeGitHub) -> str:
    """What a person needs to talk to it."""
    lines = [f"GITHUB_API_URL={github.url}", f"GITHUB_TOKEN={EXAMPLE_TOKEN}"]
    for repo in github.repositories.values():
        lines.append(f"{repo.full_name} (id {repo.id})")
        lines += [f"  run {run.id} of {run.head_sha}: {run.status}, {run.conclusion}" for run in repo.runs]
        lines += [f"  artifact {artifact.id}: {artifact.name}" for artifact in repo.artifacts]
        lines += [f"  pull request {number}" for number in repo.pulls]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake GitHub on the loopback address, with a small example in it.")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--prefix", default="", help="/api/v3 makes it an Enterprise Server")
    options = parser.parse_args()
    with FakeGitHub(port=options.port, prefix=options.prefix) as github:
        fill(github)
        print(describe(github), flush=True)
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()


if __name__ == "__main__":
    main()
