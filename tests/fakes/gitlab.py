"""A GitLab on the loopback: stateful, strict about tokens, able to fail in every way that a live one does.

    with FakeGitLab() as gitlab:
        gitlab.add_token("glpat-x")
        project = gitlab.project("acme/firmware", id=7)

By hand: `python tests/fakes/gitlab.py --port 8080` serves a small example until Ctrl-C.
"""

from __future__ import annotations

import io
import sys
import time
import zipfile
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakes import gitlab_api
from fakes.gitlab_access import Asked, enter, refusal
from fakes.gitlab_parameters import parameters
from fakes.gitlab_state import Instance, Project, Refused
from fakes.serving import Answer, Call, Checker, FakeForge, json_answer

OPERATIONS = tuple(dict.fromkeys(operation.name for operation in gitlab_api.OPERATIONS))
RATE_LIMIT = 2000
"""Requests a minute of a signed-in user."""


class FakeGitLab(FakeForge, Instance):
    """A threaded server of GitLab's REST API, version 4, with its object storage on another address.

    `checker` compares each call with GitLab's description of its API; what does not fit is in `violations`. `prefix`
    is the folder of a GitLab that does not live at the root of its host, such as "/gitlab".
    """

    def __init__(self, *, port: int = 0, checker: Checker | None = None, prefix: str = "") -> None:
        FakeForge.__init__(self, port, checker)
        Instance.__init__(self)
        self.prefix = prefix

    @property
    def url(self) -> str:
        """The root of the server, as CI_SERVER_URL."""
        return self.origin + self.prefix

    @property
    def api(self) -> str:
        """The root of the API, as CI_API_V4_URL."""
        return self.url + gitlab_api.PREFIX

    # --- how it answers

    def operation_of(self, call: Call) -> str:
        call.described_path = call.path.removeprefix(self.prefix)
        found = gitlab_api.match(call.method, call.described_path.removeprefix(gitlab_api.PREFIX))
        known = found is not None and call.path.startswith(self.prefix + gitlab_api.PREFIX)
        return found[0].name if found and known else "unknown"

    def answer(self, call: Call) -> Answer:
        if call.operation == "unknown":
            return json_answer(404, {"error": "404 Not Found"})
        found = gitlab_api.match(call.method, call.described_path.removeprefix(gitlab_api.PREFIX))
        assert found is not None
        operation, args = found
        try:
            asked = Asked(call, operation, self, args, parameters(call), self.url, self._link)
            enter(asked)
            return operation.handler(asked)
        except Refused as error:
            return refusal(error)

    def _link(self, content: bytes, filename: str) -> str:
        return self.blobs.link(self.blobs.put(content, filename))

    def failure(self, fault: str, call: Call) -> Answer:  # noqa: ARG002 - as FakeServer has it
        """Faults in GitLab's words. Both rate limits are 429; the primary one lasts an hour."""
        if fault in ("429", "rate_limit_primary", "rate_limit_secondary"):
            wait = 3600 if fault == "rate_limit_primary" else 1
            return Answer(429, b"Retry later\n", {"Content-Type": "text/plain"} | _rate_limit(RATE_LIMIT + 1, wait))
        if fault in ("502", "503"):
            page = b"<!DOCTYPE html><html><body><h1>GitLab is not responding</h1></body></html>\n"
            return Answer(int(fault), page, {"Content-Type": "text/html"})
        return json_answer(int(fault), {"message": FAULT_MESSAGES[fault]})

    def finish(self, call: Call, answer: Answer) -> None:  # noqa: ARG002 - as FakeServer has it
        number = len(self.calls)
        common = {"X-Request-Id": f"01FAKE{number:020d}", "Cache-Control": "max-age=0, private, must-revalidate"}
        for name, text in (common | _rate_limit(min(number, RATE_LIMIT), 60)).items():
            if name != "Retry-After":
                answer.headers.setdefault(name, text)


FAULT_MESSAGES = {
    "401": "401 Unauthorized",
    "403": "403 Forbidden",
    "404": "404 Not Found",
    "409": "Another update to this commit status is in progress",
    "410": "410 Gone",
    "422": "The number of jobs has exceeded the limit",
    "500": "500 Internal Server Error",
}


def _rate_limit(observed: int, seconds: int) -> dict[str, str]:
    """The headers of lib/gitlab/rack_attack.rb; a refusal has Retry-After too."""
    reset = int(time.time()) + seconds
    return {
        "RateLimit-Name": "throttle_authenticated_api",
        "RateLimit-Limit": str(RATE_LIMIT),
        "RateLimit-Observed": str(observed),
        "RateLimit-Remaining": str(max(RATE_LIMIT - observed, 0)),
        "RateLimit-Reset": str(reset),
        "RateLimit-ResetTime": formatdate(reset, usegmt=True),
        "Retry-After": str(seconds),
    }


# --- by hand ------------------------------------------------------------------------------------------------

EXAMPLE_TOKEN = "glpat-example"
EXAMPLE_SHA = "0123456789abcdef0123456789abcdef01234567"


def example(gitlab: FakeGitLab) -> Project:
    """A project with one built commit, a merge request and a runner."""
    gitlab.add_token(EXAMPLE_TOKEN, username="project_7_bot", kind="project")
    project = gitlab.project("acme/firmware", id=7)
    project.add_commit(EXAMPLE_SHA, files={"hut.yml": "suite: {expect: [{line: ready}]}\n"}, message="Say ready")
    project.set_branch("main", EXAMPLE_SHA)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("build/firmware.bin", b"\xe9" + bytes(1023))
    project.add_pipeline(sha=EXAMPLE_SHA).add_job("build: [i2s]", artifacts=archive.getvalue())
    project.add_merge_request(3, sha=EXAMPLE_SHA, source_branch="ready")
    project.add_runner("lab", tags=["esp32-hut-01"])
    return project


def _describe(gitlab: FakeGitLab, project: Project) -> str:
    line = project.pipelines[0]
    return "\n".join((
        f"GitLab     {gitlab.url}   (API {gitlab.api}, object storage {gitlab.blobs.url})",
        f"token      {EXAMPLE_TOKEN}",
        f"project    {project.path} (id {project.id}), branch main at {EXAMPLE_SHA}",
        f"pipeline   {line.id} {line.status}, job {line.jobs[0].id} {line.jobs[0].name!r} with artifacts",
        "merge      !3 of branch ready",
        f"try        curl -H 'Authorization: Bearer {EXAMPLE_TOKEN}' '{gitlab.api}/projects/7/pipelines'",
        "Ctrl-C ends it.",
    ))  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    import argparse

    parser = argparse.ArgumentParser(description="A GitLab for trying things: an example project, kept in memory.")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; 0 takes a free one")
    options = parser.parse_args(argv)
    with FakeGitLab(port=options.port) as gitlab:
        print(_describe(gitlab, example(gitlab)), flush=True)
        seen = 0
        try:
            while not gitlab.ending.wait(0.2):
                calls = list(gitlab.calls)
                for call in calls[seen:]:
                    print(
                        f"{datetime.now(UTC):%H:%M:%S} {call.status or '...'} {call.method} {call.target}", flush=True
                    )
                seen = len(calls)
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
