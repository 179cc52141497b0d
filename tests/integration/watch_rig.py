"""A publisher in this process, against a fake forge, with a clock that tests own; and a bench on paper."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fakes.github import FakeGitHub
from fakes.github_state import Repository
from fakes.gitlab import FakeGitLab

from hut_ci.artifact_cache import ArtifactCache
from hut_ci.cli.watch_forges import open_forge
from hut_ci.config import lab_from_text
from hut_ci.deadline import Deadline
from hut_ci.model import Lab, Request, Watched
from hut_ci.watch import spool
from hut_ci.watch.away import sign_of_life
from hut_ci.watch.desk import Desk
from hut_ci.watch.forge import Forge
from hut_ci.watch.publisher import Publisher
from hut_ci.watch.store import Store

TOKEN = "ghs_marker0123456789abcdefGITHUB"
NAME = "acme/firmware"
WORKFLOW = ".github/workflows/build.yml"
HUT = f'artifact: {{workflow: {WORKFLOW}, name: "firmware"}}\nsuite: {{expect: [ready]}}\n'
PASSED = json.loads((Path(__file__).parents[1] / "data" / "reports" / "runs" / "pass.json").read_bytes())
BASE, HEAD, NEWER = "0f" * 20, "5e" * 20, "77" * 20
DAY = 86400.0


@dataclass
class Clock:
    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@dataclass
class PaperBench:
    """Answers what lies in the spool as a real bench does, from a recorded report."""

    lab: Lab
    clock: Callable[[], float]
    ran: list[tuple[str, str, str]] = field(default_factory=list)
    """(commit, slot, job) of every run that ended."""

    def round(self, most: int = 100, slot: str | None = None) -> None:
        """At most so many jobs; with `slot` those on it alone."""
        sign_of_life(self.lab.spool, self.clock())
        spool.clear(self.lab.spool)
        done = set(spool.ready(self.lab.spool, spool.REPORTS))
        for name in [name for name in spool.ready(self.lab.spool, spool.JOBS) if name not in done][:most]:
            request = spool.read_request(self.lab.spool, name)
            on = request.pairs[0].slot
            if slot not in (None, on):
                continue
            out = spool.begin(self.lab.spool, name)
            (out / spool.REPORT).write_text(json.dumps(report(request)))
            spool.finish(self.lab.spool, name)
            self.ran.append((request.commit_sha, on, name))


def report(request: Request, commit_sha: str | None = None) -> dict[str, Any]:
    """A recorded pass as the answer to a request."""
    document: dict[str, Any] = json.loads(json.dumps(PASSED))
    hardware, sha = document["hardware"], commit_sha or request.commit_sha
    document["commit_sha"] = hardware["commit_sha"] = sha
    hardware |= {"slot": request.pairs[0].slot, "variant": "default", "request_digest": request.digest}
    forge = str(request.builds).partition(":")[0]
    hardware["artifact"] |= {"source": "upstream_artifact", "commit_sha": sha, "forge": forge}
    return document


class Rig:
    """`rounds` lets both sides work until nothing changes any more."""

    def __init__(self, folder: Path, forge: FakeGitHub | FakeGitLab, projects: str, slots: int = 2) -> None:
        self.forge, self.folder, self.clock = forge, folder, Clock()
        entries = "".join(f"  hut-0{n}: {{serial: /dev/serial/by-id/board-{n}}}\n" for n in range(1, slots + 1))
        text = f"lab: kitchen\nstate_dir: {folder}/state\nslots:\n{entries}projects: {projects}\n"
        self.lab = lab_from_text(text, folder / "lab.yml", {})
        for side in (spool.JOBS, spool.REPORTS):
            spool.make(self.lab.spool, side)
        self.bench = PaperBench(self.lab, self.clock)
        self.said: list[str] = []
        forge.add_token(TOKEN)
        self._stack = ExitStack()
        self.restart()

    def restart(self, wrapped: Callable[[Any], Any] = lambda thing: thing) -> None:
        """A new publisher on what the last one left behind; `wrapped` goes around what it changes the world with."""
        self._stack.close()
        store = self._stack.enter_context(Store(self.folder / "watch.db"))

        def opened(watched: Watched, _deadline: Deadline) -> Forge:
            made = open_forge(watched, self.environ, Deadline(60), self.said.append, lambda _seconds: None)
            parts = (made.watching, made.trigger, made.builds, made.statuses, made.conversation)
            return Forge(*(wrapped(part) for part in parts))

        desk = Desk(self.lab, wrapped(store), self.said.append, self.clock)
        self.publisher = Publisher(desk, ArtifactCache(self.folder / "artifacts"), opened)

    @property
    def environ(self) -> dict[str, str]:
        if isinstance(self.forge, FakeGitLab):
            return {"GITLAB_API_URL": self.forge.api, "GITLAB_TOKEN": TOKEN}
        return {"GITHUB_API_URL": self.forge.url, "GITHUB_TOKEN": TOKEN}

    @property
    def github(self) -> FakeGitHub:
        assert isinstance(self.forge, FakeGitHub)
        return self.forge

    def __enter__(self) -> Self:
        self.bench.round()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def round(self, seconds: float = 31.0) -> None:
        """One round of each side, some time later."""
        self.clock.now += seconds
        self.publisher.round()
        self.bench.round()

    def rounds(self, count: int = 4) -> None:
        for _ in range(count):
            self.round()

    def repository(self, name: str = NAME) -> Repository:
        """A repository whose branch main has one commit that was never built."""
        repo = self.github.repository(name)
        repo.add_commit(BASE, files={"hut.yml": HUT})
        repo.set_branch("main", BASE)
        repo.set_permission("ada", "write", "maintain")
        self.github.add_user("mallory")
        return repo


def built(repo: Repository, sha: str, *, push: str | None = "main", **more: Any) -> Any:
    """The commit with hut.yml, and a build of it with its artifact; `push` moves that branch to it."""
    if sha not in repo.commits or not repo.commits[sha].files:
        repo.add_commit(sha, files={"hut.yml": HUT}, parents=[BASE])
    if push is not None:
        repo.set_branch(push, sha)
        more = {"head_branch": push, **more}
    run = repo.add_run(head_sha=sha, workflow=WORKFLOW, **more)
    run.add_artifact("firmware", {"firmware.bin": b"\xe9" + sha.encode()})
    return run


def finals(repo: Repository) -> dict[str, dict[str, str]]:
    """Commit → context → the state that counts."""
    states: dict[str, dict[str, str]] = {}
    for status in repo.posted_statuses:
        states.setdefault(status.sha, {})[status.context] = status.state
    return states


def texts(repo: Repository, sha: str) -> dict[str, str]:
    """Context → description of what counts on a commit."""
    return {status.context: status.description or "" for status in repo.posted_statuses if status.sha == sha}


def settled(repo: Repository) -> bool:
    """Nothing is pending, and no context of a commit was ended twice."""
    ended = [(s.sha, s.context) for s in repo.posted_statuses if s.state != "pending"]
    open_ = [1 for of in finals(repo).values() for state in of.values() if state == "pending"]
    return not open_ and len(ended) == len(set(ended))
