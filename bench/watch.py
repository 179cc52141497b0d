"""API calls of `hut-ci watch`: of a look that finds nothing, and of each kind of event from its trace to its answer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.github import FakeGitHub
from fakes.github_state import Repository
from forge import BIN, NAME, SHA, zipped

from hut_ci.virtual.lab import VirtualLab

HUT = 'suite: {expect: ["bench: ready"]}\n'
OLD = "2026-02-12T12:00:00Z"


def calls_of_watch(virtual: VirtualLab, build: Path) -> dict[str, float]:
    """One repository, one slot; what is conditional and unchanged is 304 and does not count."""
    with virtual.lab_yml.open("a") as file:
        file.write(f'projects: {{"github:{NAME}": {{}}}}\n')
    counted: dict[str, float] = {}
    with FakeGitHub() as github:
        github.add_token("ghs_x")
        repo = github.repository(NAME, id=1001)
        repo.set_permission("ada", "write")
        repo.add_commit(SHA, files={"hut.yml": HUT})
        repo.set_branch("main", SHA)
        repo.add_pull(12, head_sha=SHA, created=OLD)
        rounds = _rounds(virtual, github)
        rounds()
        events: dict[str, Callable[[], object]] = {
            "idle": lambda: None,
            "push": lambda: _built(repo, build),
            "comment": lambda: repo.add_comment(12, "/hil", login="ada"),
            "label": lambda: repo.add_label(12, "hil", login="ada"),
        }
        for name, happens in events.items():
            happens()
            github.reset_calls()
            rounds()
            if name == "idle":
                counted["watch calls of an idle look"] = len(github.calls)
                counted["watch calls of an idle look that count"] = sum(call.status != 304 for call in github.calls)
            else:
                counted[f"watch calls of a {name}"] = sum(call.status != 304 for call in github.calls)
                rounds()  # what we said ourselves has changed the pull request
    return counted


def _built(repo: Repository, build: Path) -> None:
    repo.add_run(head_sha=SHA, created=OLD).add_artifact("firmware", zipped(build))


def _rounds(virtual: VirtualLab, github: FakeGitHub) -> Callable[[], None]:
    """One publisher, one bench, one publisher: what an event takes from its trace to its answer."""
    environment = {**os.environ, "GITHUB_API_URL": github.url}

    def call(name: str, **more: str) -> None:
        argv = [str(BIN / "hut-ci"), "watch", name, "--once", "--lab", str(virtual.lab_yml)]
        done = subprocess.run(
            argv, env={**environment, **more}, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(argv)}\n{done.stderr}")

    def rounds() -> None:
        call("bench")
        call("publisher", GITHUB_TOKEN="ghs_x")  # noqa: S106 (the fake's)
        if list((virtual.lab_yml.parent / "state" / "spool" / "jobs").glob("*-0")):
            call("bench")
            call("publisher", GITHUB_TOKEN="ghs_x")  # noqa: S106 (the fake's)

    return rounds
